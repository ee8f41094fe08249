"""How the features of a toy model share its dimensions, drawn."""

from __future__ import annotations

from matplotlib.figure import Figure

from ae_lightning.metrics.recovery import cosine_matrix
from ae_lightning.models.toy_model import ToyModel
from ae_lightning.plots.cosines import interference_figure
from ae_lightning.run.codes import by_instance


def interference(model: ToyModel) -> Figure:
    """Cosines between the directions that a toy model gives features, and their lengths; of instances, the first."""
    rows = by_instance(model.feature_directions.detach(), model)[0].cpu()
    figure = interference_figure(cosine_matrix(rows, rows), rows.norm(dim=-1))
    if model.instances is not None:
        figure.suptitle(f"the first of {model.instances} instances", fontsize=10)
    return figure

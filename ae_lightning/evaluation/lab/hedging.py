"""The hedging rate of a lab's dictionaries, from what became of them with more latents and without."""

from torch import Tensor

from ae_lightning.analysis.hedging_rate import hedging_rate
from ae_lightning.evaluation.lab.scores import Scores
from ae_lightning.models.shallow import ShallowAutoencoder
from ae_lightning.run.run import Run


def with_hedging_rate(scores: Scores, control: Run, extended: Run) -> Scores:
    """The scores of a fit with the `hedging_rate` of each instance beside them.

    Args:
        scores: Of the fit.
        control: The fit that went on as it was.
        extended: The fit that went on with more latents.
    """
    rates = hedging_rate(_rows(control), _rows(extended)).flatten().tolist()
    return scores._replace(rows=[{**row, "hedging_rate": rate} for row, rate in zip(scores.rows, rates, strict=True)])


def _rows(run: Run) -> Tensor:
    model = run.model
    assert isinstance(model, ShallowAutoencoder)
    return model.writing(model.decoder_vectors)

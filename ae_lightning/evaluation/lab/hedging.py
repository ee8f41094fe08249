"""The hedging rate of a lab's dictionaries, from what became of them with more latents and without."""

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
    rows = []
    for run in (control, extended):
        model = run.model
        assert isinstance(model, ShallowAutoencoder)
        rows.append(model.writing(model.decoder_vectors))
    rates = hedging_rate(*rows).flatten().tolist()
    return scores._replace(rows=[{**row, "hedging_rate": rate} for row, rate in zip(scores.rows, rates, strict=True)])

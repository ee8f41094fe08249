"""How the training went."""

from typing import ClassVar

from matplotlib.figure import Figure

from ae_lightning.plots.training import Curve, training_summary
from ae_lightning.report.contributed import Makers, SectionMaker
from ae_lightning.run.history import loss_formula, loss_history

_PROBES = ("latent", "raw", "pca", "untrained")


class TrainingSection(SectionMaker):
    """Losses, probes, and the terms of a loss that has several."""

    title = "Training"
    place = 200
    lead: ClassVar = {"training": 0}

    def figures(self) -> Makers:
        """Curves over optimizer steps."""
        makers: Makers = {"training": self.training}
        penalties = self.subject.sparsity.fitting().get("penalties")
        history = loss_history(self.subject.run.metrics)
        if penalties and loss_formula(self.subject.model.loss_weights, history):
            makers["penalties"] = penalties  # of a single term it would be the loss again
        return makers

    def reading(self, name: str) -> tuple[str, str]:
        """With a sentence on the probe where there was one, which may not be that of the table."""
        title, text = super().reading(name)
        if name != "training" or not self._probes:
            return title, text
        text += " Right the part of test samples whose class a linear classifier reads from the code, and from others."
        if "probe_full/latent" in (self.subject.results.get("probes") or {}):
            text += " It is fitted on fewer samples than that of the table, and reads less."
        return title, text

    def training(self) -> Figure:
        """Losses, and probes if there were any."""
        series = self.subject.series
        train = max((series(name) for name in ("train/loss", "train/loss_epoch")), key=lambda part: len(part[0]))
        return training_summary(*train, *series("val/loss"), self._probes)

    @property
    def _probes(self) -> dict[str, Curve]:
        """Steps, accuracies and their errors, by what was read from."""
        series = self.subject.series
        curves = {name: (*series(f"probe/{name}"), series(f"probe/{name}_se")[1]) for name in _PROBES}
        return {name: curve for name, curve in curves.items() if len(curve[0])}

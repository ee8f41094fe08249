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

    def training(self) -> Figure:
        """Losses, and probes if there were any."""
        series = self.subject.series
        train = max((series(name) for name in ("train/loss", "train/loss_epoch")), key=lambda part: len(part[0]))
        probes: dict[str, Curve] = {}
        for name in _PROBES:
            steps, accuracy = series(f"probe/{name}")
            if len(steps):
                probes[name] = (steps, accuracy, series(f"probe/{name}_se")[1])
        return training_summary(*train, *series("val/loss"), probes)

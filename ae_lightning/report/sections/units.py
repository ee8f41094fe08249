"""What the units of a shallow model read and write, and what they are worth."""

from typing import ClassVar

from ae_lightning.report.contributed import Makers, SectionMaker


class UnitsSection(SectionMaker):
    """Images of units, their importance, and the spectra of the weights."""

    title = "Units and weights"
    place = 400
    lead: ClassVar = {"structure": 30, "exciting_samples": 25}

    def figures(self) -> Makers:
        """What `WeightFigures` has, but for what stands in `TruthSection`."""
        weights = self.subject.weights
        elsewhere = weights.recovery.fitting() if weights.recovery else {}
        return {name: make for name, make in weights.fitting().items() if name not in elsewhere}

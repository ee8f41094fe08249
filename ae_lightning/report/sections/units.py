"""What the units of a shallow model read and write, and what they are worth."""

from typing import ClassVar

from ae_lightning.report.contributed import Makers, SectionMaker


class UnitsSection(SectionMaker):
    """Images of units, their importance, and the spectra of the weights."""

    title = "Units and weights"
    place = 400
    lead: ClassVar = {"recovery": 50, "structure": 30, "exciting_samples": 25}

    def figures(self) -> Makers:
        """What `WeightFigures` has."""
        return self.subject.weights.fitting()

"""What the units of a shallow model read and write, and what they are worth."""

import contextlib
from typing import ClassVar

from ae_lightning.errors import UserError
from ae_lightning.report.contributed import Makers, SectionMaker


class UnitsSection(SectionMaker):
    """Images of units, their importance, and the spectra of the weights."""

    title = "Units and weights"
    place = 400
    lead: ClassVar = {"recovery": 50, "structure": 30, "exciting_samples": 25}

    def figures(self) -> Makers:
        """What `WeightFigures` has."""
        return self.subject.weights.fitting()

    def sentences(self) -> list[str]:
        """How many units came to life and fell silent."""
        with contextlib.suppress(ValueError, UserError):  # where a snapshot does not fit, the figures say so
            return list(filter(None, [self.subject.weights.births_and_deaths()]))
        return []

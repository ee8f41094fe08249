"""How well latents recover the features that samples are made of, where these are known."""

from typing import ClassVar

from ae_lightning.report.contributed import Makers, SectionMaker


class TruthSection(SectionMaker):
    """Which latent stands for which true feature, now and in the course of training; empty where no truth is known."""

    title = "True features"
    place = 350
    lead: ClassVar = {"recovery": 50}

    def figures(self) -> Makers:
        """What `RecoveryFigures` has."""
        recovery = self.subject.weights.recovery
        return recovery.fitting() if recovery else {}

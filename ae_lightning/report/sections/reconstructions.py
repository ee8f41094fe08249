"""What the model makes of samples."""

from typing import ClassVar

from ae_lightning.report.contributed import Makers, SectionMaker


class ReconstructionsSection(SectionMaker):
    """Test samples and their reconstructions."""

    title = "Reconstructions"
    place = 300
    lead: ClassVar = {"reconstructions": 10}

    def figures(self) -> Makers:
        """The strip of reconstructions."""
        return {name: make for name, make in self.subject.gallery.fitting().items() if name == "reconstructions"}

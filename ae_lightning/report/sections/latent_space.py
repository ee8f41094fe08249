"""What lies between codes."""

from ae_lightning.report.contributed import Makers, SectionMaker


class LatentSpaceSection(SectionMaker):
    """Codes that are drawn, added and gone through, decoded."""

    title = "The latent space"
    place = 600

    def figures(self) -> Makers:
        """What `Gallery` has, but for the reconstructions."""
        return {name: make for name, make in self.subject.gallery.fitting().items() if name != "reconstructions"}

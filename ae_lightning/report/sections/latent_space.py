"""What lies between codes."""

from ae_lightning.analysis.sampler_names import SAMPLERS
from ae_lightning.report.contributed import Makers, SectionMaker
from ae_lightning.report.reading import decoded_from


class LatentSpaceSection(SectionMaker):
    """Codes that are drawn, added and gone through, decoded."""

    title = "The latent space"
    place = 600

    def figures(self) -> Makers:
        """What `Gallery` has, but for the reconstructions."""
        return {name: make for name, make in self.subject.gallery.fitting().items() if name != "reconstructions"}

    def reading(self, name: str) -> tuple[str, str]:
        """Title and reading; that of random codes says what they are drawn from."""
        title, reading = super().reading(name)
        return title, decoded_from(SAMPLERS[self.subject.gallery.default_sampler]) if name == "samples" else reading

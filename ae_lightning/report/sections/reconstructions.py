"""What the model makes of samples."""

from typing import ClassVar

from ae_lightning.plots.tiles import is_picture
from ae_lightning.report.contributed import Makers, SectionMaker


class ReconstructionsSection(SectionMaker):
    """Test samples and their reconstructions."""

    title = "Reconstructions"
    place = 300
    lead: ClassVar = {"reconstructions": 10}

    def reading(self, name: str) -> tuple[str, str]:
        """That of pictures, or that of vectors."""
        title, _ = super().reading(name)
        if is_picture(self.subject.model.output_shape):
            return (
                title,
                "Test samples, what the model makes of them, and the error: red is too bright, blue too dark.",
            )
        what = "samples against its reconstruction"
        if self.subject.data.test_set.target is not None:
            what = "targets against what the model produces"
        return title, f"Each entry of test {what}: on the dotted line the two agree."

    def figures(self) -> Makers:
        """The strip of reconstructions."""
        return {name: make for name, make in self.subject.gallery.fitting().items() if name == "reconstructions"}

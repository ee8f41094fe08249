"""What the model makes of samples."""

from typing import ClassVar

from ae_lightning.plots.tiles import is_picture
from ae_lightning.report.contributed import Makers, SectionMaker
from ae_lightning.report.page import Numbers
from ae_lightning.run.results import known


class ReconstructionsSection(SectionMaker):
    """Test samples and their reconstructions."""

    title = "Reconstructions"
    place = 300
    lead: ClassVar = {"reconstructions": 10}

    def reading(self, name: str) -> tuple[str, str]:
        """That of pictures, or that of vectors."""
        title, _ = super().reading(name)
        if is_picture(self.subject.model.output_shape):
            shown = "Test samples, what the model makes of them"
            if self.subject.model.reads_corrupted:
                shown = "Test samples, the same ones corrupted, what the model makes of these"
            return title, f"{shown}, and the error: red is too bright, blue too dark."
        what = "samples against its reconstruction"
        if self.subject.data.test_set.target is not None:
            what = "targets against what the model produces"
        return title, f"Each entry of test {what}: on the dotted line the two agree."

    def figures(self) -> Makers:
        """The strip of reconstructions."""
        return {name: make for name, make in self.subject.gallery.fitting().items() if name == "reconstructions"}

    def tables(self) -> list[Numbers]:
        """Errors on corrupted test samples, of a model that mends them."""
        errors, corrupted = (self.subject.results.get(name, {}) for name in ("errors", "corrupted"))
        if not corrupted:
            return []
        rows = {
            "corrupted samples themselves": corrupted["samples"],
            "reconstructions of corrupted samples": corrupted["autoencoder"],
            "reconstructions of clean samples": errors["test"]["autoencoder"],
        }
        told = [
            [name, *(f"{known(numbers, key):.4g}" for key in ("mse_per_pixel", "mse_per_image"))]
            for name, numbers in rows.items()
        ]
        return [Numbers(["test set", "squared error per entry", "squared error per sample"], told)]

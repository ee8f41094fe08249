"""What the latents of a crosscoder write to each source, and how well each is reconstructed."""

from collections.abc import Mapping
from typing import ClassVar

from ae_lightning.models.crosscoder import Crosscoder
from ae_lightning.plots.sources import relative_norm_figure
from ae_lightning.report.contributed import Makers, SectionMaker
from ae_lightning.report.page import Numbers
from ae_lightning.run.results import known


class SourcesSection(SectionMaker):
    """Relative decoder norms, and variance explained by source; of crosscoders alone."""

    title = "Sources"
    place = 350
    readings: ClassVar[Mapping[str, tuple[str, str]]] = {
        "relative_norms": (
            "What latents write to each source",
            "Latents at the dashed line write as much to each source; those at the ends write to one alone.",
        ),
    }

    def figures(self) -> Makers:
        """The distribution of relative decoder norms, of the first instance."""
        model = self.subject.model
        if not isinstance(model, Crosscoder):
            return {}
        relative = model.relative_norms if model.instances is None else model.relative_norms[0]
        return {"relative_norms": lambda: relative_norm_figure(relative[relative.sum(-1) > 0].cpu())}

    def tables(self) -> list[Numbers]:
        """Errors of each source on the test set, where they were measured."""
        model, parts = self.subject.model, self.subject.results.get("parts", {})
        if not isinstance(model, Crosscoder) or not parts:
            return []
        rows = [
            [
                name.replace("_", " "),
                f"{width:,}",
                f"{known(numbers, 'mse_per_image'):.4g}",
                f"{known(numbers, 'explained_variance'):.1%}",
            ]
            for (name, numbers), width in zip(parts.items(), model.source_dims, strict=True)
        ]
        return [Numbers(["source", "numbers", "squared error per sample", "variance explained"], rows)]

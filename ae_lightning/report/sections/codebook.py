"""The codebook of a vector-quantized autoencoder: how much of it is in use, and what its codes stand for."""

import math
from functools import cached_property, partial
from typing import ClassVar

from torch import Tensor

from ae_lightning.evaluation.codebook import code_counts, codebook_numbers
from ae_lightning.models.vqvae import VQVAE
from ae_lightning.plots.codebook import code_usage
from ae_lightning.plots.tiles import is_picture
from ae_lightning.report.codebook import code_pictures
from ae_lightning.report.contributed import Makers, SectionMaker
from ae_lightning.report.page import Numbers


class CodebookSection(SectionMaker):
    """Numbers, usage and pictures of codes; empty where the model has no codebook."""

    title = "Codebook"
    place = 320
    lead: ClassVar = {"codebook": 40}
    readings: ClassVar = {
        "codebook": (
            "What codes stand for",
            "The most frequent codes, decoded: of a grid, the image in which each place has that code; where a place "
            "has several codes, a line is one of them, and the others are at their mean over the test set.",
        ),
        "code_usage": (
            "How often codes are chosen",
            "Share of each code among all choices on the test set, the most frequent first. A line that ends early "
            "leaves codes unused; the dotted line is that of codes chosen equally often.",
        ),
    }

    @cached_property
    def _counts(self) -> Tensor | None:
        model, data = self.subject.model, self.subject.data
        return code_counts(model, data.test_set, data.eval_batch_size) if isinstance(model, VQVAE) else None

    def figures(self) -> Makers:
        """Usage, and pictures of codes where samples are pictures."""
        model, data = self.subject.model, self.subject.data
        if not isinstance(model, VQVAE):
            return {}
        counts = self._counts
        assert counts is not None
        makers: Makers = {"code_usage": partial(code_usage, model.codebook.of_books(counts))}
        if is_picture(model.output_shape):
            known = data.value_range if all(map(math.isfinite, data.value_range)) else None
            makers = {"codebook": partial(code_pictures, model, counts, known), **makers}
        return makers

    def tables(self) -> list[Numbers]:
        """The codebook in a few numbers."""
        model = self.subject.model
        if not isinstance(model, VQVAE):
            return []
        assert self._counts is not None
        numbers = codebook_numbers(model, self._counts)
        rows = [
            [
                "codes",
                f"{numbers['codes']:,}" + (f" in each of {books}" if (books := numbers["codebooks"]) > 1 else ""),
            ],
            ["codes of a sample", f"{numbers['codes_per_sample']:,}"],
            ["bits of a sample", f"{numbers['bits_per_sample']:,.0f}"],
            ["chosen at least once", f"{numbers['usage']:.1%}"],
            ["perplexity", f"{numbers['perplexity']:.1f}"],
        ]
        return [Numbers(["the codebook on the test set", ""], rows)]

"""How sparse the code is, and what latents stand for."""

from collections.abc import Iterator
from typing import ClassVar

from ae_lightning.models.sparse_dictionary import SparseDictionary
from ae_lightning.models.toy_model import ToyModel
from ae_lightning.plots.scatter import CLASS_COLORS
from ae_lightning.report.contributed import Makers, SectionMaker
from ae_lightning.report.contributions import can_be_taken_apart, is_told_by_parts

# The terms of the loss stand beside the loss. Latents are dead on a report's page that fire on no test sample: curves
# of what is called so by two other definitions are drawn by `ae-lightning sparsity`.
_ELSEWHERE = ("penalties", "dead_latents")

_DIMENSIONS_OF_SPACE = 3

_READINGS = {
    "arrows": "Each arrow is the direction of a feature.",
    "rows": "Each arrow is a decoder row; the true directions are gray where they are known.",
    "deep": " They are seen from where they lie furthest apart, and are pale where they point away.",
    "lines": "On which part of the test samples each latent fires, at each snapshot.",
    "bands": "On which part of the test samples latents fire, at each snapshot: the median latent, the middle half of "
    "latents, and the middle 90 %.",
    "free": "L0, the mean number of latents that fire on a validation sample.",
}


class CodeSection(SectionMaker):
    """Firing, values and contributions of latents."""

    title = "The code"
    place = 500
    lead: ClassVar = {"features": 40}

    def figures(self) -> Makers:
        """What `SparsityFigures` has, but for what stands elsewhere, and what says nothing of this run."""
        left_out = [*_ELSEWHERE, *self._saying_nothing()]
        return {name: make for name, make in self.subject.sparsity.fitting().items() if name not in left_out}

    def reading(self, name: str) -> tuple[str, str]:
        """That of what is drawn of this run."""
        title, text = super().reading(name)
        model = self.subject.model
        if name == "features":
            is_toy = isinstance(model, ToyModel)
            text = _READINGS["arrows" if is_toy else "rows"]
            if (model.latent_size if is_toy else model.input_size) == _DIMENSIONS_OF_SPACE:
                text += _READINGS["deep"]
        elif name == "fraction_active":
            text = _READINGS["lines" if model.latent_size < len(CLASS_COLORS) else "bands"]
        elif name == "active_latents" and not (isinstance(model, SparseDictionary) and model.asked_l0):
            text = _READINGS["free"]
        return title, text

    def _saying_nothing(self) -> Iterator[str]:
        """A course of one moment, and a reconstruction that most of is called the rest."""
        if len(self.subject.series("sparsity/l0")[0]) < 2:
            yield "active_latents"
        model, sparsity = self.subject.model, self.subject.sparsity
        if can_be_taken_apart(model) and not is_told_by_parts(model, sparsity.sample(sparsity.first_active())):
            yield "contributions"

"""How sparse the code is, and what latents stand for."""

from typing import ClassVar

from ae_lightning.report.contributed import Makers, SectionMaker

# The terms of the loss stand beside the loss. Latents are dead on a report's page that fire on no test sample: curves
# of what is called so by two other definitions are drawn by `ae-lightning sparsity`.
_ELSEWHERE = ("penalties", "dead_latents")


class CodeSection(SectionMaker):
    """Firing, values and contributions of latents."""

    title = "The code"
    place = 500
    lead: ClassVar = {"features": 40}

    def figures(self) -> Makers:
        """What `SparsityFigures` has, but for what stands elsewhere."""
        return {name: make for name, make in self.subject.sparsity.fitting().items() if name not in _ELSEWHERE}

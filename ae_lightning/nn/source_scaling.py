"""Input scaling of several sources that lie side by side in a sample, each by numbers of its own."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ae_lightning.nn.scaling import InputScaling, InputScalingName, make_scaling


class SourceScaling(InputScaling):
    """Scales each source of a sample as if it were alone, so that none counts for more since its numbers are larger.

    Args:
        name: How, as `InputScalingName` says.
        widths: Numbers in each source, in their order in a sample.
        lead: (instances,) where each instance may have data, and so scalings, of its own; else ().
    """

    def __init__(self, name: InputScalingName, widths: Sequence[int], lead: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.widths = list(widths)
        self.sources = nn.ModuleList(make_scaling(name, width, lead) for width in widths)
        self.is_foldable = all(scaling.is_foldable for scaling in self._scalings)

    def forward(self, x: Tensor) -> Tensor:
        """Samples (…, batch, input) in scaled units, of the same format of numbers."""
        parts = x.split(self.widths, -1)
        return torch.cat([scaling(part) for scaling, part in zip(self._scalings, parts, strict=True)], -1)

    def undo(self, x_hat: Tensor, x: Tensor | None = None) -> Tensor:
        """Reconstructions (…, batch, input) in the data's units, from scaled ones; see `InputScaling.undo`."""
        parts = x_hat.split(self.widths, -1)
        own = [None] * len(parts) if x is None else x.split(self.widths, -1)
        return torch.cat(
            [scaling.undo(part, of) for scaling, part, of in zip(self._scalings, parts, own, strict=True)], -1
        )

    @torch.no_grad()
    def fit(self, samples: Tensor) -> None:
        """Estimate what is kept of each source; see `InputScaling.fit`."""
        for scaling, part in zip(self._scalings, samples.split(self.widths, -1), strict=True):
            scaling.fit(part)

    @property
    def is_fitted(self) -> bool:
        """Whether nothing is left to estimate."""
        return all(scaling.is_fitted for scaling in self._scalings)

    @property
    def center(self) -> Tensor | None:
        """μ (…, input), or None where nothing is subtracted of any source."""
        centers = [scaling.center for scaling in self._scalings]
        known = [center for center in centers if center is not None]
        return torch.cat(known, -1) if known else None

    def fold_reading(self, weight: Tensor) -> Tensor:
        """A W of weights (…, input, columns), which read scaled samples: these read samples less μ."""
        parts = weight.split(self.widths, -2)
        return torch.cat([scaling.fold_reading(part) for scaling, part in zip(self._scalings, parts, strict=True)], -2)

    def fold_writing(self, rows: Tensor) -> Tensor:
        """W A⁻¹ of rows (…, rows, input) in scaled units: in the data's, less μ."""
        parts = rows.split(self.widths, -1)
        return torch.cat([scaling.fold_writing(part) for scaling, part in zip(self._scalings, parts, strict=True)], -1)

    @property
    def _scalings(self) -> list[InputScaling]:
        return list(self.sources)  # type: ignore[arg-type]

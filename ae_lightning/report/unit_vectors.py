"""Which figures show units whose samples are vectors, which are no pictures, and how each is made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cached_property

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ae_lightning.analysis.nearest import nearest_rows, random_rows
from ae_lightning.metrics.recovery import cosine_matrix
from ae_lightning.metrics.sparsity import fired, has_silent_latents
from ae_lightning.plots.cosines import decoder_cosines
from ae_lightning.plots.latent_table import latent_table
from ae_lightning.report.units import Units
from ae_lightning.run.codes import MOST_SAMPLES, encode

_ROWS = 12
_SHOWN = 48
_EXCITING = 5
# Among so many most exciting samples it is counted what they share.
_SHARED = 10


class UnitVectors:
    """Nearest latents, cosines, and the samples that excite a latent most.

    Args:
        units: The units.
    """

    def __init__(self, units: Units) -> None:
        self._units = units

    def fitting(self) -> dict[str, Callable[[], Figure]]:
        """The figures that the run allows, by name; none where samples are pictures, or there is only one latent."""
        if self._units.are_pictures or len(self._units.decoder) < 2:
            return {}
        return {"exciting_samples": self.exciting_samples, "decoder_cosines": self.cosines}

    def cosines(self) -> Figure:
        """Cosines of decoder rows of the most important units, alike ones side by side, and nearest rows of all."""
        rows = self._units.decoder.cpu()
        shown = torch.tensor(self._units.top(_SHOWN))
        matrix = cosine_matrix(rows[shown], rows[shown])
        ordered = _alike_together(matrix)
        random = nearest_rows(random_rows(*rows.shape))[1]
        return self._of_first(decoder_cosines(matrix[ordered][:, ordered], shown[ordered], self._nearest[1], random))

    def exciting_samples(self) -> Figure:
        """The most important units: how often they fire, their nearest latent, and what excites them most.

        Samples are named by their index in the test set, each with the unit's value there.
        """
        shown = self._units.top(_ROWS)
        codes, labels = self._codes(shown)
        count = min(_SHARED, len(codes))
        columns = ["latent", "nearest latent (cosine)", "most exciting test samples (value)"]
        sparse = self._units.model.fires_above_zero or has_silent_latents(codes)
        columns[1:1] = ["fires on"] if sparse else []
        rows = []
        for place, unit in enumerate(shown):
            values, samples = codes[:, place].topk(min(max(count, _EXCITING), len(codes)))
            active = values > 0
            values, samples = values[active], samples[active]
            near, cosine = (part[unit] for part in self._nearest)
            best = zip(samples[:_EXCITING].tolist(), values[:_EXCITING].tolist(), strict=True)
            row = [f"#{unit}", f"#{int(near)} ({float(cosine):.2f})".replace("-", "−")]
            row[1:1] = [f"{float(fired(codes[:, place]).float().mean()):.2%}"] if sparse else []
            row.append(",  ".join(f"{sample} ({value:.3g})" for sample, value in best) or "none")
            rows.append([*row, *([] if labels is None else [_shared(labels[samples[:count]])])])
        return latent_table(columns if labels is None else [*columns, "what they share"], rows)

    def _of_first(self, figure: Figure) -> Figure:
        """The figure, which says so if it is of one of several instances."""
        if (instances := self._units.model.instances) is not None:
            figure.suptitle(f"the first of {instances} instances", fontsize=10)
        return figure

    @cached_property
    def _nearest(self) -> tuple[Tensor, Tensor]:
        return nearest_rows(self._units.decoder.cpu())

    def _codes(self, shown: list[int]) -> tuple[Tensor, Tensor | None]:
        """Codes (n, shown) of the first 10,000 test samples, and labels (n,) or true features (n, k) if there are."""
        data = self._units.data
        dataset = data.test_set if data.instances is None else data.test_set.instance(0)
        codes, labels = [], []
        for start in range(0, min(MOST_SAMPLES, len(dataset)), data.eval_batch_size):
            rows = torch.arange(start, min(start + data.eval_batch_size, MOST_SAMPLES, len(dataset)))
            codes.append(encode(self._units.model, data.test_set.__getitems__(rows)[0])[0, :, shown].cpu().float())
            labels.append(data.classes_of(dataset.__getitems__(rows)[1]).cpu())
        y = torch.cat(labels)
        return torch.cat(codes), y if y.numel() and y.ndim <= 2 else None


def _alike_together(cosines: Tensor) -> Tensor:
    """An order in which rows that point the same way are neighbors, by average linkage."""
    from scipy.cluster.hierarchy import leaves_list, linkage  # slow to import
    from scipy.spatial.distance import squareform

    distances = (1 - cosines.double()).clamp(min=0)
    distances = (distances + distances.mT) / 2
    distances.fill_diagonal_(0)
    return torch.from_numpy(leaves_list(linkage(squareform(distances.numpy()), "average"))).long()


def _shared(labels: Tensor) -> str:
    """The commonest class (n,), or true feature (n, k), among samples."""
    if not len(labels):
        return ""
    if labels.ndim == 1:
        ((name, count),) = Counter(labels.tolist()).most_common(1)
        return f"class {name:g}: {count} of {len(labels)}"
    present = (labels != 0).sum(dim=0)
    return f"feature {int(present.argmax())}: {int(present.max())} of {len(labels)}"

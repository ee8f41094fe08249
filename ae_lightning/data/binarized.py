"""Images whose pixels are drawn as 0 or 1, anew in each epoch of training and once for all elsewhere."""

from __future__ import annotations

import torch
from torch import Tensor

from ae_lightning.data.in_memory import InMemoryDataset
from ae_lightning.data.loader import seeded_generator
from ae_lightning.errors import ConfigError
from ae_lightning.training.batch import Batch, Known

# Pixels that are drawn in one go: 16 MB of random numbers.
_AT_ONCE = 1 << 22


class BinarizedDataset(InMemoryDataset):
    """Pixels that are 1 with the probability that a gray image says.

    As a set its pixels were drawn once; `redrawn` draws those of a batch anew.

    Args:
        x: Images with drawn pixels, (rows, …), a byte each.
        y: Labels (rows,), or None.
        gray: The probabilities, as a set of all the rows.
        indices: Rows that make up this subset, (n,) int64. None takes all rows.

    Source: Burda, Grosse and Salakhutdinov (2015), arXiv 1509.00519, who train on images drawn so.
    """

    def __init__(self, x: Tensor, y: Known | None, gray: InMemoryDataset, indices: Tensor | None = None) -> None:
        super().__init__(x, y, indices=indices)
        self.gray = gray

    def redrawn(self, indices: Tensor, *seeds: int) -> Batch:
        """A batch of these rows (n,) int64, whose pixels follow from the rows and the seeds alone."""
        probabilities, y, *_ = self.gray.__getitems__(self.stored_rows(indices))
        return _drawn(probabilities, seeded_generator(*seeds, device=probabilities.device)), y

    def to(self, device: torch.device | str) -> BinarizedDataset:
        """A copy that lives on ``device`` and holds this subset's rows only."""
        moved, gray = super().to(device), self.gray.subset(self.indices).to(device)
        assert isinstance(moved.x, Tensor)
        return BinarizedDataset(moved.x, moved.y, gray)


def binarized(gray: InMemoryDataset, seed: int) -> BinarizedDataset:
    """All the images of a set, with pixels drawn once.

    Args:
        gray: Images whose values lie within [0, 1] as batches hold them.
        seed: Seed of the pixels.
    """
    x = torch.empty(len(gray), *gray.sample_shape, dtype=torch.uint8)
    generator = seeded_generator(seed)
    for rows in torch.arange(len(gray)).split(max(1, _AT_ONCE // x[0].numel())):
        x[rows] = _drawn(gray.__getitems__(rows)[0], generator).byte()
    return BinarizedDataset(x, gray.y, gray)


def require_probabilities(value_range: tuple[float, float]) -> None:
    """Check that pixels lie within [0, 1], so that they can be probabilities.

    Raises:
        ConfigError: They are normalized otherwise.
    """
    if value_range != (0.0, 1.0):
        raise ConfigError(
            "--data.binarize takes pixels for probabilities, which are between 0 and 1: set --data.normalize unit"
        )


def _drawn(probabilities: Tensor, generator: torch.Generator) -> Tensor:
    uniform = torch.rand(probabilities.shape, device=probabilities.device, generator=generator)
    return (uniform < probabilities).float()

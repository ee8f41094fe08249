"""Data whose targets are not the samples, and a world that two sources show, each with its truth."""

from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ae_lightning.data.base import AutoencoderDataModule, Sets
from ae_lightning.data.in_memory import InMemoryDataset


class KnownMap(AutoencoderDataModule):
    """y = 3 (x L + ReLU(x A − 1.5) W + noise) + 1, of x that are normal about 2: a linear map, and 24 seldom gates."""

    input_shape = (16,)
    target_shape = (12,)
    value_range = (-float("inf"), float("inf"))
    num_classes = None

    def __init__(self, samples: int = 40_000, noise: float = 0.3) -> None:
        super().__init__(batch_size=1024)
        self.samples = samples
        self.noise = noise

    def make_sets(self) -> Sets:
        g = torch.Generator().manual_seed(0)
        linear = torch.randn(16, 12, generator=g) / 4
        gates = normalize(torch.randn(16, 24, generator=g), dim=0)
        written = normalize(torch.randn(24, 12, generator=g), dim=1) * 4

        def drawn(n: int) -> InMemoryDataset:
            x = torch.randn(n, 16, generator=g)
            y = x @ linear + torch.relu(x @ gates - 1.5) @ written + self.noise * torch.randn(n, 12, generator=g)
            return InMemoryDataset(x + 2, target=InMemoryDataset(3 * y + 1))

        return drawn(self.samples), drawn(2000), drawn(5000)

    @property
    def fvu_of_noise(self) -> float:
        """The part of the test targets' variance that no model could explain."""
        y = self.test_set.targets.take(5000)[0]
        return (3 * self.noise) ** 2 * 12 / float((y - y.mean(0)).square().sum(1).mean())


class TwoViews(AutoencoderDataModule):
    """24 features in 16 dimensions, of which a sample has two in the mean; and the same turned, five times as large."""

    input_shape = (32,)
    value_range = (-float("inf"), float("inf"))
    num_classes = None

    def __init__(self) -> None:
        super().__init__(batch_size=1024)

    @cached_property
    def directions(self) -> tuple[Tensor, Tensor]:
        """Directions of the features in each view, (24, 16), of norm 1."""
        g = torch.Generator().manual_seed(0)
        first = normalize(torch.randn(24, 16, generator=g), dim=1)
        return first, first @ torch.linalg.qr(torch.randn(16, 16, generator=g)).Q

    def make_sets(self) -> Sets:
        g = torch.Generator().manual_seed(1)
        first, second = self.directions

        def drawn(n: int) -> InMemoryDataset:
            active = torch.rand(n, 24, generator=g) < 2 / 24
            sizes = active * (1 + 0.25 * torch.randn(n, 24, generator=g)).clamp(min=0.1)
            return InMemoryDataset(torch.cat([sizes @ first, 5 * sizes @ second], dim=1))

        return drawn(20_000), drawn(2000), drawn(2000)

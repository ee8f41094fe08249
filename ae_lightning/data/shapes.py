"""Pictures of a shape, of which all is known that differs between them."""

from __future__ import annotations

import difflib
import math

import torch
from torch import Tensor

from ae_lightning.analysis.factor_scores import FEWEST_SAMPLES
from ae_lightning.data.base import AutoencoderDataModule, Sets
from ae_lightning.data.drawn_shapes import OUTLINES, SYMMETRY, draw_shapes
from ae_lightning.data.factors import Factor
from ae_lightning.data.in_memory import InMemoryDataset, draw_rows
from ae_lightning.data.loader import seeded_generator
from ae_lightning.data.split import check_fraction
from ae_lightning.errors import ConfigError
from ae_lightning.training.batch import Known, labels_of

SHAPES = tuple(OUTLINES)
_SMALLEST_SCALE = 0.5
# Positions fill so much of a picture's side: no shape reaches over an edge.
_SPREAD = 0.5
# In smaller pictures different rotations begin to look the same.
_SMALLEST_PICTURE = 12
_MOST_BYTES = 2**32
# Streams of the seed.
_DRAWN, _TEST, _VALIDATION = 0, 1, 2


class ShapesDataModule(AutoencoderDataModule):
    """A white square, ellipse or heart on black, in every scale, rotation and position of a grid.

    The factors and their order are those of dSprites: shape, scale, rotation, x and y. A batch's y is (batch, 5) int64,
    the number of each factor's value, counted from 0; `factors` names them. Scales go from 0.5 to 1 in equal
    steps, positions from a quarter to three quarters of the picture, and rotations once around without coming back to
    the start, where dSprites has its first rotation again as the last. Pictures are drawn with smooth edges
    (`ae_lightning.data.drawn_shapes`).

    As in dSprites all shapes are turned all the way around, though a square looks the same four times, and an ellipse
    twice. So no picture tells the rotation of these wholly, and no code of pictures does: see `visible_rotation`.
    Samples that look the same fall into the same set, so that no test picture was seen in training.

    Where one class is asked for, as by `LinearProbe`, the explorer and the projector, it is the value of one factor.

    Source: Matthey et al. (2017), dSprites: Disentanglement testing Sprites dataset.

    Args:
        image_size: Pixels in a side.
        scales: Values of the scale.
        rotations: Values of the rotation.
        positions: Values of x, and of y.
        samples: Draw so many samples of the grid, without replacement; null takes the whole grid.
        class_factor: The factor that stands for a sample's class.
        test_fraction: Part of the samples that is held out for testing.
        batch_size: Pictures in a training batch, per device.
        eval_batch_size: Pictures in a validation or test batch, per device.
        val_fraction: Part of the remaining samples that is held out for validation.
        seed: Seed of what is drawn of the grid and of both splits, not of the training order.
        drop_last: Whether to leave out the last training batch of an epoch if it is smaller.
        device_resident: Whether to keep the pictures on the training device, which saves a copy per batch.

    Raises:
        ConfigError: If an option is out of range, or there is no such factor.
    """

    def __init__(
        self,
        image_size: int = 32,
        scales: int = 6,
        rotations: int = 12,
        positions: int = 12,
        samples: int | None = None,
        class_factor: str = "shape",
        test_fraction: float = 0.2,
        batch_size: int = 256,
        eval_batch_size: int = 1024,
        val_fraction: float = 0.1,
        seed: int = 0,
        drop_last: bool = False,
        device_resident: bool = False,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, val_fraction, seed, drop_last, device_resident)
        check_fraction("test_fraction", test_fraction)
        if image_size < _SMALLEST_PICTURE:
            raise ConfigError(f"--data.image_size is {image_size}; it must be at least {_SMALLEST_PICTURE}.")
        for option, size in (("scales", scales), ("rotations", rotations), ("positions", positions)):
            if size < 1:
                raise ConfigError(f"--data.{option} is {size}; it must be at least 1.")
        self.image_size = image_size
        self.test_fraction = test_fraction
        self._factors = _factors(scales, rotations, positions)
        self._column = _column_of(class_factor, self._factors)
        self._grid = tuple(len(factor.values) for factor in self._factors)
        self.samples = _checked_samples(samples, math.prod(self._grid), test_fraction)
        if self.samples * image_size**2 > _MOST_BYTES:
            raise ConfigError(
                f"--data.image_size {image_size} makes {self.samples:,} samples larger than "
                f"{_MOST_BYTES // 2**30} GiB; draw at most {_MOST_BYTES // image_size**2:,} by --data.samples."
            )

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(1, image_size, image_size): channel, row from above, column."""
        return (1, self.image_size, self.image_size)

    @property
    def factors(self) -> tuple[Factor, ...]:
        """Shape, scale, rotation, x and y."""
        return self._factors

    @property
    def value_range(self) -> tuple[float, float]:
        """(0, 1): black and white."""
        return 0.0, 1.0

    @property
    def num_classes(self) -> int:
        """Values of the factor that stands for the class."""
        return len(self.class_names)

    @property
    def class_names(self) -> tuple[str, ...]:
        """What these values are called."""
        return self._factors[self._column].values

    def classes_of(self, y: Known) -> Tensor:
        """The factor of y (batch, 5) that stands for the class, (batch,)."""
        return labels_of(y)[:, self._column]

    @property
    def visible_rotation(self) -> float:
        """The part of the rotation's entropy that pictures tell, where all of the grid look as different as they can.

        No code of pictures can have a larger part, so that it bounds the mutual information gap of the rotation; 1 with
        a single rotation, of which there is nothing to tell.
        """
        rotations = self._grid[2]
        hidden = sum(math.log(math.gcd(rotations, SYMMETRY[name])) for name in SHAPES) / len(SHAPES)
        return 1.0 if rotations == 1 else 1 - hidden / math.log(rotations)

    def make_sets(self) -> Sets:
        """Draw the pictures, each look once, and split the samples."""
        y = self._drawn_values()
        looks, look_of = self._looks(y).unique(dim=0, return_inverse=True)
        x = self._draw(looks)[look_of]
        test, rest = _split(look_of, torch.arange(len(y)), self.test_fraction, seeded_generator(self.seed, _TEST))
        val, train = _split(look_of, rest, self.val_fraction, seeded_generator(self.seed, _VALIDATION))
        train_set, val_set, test_set = (
            InMemoryDataset(x, y, indices=rows, scale=1 / 255) for rows in (train, val, test)
        )
        return train_set, val_set, test_set

    def _drawn_values(self) -> Tensor:
        """Values (samples, 5), int64, of what is drawn of the grid, shuffled: the first samples are like all."""
        cells = draw_rows(math.prod(self._grid), self.samples, seeded_generator(self.seed, _DRAWN))
        return torch.stack(torch.unravel_index(cells, self._grid), dim=1)

    def _looks(self, y: Tensor) -> Tensor:
        """The same values with the first rotation in place of each that looks the same."""
        rotations = self._grid[2]
        periods = torch.tensor([rotations // math.gcd(rotations, SYMMETRY[name]) for name in SHAPES])
        looks = y.clone()
        looks[:, 2] %= periods[y[:, 0]]
        return looks

    def _draw(self, values: Tensor) -> Tensor:
        """Pictures (n, 1, image_size, image_size), uint8, of values (n, 5)."""
        shape, scale, rotation, x, y = values.unbind(dim=1)
        _, scales, rotations, positions, _ = self._grid
        angles, places = rotation * (2 * math.pi / rotations), _places(positions)
        return draw_shapes(shape, _scales(scales)[scale], angles, places[x], places[y], self.image_size, SHAPES)


def _scales(count: int) -> Tensor:
    """Scales (count,) in equal steps up to 1, which is that of a single one."""
    return torch.linspace(1, _SMALLEST_SCALE, count).flip(0)


def _places(count: int) -> Tensor:
    """Positions (count,) in equal steps around the middle, which is that of a single one."""
    return 0.5 + _SPREAD * (torch.arange(count) - (count - 1) / 2) / max(count - 1, 1)


def _factors(scales: int, rotations: int, positions: int) -> tuple[Factor, ...]:
    places = tuple(f"{place:.3g}" for place in _places(positions).tolist())
    return (
        Factor("shape", SHAPES, is_ordered=False),
        Factor("scale", tuple(f"{scale:.3g}" for scale in _scales(scales).tolist())),
        Factor("rotation", tuple(f"{360 * turn / rotations:.4g}°" for turn in range(rotations))),
        Factor("x", places),
        Factor("y", places),
    )


def _column_of(name: str, factors: tuple[Factor, ...]) -> int:
    names = [factor.name for factor in factors]
    if name in names:
        return names.index(name)
    near = difflib.get_close_matches(name, names, n=1)
    guess = f"did you mean {near[0]}?" if near else f"the factors are {', '.join(names)}."
    raise ConfigError(f"--data.class_factor is {name}, but there is no such factor; {guess}")


def _checked_samples(samples: int | None, total: int, test_fraction: float) -> int:
    """How many samples there are to be, if there can be so many, and enough of them for testing."""
    count = total if samples is None else samples
    if count > total:
        raise ConfigError(
            f"--data.samples is {count:,}, but --data.scales, rotations and positions make a grid of {total:,} samples."
        )
    if count * test_fraction < FEWEST_SAMPLES:
        which = f"A grid of {total:,} samples" if samples is None else f"--data.samples {count:,}"
        raise ConfigError(
            f"{which} with --data.test_fraction {test_fraction:g} leaves fewer than {FEWEST_SAMPLES} samples to test, "
            f"which scores of factors need; take at least {math.ceil(FEWEST_SAMPLES / test_fraction):,} samples."
        )
    return count


def _split(look_of: Tensor, rows: Tensor, fraction: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Part of some rows (k,), and the others, in ascending order; rows that look the same stay together.

    The part is as large as asked for, or larger by less than there are rows of one look.
    """
    looks, own = look_of[rows].unique(return_inverse=True)
    order = torch.randperm(len(looks), generator=generator)
    before = own.bincount()[order].cumsum(0) - own.bincount()[order]
    taken = torch.empty(len(looks), dtype=torch.bool)
    taken[order] = before < fraction * len(rows)
    return rows[taken[own]], rows[~taken[own]]

"""Activations of other models, from a store on disk that may be larger than the memory."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from ae_lightning.data.base import Sets
from ae_lightning.data.in_memory import InMemoryDataset, LazyRows
from ae_lightning.data.row_arrays import RowArray, RowsSideBySide, SelectedRows, read_whole
from ae_lightning.data.selection import Selection
from ae_lightning.data.split import check_fraction
from ae_lightning.data.store import StoredArray, StoreIndex
from ae_lightning.data.store_scaling import RowNormalize, RowScaling, row_scaling, side_by_side
from ae_lightning.data.store_split import parts_of_samples, rows_of_parts
from ae_lightning.data.windowed_data import WindowedDataModule
from ae_lightning.data.windowed_rows import WindowedRows
from ae_lightning.errors import ConfigError

_PARTS = ("train", "val", "test")


class ActivationsDataModule(WindowedDataModule):
    """Activations from a store that `ae-lightning harvest` made, also one that is larger than the memory.

    The order of an epoch is a pure function of (seed, epoch), and each row comes once: see `WindowOrder`. Rows within a
    window are shuffled as a whole, so that rows of one sequence meet in a batch no more often than chance among the
    window's rows has it; a store that was harvested with ``--shuffle`` has its rows in random order already. The order
    does not depend on ``memory``: rows that fit are read once and stay, others are read in windows by a thread that is
    ahead of the training. Several processes share each global batch, so that it is the same for any number of them.

    Whole samples are held out for validation and testing, not single rows: rows of one sequence or image are alike.
    Scales and centers are those of the store's index, of all its rows.

    Args:
        root: Folder of the store.
        layer: The layer, as the store calls it; of several, the activations come side by side in one vector. Needed
            where the store has more than one. In a list names that are decimals need quotes, such as ``["0.1"]``.
        target: The layer that is to be produced from these activations, for a transcoder, by default the activations.
        memory: Memory that rows may take in each process, such as 1GiB or 500MB. Beside it stand the labels, if there
            are any, 8 bytes for each row, and a bit for each row and set; of rows that all fit, also their numbers, 8
            bytes for each.
        window: Rows that are shuffled together, by default as many as take 128 to 256 MiB. Two windows must fit into
            the memory, unless all rows do.
        normalize: ``none`` to leave the values as they are; ``mean_norm`` for one factor that makes the mean norm of a
            row the square root of the width; ``mean_square`` for one that makes the mean squared norm 1;
            ``centered`` to subtract the mean; ``centered_mean_square`` for both. Each layer, and the target, is scaled
            by itself.
        batch_size: Rows in a training batch, per device.
        eval_batch_size: Rows in a validation or test batch, per device.
        val_fraction: Part of the samples that is held out for validation.
        test_fraction: Part of the samples that is held out for testing. Without it, the validation set is used for
            testing too, and its figures are then not those of unseen data.
        seed: Seed of the split, not of the training order.
        drop_last: Whether to leave out the last training batch of an epoch if it is smaller.
        device_resident: Whether to keep the rows on the training device, which saves a copy per batch; all of them must
            fit into the memory.

    Raises:
        ConfigError: If an option is out of range, or a list of layers holds a number with a point.
        DataError: From ``setup`` and the properties, if the store is missing, unfinished or damaged, or has no such
            layer.
    """

    def __init__(
        self,
        root: str,
        layer: str | list[str | int | float] | None = None,
        target: str | None = None,
        memory: int | str = "1GiB",
        window: int | None = None,
        normalize: RowNormalize = "none",
        batch_size: int = 4096,
        eval_batch_size: int = 4096,
        val_fraction: float = 0.1,
        test_fraction: float | None = None,
        seed: int = 0,
        drop_last: bool = False,
        device_resident: bool = False,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, val_fraction, seed, drop_last, device_resident, memory, window)
        if normalize not in get_args(RowNormalize):
            raise ConfigError(f"--data.normalize is {normalize!r}; it can be {', '.join(get_args(RowNormalize))}.")
        self.fractions = [val_fraction] if test_fraction is None else [val_fraction, test_fraction]
        if test_fraction is not None:
            check_fraction("test_fraction", test_fraction)
            check_fraction("val_fraction and --data.test_fraction together", val_fraction + test_fraction)
        for name in layer if isinstance(layer, list) else ():
            if isinstance(name, float):  # 0.10 and 0.1 are one number and two layers
                raise ConfigError(
                    f"--data.layer lists the number {name}; put names of layers in quotes, as in '[\"{name}\"]'."
                )
        self.root = root
        self.layer = layer
        self.target = target
        self.normalize: RowNormalize = normalize

    @cached_property
    def index(self) -> StoreIndex:
        """What the store says of itself."""
        return StoreIndex.read(self.root)

    @cached_property
    def layers(self) -> list[str]:
        """The store's arrays that samples are made of, in their order."""
        asked = self.layer if isinstance(self.layer, list) else [self.layer]
        # YAML takes the names of a Sequential's layers for numbers.
        names = [name if name is None else str(name) for name in asked]
        return [self.index.array_named(name, "--data.layer") for name in names]

    @cached_property
    def target_layer(self) -> str | None:
        """The store's array that is to be produced, if it is not the samples."""
        return None if self.target is None else self.index.array_named(self.target, "--data.target")

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(width,), over all layers; opens the store's index."""
        return (sum(self.index.width(name) for name in self.layers),)

    @property
    def target_shape(self) -> tuple[int, ...] | None:
        """(width,) of the target, if there is one; opens the store's index."""
        return None if self.target_layer is None else (self.index.width(self.target_layer),)

    @property
    def value_range(self) -> tuple[float, float]:
        """Bounds of all values after normalization; opens the store's index."""
        found = []
        for name in self.layers:
            statistics, (scale, shift) = self.index.statistics(name), self._scaling_of(name)
            found += [torch.as_tensor(end * scale + shift) for end in (statistics.minimum, statistics.maximum)]
        return min(float(ends.min()) for ends in found), max(float(ends.max()) for ends in found)

    @property
    def num_classes(self) -> int | None:
        """Number of classes of the rows' samples, where the store has them; opens the store's index."""
        return self.index.num_classes if "y" in self.index.extras else None

    @property
    def title(self) -> str:
        """The layers, and the model that they are of."""
        model = self.index.model.get("name")
        return f"Activations of {', '.join(self.layers)}" + (f" in {model}" if model else "")

    @cached_property
    def scaling(self) -> RowScaling:
        """How samples are scaled; ``scaling.undone`` gives the units of the store."""
        return side_by_side(
            [self._scaling_of(name) for name in self.layers], [self.index.width(n) for n in self.layers]
        )

    @cached_property
    def target_scaling(self) -> RowScaling | None:
        """How targets are scaled, if there are any."""
        return None if self.target_layer is None else self._scaling_of(self.target_layer)

    @cached_property
    def parts(self) -> dict[str, Selection]:
        """The rows of the store that each of the sets train, val and test is made of."""
        selections = rows_of_parts(self.index, self._parts_of_samples, 1 + len(self.fractions))
        return dict(zip(_PARTS, [*selections, selections[1]], strict=False))

    def samples_of(self, part: str) -> Tensor:
        """The samples, by their numbers in the store, that the set train, val or test is made of, (n,) int64."""
        number = min(_PARTS.index(part), len(self.fractions))
        return torch.from_numpy(self._parts_of_samples == number).nonzero().flatten()

    def make_sets(self) -> Sets:
        """Read all rows, or prepare to read them when they are asked for."""
        arrays = [StoredArray(self.index, name) for name in self.layers]
        y = StoredArray(self.index, "y") if self.num_classes is not None else None
        target = None if self.target_layer is None else StoredArray(self.index, self.target_layer)
        rows = WindowedRows(
            self.parts["train"],
            arrays,
            y,
            target,
            memory=self.memory,
            window=self.window,
            fingerprint=self._order_fingerprint(),
        )
        self.read_in_windows(rows)
        x = RowsSideBySide(arrays) if len(arrays) > 1 else arrays[0]
        labels = None if y is None else y.read(0, len(y))
        sets = (self._whole_sets if rows.is_whole else self._lazy_sets)(x, labels, target)
        return sets[0], sets[1], sets[-1]

    def _whole_sets(self, x: RowArray, y: Tensor | None, target: RowArray | None) -> list[InMemoryDataset]:
        targets = None if target is None else self._set_of(read_whole(target), None, self.target_scaling)
        whole = self._set_of(read_whole(x), y, self.scaling, targets)
        return [whole.subset(torch.from_numpy(self.parts[name].all_rows())) for name in self._part_names]

    def _lazy_sets(self, x: LazyRows, y: Tensor | None, target: LazyRows | None) -> list[InMemoryDataset]:
        sets = []
        for name in self._part_names:
            part = self.parts[name]
            targets = None if target is None else self._set_of(SelectedRows(target, part), None, self.target_scaling)
            labels = None if y is None else y[torch.from_numpy(part.all_rows())]
            sets.append(self._set_of(SelectedRows(x, part), labels, self.scaling, targets))
        return sets

    @property
    def _part_names(self) -> Sequence[str]:
        return _PARTS[: 1 + len(self.fractions)]

    @staticmethod
    def _set_of(
        x: Tensor | LazyRows, y: Tensor | None, scaling: RowScaling | None, target: InMemoryDataset | None = None
    ) -> InMemoryDataset:
        scale, shift = scaling or (1.0, 0.0)
        return InMemoryDataset(x, y, scale=scale, shift=shift, target=target)

    def _scaling_of(self, name: str) -> RowScaling:
        return row_scaling(self.index.statistics(name), self.normalize, f"{name} in {self.root}")

    @cached_property
    def _parts_of_samples(self) -> np.ndarray:
        return parts_of_samples(self.index.samples, self.fractions, self.seed)

    def _order_fingerprint(self) -> int:
        """A number that follows from what decides which rows are trained on; checkpoints hold 53 bits."""
        said = f"{self.index.fingerprint} {self.layers} {self.target_layer} {self.fractions} {self.seed}"
        return int(hashlib.sha256(said.encode()).hexdigest()[:13], 16)

"""Data held in memory (or mapped from disk) and fetched a whole batch at a time.

Training a small autoencoder takes 0.1 to 2 ms a step, so a batch must cost one gather and one conversion,
not one Python call per sample and a collate.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ae_lightning.errors import DataError
from ae_lightning.nn.sparse_code import SparseCode
from ae_lightning.training.batch import Batch, Known

# A larger set is hashed by evenly spaced rows: hashing takes about a second per gigabyte.
HASH_WHOLE = 256 * 2**20
HASH_ROWS = 4096

# Of more rows a few are drawn one by one: a permutation of all would take 8 bytes for each.
_PERMUTED = 2**24


class LazyRows(Protocol):
    """Rows that are read when they are asked for, such as those of a store on disk."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows, and shape of one."""

    @property
    def dtype(self) -> torch.dtype:
        """Type of the numbers."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Tensor, /) -> Tensor:
        """Gather rows (k,) int64 on the CPU as a tensor (k, …) of its own."""


class InMemoryDataset(Dataset[Batch]):
    """Samples and labels as two arrays, and targets as another set, read a batch at a time.

    ``x`` keeps its own type (MNIST stays uint8: 55 MB, not 220) and becomes ``x * scale + shift`` in
    float32 when a batch is fetched; with a ``center``, ``(x - center) * scale + shift`` in float64, which is then
    rounded to float32. ``torch.utils.data.DataLoader`` calls ``__getitems__`` too; give it
    ``collate_fn=lambda batch: batch``, since what arrives is a batch already.

    Args:
        x: Samples, (rows, …), a tensor of any real type, a numpy array, which may be memory-mapped read-only, or rows
            that are read from disk as they are asked for.
        y: Labels or true features, (rows, …), as indices and values (rows, features) or (instances, rows, features),
            or None for data that have none.
        indices: Rows that make up this subset, in their order, (n,) int64. None takes all rows.
        scale: Factor applied to x, a number or a tensor broadcastable to a sample.
        shift: Added after ``scale``, a number or a tensor broadcastable to a sample.
        center: Subtracted first, of data that lie far from zero for their spread: in float32 they would lose
            their last digits. None where float32 will do.
        sample_shape: Shape given to each sample. None keeps the shape that x has.
        target: What is to be produced of each sample, as a set whose x has as many rows, scaled in its own way; None
            where it is the sample itself. ``indices`` selects rows of both.

    Raises:
        DataError: If y or the targets have another number of rows than x, or ``sample_shape`` another number of
            elements.
    """

    def __init__(
        self,
        x: Tensor | np.ndarray | LazyRows,
        y: Known | None = None,
        *,
        indices: Tensor | None = None,
        scale: float | Tensor = 1.0,
        shift: float | Tensor = 0.0,
        center: float | None = None,
        sample_shape: Sequence[int] | None = None,
        target: InMemoryDataset | None = None,
    ) -> None:
        super().__init__()
        if y is not None and len(y) != len(x):
            raise DataError(f"There are {len(y):,} labels for {len(x):,} samples; each sample needs one label.")
        if target is not None and len(target) != len(x):
            raise DataError(f"There are {len(target):,} targets for {len(x):,} samples; each sample needs one target.")
        self.sample_shape = tuple(x.shape[1:] if sample_shape is None else sample_shape)
        stored = int(np.prod(x.shape[1:], dtype=np.int64))
        if int(np.prod(self.sample_shape, dtype=np.int64)) != stored:
            raise DataError(
                f"A sample of shape {tuple(x.shape[1:])} holds {stored:,} numbers and cannot take the shape "
                f"{self.sample_shape}; give --data.sample_shape the same number of elements."
            )
        # Half the memory, and no conversion per batch: training is in float32 whatever the file held.
        self.x = x.float() if isinstance(x, Tensor) and x.dtype == torch.float64 and center is None else x
        self.y = y
        self.indices = indices
        self.scale = scale
        self.shift = shift
        self.center = center
        self.target = target
        self._scaled = isinstance(scale, Tensor) or scale != 1.0
        self._shifted = isinstance(shift, Tensor) or shift != 0.0

    @property
    def device(self) -> torch.device:
        """Where the samples are; the indices that select a batch should be there too."""
        return self.x.device if isinstance(self.x, Tensor) else torch.device("cpu")

    @property
    def targets(self) -> InMemoryDataset:
        """What is to be produced of each sample, as the x of a set: this very set, where it is the sample itself."""
        if self.target is None:
            return self
        return self.target if self.indices is None else self.target.subset(self.target.stored_rows(self.indices))

    def __len__(self) -> int:
        return len(self.x) if self.indices is None else len(self.indices)

    def __getitem__(self, index: int) -> Batch:
        if not -len(self) <= index < len(self):
            raise IndexError(f"sample {index} of a set of {len(self)}")
        x, y, *target = self.__getitems__([index % len(self)])
        known = y.to_dense().select(-2, 0) if isinstance(y, SparseCode) else y[0]
        return (x[0], known, target[0][0]) if target else (x[0], known)

    def __getitems__(self, indices: Sequence[int] | Tensor) -> Batch:
        """A whole batch: x (batch, *sample_shape) float32, y (batch, …), or (batch, 0) without labels.

        Where the set has targets, they follow, (batch, *shape) float32.
        """
        rows = torch.as_tensor(indices, dtype=torch.int64, device=self.device)
        x, y = self._convert(*self.raw(rows))
        if self.target is None:
            return x, y
        return x, y, self.target.__getitems__(self.stored_rows(rows))[0]

    def redrawn(self, indices: Tensor, *seeds: int) -> Batch:
        """A batch of training (n,) int64; a set whose samples are drawn at random draws them anew, from the seeds."""
        return self.__getitems__(indices)

    def stored_rows(self, rows: Tensor) -> Tensor:
        """Where rows of this subset (k,), int64, are stored."""
        return rows if self.indices is None else self.indices.index_select(0, rows)

    def raw(self, rows: Tensor) -> tuple[Tensor, Known | None]:
        """Gather samples (k, …) and labels of the subset's rows as they are stored, without scaling them."""
        rows = self.stored_rows(rows)
        return gather(self.x, rows), None if self.y is None else take_known(self.y, rows)

    def normalized(self, x: Tensor) -> Tensor:
        """Raw samples (k, …) as batches hold them, (k, *sample_shape) float32.

        Where they are of the type that is reckoned with (float32, with a center float64), they are overwritten.
        """
        x = x.to(torch.float32 if self.center is None else torch.float64).reshape(len(x), *self.sample_shape)
        if self.center is not None:
            x.sub_(self.center)
        if self._scaled:
            x.mul_(self.scale)
        if self._shifted:
            x.add_(self.shift)
        return x.to(torch.float32)

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Go once through the set in its order, drawing no random number; for evaluation and probes."""
        for start in range(0, len(self), batch_size):
            yield self.__getitems__(torch.arange(start, min(start + batch_size, len(self)), device=self.device))

    def take(self, n: int) -> Batch:
        """The first n samples (fewer if the set is smaller) as one batch."""
        return self.__getitems__(torch.arange(min(n, len(self)), device=self.device))

    def drawn(self, n: int, generator: torch.Generator) -> InMemoryDataset:
        """The set with n of its samples, drawn without replacement and in its order; all of them if it has no more.

        Nothing is copied.

        Args:
            n: How many.
            generator: What they are drawn with, on the CPU.
        """
        if n >= len(self):
            return self
        rows = draw_rows(len(self), n, generator).sort().values.to(self.device)
        return self.subset(self.stored_rows(rows))

    def instance(self, index: int) -> InMemoryDataset:
        """The samples of one instance, of a set whose x is (rows, instances, …); y may be (rows, instances, k) too.

        Targets then are (rows, instances, …) too. Nothing is copied.
        """
        assert isinstance(self.x, Tensor | np.ndarray), "only samples that are made have instances"
        own = self.y
        if own is not None and own.ndim > 2:
            own = own.instance(index) if isinstance(own, SparseCode) else own[:, index]
        return InMemoryDataset(
            self.x[:, index],
            own,
            indices=self.indices,
            scale=self.scale,
            shift=self.shift,
            center=self.center,
            target=None if self.target is None else self.target.instance(index),
        )

    def subset(self, rows: Tensor | None) -> InMemoryDataset:
        """Other rows of the samples that this set is a part of, (n,) int64, or all of them; nothing is copied."""
        part = copy.copy(self)
        part.indices = rows
        return part

    def fingerprint(self) -> str:
        """A hash of the set, the same for equal rows wherever they live: 16 hexadecimal digits of a SHA-256.

        It covers the rows as they are stored, their type and shape, the labels, how they are normalized, and the
        targets. Of a set larger than 256 MB it covers 4,096 evenly spaced rows (and the number of rows), so that a
        change elsewhere goes unseen.
        """
        digest = hashlib.sha256(f"{self._type()} {len(self)} {self.sample_shape}".encode())
        for factor in (self.scale, self.shift):
            digest.update(_bytes(torch.as_tensor(factor, dtype=torch.float32)))
        if self.center is not None:
            digest.update(_bytes(torch.tensor(self.center, dtype=torch.float64)))
        row_bytes = max(1, int(np.prod(self.sample_shape)) * self.x.dtype.itemsize)
        count = len(self) if len(self) * row_bytes <= HASH_WHOLE else min(HASH_ROWS, len(self))
        rows = torch.linspace(0, len(self) - 1, count, dtype=torch.float64).round().long()
        for chunk in rows.split(max(1, 2**23 // row_bytes)):
            for part in self.raw(chunk.to(self.device)):
                for tensor in _tensors(part):
                    digest.update(_bytes(tensor))
        if self.target is not None:
            digest.update(self.targets.fingerprint().encode())
        return digest.hexdigest()[:16]

    def to(self, device: torch.device | str) -> InMemoryDataset:
        """A copy that lives on ``device`` and holds this subset's rows only; batches are then made there."""
        x, y = self.raw(torch.arange(len(self), device=self.device))
        return InMemoryDataset(
            x.to(device),
            None if y is None else y.to(device),
            scale=self.scale.to(device) if isinstance(self.scale, Tensor) else self.scale,
            shift=self.shift.to(device) if isinstance(self.shift, Tensor) else self.shift,
            center=self.center,
            sample_shape=self.sample_shape,
            target=None if self.target is None else self.targets.to(device),
        )

    def _type(self) -> str:
        return str(self.x.dtype).removeprefix("torch.")

    def _convert(self, x: Tensor, y: Known | None) -> tuple[Tensor, Known]:
        x = self.normalized(x)  # the gather made a copy
        return x, x.new_empty(len(x), 0) if y is None else y


def as_tensor(array: np.ndarray) -> Tensor:
    """A tensor of an array of any byte order.

    Unsigned numbers of 16 bits and more become signed, and floating-point ones of more than 64 bits float64.
    """
    array = array.astype(array.dtype.newbyteorder("="), order="C", copy=False)
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        array = array.astype(np.int32 if array.dtype.itemsize == 2 else np.int64)  # torch can hardly index those
    return torch.from_numpy(array)


def draw_rows(total: int, n: int, generator: torch.Generator) -> Tensor:
    """Draw n of so many rows at random, without replacement, (n,) int64; all of them, shuffled, if there are no more.

    Args:
        total: How many there are.
        n: How many are drawn.
        generator: What they are drawn with, on the CPU.
    """
    if total <= _PERMUTED or 2 * n > total:
        return torch.randperm(total, generator=generator)[:n]
    drawn: dict[int, None] = {}  # keeps the order
    while len(drawn) < n:
        drawn |= dict.fromkeys(torch.randint(total, (n - len(drawn),), generator=generator).tolist())
    return torch.tensor(list(drawn), dtype=torch.int64)


def gather(x: Tensor | np.ndarray | LazyRows, rows: Tensor) -> Tensor:
    """Rows (k, …) of samples of any kind, copied, where those of a tensor lie."""
    if isinstance(x, Tensor):
        return x.index_select(0, rows)  # `x[rows]` would take ten times as long for bytes
    return as_tensor(x[rows.numpy()]) if isinstance(x, np.ndarray) else x[rows]


def take_known(y: Known, rows: Tensor) -> Known:
    """Labels or true features of some samples (n,), int64, of what is known of all."""
    return y.take(rows) if isinstance(y, SparseCode) else y.index_select(0, rows)


def _tensors(part: Known | None) -> tuple[Tensor, ...]:
    """What holds the numbers of samples, labels or features."""
    if part is None:
        return ()
    return (part.places.latents, part.places.offsets, part.values) if isinstance(part, SparseCode) else (part,)


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.contiguous().flatten().view(torch.uint8).cpu().numpy().data

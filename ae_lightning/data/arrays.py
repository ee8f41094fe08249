"""Your own data, from files of arrays."""

from __future__ import annotations

from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ae_lightning.data.array_file import Array, ArrayFile
from ae_lightning.data.base import AutoencoderDataModule, Sets, split_train_val
from ae_lightning.data.in_memory import InMemoryDataset, as_tensor
from ae_lightning.errors import ConfigError, DataError

# Numbers looked at together in a pass through the data: 16 MB of float32.
CHUNK = 1 << 22

# Below it a float32 loses digits.
TINIEST = float(np.finfo(np.float32).tiny)


class Statistics(NamedTuple):
    """What a pass through a set finds, over all its numbers as they are stored."""

    minimum: float
    maximum: float
    mean: float
    std: float


class ArraysDataModule(AutoencoderDataModule):
    """Arrays of samples from .npy (memory-mapped), .npz, .pt, .pth or .safetensors files.

    The first dimension counts the samples. Files of several arrays have the samples under ``x`` and the
    labels under ``y``, if there are any, unless ``key`` and ``label_key`` say otherwise. Labels are class
    numbers (n,), integers from 0, or vectors of true features (n, k).

    Args:
        train: File of the training samples.
        val: File of the validation samples. Without it, ``val_fraction`` of the training samples is held
            out.
        test: File of the test samples. Without it, the validation set is used for testing too, and its
            figures are then not those of unseen data.
        train_labels: File of the training labels, if they are not in ``train``.
        val_labels: File of the validation labels, if they are not in ``val``.
        test_labels: File of the test labels, if they are not in ``test``.
        key: Name of the samples in files of several arrays, by default x.
        label_key: Name of the labels in files of several arrays, by default y.
        sample_shape: Shape to give to a sample, such as [1, 28, 28], by default the one it has in the file.
        normalize: ``none`` to leave the values as they are; ``unit`` to divide uint8 by 255, and to bring
            anything else from the range of the training samples to [0, 1]; ``standard`` to subtract the
            mean of the training samples and divide by their standard deviation, one number each for all
            entries.
        batch_size: Samples in a training batch, per device.
        eval_batch_size: Samples in a validation or test batch, per device.
        val_fraction: Part of the training samples that is held out for validation, without ``val``.
        seed: Seed of the split, not of the training order.
        drop_last: Whether to leave out the last training batch of an epoch if it is smaller.
        device_resident: Whether to keep the samples on the training device, which saves a copy per batch.

    Raises:
        ConfigError: If an option is out of range.
        DataError: From ``setup`` and the properties, if a file is missing, damaged, or not what it should
            be.
    """

    def __init__(
        self,
        train: str,
        val: str | None = None,
        test: str | None = None,
        train_labels: str | None = None,
        val_labels: str | None = None,
        test_labels: str | None = None,
        key: str | None = None,
        label_key: str | None = None,
        sample_shape: list[int] | None = None,
        normalize: Literal["none", "unit", "standard"] = "none",
        batch_size: int = 256,
        eval_batch_size: int = 1024,
        val_fraction: float = 0.1,
        seed: int = 0,
        drop_last: bool = False,
        device_resident: bool = False,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, val_fraction, seed, drop_last, device_resident)
        if normalize not in ("none", "unit", "standard"):
            raise ConfigError(f"--data.normalize is {normalize!r}; it can be none, unit or standard.")
        for name, path, labels in (("val", val, val_labels), ("test", test, test_labels)):
            if labels is not None and path is None:
                raise ConfigError(f"--data.{name}_labels is given without --data.{name}; give both or neither.")
        self.paths = {"train": train, "val": val, "test": test}
        self.label_paths = {"train": train_labels, "val": val_labels, "test": test_labels}
        self.key = key
        self.label_key = label_key
        self.shape = sample_shape
        self.normalize = normalize

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of a sample; opens the files."""
        return self._stored[0].sample_shape

    @property
    def value_range(self) -> tuple[float, float]:
        """Range of the training samples after normalization; the first call goes through them once."""
        scale, shift = self._scale_and_shift
        if self.normalize == "unit":
            return 0.0, 1.0
        return self._statistics.minimum * scale + shift, self._statistics.maximum * scale + shift

    @property
    def num_classes(self) -> int | None:
        """One more than the largest label of any set, or None without class labels; opens the files."""
        labels = [s.y for s in self._stored if s.y is not None and s.y.ndim == 1]
        return max(int(y.max()) for y in labels) + 1 if labels else None

    def make_sets(self) -> Sets:
        """Check all values and normalize them."""
        scale, shift = self._scale_and_shift
        train, val, test = self._stored
        _ = self._statistics  # checks the training set
        scan(val, str(self.paths["val"] or self.paths["train"]))
        if test is not val:
            scan(test, str(self.paths["test"]))
        train, val, test = (
            InMemoryDataset(s.x, s.y, indices=s.indices, scale=scale, shift=shift, sample_shape=s.sample_shape)
            for s in (train, val, test)
        )
        return train, val, test

    @cached_property
    def _stored(self) -> Sets:
        """The three sets as they are stored."""
        train = self._open("train")
        if self.paths["val"] is None:
            if len(train) == 1:
                raise DataError(
                    f"{self.paths['train']} (--data.train) holds a single sample, which cannot be split; name another "
                    "file of samples with --data.val."
                )
            train_rows, val_rows = split_train_val(len(train), self.val_fraction, self.seed)
            val = _subset(train, val_rows)
            train = _subset(train, train_rows)
        else:
            val = self._open("val")
        test = val if self.paths["test"] is None else self._open("test")
        for name, other in (("val", val), ("test", test)):
            if other.sample_shape != train.sample_shape:
                raise DataError(
                    f"The samples of --data.{name} have the shape {other.sample_shape} and those of "
                    f"--data.train {train.sample_shape}; all must have the same."
                )
        return train, val, test

    @cached_property
    def _statistics(self) -> Statistics:
        return scan(self._stored[0], str(self.paths["train"]))

    @cached_property
    def _scale_and_shift(self) -> tuple[float, float]:
        if self.normalize == "none":
            return 1.0, 0.0
        if self.normalize == "unit" and self._stored[0].x.dtype in (torch.uint8, np.uint8):
            return 1 / 255, 0.0
        found = self._statistics
        if found.minimum == found.maximum:
            raise DataError(
                f"All values of {self.paths['train']} are {found.minimum:g}, so that --data.normalize "
                f"{self.normalize} is not possible; set it to none."
            )
        middle, width = (
            (found.minimum, found.maximum - found.minimum) if self.normalize == "unit" else (found.mean, found.std)
        )
        if not TINIEST < width < 1 / TINIEST or abs(middle) / width > 1 / TINIEST:
            raise DataError(
                f"The values of {self.paths['train']} go from {found.minimum:g} to {found.maximum:g}, which float32 "
                f"cannot bring to another scale; scale them yourself, and set --data.normalize none."
            )
        return 1 / width, -middle / width

    def _open(self, name: str) -> InMemoryDataset:
        option = f"--data.{name}"
        file = ArrayFile(str(self.paths[name]), option)
        x = file.get(self.key, "x", "--data.key")
        if x.ndim < 2 and (self.shape is None or x.ndim == 0):
            raise DataError(
                f"{file.path} ({option}) holds an array of shape {tuple(x.shape)}; the first dimension "
                "counts the samples, and at least one more must hold their values."
            )
        if len(x) == 0:
            raise DataError(f"{file.path} ({option}) holds no samples; it needs at least one.")
        if 0 in x.shape:
            raise DataError(
                f"{file.path} ({option}) holds samples of the shape {tuple(x.shape[1:])}, without any values."
            )
        if self.key is not None and not file.named:
            raise DataError(f"{file.path} ({option}) holds a single array without a name; leave out --data.key.")
        return InMemoryDataset(x, self._labels(name, file, x), sample_shape=self.shape)

    def _labels(self, name: str, samples: ArrayFile, x: Array) -> Tensor | None:
        path = self.label_paths[name]
        if path is not None:
            file = ArrayFile(path, f"--data.{name}_labels")
        elif samples.named and (self.label_key is not None or samples.has("y")):
            file = samples
        elif self.label_key is not None:
            raise DataError(
                f"--data.label_key is {self.label_key}, but {samples.path} holds a single array without a name; name "
                f"the file of the labels with --data.{name}_labels."
            )
        else:
            return None
        found = file.get(self.label_key, "y", "--data.label_key")
        y = found if isinstance(found, Tensor) else as_tensor(np.array(found))
        if y.ndim == 0 or len(y) != len(x):
            raise DataError(
                f"{file.path} holds {len(y) if y.ndim else 1:,} labels for the {len(x):,} samples of --data.{name}; "
                "each sample needs one."
            )
        return _checked_labels(y, file)


def _checked_labels(y: Tensor, file: ArrayFile) -> Tensor:
    if y.ndim == 2:
        if not bool(torch.isfinite(y.float()).all()):
            raise DataError(f"The true features in {file.path} hold NaN or infinite values; remove or replace them.")
        return y.float()
    if y.ndim != 1 or y.is_floating_point():
        kind = str(y.dtype).removeprefix("torch.")
        raise DataError(
            f"The labels in {file.path} are {kind} of shape {tuple(y.shape)}; they must be integers of "
            "shape (n,), or vectors of true features of shape (n, k)."
        )
    if int(y.min()) < 0:
        raise DataError(f"The labels in {file.path} go down to {int(y.min())}; class numbers start from 0.")
    return y.long()


def _subset(whole: InMemoryDataset, rows: Tensor) -> InMemoryDataset:
    return InMemoryDataset(whole.x, whole.y, indices=rows, sample_shape=whole.sample_shape)


def scan(dataset: InMemoryDataset, path: str) -> Statistics:
    """Go through a set once, in pieces, so that a file larger than the memory will do.

    Args:
        dataset: The set.
        path: Its file, for the error message.

    Returns:
        Minimum, maximum, mean and standard deviation over all numbers of all samples.

    Raises:
        DataError: If a value is NaN or infinite as float32.
    """
    width = max(1, int(np.prod(dataset.sample_shape)))
    step = max(1, CHUNK // width)
    low, high, total, squares = float("inf"), -float("inf"), 0.0, 0.0
    bad, first_bad = 0, -1
    for start in range(0, len(dataset), step):
        rows = torch.arange(start, min(start + step, len(dataset)))
        values = dataset.raw(rows)[0].float().reshape(len(rows), -1)
        finite = torch.isfinite(values)
        if not finite.all():
            if bad == 0:
                row = rows[~finite.all(dim=1)][0]
                first_bad = int(row if dataset.indices is None else dataset.indices[row])
            bad += int((~finite).sum())
            continue
        low, high = min(low, float(values.min())), max(high, float(values.max()))
        total += float(values.sum(dtype=torch.float64))
        squares += float(values.double().square_().sum())
    if bad:
        raise DataError(
            f"{path} holds {bad:,} NaN or infinite values, the first in row {first_bad:,} (counted from 0); "
            "remove or replace them."
        )
    mean = total / (len(dataset) * width)
    return Statistics(low, high, mean, max(squares / (len(dataset) * width) - mean**2, 0.0) ** 0.5)

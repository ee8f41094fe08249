"""Your own data, from files of arrays."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ae_lightning.data.array_file import ArrayFile
from ae_lightning.data.array_types import Array
from ae_lightning.data.base import AutoencoderDataModule, Sets, split_train_val
from ae_lightning.data.in_memory import InMemoryDataset, as_tensor
from ae_lightning.data.labels import LabelKind, Labels, rows_are_classes, settled
from ae_lightning.data.normalization import Normalization
from ae_lightning.data.rounding import require_fits, tell_rounding
from ae_lightning.data.statistics import Statistics, scan
from ae_lightning.errors import ConfigError, DataError


class ArraysDataModule(AutoencoderDataModule):
    """Arrays of samples from .npy (memory-mapped), .npz, .pt, .pth or .safetensors files.

    The first dimension counts the samples. Files of several arrays have the samples under ``x`` and the
    labels under ``y``, if there are any, unless ``key`` and ``label_key`` say otherwise.

    Numbers of any real type are taken: see ``ae_lightning.data.array_types``. They are normalized in float64 where
    they lie far from zero for their spread, and then rounded to float32; what that hides is told.

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
        label_kind: What labels are: ``classes`` for class numbers (n,) or (n, 1) from 0, or rows (n, k) with a
            single 1; ``features`` for vectors of true features (n, k); ``auto`` takes integers for class numbers
            where they have one of these forms, and all else for true features.
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
        label_kind: LabelKind = "auto",
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
        if label_kind not in ("auto", "classes", "features"):
            raise ConfigError(f"--data.label_kind is {label_kind!r}; it can be auto, classes or features.")
        for name, path, labels in (("val", val, val_labels), ("test", test, test_labels)):
            if labels is not None and path is None:
                raise ConfigError(f"--data.{name}_labels is given without --data.{name}; give both or neither.")
        self.paths = {"train": train, "val": val, "test": test}
        self.label_paths = {"train": train_labels, "val": val_labels, "test": test_labels}
        self.key = key
        self.label_key = label_key
        self.label_kind: LabelKind = label_kind
        self.shape = sample_shape
        self.normalize = normalize

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of a sample; opens the files."""
        return self._stored[0].sample_shape

    @property
    def value_range(self) -> tuple[float, float]:
        """Range of the training samples after normalization; the first call goes through them once."""
        if self.normalize == "unit":
            return 0.0, 1.0
        return self._normalization(self._statistics.minimum), self._normalization(self._statistics.maximum)

    @property
    def num_classes(self) -> int | None:
        """One more than the largest label of any set, or None without class labels; opens the files."""
        labels = [s.y for s in self._stored if isinstance(s.y, Tensor) and s.y.ndim == 1]
        return max(int(y.max()) for y in labels) + 1 if labels else None

    def make_sets(self) -> Sets:
        """Check all values and normalize them."""
        how, stored = self._normalization, self._stored
        train, val, test = stored
        require_fits(train, self._statistics, how, str(self.paths["train"]))
        tell_rounding(train, self._statistics, how, self.normalize, str(self.paths["train"]))
        for one, path in ((val, self.paths["val"] or self.paths["train"]), (test, self.paths["test"])):
            if path is not None:
                require_fits(one, scan(one, path), how, path)
        whole = {key: how.apply(one) for key, one in {id(one.x): one for one in stored}.items()}
        train, val, test = (whole[id(one.x)].subset(one.indices) for one in stored)
        self._stored = train, val, test  # what was read in float64 is needed no more
        return train, val, test

    @cached_property
    def _stored(self) -> Sets:
        """The three sets as they are stored."""
        files = {name: self._open(name) for name, path in self.paths.items() if path is not None}
        classes = rows_are_classes((labels for _, labels in files.values() if labels is not None), self.label_kind)
        sets = {name: self._set_of(x, labels, classes) for name, (x, labels) in files.items()}
        train = sets["train"]
        if "val" in sets:
            val = sets["val"]
        elif len(train) == 1:
            raise DataError(
                f"{self.paths['train']} (--data.train) holds a single sample, which cannot be split; name another "
                "file of samples with --data.val."
            )
        else:
            train, val = (train.subset(rows) for rows in split_train_val(len(train), self.val_fraction, self.seed))
        test = sets.get("test", val)
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
    def _normalization(self) -> Normalization:
        if self.normalize == "none":
            return Normalization()
        if self.normalize == "unit" and self._stored[0].x.dtype in (torch.uint8, np.uint8):
            return Normalization(1 / 255)
        found = self._statistics
        if found.minimum == found.maximum:
            raise DataError(
                f"All values of {self.paths['train']} are {found.minimum:g}, so that --data.normalize "
                f"{self.normalize} is not possible; set it to none."
            )
        middle, width = (
            (found.minimum, found.maximum - found.minimum) if self.normalize == "unit" else (found.mean, found.std)
        )
        if not math.isfinite(width) or width < np.finfo(np.float64).tiny:
            raise DataError(
                f"The values of {self.paths['train']} go from {found.minimum:g} to {found.maximum:g}, which even "
                "float64 cannot bring to another scale; scale them yourself, and set --data.normalize none."
            )
        return Normalization.about(middle, width)

    def _set_of(self, x: Array, labels: Labels | None, classes: bool) -> InMemoryDataset:
        y = None if labels is None else settled(labels, self.label_kind, classes)
        # With a center, which says that nothing is to be rounded before the statistics are known.
        return InMemoryDataset(x, y, center=0.0, sample_shape=self.shape)

    def _open(self, name: str) -> tuple[Array, Labels | None]:
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
        return x, self._labels(name, file, x)

    def _labels(self, name: str, samples: ArrayFile, x: Array) -> Labels | None:
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
            count = f"{len(y):,} labels" if y.ndim else "a single label"
            raise DataError(
                f"{file.path} holds {count} for the {len(x):,} samples of --data.{name}; each sample needs one."
            )
        return Labels(y, file.path)

"""Your own data, from files of arrays."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np
from torch import Tensor

from ae_lightning.data.array_column import ArrayNormalize, Column
from ae_lightning.data.array_files import ArrayFiles, Paths, said_paths
from ae_lightning.data.array_types import Array
from ae_lightning.data.base import Sets
from ae_lightning.data.in_memory import InMemoryDataset, as_tensor
from ae_lightning.data.labels import LabelKind, Labels, rows_are_classes, settled
from ae_lightning.data.row_arrays import JoinedRows, read_whole, rows_of
from ae_lightning.data.selection import Selection
from ae_lightning.data.split import split_train_val
from ae_lightning.data.windowed_data import WindowedDataModule
from ae_lightning.data.windowed_rows import WindowedRows
from ae_lightning.errors import ConfigError, DataError

# Options of the files of targets, by the set.
_TARGETS = {"train": "--data.target", "val": "--data.val_target", "test": "--data.test_target"}


class ArraysDataModule(WindowedDataModule):
    """Arrays of samples from .npy (memory-mapped), .npz, .pt, .pth or .safetensors files.

    The first dimension counts the samples. Files of several arrays have the samples under ``x`` and the
    labels under ``y``, if there are any, unless ``key`` and ``label_key`` say otherwise.

    Numbers of any real type are taken: see ``ae_lightning.data.array_types``. They are normalized in float64 where
    they lie far from zero for their spread, and then rounded to float32; what that hides is told.

    Args:
        train: File of the training samples, or a list of files whose samples come one after another; these may be
            more than fit into memory, and are shuffled in windows, as those of a store: see `WindowOrder`.
        val: File of the validation samples. Without it, ``val_fraction`` of the training samples is held
            out.
        test: File of the test samples. Without it, the validation set is used for testing too, and its
            figures are then not those of unseen data.
        train_labels: File of the training labels, if they are not in ``train``.
        val_labels: File of the validation labels, if they are not in ``val``.
        test_labels: File of the test labels, if they are not in ``test``.
        target: File of what is to be produced of each training sample, such as the output of a layer whose input the
            samples are. Without it, that is the sample itself.
        val_target: The same of the validation samples, with ``val``.
        test_target: The same of the test samples, with ``test``.
        key: Name of the samples in files of several arrays, by default x.
        label_key: Name of the labels in files of several arrays, by default y.
        target_key: Name of the targets in files of several arrays, by default target.
        label_kind: What labels are: ``classes`` for class numbers (n,) or (n, 1) from 0, or rows (n, k) with a
            single 1; ``features`` for vectors of true features (n, k); ``auto`` takes integers for class numbers
            where they have one of these forms, and all else for true features.
        sample_shape: Shape to give to a sample, such as [1, 28, 28], by default the one it has in the file.
        normalize: ``none`` to leave the values as they are; ``unit`` to divide uint8 by 255, and to bring
            anything else from the range of the training samples to [0, 1]; ``standard`` to subtract the
            mean of the training samples and divide by their standard deviation, one number each for all
            entries. Targets are normalized likewise, by numbers of their own.
        batch_size: Samples in a training batch, per device.
        eval_batch_size: Samples in a validation or test batch, per device.
        val_fraction: Part of the training samples that is held out for validation, without ``val``.
        seed: Seed of the split, not of the training order.
        drop_last: Whether to leave out the last training batch of an epoch if it is smaller.
        device_resident: Whether to keep the samples on the training device, which saves a copy per batch.
        memory: Memory that training samples of a list of files may take in each process, such as 1GiB or 500MB. More
            are read in windows, by a thread that is ahead of the training; the order is the same.
        window: Samples of a list of files that are shuffled together, by default as many as take 128 to 256 MiB.

    Raises:
        ConfigError: If an option is out of range.
        DataError: From ``setup`` and the properties, if a file is missing, damaged, or not what it should
            be.
    """

    def __init__(
        self,
        train: Paths,
        val: Paths | None = None,
        test: Paths | None = None,
        train_labels: Paths | None = None,
        val_labels: Paths | None = None,
        test_labels: Paths | None = None,
        target: Paths | None = None,
        val_target: Paths | None = None,
        test_target: Paths | None = None,
        key: str | None = None,
        label_key: str | None = None,
        target_key: str | None = None,
        label_kind: LabelKind = "auto",
        sample_shape: list[int] | None = None,
        normalize: ArrayNormalize = "none",
        batch_size: int = 256,
        eval_batch_size: int = 1024,
        val_fraction: float = 0.1,
        seed: int = 0,
        drop_last: bool = False,
        device_resident: bool = False,
        memory: int | str = "1GiB",
        window: int | None = None,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, val_fraction, seed, drop_last, device_resident, memory, window)
        if normalize not in ("none", "unit", "standard"):
            raise ConfigError(f"--data.normalize is {normalize!r}; it can be none, unit or standard.")
        if label_kind not in ("auto", "classes", "features"):
            raise ConfigError(f"--data.label_kind is {label_kind!r}; it can be auto, classes or features.")
        for name, path, labels, own in (
            ("val", val, val_labels, val_target),
            ("test", test, test_labels, test_target),
        ):
            for what, given in (("labels", labels), ("target", own)):
                if given is not None and path is None:
                    raise ConfigError(f"--data.{name}_{what} is given without --data.{name}; give both or neither.")
            if path is not None and (own is None) != (target is None):
                raise ConfigError(
                    f"only one of --data.target and --data.{name}_target is given, with --data.{name}; give both or "
                    "neither."
                )
        if target_key is not None and target is None:
            raise ConfigError(f"--data.target_key is {target_key}, but no file of targets is named by --data.target.")
        if window is not None and not isinstance(train, list):
            raise ConfigError(f"--data.window is for lists of files; write --data.train [{train}].")
        self.paths = {"train": train, "val": val, "test": test}
        self.label_paths = {"train": train_labels, "val": val_labels, "test": test_labels}
        self.target_paths = {"train": target, "val": val_target, "test": test_target}
        self.key = key
        self.target_key = target_key
        self.label_key = label_key
        self.label_kind: LabelKind = label_kind
        self.shape = sample_shape
        self.normalize: ArrayNormalize = normalize

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of a sample; opens the files."""
        return self._samples.shape

    @property
    def target_shape(self) -> tuple[int, ...] | None:
        """Shape of a target, if there are any; opens the files."""
        return None if self._targets is None else self._targets.shape

    @property
    def value_range(self) -> tuple[float, float]:
        """Range of the training samples after normalization; the first call goes through them once."""
        return self._samples.value_range

    @property
    def num_classes(self) -> int | None:
        """One more than the largest label of any set, or None without class labels; opens the files."""
        labels = [s.y for s in self._stored if isinstance(s.y, Tensor) and s.y.ndim == 1]
        return max(int(y.max()) for y in labels) + 1 if labels else None

    def make_sets(self) -> Sets:
        """Check all values and normalize them."""
        stored = self._stored
        for column in (self._samples, self._targets):
            if column is not None:
                column.check()
        normalized: dict[int, InMemoryDataset] = {}
        if self._targets is not None:
            whole = {id(one.target): one.target for one in stored if one.target is not None}
            normalized = {key: self._targets.normalization.apply(one) for key, one in whole.items()}
        for one in stored:
            if id(one.x) not in normalized:
                normalized[id(one.x)] = self._samples.normalization.apply(one, normalized.get(id(one.target)))
        train, val, test = (normalized[id(one.x)].subset(one.indices) for one in stored)
        self._stored = train, val, test  # what was read in float64 is needed no more
        if isinstance(self.paths["train"], list):
            self.read_in_windows(self._windowed(train))
        return train, val, test

    @cached_property
    def _stored(self) -> Sets:
        """The three sets as they are stored."""
        files = {name: self._open(name, paths) for name, paths in self.paths.items() if paths is not None}
        classes = rows_are_classes((labels for _, labels in files.values() if labels is not None), self.label_kind)
        sets = {name: self._set_of(name, x, labels, classes) for name, (x, labels) in files.items()}
        train = sets["train"]
        if "val" in sets:
            val = sets["val"]
        elif len(train) == 1:
            raise DataError(
                f"{said_paths(self.paths['train'] or '')} (--data.train) holds a single sample, which cannot be split; "
                "name another file of samples with --data.val."
            )
        else:
            train, val = (train.subset(rows) for rows in split_train_val(len(train), self.val_fraction, self.seed))
        return train, val, sets.get("test", val)

    def _windowed(self, train: InMemoryDataset) -> WindowedRows:
        chosen = np.full(len(train.x), train.indices is None)
        if train.indices is not None:
            chosen[train.indices.numpy()] = True
        y = train.y if isinstance(train.y, Tensor) else None
        return WindowedRows(
            Selection([chosen]),
            [rows_of(train.x)],
            None if y is None else rows_of(y),
            None if train.target is None else rows_of(train.target.x),
            memory=self.memory,
            window=self.window,
            fingerprint=int(train.fingerprint()[:13], 16),
        )

    @cached_property
    def _samples(self) -> Column:
        return Column(self._stored, _said(self.paths), {name: f"--data.{name}" for name in self.paths}, self.normalize)

    @cached_property
    def _targets(self) -> Column | None:
        if self.target_paths["train"] is None:
            return None
        sets = [one.targets for one in self._stored]
        return Column(sets, _said(self.target_paths), _TARGETS, self.normalize)

    def _set_of(self, name: str, x: Array | JoinedRows, labels: Labels | None, classes: bool) -> InMemoryDataset:
        y = None if labels is None else settled(labels, self.label_kind, classes)
        # With a center, which says that nothing is to be rounded before the statistics are known.
        target = self._target_of(name, x)
        return InMemoryDataset(self._held(x), y, center=0.0, sample_shape=self.shape, target=target)

    def _held(self, x: Array | JoinedRows) -> Array | JoinedRows:
        """The same rows, those of a list of files in memory where they fit."""
        return read_whole(x) if isinstance(x, JoinedRows) and x.nbytes <= self.memory else x

    def _open(self, name: str, paths: Paths) -> tuple[Array | JoinedRows, Labels | None]:
        option = f"--data.{name}"
        file = ArrayFiles(paths, option)
        x = file.get(self.key, "x", "--data.key")
        if len(x.shape) < 2 and (self.shape is None or not x.shape):
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

    def _target_of(self, name: str, x: Array | JoinedRows) -> InMemoryDataset | None:
        paths, option = self.target_paths[name], _TARGETS[name]
        if paths is None:
            return None
        file = ArrayFiles(paths, option)
        targets = file.get(self.target_key, "target", "--data.target_key")
        if len(targets.shape) < 2 or 0 in targets.shape:
            raise DataError(
                f"{file.path} ({option}) holds an array of shape {tuple(targets.shape)}; the first dimension counts "
                "the targets, and at least one more must hold their values."
            )
        if len(targets) != len(x):
            raise DataError(
                f"{file.path} ({option}) holds {len(targets):,} targets for the {len(x):,} samples of --data.{name}; "
                "each sample needs one."
            )
        return InMemoryDataset(self._held(targets), center=0.0)

    def _labels(self, name: str, samples: ArrayFiles, x: Array | JoinedRows) -> Labels | None:
        paths = self.label_paths[name]
        if paths is not None:
            file = ArrayFiles(paths, f"--data.{name}_labels")
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
        if isinstance(found, JoinedRows):
            found = read_whole(found)
        y = found if isinstance(found, Tensor) else as_tensor(np.array(found))
        if y.ndim == 0 or len(y) != len(x):
            count = f"{len(y):,} labels" if y.ndim else "a single label"
            raise DataError(
                f"{file.path} holds {count} for the {len(x):,} samples of --data.{name}; each sample needs one."
            )
        return Labels(y, file.path)


def _said(paths: Mapping[str, Paths | None]) -> dict[str, str | None]:
    return {name: None if files is None else said_paths(files) for name, files in paths.items()}

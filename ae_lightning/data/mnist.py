"""MNIST and the sets that were made in its likeness."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal
from urllib.error import URLError

from torch import Tensor

from ae_lightning.data.base import AutoencoderDataModule, Sets
from ae_lightning.data.binarized import binarized, require_probabilities
from ae_lightning.data.idx import read_idx
from ae_lightning.data.in_memory import InMemoryDataset
from ae_lightning.data.normalization import Normalize, scale_and_shift
from ae_lightning.data.split import split_train_val
from ae_lightning.errors import ConfigError, DataError

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)

# Checksums of the four archives, in the order of FILES. Those of EMNIST come in one archive, which
# torchvision checks.
MD5 = {
    "MNIST": (
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "d53e105ee54ea40749a09fcbcd1e9432",
        "9fb629c4189551a2d022fa330f9573f3",
        "ec29112dd5afa0611ce80d1b7f02629c",
    ),
    "FashionMNIST": (
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
    ),
    "KMNIST": (
        "bdb82020997e1d708af4cf47b453dcf7",
        "e144d726b3acfaa3e44228e80efcd344",
        "5c965bf0a639b31b8f53240b1b52f4d7",
        "7320c461ea6c1c855c0b718fb2a4b134",
    ),
}

# Mean and standard deviation over the pixels of the training images, as commonly published.
STANDARD = {
    "MNIST": (0.1307, 0.3081),
    "FashionMNIST": (0.2860, 0.3530),
    "KMNIST": (0.1918, 0.3483),
    "balanced": (0.1751, 0.3332),
    "byclass": (0.1736, 0.3316),
    "bymerge": (0.1736, 0.3316),
    "letters": (0.1722, 0.3309),
    "digits": (0.1733, 0.3316),
    "mnist": (0.1733, 0.3317),
}

EMNIST_CLASSES = {"balanced": 47, "byclass": 62, "bymerge": 47, "letters": 26, "digits": 10, "mnist": 10}


class MNISTDataModule(AutoencoderDataModule):
    """MNIST, FashionMNIST, KMNIST or EMNIST: 60,000 gray images of 28×28 to train on and 10,000 to test.

    The original archives are read as they are from ``<root>/<name>/raw``, each after a check of its
    checksum, so that a read-only folder will do; files that torchvision unpacked there are taken where an
    archive is missing. What is missing altogether is downloaded by torchvision. EMNIST's images are stored
    transposed and torchvision leaves them so; here they stand upright. The labels of EMNIST's ``letters``
    count from 0 (torchvision's: from 1).

    Args:
        name: Which set.
        root: Folder of the data, by default the environment variable AE_LIGHTNING_DATA, or else ``data``.
        download: Whether to download what is missing.
        split: Which part of EMNIST; the other sets ignore it.
        normalize: ``unit`` for pixels in [0, 1], ``standard`` for mean 0 and standard deviation 1 over the
            training images, or [mean, std] in units of [0, 1] pixels.
        batch_size: Images in a training batch, per device.
        eval_batch_size: Images in a validation or test batch, per device.
        val_fraction: Part of the training images that is held out for validation.
        seed: Seed of the split, not of the training order.
        drop_last: Whether to leave out the last training batch of an epoch if it is smaller.
        device_resident: Whether to keep the images on the training device, which saves a copy per batch.
        binarize: Whether pixels are 1 with their gray value as probability and else 0: those of training drawn anew in
            each epoch, all others once. It needs the normalization ``unit``.

    Raises:
        ConfigError: If an option is out of range.

    Source: LeCun et al. (1998); Xiao et al. (2017), arXiv:1708.07747; Clanuwat et al. (2018),
    arXiv:1812.01718; Cohen et al. (2017), arXiv:1702.05373.
    """

    def __init__(
        self,
        name: Literal["MNIST", "FashionMNIST", "KMNIST", "EMNIST"] = "MNIST",
        root: str | None = None,
        download: bool = True,
        split: Literal["balanced", "byclass", "bymerge", "letters", "digits", "mnist"] = "balanced",
        normalize: Normalize = "unit",
        batch_size: int = 256,
        eval_batch_size: int = 1024,
        val_fraction: float = 0.1,
        seed: int = 0,
        drop_last: bool = False,
        device_resident: bool = False,
        binarize: bool = False,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, val_fraction, seed, drop_last, device_resident)
        if name not in (*MD5, "EMNIST"):
            raise ConfigError(f"--data.name is {name!r}; it can be MNIST, FashionMNIST, KMNIST or EMNIST.")
        if split not in EMNIST_CLASSES:
            raise ConfigError(f"--data.split is {split!r}; it can be {', '.join(EMNIST_CLASSES)}.")
        self.source = name
        self.root = Path(root or os.environ.get("AE_LIGHTNING_DATA") or "data").expanduser()
        self.download = download
        self.split = split
        self.scale, self.shift = scale_and_shift(normalize, 255, STANDARD[split if name == "EMNIST" else name])
        self.binarize = binarize
        if binarize:
            require_probabilities(self.value_range)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(1, 28, 28): channel, row, column."""
        return (1, 28, 28)

    @property
    def value_range(self) -> tuple[float, float]:
        """What a black and a white pixel become."""
        return self.shift, 255 * self.scale + self.shift

    @property
    def num_classes(self) -> int:
        """10, but for most parts of EMNIST."""
        return EMNIST_CLASSES[self.split] if self.source == "EMNIST" else 10

    @property
    def kept_in(self) -> Path:
        """The root."""
        return self.root

    @property
    def title(self) -> str:
        """The name of the set, with the part if there are several."""
        return f"EMNIST {self.split}" if self.source == "EMNIST" else self.source

    @property
    def folder(self) -> Path:
        """Where the four files are looked for."""
        return self.root / self.source / "raw"

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the four files, unpacked: training images and labels, then those for testing."""
        if self.source != "EMNIST":
            return FILES
        kinds = ("images-idx3-ubyte", "labels-idx1-ubyte")
        return tuple(f"emnist-{self.split}-{part}-{kind}" for part in ("train", "test") for kind in kinds)

    def prepare_data(self) -> None:
        """Download what is missing; called by Lightning, on one process.

        Raises:
            DataError: If files are missing and cannot be downloaded.
        """
        if not self._missing():
            return
        if not self.download:
            raise self._incomplete("--data.download is false.")
        from torchvision import datasets  # takes 1.5 s, which a set that is there need not wait for

        options = {"split": self.split} if self.source == "EMNIST" else {}
        try:
            getattr(datasets, self.source)(self.root, download=True, **options)
        except (RuntimeError, URLError, OSError) as error:
            reason = " ".join(str(error).split())
            raise self._incomplete(f"Downloading failed: {reason}.") from error

    def make_sets(self) -> Sets:
        """Read the four files, and split the training images."""
        if self._missing():
            raise self._incomplete("prepare_data() downloads them where that is possible.")
        train_x, train_y, test_x, test_y = self._read()
        train, val = split_train_val(len(train_x), self.val_fraction, self.seed)
        to_train, to_test = self._dataset(train_x, train_y), self._dataset(test_x, test_y)
        if self.binarize:
            to_train, to_test = (binarized(gray, self.seed) for gray in (to_train, to_test))
        return to_train.subset(train), to_train.subset(val), to_test

    def _dataset(self, x: Tensor, y: Tensor) -> InMemoryDataset:
        return InMemoryDataset(x, y, scale=self.scale, shift=self.shift, sample_shape=self.input_shape)

    def _read(self) -> list[Tensor]:
        arrays: list[Tensor] = []
        for number, file in enumerate(self.files):
            archive = self.folder / f"{file}.gz"
            # An archive is checked against its checksum; an unpacked file only against its own header.
            packed = archive.is_file()
            md5 = MD5[self.source][number] if packed and self.source in MD5 else None
            path = archive if packed else self.folder / file
            array = read_idx(path, md5)
            rows = None if number % 2 == 0 else len(arrays[-1])
            _check_shape(path, array, rows)
            arrays.append(array if rows is None else array.long())
        if self.source == "EMNIST":
            arrays[0], arrays[2] = arrays[0].mT.contiguous(), arrays[2].mT.contiguous()
            if self.split == "letters":
                arrays[1], arrays[3] = arrays[1] - 1, arrays[3] - 1
        return arrays

    def _missing(self) -> list[str]:
        return [
            file
            for file in self.files
            if not (self.folder / file).is_file() and not (self.folder / f"{file}.gz").is_file()
        ]

    def _incomplete(self, reason: str) -> DataError:
        missing = self._missing()
        found = [file for file in self.files if file not in missing]
        lines = [
            f"{self.title} is not complete in {self.folder}. {reason}",
            f"  found: {', '.join(found) or 'none of the four files'}",
            f"  missing: {', '.join(f'{file}.gz' for file in missing)}",
            "Put the missing files there, or name the folder that holds "
            f"{self.source}/raw with --data.root (or the environment variable AE_LIGHTNING_DATA); with a "
            "connection to the internet and --data.download true they are downloaded.",
        ]
        return DataError("\n".join(lines))


def _check_shape(path: Path, array: Tensor, rows: int | None) -> None:
    expected = "n×28×28 images" if rows is None else f"{rows:,} labels"
    right = array.ndim == 3 and array.shape[1:] == (28, 28) if rows is None else array.shape == (rows,)
    if not right:
        found = "×".join(str(size) for size in array.shape)
        raise DataError(f"{path.name} in {path.parent} holds an array of {found}; expected {expected}.")

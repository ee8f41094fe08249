from __future__ import annotations

import gzip
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest


def _read(path: Path, header: int) -> np.ndarray:
    with gzip.open(path) as file:
        return np.frombuffer(file.read(), dtype=np.uint8, offset=header)


@cache
def _load(raw: Path) -> SimpleNamespace:
    return SimpleNamespace(
        train_x=_read(raw / "train-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28),
        train_y=_read(raw / "train-labels-idx1-ubyte.gz", 8),
        test_x=_read(raw / "t10k-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28),
        test_y=_read(raw / "t10k-labels-idx1-ubyte.gz", 8),
    )


@pytest.fixture
def mnist(mnist_root: Path) -> SimpleNamespace:
    return _load(mnist_root / "MNIST" / "raw")

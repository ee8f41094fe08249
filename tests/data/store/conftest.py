"""Small stores, and what is in them."""

import hashlib
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ae_lightning.data.store import StoreIndex, StoreWriter

ROWS = 500
COMMAND = "ae-lightning harvest --model net:Net -o store"


@pytest.fixture(autouse=True)
def _in_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stores are where `COMMAND` would make them."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def rows() -> dict[str, Tensor]:
    """Rows of two arrays, off from zero, of another spread in each entry."""
    random = torch.Generator().manual_seed(0)
    widths = {"block": 20, "head:input": 7}
    return {
        name: torch.randn(ROWS, width, generator=random) * torch.linspace(0.1, 2, width) + 3
        for name, width in widths.items()
    }


@pytest.fixture
def store(write: Callable[..., StoreIndex], rows: dict[str, Tensor], tmp_path: Path) -> StoreIndex:
    """A store of these rows."""
    return write(tmp_path / "store", rows)


@pytest.fixture
def write() -> Callable[..., StoreIndex | None]:
    """Write a store of three rows to a sample, in batches; stops before a row where one is named."""

    def make(
        folder: Path,
        arrays: Mapping[str, Tensor],
        dtype: str = "float32",
        shard_rows: int = 128,
        batch: int = 37,
        stop: int | None = None,
        skipping: bool = False,
        **options: Any,
    ) -> StoreIndex | None:
        rows = len(next(iter(arrays.values())))
        widths = {name: x.shape[1] for name, x in arrays.items()}
        settings = {"layers": list(arrays), "text": "abc"}
        options = {"extras": ("sample", "position", "y"), "command": COMMAND, **options}
        with StoreWriter(folder, settings, widths, dtype, shard_rows, **options) as writer:
            if writer.finished:
                return StoreIndex.read(folder)
            writer.add_samples(torch.arange(3 * (rows // 3 + 1)).view(-1, 3))
            for start in range(0, rows, batch):
                number = torch.arange(start, min(start + batch, rows))
                if stop is not None and start >= stop:
                    raise KeyboardInterrupt
                if skipping and not writer.wanted(len(number)):
                    writer.skip(len(number))
                else:
                    labels = number // 3 % 5
                    parts = {name: x[number] for name, x in arrays.items()}
                    writer.add(parts, number // 3, number % 3, labels, dropped={"padding": 2, "special": 1})
            return writer.finish(
                model={"name": "net:Net", "class": "Net", "weights_sha256": "0" * 64},
                data={"kind": "text"},
                samples=rows // 3 + 1,
                num_classes=5,
            )

    return make


@pytest.fixture
def hashes() -> Callable[[Path], dict[str, str]]:
    """Hash of each file of a folder, by its name."""

    def of(folder: Path) -> dict[str, str]:
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}

    return of


@pytest.fixture
def killed_at() -> Callable[[int, Callable[[], object], Path], bool]:
    """Do something in a process that is killed when so many files below a folder were opened, renamed or removed.

    Answers whether it was killed before it had ended.
    """
    events = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir")

    def killed(moment: int, work: Callable[[], object], folder: Path) -> bool:
        child = os.fork()
        if child == 0:
            count = iter(range(moment))

            def kills(event: str, arguments: tuple[Any, ...]) -> None:
                if event in events and str(folder) in str(arguments[0]) and next(count, None) is None:
                    os.kill(os.getpid(), signal.SIGKILL)

            sys.addaudithook(kills)
            try:
                work()
            finally:
                os._exit(0)
        return os.waitpid(child, 0)[1] != 0

    return killed

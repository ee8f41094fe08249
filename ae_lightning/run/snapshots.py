"""The weight snapshots of a run: a file for each moment, and the index that lists them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from ae_lightning.errors import RunFolderError
from ae_lightning.files import read_json
from ae_lightning.nn.precision import at_least_float32

INDEX_NAME = "index.json"


class Snapshots(Mapping[int, dict[str, Tensor]]):
    """Weight snapshots by optimizer step, each read from its file when asked for.

    Weights of half precision come in float32, which holds them exactly and which NumPy knows.

    Args:
        folder: The run's `snapshots/` folder; empty or missing means none were taken yet.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.index = read_index(folder)
        self._files = {entry["step"]: entry["file"] for entry in self.index}

    def __getitem__(self, step: int) -> dict[str, Tensor]:
        if step not in self._files:
            taken = ", ".join(map(str, self._files)) or "none"
            raise KeyError(f"no snapshot was taken at step {step} in {self.folder}; there are: {taken}")
        path = self.folder / self._files[step]
        try:
            return {name: _widened(value) for name, value in safetensors.torch.load_file(path).items()}
        except (OSError, safetensors.SafetensorError) as error:
            raise RunFolderError(f"the snapshot {path} is missing or damaged ({error})") from error

    def __iter__(self) -> Iterator[int]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def nearest(self, step: int) -> int:
        """Step of the snapshot nearest to `step`.

        Raises:
            RunFolderError: There are no snapshots.
        """
        if not self._files:
            raise RunFolderError(f"there are no snapshots in {self.folder}")
        return min(self._files, key=lambda taken: abs(taken - step))


def read_index(folder: Path) -> list[dict[str, Any]]:
    """Entries of a snapshot folder in order of steps; empty where there are none yet.

    Raises:
        RunFolderError: The index is damaged, or names a file elsewhere.
    """
    path = folder / INDEX_NAME
    entries = read_json(path, list) if path.is_file() else []
    for entry in entries:
        # A file of another folder is nothing that a run has written, and none that a stranger's index may have read.
        whole = isinstance(entry, dict) and isinstance(entry.get("step"), int) and isinstance(entry.get("file"), str)
        if not whole or Path(entry["file"]).name != entry["file"]:
            raise RunFolderError(f"{path} is damaged (an entry names no step, or no file beside it: {entry})")
    return entries


def _widened(value: Tensor) -> Tensor:
    return at_least_float32(value) if value.is_floating_point() else value

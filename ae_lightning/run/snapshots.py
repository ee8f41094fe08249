"""The weight snapshots of a run: a file for each moment, and the index that lists them."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from ae_lightning.errors import RunFolderError
from ae_lightning.files import read_json, write_json
from ae_lightning.nn.precision import at_least_float32
from ae_lightning.safetensors_writer import write_tensors

_INDEX_NAME = "index.json"
_FILES = "step_*.safetensors"


def snapshot_folder(run: Path) -> Path:
    """Where the snapshots of a run lie in its folder."""
    return run / "snapshots"


class Snapshots(Mapping[int, dict[str, Tensor]]):
    """Weight snapshots by optimizer step, each read from its file when asked for.

    Weights of half precision come in float32, which holds them exactly and which NumPy knows.

    Args:
        folder: The run's, see `snapshot_folder`; empty or missing means none were taken yet.
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
        if not path.is_file():  # none at all, or a pipe, which would be waited for
            raise RunFolderError(f"the snapshot {path} is missing or damaged (there is no such file)")
        try:
            return {name: _widened(value) for name, value in safetensors.torch.load_file(path).items()}
        except (OSError, ValueError, KeyError, safetensors.SafetensorError) as error:  # of unknown types of numbers
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


class SnapshotWriter:
    """Writes the snapshots of a run that begins, or goes on, at an optimizer step; those of later steps are forgotten.

    Args:
        folder: The run's, see `snapshot_folder`.
        step: Optimizer steps completed.

    Raises:
        RunFolderError: The index is damaged.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self.folder = folder
        self._step = step
        self._index = [entry for entry in read_index(folder) if entry["step"] <= step]

    @property
    def last_step(self) -> int | None:
        """Step of the latest snapshot; None where there is none."""
        return self._index[-1]["step"] if self._index else None

    def remove_later(self) -> None:
        """Remove the files of steps that a resumed run walks through again."""
        taken = [path for path in self.folder.glob(_FILES) if path.stem[5:].isdecimal()]
        later = [path for path in taken if int(path.stem[5:]) > self._step]
        for path in later:
            path.unlink()
        if later:
            self._write_index()

    def write(self, moment: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Write a snapshot and its entry in the index; each file appears whole or not at all.

        Args:
            moment: `step`, `epoch` and `images_seen`.
            tensors: The weights.
        """
        name = _FILES.replace("*", f"{moment['step']:08d}")
        write_tensors(self.folder / name, tensors)
        # A fit into the folder of an earlier one finds that one's first entry.
        self._index = [entry for entry in self._index if entry["step"] != moment["step"]]
        self._index.append({**moment, "file": name})
        self._write_index()

    def _write_index(self) -> None:
        write_json(self.folder / _INDEX_NAME, self._index)


def read_index(folder: Path) -> list[dict[str, Any]]:
    """Entries of a snapshot folder in order of steps; empty where there are none yet.

    Raises:
        RunFolderError: The index is damaged, or names a file elsewhere.
    """
    path = folder / _INDEX_NAME
    entries = read_json(path, list) if path.is_file() else []
    for entry in entries:
        if not isinstance(entry, dict) or not _is_entry(entry):
            raise RunFolderError(
                f"{path} is damaged (an entry names no step, or no file beside it: {str(entry)[:200]})"
            )
    return entries


def _is_entry(entry: Mapping[str, Any]) -> bool:
    """Whether this is what a run writes; a file of another folder is none that a stranger's index may have read."""
    counts = (entry.get("step"), entry.get("images_seen", 0))
    whole = all(isinstance(count, int) and not isinstance(count, bool) and count >= 0 for count in counts)
    epoch, file = entry.get("epoch", 0), entry.get("file")
    dated = isinstance(epoch, (int, float)) and not isinstance(epoch, bool)
    return whole and dated and isinstance(file, str) and bool(re.fullmatch(r"[\w-]{1,100}\.safetensors", file))


def _widened(value: Tensor) -> Tensor:
    return at_least_float32(value) if value.is_floating_point() else value

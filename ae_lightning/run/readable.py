"""A run of which only those snapshots are seen that can be read."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from safetensors import SafetensorError, safe_open

from ae_lightning.run.run import Run
from ae_lightning.run.snapshots import Snapshots, snapshot_folder


class ReadableRun(Run):
    """A run whose damaged and missing snapshots are left out, as they were when they were first asked for."""

    @cached_property
    def snapshots(self) -> ReadableSnapshots:
        """Weight snapshots by step, those that can be read."""
        return ReadableSnapshots(snapshot_folder(self.folder))


class ReadableSnapshots(Snapshots):
    """The snapshots of a folder that are whole, and the names of the files that are not, `damaged`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.damaged = [name for name in self._files.values() if not _is_whole(folder / name)]
        self.index = [entry for entry in self.index if entry["file"] not in self.damaged]
        self._files = {entry["step"]: entry["file"] for entry in self.index}


def _is_whole(path: Path) -> bool:
    """Whether a file has the length that its head says; the numbers themselves are not read."""
    if not path.is_file():
        return False
    try:
        with safe_open(path, framework="pt"):
            return True
    except (OSError, SafetensorError):
        return False

"""Where a run lives: a new version folder, or the one that an interrupted run left."""

import contextlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_only

from ae_lightning.errors import ConfigError, RunFolderError
from ae_lightning.files import remove_leftovers
from ae_lightning.run.config import is_run

ROOT_NAME = "lightning_logs"
RUN_PARENT = "AE_LIGHTNING_RUN_PARENT"
"""Environment variable by which a sweep places its runs: the folder that `version_<n>` is made in."""

_LONGEST_NAME = 255
_CLAIMED = "AE_LIGHTNING_RUN_FOLDER"


class Place:
    """The folder that this process trains a run in; no other process can, until `release_locks`.

    Args:
        folder: The run's folder.
        claimed: Whether it was made for this run, so that it can go again if nothing comes of it.
        made: Folders above the experiment's that were made for it, the innermost first.
    """

    def __init__(self, folder: Path, claimed: bool = False, made: Sequence[Path] = ()) -> None:
        self.folder = folder
        self.claimed = claimed
        self._made = made
        if _is_first():
            _lock_folder(folder)

    @classmethod
    def of_new_run(cls, root: Path, experiment: str) -> "Place":
        """Claim a new folder for a run."""
        made = [path for path in (root, *root.parents) if not path.exists()]
        return cls(of_this_process(root, experiment), claimed=True, made=made)

    @classmethod
    def of_interrupted_run(cls, folder: Path) -> "Place":
        """Go on in the folder of a run, without what was half written when it ended."""
        place = cls(folder)
        if _is_first():
            remove_leftovers(folder)
        return place

    def discard(self) -> None:
        """Leave nothing behind of a run that never began; a folder that was there before is kept."""
        if not (self.claimed and _is_first()):
            return
        shutil.rmtree(self.folder, ignore_errors=True)  # what went wrong before is to be told
        with contextlib.suppress(OSError):  # other runs are there
            for path in (self.folder.parent, *self._made):
                path.rmdir()


_locks: list[int] = []


def _lock_folder(folder: Path) -> None:
    """Keep other processes from training in a folder.

    Raises:
        RunFolderError: Another one does.
    """
    try:
        import fcntl
    except ImportError:  # not on Windows
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise RunFolderError(
            f"another process is training the run in {folder}: wait until it is over, or start a run of its own"
        ) from error
    except OSError:  # a file system that cannot hold folders, as some over a network
        os.close(handle)
        return
    _locks.append(handle)


def release_locks() -> None:
    """Let other processes train in the folders that this one held."""
    while _locks:
        os.close(_locks.pop())


def _is_first() -> bool:
    return rank_zero_only.rank == 0  # type: ignore[attr-defined]


def checked_name(name: str) -> str:
    """The name of an experiment, if a folder can be called so.

    Raises:
        ConfigError: It cannot.
    """
    if name in (".", "..") or Path(name).name != name or "\0" in name or len(name.encode()) > _LONGEST_NAME:
        raise ConfigError(
            f"--experiment names a folder in {ROOT_NAME}, without slashes and of at most {_LONGEST_NAME} bytes, not "
            f"{name[:80]!r}"
        )
    return name


def experiment_of(configs: Sequence[Path]) -> str | None:
    """The name that config files give an experiment: that of a file, or of the earlier run whose settings it holds."""
    for path in configs:
        if path.stem != "config":
            return path.stem
        if path.absolute().parent.name.startswith("version_"):
            return path.absolute().parent.parent.name
    return None


def claim(root: Path, experiment: str) -> Path:
    """Create and return the next free `<root>/<experiment>/version_<n>`.

    Creating the folder is what claims it, so that runs started at the same moment never share one.

    Raises:
        RunFolderError: The folder cannot be created.
    """
    parent = root / experiment
    try:
        parent.mkdir(parents=True, exist_ok=True)
        number = _next_version(parent)
        while True:
            folder = parent / f"version_{number}"
            try:
                folder.mkdir()
            except FileExistsError:
                number += 1
            else:
                return folder
    except OSError as error:
        raise RunFolderError(
            f"the run's folder cannot be created in {parent} ({(error.strerror or str(error)).lower()}): choose "
            "another place with --trainer.default_root_dir"
        ) from error


def of_this_process(root: Path, experiment: str) -> Path:
    """Claim a folder on the first process of a run; on the others, return the one that it claimed.

    Processes that Lightning starts are told by the environment. Those that a launcher starts beside the first cannot
    know, and get a name that is never created: only the first process writes. A sweep names the place itself.
    """
    if parent := os.environ.get(RUN_PARENT):
        root, experiment = Path(parent).parent, Path(parent).name
    if _is_first():
        os.environ[_CLAIMED] = str(folder := claim(root, experiment))
        return folder
    return Path(os.environ.get(_CLAIMED, root / experiment / "version_of_first_process"))


def _next_version(parent: Path) -> int:
    taken = [int(child.name[8:]) for child in parent.glob("version_*") if child.name[8:].isdecimal()]
    return max(taken, default=-1) + 1


def run_of(checkpoint: Path) -> Path | None:
    """The run's folder that a checkpoint lies in, or None for a checkpoint that stands alone."""
    folder = checkpoint.resolve().parent.parent
    return folder if is_run(folder) else None


def predictions_of(checkpoint: Path, instance: int | None = None) -> Path:
    """The file for what a checkpoint, or one instance in it, predicts.

    It lies in the run's folder, or beside a checkpoint that stands alone.
    """
    which = "" if instance is None else f".instance_{instance}"
    return (run_of(checkpoint) or checkpoint.parent) / "predictions" / f"{checkpoint.stem}{which}.safetensors"


def continues_in_place(checkpoint: Path) -> bool:
    """Whether a fit from `checkpoint` carries on in its own folder.

    Only the last checkpoint does; from an earlier one the run would have to forget what came after, so it starts
    a folder of its own.
    """
    return checkpoint.name == "last.ckpt" and run_of(checkpoint) is not None

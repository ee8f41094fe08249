"""Where a run lives: a new version folder, or the one that an interrupted run left."""

import os
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_only

from ae_lightning.errors import RunFolderError

ROOT_NAME = "lightning_logs"
RUN_PARENT = "AE_LIGHTNING_RUN_PARENT"
"""Environment variable by which a sweep places its runs: the folder that `version_<n>` is made in."""

_CLAIMED = "AE_LIGHTNING_RUN_FOLDER"


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
    if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
        os.environ[_CLAIMED] = str(folder := claim(root, experiment))
        return folder
    return Path(os.environ.get(_CLAIMED, root / experiment / "version_of_first_process"))


def _next_version(parent: Path) -> int:
    taken = [int(child.name[8:]) for child in parent.glob("version_*") if child.name[8:].isdigit()]
    return max(taken, default=-1) + 1


def run_of(checkpoint: Path) -> Path | None:
    """The run's folder that a checkpoint lies in, or None for a checkpoint that stands alone."""
    folder = checkpoint.resolve().parent.parent
    return folder if (folder / "config.yaml").is_file() else None


def continues_in_place(checkpoint: Path) -> bool:
    """Whether a fit from `checkpoint` carries on in its own folder.

    Only the last checkpoint does; from an earlier one the run would have to forget what came after, so it starts
    a folder of its own.
    """
    return checkpoint.name == "last.ckpt" and run_of(checkpoint) is not None

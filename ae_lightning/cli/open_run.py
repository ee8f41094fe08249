"""What a command means that is given a run's folder or a checkpoint in one."""

from pathlib import Path

from ae_lightning.errors import RunFolderError
from ae_lightning.run.place import run_of
from ae_lightning.run.run import Run


def open_run(path: Path, otherwise: str = "name a run's folder, or a checkpoint in one") -> tuple[Run, Path]:
    """Open the run that `path` is, or lies in.

    Args:
        path: A run's folder, or a checkpoint in it.
        otherwise: What to do with a checkpoint that lies in no run's folder, for the message.

    Returns:
        The run and the checkpoint: the one given, or the run's best.

    Raises:
        RunFolderError: There is no such run, or the checkpoint lies in none.
        CheckpointError: The run has no checkpoint.
    """
    if path.suffix != ".ckpt":
        run = Run.load(path)
        return run, run.checkpoint
    folder = run_of(path)
    if folder is None:
        raise RunFolderError(f"{path} lies in no run's folder, so its data are not known: {otherwise}")
    return Run.load(folder), path

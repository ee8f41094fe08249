"""What is said when a fit ends, above all before its time: stopped, broken off while it wrote, or refused."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from shlex import quote

from lightning.pytorch.callbacks import Callback, LearningRateFinder

from ae_lightning.errors import ConfigError, RunFolderError


def interrupt_message(step: int, run: Path | None, saved: Path | None) -> str:
    """What a run that a signal stopped is left with.

    Args:
        step: Optimizer steps completed.
        run: The run's folder, if it has one.
        saved: The checkpoint that was written when the signal came.
    """
    last = saved or last_checkpoint(run)
    if last is None:
        return f"interrupted at step {step}; no checkpoint had been saved yet"
    what = "saved" if saved else "the last checkpoint is older"
    return f"interrupted at step {step}; {what}. Go on with:\n  {_go_on(last)}"


def broken_off(error: OSError, step: int, run: Path | None) -> RunFolderError:
    """The error of a run that could no longer write, with what to do."""
    last = last_checkpoint(run)
    go_on = f"`{_go_on(last)}`" if last else "the same command, from the start"
    return RunFolderError(
        f"{error.filename or run}: {(error.strerror or str(error)).lower()}; training broke off at step {step}, and "
        f"what had been saved is kept: once there is room and permission to write, go on with {go_on}"
    )


def refused_at_start(error: Exception) -> ConfigError | None:
    """What others refuse only when training starts, as a sentence; None for all else."""
    if isinstance(error, ValueError) and "val_check_interval" in str(error):
        return ConfigError(f"--trainer.val_check_interval does not fit the data: {error}")
    if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
        reason = str(error).strip().partition("\n")[0]
        return ConfigError(
            f"--compile true does not work here ({reason}): leave it out, or install a C++ compiler (g++)"
        )
    return None


def last_checkpoint(run: Path | None) -> Path | None:
    """The `last.ckpt` of a run's folder, if there is one."""
    path = run / "checkpoints" / "last.ckpt" if run else None
    return path if path is not None and path.is_file() else None


def _go_on(checkpoint: Path) -> str:
    return f"ae-lightning fit --ckpt_path {quote(str(checkpoint))}"


def found_rates(callbacks: Sequence[Callback]) -> Iterator[str]:
    """What `LearningRateFinder` found, if it was among the callbacks and has searched."""
    for callback in callbacks:
        if isinstance(callback, LearningRateFinder) and callback.optimal_lr is not None:
            rate = callback.optimal_lr.suggestion()
            yield "learning rate: " + ("none was found, too few steps were tried" if rate is None else f"{rate:g}")

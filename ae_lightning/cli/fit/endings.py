"""What is said when a fit ends, above all before its time: stopped, broken off while it wrote, or refused."""

import errno
from collections.abc import Sequence
from pathlib import Path
from shlex import quote

from ae_lightning.cli.configs import packaged_name
from ae_lightning.cli.fit.trainer_mistakes import missing_package, refused_by_callback
from ae_lightning.cli.main import explain, is_out_of_memory
from ae_lightning.errors import ConfigError, RunFolderError, UserError
from ae_lightning.explorer.chain import can_be_explored
from ae_lightning.models.base import Autoencoder

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


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


def what_next(run: Path, model: Autoencoder, configs: Sequence[Path]) -> str:
    """The commands worth typing after a fit: a report, the explorer where it takes the model, and other settings.

    Args:
        run: The run's folder.
        model: What was trained.
        configs: The files that the settings came from.
    """
    folder = quote(str(run))
    commands = {"a page on it": f"ae-lightning report {folder}"}
    if can_be_explored(model):
        commands["walk through it"] = f"ae-lightning explore {folder}"
    names = [packaged_name(path) for path in configs]
    if names and None not in names:  # a file of one's own is there to be changed, and might be called mine.yaml
        named = " ".join(f"--config {name}" for name in names)
        commands["change settings"] = f"ae-lightning fit {named} --print_config > mine.yaml"
    width = max(map(len, commands)) + 1
    return "\n".join(f"{what + ':':<{width}} {command}" for what, command in commands.items())


def left_to_evaluate(run: Path) -> str:
    """What is left to do for a run that is trained and has no final numbers yet."""
    return f"The training is finished and saved; what is left is\n  {_evaluate(run)}"


def not_evaluated(error: Exception, run: Path) -> str:
    """What is said where a trained run could not be measured.

    Args:
        error: What was met.
        run: The run's folder.
    """
    reason = "there is not enough memory" if is_out_of_memory(error) else explain(error) or _told(error)
    return f"{NOT_EVALUATED} ({reason}): measure them with\n  {_evaluate(run)}"


NOT_EVALUATED = "the training is finished and saved, but its final numbers could not be measured"
"""How the notice on a run begins that is trained and was not measured."""


def refused_at_start(error: Exception, run: Path | None) -> UserError | None:
    """What others refuse only when training starts, as a sentence; None for all else.

    Args:
        error: What ended it before its first step.
        run: The run's folder, which is gone again.
    """
    if isinstance(error, OSError) and error.filename is None and error.errno in _NO_ROOM:
        return RunFolderError(
            f"{run or Path.cwd()}: {(error.strerror or str(error)).lower()}; training did not begin: make room, or "
            "choose another place with --trainer.default_root_dir"
        )
    if isinstance(error, ValueError) and "val_check_interval" in str(error):
        return ConfigError(f"--trainer.val_check_interval does not fit the data: {error}")
    if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
        reason = str(error).strip().partition("\n")[0]
        return ConfigError(
            f"--compile true does not work here ({reason}): leave it out, or install a C++ compiler (g++)"
        )
    return missing_package(error) or refused_by_callback(error)


def last_checkpoint(run: Path | None) -> Path | None:
    """The `last.ckpt` of a run's folder, if there is one."""
    path = run / "checkpoints" / "last.ckpt" if run else None
    return path if path is not None and path.is_file() else None


def _told(error: Exception) -> str:
    """An unforeseen error in one line, with its type."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


def _evaluate(run: Path) -> str:
    return f"ae-lightning evaluate {quote(str(run))}"


def _go_on(checkpoint: Path) -> str:
    return f"ae-lightning fit --ckpt_path {quote(str(checkpoint))}"

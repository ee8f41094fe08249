"""Lightning gets checkpoints from our own reader alone.

Where no path is named, Lightning looks for one itself: that of an `OnExceptionCheckpoint`, or what a restart under
SLURM left. Its strategies and plugins open files each in their own way, of which some run the code in them.
"""

import traceback
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.strategies import Strategy
from lightning.pytorch.trainer.states import TrainerFn

from ae_lightning.cli.fit.resume import require_loadable
from ae_lightning.errors import CheckpointError, UserError
from ae_lightning.models.checkpoint import read_checkpoint


class CheckedLoading:
    """Stands for a strategy's `load_checkpoint`: whatever path it is given, the file is read and checked by us.

    Args:
        trainer: Its strategy's is replaced.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer

    def __call__(self, checkpoint_path: str | Path, weights_only: bool | None = None) -> dict[str, Any]:
        """Read a checkpoint.

        Args:
            checkpoint_path: The file.
            weights_only: Ignored: code in a checkpoint is never run.

        Raises:
            CheckpointError: It cannot be read without running code, or does not fit the model.
        """
        trainer, path = self._trainer, Path(checkpoint_path)
        try:
            checkpoint = read_checkpoint(path)
            resume = trainer.state.fn == TrainerFn.FITTING
            require_loadable(trainer.lightning_module, checkpoint, path, resume)  # type: ignore[arg-type]
        except CheckpointError:
            # Some save when a fit fails, and in the place of this file: an untrained model over somebody's trained one.
            trainer.callbacks = [each for each in trainer.callbacks if not isinstance(each, Checkpoint)]  # type: ignore[attr-defined]
            raise
        own = type(trainer.strategy).load_checkpoint
        if own is Strategy.load_checkpoint:
            return checkpoint
        return own(trainer.strategy, path, weights_only=True)  # it puts weights into shards of its own


def not_restored(error: Exception, path: Path) -> CheckpointError | None:
    """What goes wrong while loops, callbacks or schedules take back their state, as a sentence; None for all else.

    Args:
        error: What was raised.
        path: The checkpoint that training was to go on from.
    """
    if isinstance(error, UserError):
        return None
    names = {frame.name for frame in traceback.extract_tb(error.__traceback__)}
    if not any(name.startswith(("restore_", "_restore_")) for name in names):
        return None
    told = f"{type(error).__name__}: {error}".partition("\n")[0][:200]
    return CheckpointError(f"training cannot go on from {path}: a part of it does not take back its state ({told})")


def check_all_loading(trainer: Trainer) -> None:
    """Let a trainer load nothing that `read_checkpoint` has not read."""
    trainer.strategy.load_checkpoint = CheckedLoading(trainer)  # type: ignore[method-assign]

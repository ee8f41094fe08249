"""A run's two checkpoints: `last.ckpt` is its newest state, `best.ckpt` the lowest validation loss of one objective."""

from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from ae_lightning.callbacks.best_of_each import BestOfEach
from ae_lightning.errors import ConfigError
from ae_lightning.models.base import Autoencoder
from ae_lightning.upstream import private

_BEST, _LAST = "_save_topk_checkpoint", "_save_last_checkpoint"


class RunCheckpoints(ModelCheckpoint):
    """Lightning's ModelCheckpoint with a last checkpoint that is the newest, and a best one among comparable losses.

    Lightning writes `last.ckpt` only beside another checkpoint. Once `val/loss` rises, its `last.ckpt` stays at the
    best epoch, and a run that goes on from it loses all steps since. Here it is written at the end of each epoch, or
    of each `every_n_epochs`, and at each validation within one; or after `every_n_train_steps`.

    While a model says that its objective still moves (`Autoencoder.is_settled`), as with a k that falls, the newest
    state stands for the best: a lower loss of before belongs to an easier problem.

    Of a population the best checkpoint holds each instance as it was at the lowest validation loss of its own, with
    what the optimizer remembers of it then; all that instances share is of the newest state. A variant whose terms do
    not tell instances apart has all of them at their lowest mean.

    Options are those of ModelCheckpoint. Its state in a checkpoint has that name too, as in earlier runs.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._moved = False  # whether the objective was moving at the last validation
        self._of_each = BestOfEach()
        self._by_mean = False  # as a run began in which no loss of an instance was kept
        self._best_before: str | None = None  # the best checkpoint so far, while the next is written

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse options by which the best state would not be that of each instance."""
        super().setup(trainer, pl_module, stage)
        instances = getattr(pl_module, "instances", None) or 1
        chooses = self.monitor is not None and self.save_top_k not in (-1, 0)
        as_usual = (self.monitor, self.mode, self.save_top_k, self.save_weights_only) == ("val/loss", "min", 1, False)
        if stage == "fit" and instances > 1 and chooses and not as_usual:
            raise ConfigError(
                f"best.ckpt holds each of {instances} instances at its own lowest val/loss: leave monitor, mode, "
                "save_top_k and save_weights_only of --checkpoint as they are, or keep all by save_top_k -1"
            )

    @property
    def state_key(self) -> str:
        """The name of its state in a checkpoint."""
        return super().state_key.replace(type(self).__qualname__, ModelCheckpoint.__qualname__, 1)

    def state_dict(self) -> dict[str, Any]:
        """What Lightning keeps, whether the objective was moving, and the lowest loss of each instance."""
        state: dict[str, Any] = super().state_dict() | {"moved": self._moved}
        return state | {"losses": list(self._of_each.losses)} if self._of_each.losses else state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what `state_dict` gave, or Lightning's own callback."""
        super().load_state_dict(state_dict)
        self._moved = state_dict.get("moved", False)
        if state_dict.get("dirpath") == self.dirpath:  # elsewhere the best checkpoint begins anew
            self._of_each.losses = list(state_dict.get("losses", []))
            self._by_mean = bool(state_dict.get("best_model_path")) and not self._of_each.losses

    def check_monitor_top_k(self, trainer: Trainer, current: Tensor | None = None) -> bool:
        """Whether the present state is among the best; of a population, whether that of any instance is."""
        module = trainer.lightning_module
        several = isinstance(module, Autoencoder) and (module.instances or 1) > 1
        chooses = several and self.save_top_k == 1 and not self._by_mean
        of_each = module.validation_loss_of_each() if chooses else None  # type: ignore[operator]
        if of_each is None or current is None:
            return super().check_monitor_top_k(trainer, current)
        improves = self._of_each.improves(of_each)
        self._best_before = self.best_model_path if improves else None
        return improves

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Let the best checkpoint keep the instances that were better before."""
        if self._best_before and trainer.is_global_zero:
            self._of_each.keep_in(checkpoint, Path(self._best_before))
        self._best_before = None

    def on_train_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Save what Lightning would, and after `every_n_train_steps` the last checkpoint."""
        super().on_train_batch_end(trainer, *args, **kwargs)
        every = private(self, "_every_n_train_steps", 0)
        if every and trainer.global_step % every == 0:
            self._save(trainer, _LAST)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save what Lightning would, and within an epoch, where a run may be about to stop, both checkpoints."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._forget_easier_problems(pl_module)
        super().on_validation_end(trainer, pl_module)
        if self._is_due(trainer) and not trainer.is_last_batch:
            self._save(trainer, _BEST, _LAST)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save what Lightning would, and the last checkpoint; of a run that stops before, `SaveOnStop` has saved it."""
        super().on_train_epoch_end(trainer, pl_module)
        if self._is_due(trainer) and trainer.is_last_batch:
            self._save(trainer, _LAST)

    def _forget_easier_problems(self, module: LightningModule) -> None:
        """Let this validation's state be the best so far, where earlier ones had another objective."""
        moves = isinstance(module, Autoencoder) and not module.is_settled
        if moves or self._moved:
            self.best_k_models.clear()
            self._of_each.losses = []
        self._moved = moves

    def _is_due(self, trainer: Trainer) -> bool:
        every = self.every_n_epochs or 0
        return every > 0 and (trainer.current_epoch + 1) % every == 0

    def _save(self, trainer: Trainer, *names: str) -> None:
        """Save by methods of Lightning's; in a release that has not got them, `last.ckpt` is what it makes of it."""
        if private(self, "_should_skip_saving_checkpoint", lambda trainer: True)(trainer):
            return
        candidates = private(self, "_monitor_candidates", lambda trainer: trainer.callback_metrics)(trainer)
        for name in names:
            private(self, name, lambda *args: None)(trainer, candidates)

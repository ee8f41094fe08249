"""Training steps without what nobody listens to: Lightning's loop over batches, with a shorter way inside an epoch.

A step of a small model takes a fraction of a millisecond, and Lightning's own loop as long again. Most of that goes to
collecting metrics that no one logged, to profilers that do not measure, and to hooks that are empty.
"""

from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import LambdaCallback
from lightning.pytorch.loops.fetchers import _DataFetcher, _DataLoaderIterDataFetcher
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from lightning.pytorch.plugins.precision import MixedPrecision, Precision
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

from ae_lightning.models.base import Autoencoder
from ae_lightning.training.rows import is_due_after
from ae_lightning.upstream import is_tested

Hook = Callable[..., Any]

_BATCH_HOOKS = (
    "on_train_batch_start",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_train_batch_end",
)
_MODULE_HOOKS = (*_BATCH_HOOKS, "backward", "optimizer_step", "optimizer_zero_grad")
_TRANSFER_HOOKS = ("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer")


class LeanEpochLoop(_TrainingEpochLoop):
    """Lightning's loop over the batches of an epoch, which takes the steps before the last one by a short way.

    On the short way a step is: fetch the batch, `training_step`, backward, optimizer, a schedule that is stepped with
    it, those hooks of callbacks that are written, and metrics where a row is due. Weights, random numbers, counters,
    and what callbacks see are the same as on Lightning's way, bit for bit; a test holds this. Lightning's way is taken
    at every step that ends the epoch or the run or is followed by a validation, and for all steps of a fit that has
    anything the short way does not know: see `supports`. Checkpoints are the same, and each loop resumes what the other
    began.
    """

    _hooks: dict[str, list[Hook]] | None = None
    _schedule_by_step = False

    @property
    def global_step(self) -> int:
        """Optimizer steps completed; callbacks ask for it at each step."""
        if self._hooks is not None:
            return self.automatic_optimization.optim_progress.optimizer.step.total.completed
        return super().global_step

    def on_run_start(self, data_fetcher: _DataFetcher) -> None:
        """Find out, at the start of each epoch, whether the short way may be taken, and who listens on it."""
        super().on_run_start(data_fetcher)
        self._hooks = listeners(self.trainer) if supports(self.trainer, data_fetcher) else None
        self._schedule_by_step = any(config.interval == "step" for config in self.trainer.lr_scheduler_configs)

    def advance(self, data_fetcher: _DataFetcher) -> None:
        """Take short steps up to the next one at which something is due, and that one as Lightning does."""
        if self._hooks is not None and not self.restarting:
            for _ in range(self._steps_before_due()):
                self._short_step(data_fetcher, self._hooks)
                if self.trainer.should_stop or self.trainer.received_sigterm or self._is_training_done:
                    return  # a callback saw to it, and Lightning's loop looks after each step
                self._batches_that_stepped += 1
        super().advance(data_fetcher)

    def _steps_before_due(self) -> int:
        trainer = self.trainer
        step, batch = self.global_step, self.batch_progress.current.ready
        distances: list[float] = [trainer.num_training_batches - batch]
        if self.max_steps >= 0:
            distances.append(self.max_steps - step)
        if self._should_check_val_epoch():
            done = self.batch_progress.total.ready if trainer.check_val_every_n_epoch is None else batch
            check: Any = trainer.val_check_batch  # a whole number, see `supports`
            distances.append(check - done % check)
        return int(min(distances)) - 1

    def _short_step(self, data_fetcher: _DataFetcher, hooks: dict[str, list[Hook]]) -> None:
        trainer, progress = self.trainer, self.batch_progress
        module, number = trainer.lightning_module, progress.current.ready
        batch, _, _ = next(data_fetcher)
        progress.is_last_batch = data_fetcher.done
        batch = _on_device(trainer.precision_plugin.convert_input(batch), trainer)
        progress.increment_ready()
        trainer._logger_connector.on_batch_start(batch)
        _call(hooks["on_train_batch_start"], trainer, module, batch, number)
        progress.increment_started()
        output = self._optimize(batch, number, hooks)
        progress.increment_processed()
        if self._schedule_by_step:
            self.update_lr_schedulers("step", update_plateau_schedulers=False)
        _call(hooks["on_train_batch_end"], trainer, module, output, batch, number)
        # A resumed run's rows may be counted from elsewhere than its steps.
        due = any(is_due_after(steps, trainer) for steps in (self.global_step, self._batches_that_stepped + 1))
        if due:
            trainer._logger_connector.on_batch_end()
        progress.increment_completed()
        if due:
            trainer._logger_connector.update_train_step_metrics()
        if self._schedule_by_step:
            self.update_lr_schedulers("step", update_plateau_schedulers=True)

    def _optimize(self, batch: Any, number: int, hooks: dict[str, list[Hook]]) -> dict[str, Any]:
        """One step of the optimizer; answers what callbacks get of it."""
        trainer, module, optimizer = self.trainer, self.trainer.lightning_module, self.trainer.optimizers[0]
        module._current_fx_name = "training_step"  # a variant may log from there
        # In plain float32 the strategy would do nothing but open contexts in which nothing is changed.
        owner: Any = module if type(trainer.precision_plugin) is Precision else trainer.strategy
        output = owner.training_step(batch, number)
        module._current_fx_name = None
        _call(hooks["on_before_zero_grad"], trainer, module, optimizer)
        _forget_gradients(optimizer)
        _call(hooks["on_before_backward"], trainer, module, output["loss"])
        output["loss"].backward()
        _call(hooks["on_after_backward"], trainer, module)
        _call(hooks["on_before_optimizer_step"], trainer, module, optimizer)
        if trainer.gradient_clip_val:
            module.configure_gradient_clipping(optimizer, trainer.gradient_clip_val, trainer.gradient_clip_algorithm)
        _step(optimizer)
        self._count_optimizer_step()
        return output | {"loss": output["loss"].detach()}

    def _count_optimizer_step(self) -> None:
        counts = self.automatic_optimization.optim_progress.optimizer
        counts.zero_grad.increment_by(1)
        counts.step.increment_by(1)


def use_lean_loop(trainer: Trainer) -> None:
    """Let a trainer that has not fitted yet take the short way where it can.

    It keeps Lightning's loop beside a release of Lightning or PyTorch that this one was not tested with: what is done
    on the short way was read off theirs, and a new one may do more.
    """
    if not _is_tested():
        return
    old = trainer.fit_loop.epoch_loop
    trainer.fit_loop.epoch_loop = LeanEpochLoop(trainer, min_steps=old.min_steps, max_steps=old.max_steps)


def supports(trainer: Any, data_fetcher: _DataFetcher) -> bool:
    """Tell whether a fit has nothing but what the short way does as Lightning would.

    That is one process and one device, one optimizer of torch's that is stepped at each batch, epochs of known length,
    no profiler and no scaled loss; hooks around a batch only in callbacks of ours or Lightning's, since others may log
    from there; and releases of Lightning and PyTorch that were tested.
    """
    return (
        _is_tested()
        and type(trainer.strategy) is SingleDeviceStrategy
        and type(trainer.profiler) is PassThroughProfiler
        and not (isinstance(trainer.precision_plugin, MixedPrecision) and trainer.precision_plugin.scaler is not None)
        and trainer.accumulate_grad_batches == 1
        and not isinstance(data_fetcher, _DataLoaderIterDataFetcher)
        and isinstance(trainer.num_training_batches, int)
        and isinstance(trainer.val_check_batch, int)
        and trainer._val_check_time_interval is None
        and _supports_optimizers(trainer.optimizers)
        and _supports_module(trainer.lightning_module)
        and not _overridden(trainer.datamodule, LightningDataModule, _TRANSFER_HOOKS)
        and all(map(_supports_callback, trainer.callbacks))
    )


def listeners(trainer: Trainer) -> dict[str, list[Hook]]:
    """The methods of the trainer's callbacks that are written, in their order, by the name of the hook."""
    callbacks = trainer.callbacks  # type: ignore[attr-defined]
    return {
        name: [getattr(callback, name) for callback in callbacks if _overridden(callback, Callback, (name,))]
        for name in _BATCH_HOOKS
    }


def _is_tested() -> bool:
    return is_tested("lightning") and is_tested("torch")


def _supports_optimizers(optimizers: list[torch.optim.Optimizer]) -> bool:
    # LBFGS computes the loss several times a step; a hook before the step sees the model before the loss is computed.
    return (
        len(optimizers) == 1
        and not (optimizers[0]._optimizer_step_pre_hooks or _global_optimizer_pre_hooks)
        and type(optimizers[0]).__module__.startswith("torch.optim.")
        and not isinstance(optimizers[0], torch.optim.LBFGS)
    )


def _supports_module(module: LightningModule) -> bool:
    return (
        isinstance(module, Autoencoder)
        and module.automatic_optimization
        and type(module).training_step is Autoencoder.training_step
        and not _overridden(module, LightningModule, (*_MODULE_HOOKS, *_TRANSFER_HOOKS))
    )


def _supports_callback(callback: Callback) -> bool:
    if not _overridden(callback, Callback, _BATCH_HOOKS):
        return True
    home = type(callback).__module__.partition(".")[0]
    return home in ("ae_lightning", "lightning") and not isinstance(callback, LambdaCallback)


def _overridden(instance: object, base: type, names: tuple[str, ...]) -> bool:
    if instance is None:
        return False
    # A method may be that of the instance alone.
    methods = {name: getattr(instance, name) for name in names}
    return any(getattr(method, "__func__", method) is not getattr(base, name) for name, method in methods.items())


def _forget_gradients(optimizer: torch.optim.Optimizer) -> None:
    """What `zero_grad` does, without the profiler's marks around it, which cost more."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = None


def _step(optimizer: torch.optim.Optimizer) -> None:
    """Step an optimizer, past the wrapper that calls hooks and marks the step for profilers if there are none.

    It takes a third of a small model's step of the optimizer. A schedule has the optimizer count its steps in another.
    """
    hooks = optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks or _global_optimizer_post_hooks
    if hooks or "step" in vars(optimizer) or torch.autograd._profiler_enabled():
        optimizer.step()
    else:
        type(optimizer).step.__wrapped__(optimizer)  # type: ignore[attr-defined]


def _call(hooks: list[Hook], *arguments: Any) -> None:
    for hook in hooks:
        hook(*arguments)


def _on_device(batch: Any, trainer: Trainer) -> Any:
    """The batch on the device of the model, where our loaders have it already unless it comes from the host."""
    device = trainer.strategy.root_device
    if isinstance(batch, tuple) and all(isinstance(part, Tensor) and part.device == device for part in batch):
        return batch
    return trainer.strategy.batch_to_device(batch, dataloader_idx=0)

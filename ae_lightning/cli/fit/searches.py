"""Searches before the first step: what they found goes into the settings, and a run that goes on does not search."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import BatchSizeFinder, LearningRateFinder

from ae_lightning.errors import ConfigError
from ae_lightning.upstream import private

FINDERS = (BatchSizeFinder, LearningRateFinder)
"""Callbacks that train for some steps to find a setting, and then put the training back to its start."""


class Found(NamedTuple):
    """What a search came to."""

    sentence: str
    place: tuple[str, ...]  #: the setting, by the names on the way to it; empty where it stays as it was
    value: Any = None


def found_settings(trainer: Trainer, module: LightningModule) -> Iterator[Found]:
    """What the finders among a trainer's callbacks have found, once training starts."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, LearningRateFinder) and callback.optimal_lr is not None:
            yield _found_rate(callback, module)
        elif isinstance(callback, BatchSizeFinder) and callback.optimal_batch_size is not None:
            name = private(callback, "_batch_arg_name", "batch_size")
            size = int(getattr(trainer.datamodule, name))  # type: ignore[attr-defined]
            sentence = f"{name.replace('_', ' ')}: {size} (found by BatchSizeFinder)"
            yield Found(sentence, ("data", "init_args", name), size)


def _found_rate(finder: LearningRateFinder, module: LightningModule) -> Found:
    rate = finder.optimal_lr.suggestion() if finder.optimal_lr else None
    if rate is None:
        return Found("learning rate: none was found, too few steps were tried", ())
    in_force = module.learning_rate == rate  # else it was only asked for
    place = ("model", "init_args", "optimizer", "init_args", "lr") if in_force else ()
    return Found(f"learning rate: {rate:g} (found by LearningRateFinder)", place, float(rate))


def set_found(settings: Any, search: Found) -> None:
    """Put what was found into settings, nested as in a config, where these have a place for it."""
    for name in search.place[:-1]:
        settings = settings.get(name) or {}
    if search.place and search.place[-1] in settings:
        settings[search.place[-1]] = search.value


class GoesOn(Callback):
    """Refuse a resumed run that another callback has put back to its start, before it writes over its record.

    Args:
        step: Optimizer steps that the checkpoint has done.
        named: The callbacks of the config.
    """

    def __init__(self, step: int, named: Sequence[Callback]) -> None:
        self.step = step
        self.named = [type(callback).__name__ for callback in named]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look where training starts.

        Raises:
            ConfigError: It starts elsewhere.
        """
        if trainer.global_step != self.step:
            raise ConfigError(
                f"training was to go on at step {self.step}, but starts at step {trainer.global_step}: one of the "
                f"callbacks ({', '.join(self.named)}) has put it back; take it out of trainer.callbacks"
            )

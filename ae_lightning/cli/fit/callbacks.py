"""The callbacks of a trainer: which of those that were named it gets, and which it cannot have."""

from collections.abc import Iterable, Mapping

from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.callbacks import ModelPruning, ProgressBar

from ae_lightning.cli.fit.searches import FINDERS
from ae_lightning.errors import ConfigError
from ae_lightning.upstream import private


def usable(named: Iterable[Callback], resumes: bool, shows_bar: bool) -> list[Callback]:
    """The callbacks that were named, as far as they have something to do.

    Args:
        named: Those of the config.
        resumes: Whether training goes on. What was searched for has been found then, and is in the settings.
        shows_bar: Whether a progress bar is shown, which is not so where there is no terminal.
    """
    left_out = (*(FINDERS if resumes else ()), *(() if shows_bar else (ProgressBar,)))
    return [callback for callback in named if not isinstance(callback, left_out)]


def refuse_repeated(
    named: Iterable[Callback], optional: Mapping[str, Callback], of_every_fit: Iterable[Callback]
) -> None:
    """Check that no two callbacks keep their state in a checkpoint under one name.

    Args:
        named: Those of the config.
        optional: Those of every fit that have options, by the name of these.
        of_every_fit: Those that have none.

    Raises:
        ConfigError: Two do.
    """
    keys = {callback.state_key: f"set it by --{name}.…" for name, callback in optional.items()}
    keys |= {callback.state_key: "leave it out" for callback in of_every_fit}
    seen: set[str] = set()
    for callback in filter(_has_state, named):
        name, key = type(callback).__name__, callback.state_key
        if key in keys:
            raise ConfigError(f"trainer.callbacks lists {name}, which every fit has already: {keys[key]}")
        if key in seen:
            raise ConfigError(
                f"trainer.callbacks lists {name} twice, but a checkpoint has room for the state of one: leave one out "
                "(--trainer.callbacks+ adds to those of the config and replaces none)"
            )
        seen.add(key)


def _has_state(callback: Callback) -> bool:
    return type(callback).state_dict is not Callback.state_dict


def refuse_unfit(named: Iterable[Callback], model: LightningModule) -> None:
    """Check that callbacks find in a model what they work on, where they would tell only at the end of an epoch.

    Raises:
        ConfigError: One does not.
    """
    for callback in named:
        if isinstance(callback, ModelPruning):
            names = private(callback, "_parameter_names", None) or ModelPruning.PARAMETER_NAMES
            if not ModelPruning.sanitize_parameters_to_prune(model, parameter_names=names):
                raise ConfigError(
                    f"ModelPruning finds nothing to prune: no module of {type(model).__name__} has a parameter called "
                    f"{' or '.join(names)}; name others with its argument parameter_names"
                )

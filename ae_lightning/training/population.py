"""Settings that differ among the instances of a population, and what would let one instance depend on the others."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping, ModelPruning, SpikeDetection
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from ae_lightning.errors import ConfigError

PER_INSTANCE = ("k", "penalty_weight", "target_l0", "threshold", "seed")
"""Options that may be a list, with an entry for each instance."""

LARGEST_SEED = 2**32 - 1

# Each looks at whole tensors, in which instances lie side by side: by the length of a step, a norm, or a matrix's
# directions.
_COUPLING_OPTIMIZERS = ("LBFGS", "Adafactor", "Muon")
_COUPLING_CALLBACKS = (EarlyStopping, ModelPruning, SpikeDetection)


def is_listed(value: Any) -> bool:
    """Whether an option has an entry for each instance."""
    return isinstance(value, (list, tuple))


def listed(settings: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Those of a model's settings that are lists with an entry for each instance."""
    return {name: list(settings[name]) for name in PER_INSTANCE if is_listed(settings.get(name))}


def count_of(instances: int | None, **settings: Any) -> int | None:
    """Number of instances: the one that was given, or that of the entries in lists; None for a single model.

    Args:
        instances: As it was given.
        **settings: Options of a model, of which those are looked at that may be lists.

    Raises:
        ConfigError: A list is empty, or has another length than it says, or than another list.
    """
    lists = listed(settings)
    for name, entries in lists.items():
        if not entries:
            raise ConfigError(f"--model.{name} is an empty list: give one number for all, or one for each instance")
        if instances is not None and len(entries) != instances:
            raise ConfigError(
                f"--model.{name} has {_entries(len(entries))}, but --model.instances is {instances}: give one for "
                "each, or leave --model.instances out"
            )
    lengths = {len(entries): name for name, entries in lists.items()}
    if len(lengths) > 1:
        (many, name), (few, other) = list(lengths.items())[:2]
        raise ConfigError(
            f"--model.{name} has {_entries(many)} and --model.{other} has {_entries(few)}: give both one for each "
            "instance"
        )
    return instances if not lengths else next(iter(lengths))


def seeds_of(seed: int | Sequence[int] | None, instances: int | None) -> list[int] | None:
    """The seed that each instance starts from, one for a single model; None where the run's random numbers decide.

    Raises:
        ConfigError: One is out of range.
    """
    if seed is None:
        return None
    seeds = [seed] * (instances or 1) if isinstance(seed, int) else list(seed)
    for each in seeds:
        if not 0 <= each <= LARGEST_SEED:
            raise ConfigError(f"--model.seed is {each}; it must be a whole number from 0 to {LARGEST_SEED}")
    return seeds


def require_instance(model: Any, index: int) -> None:
    """Check that a model has an instance of this number; one without instances has number 0 alone.

    Raises:
        ConfigError: It has not.
    """
    count = model.instances or 1
    if 0 <= index < count:
        return
    there = f"has {count} instances, 0 to {count - 1}" if model.instances else "has no instances, so that it must be 0"
    raise ConfigError(f"the instance asked for is {index}, but the {type(model).__name__} {there}")


def require_apart(
    instances: int | None, optimizer: Optimizer, scheduler: Any = None, callbacks: Iterable[Callback] = ()
) -> None:
    """Check that nothing in a fit lets instances depend on each other.

    Raises:
        ConfigError: The optimizer, the schedule or a callback does.
    """
    if instances is None or instances < 2:
        return
    coupling = [f"--model.optimizer {type(optimizer).__name__}"] if _couples(optimizer) else []
    coupling += ["--model.lr_scheduler ReduceLROnPlateau"] if isinstance(scheduler, ReduceLROnPlateau) else []
    coupling += [type(callback).__name__ for callback in callbacks if isinstance(callback, _COUPLING_CALLBACKS)]
    if coupling:
        raise ConfigError(
            f"the {instances} instances of a population are trained as if alone, but {coupling[0]} acts on all of them "
            "together: leave it out, or train one by one"
        )


def _couples(optimizer: Optimizer) -> bool:
    return any(kind.__name__ in _COUPLING_OPTIMIZERS for kind in type(optimizer).__mro__)


def _entries(count: int) -> str:
    return "1 entry" if count == 1 else f"{count} entries"

"""What only the first process of a run does, and what the others must know of it."""

from collections.abc import Callable
from typing import TypeVar

from lightning.pytorch import Trainer

from ae_lightning.errors import EndedByFirst, UserError

T = TypeVar("T")


def on_first_process(trainer: Trainer, work: Callable[[], T]) -> T | None:
    """What `work` gives, on the first process; None on the others, which wait for it.

    Where it ends the run on the first process it ends it on all, instead of letting the others wait in vain.

    Raises:
        UserError: That of `work`, on the first process.
        EndedByFirst: On the others.
    """
    result: T | None = None
    error: UserError | None = None
    if trainer.is_global_zero:
        try:
            result = work()
        except UserError as fault:
            error = fault
    failed = trainer.strategy.broadcast(error is not None)
    if error is not None:
        raise error
    if failed:
        raise EndedByFirst
    return result

"""Training samples for a model that starts from them, such as a bias in their middle."""

from lightning.pytorch import Trainer
from torch import Tensor

from ae_lightning.errors import ConfigError


def training_pairs(trainer: Trainer, n: int, option: str) -> tuple[Tensor, Tensor]:
    """Training samples (n, *input_shape) that are drawn at random, after the data module's `setup`, and their targets.

    They follow from the run's seed, and are the same on all processes. Of a file that is mapped no other rows are read.
    Targets are what is to be produced of them: themselves, unless the data have others.

    Args:
        trainer: That of a fit.
        n: How many, or all where there are fewer.
        option: What asks for them, for the message.

    Raises:
        ConfigError: The fit has no data module that draws samples.
    """
    draw = getattr(trainer.datamodule, "starting_pairs", None)  # type: ignore[attr-defined]
    if draw is None:
        raise ConfigError(
            f"{option} starts from training samples of a data module of ours, but the fit has none: give it one, or "
            "leave the option out"
        )
    pairs: tuple[Tensor, Tensor] = draw(n)
    return pairs

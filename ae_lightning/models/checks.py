"""Checks that refuse a model, or data, with one sentence."""

from torch import Tensor

from ae_lightning.errors import ConfigError
from ae_lightning.losses.reconstruction import ReconstructionLossName


def require_positive(**sizes: int | None) -> None:
    """Check that sizes, given by the name of their option, are at least 1; None stands for no such size.

    Raises:
        ConfigError: One is not.
    """
    for name, size in sizes.items():
        if size is not None and size < 1:
            raise ConfigError(f"--model.{name} is {size}; it must be at least 1")


def check_range(
    x: Tensor, output_range: tuple[float, float], reconstruction_loss: ReconstructionLossName, variant: str
) -> None:
    """Check that a variant can reach the values of a batch, and that the loss is defined for them.

    Args:
        x: A batch of data, of any shape.
        output_range: Lowest and highest value that the variant's decoder can produce.
        reconstruction_loss: Name of its loss; bce needs data and output within [0, 1].
        variant: Name of its class, for the message.

    Raises:
        ConfigError: Data or output lie outside; the message names the options that mend it.
    """
    low, high = output_range
    if reconstruction_loss == "bce":
        if low < 0 or high > 1:
            raise ConfigError(
                f"the bce loss needs a reconstruction within [0, 1], but {variant}'s output is not "
                "bounded so: set --model.output_activation sigmoid, or --model.reconstruction_loss mse"
            )
        low, high = 0.0, 1.0
    least, most = float(x.min()), float(x.max())
    slack = 1e-4
    if least < low - slack or most > high + slack:
        what = "bce loss" if reconstruction_loss == "bce" else f"output of {variant}"
        raise ConfigError(
            f"the {what} covers [{low:g}, {high:g}], but the first batch spans [{least:.4g}, {most:.4g}]: set "
            "--data.normalize unit, or choose --model.output_activation none with --model.reconstruction_loss mse"
        )

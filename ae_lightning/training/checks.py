"""Checks that refuse a model, or data, with one sentence."""

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping

import torch
from lightning.pytorch import Trainer
from torch import Tensor

from ae_lightning.errors import ConfigError, TrainingError
from ae_lightning.losses.reconstruction import ReconstructionLossName
from ae_lightning.upstream import private

# Squares of larger data overflow in float16, those beyond 1e19 also in float32.
_LARGE = 100.0


def require_positive(**sizes: int | None) -> None:
    """Check that sizes, given by the name of their option, are at least 1; None stands for no such size.

    Raises:
        ConfigError: One is not.
    """
    for name, size in sizes.items():
        if size is not None and size < 1:
            raise ConfigError(f"--model.{name} is {size}; it must be at least 1")


def require_not_negative(**numbers: float) -> None:
    """Check that numbers, given by the name of their option, are not below zero.

    Raises:
        ConfigError: One is, or is not a number.
    """
    for name, number in numbers.items():
        if not number >= 0:
            raise ConfigError(f"--model.{name} is {number:g}; it must be at least 0")


def require_fraction(**parts: float) -> None:
    """Check that parts of a whole, given by the name of their option, lie in [0, 1).

    Raises:
        ConfigError: One does not.
    """
    for name, part in parts.items():
        if not 0 <= part < 1:
            raise ConfigError(f"--model.{name} is {part:g}; it must be at least 0 and less than 1")


def require_probability(**probabilities: float) -> None:
    """Check that probabilities, given by the name of their option, lie in [0, 1].

    Raises:
        ConfigError: One does not.
    """
    for name, probability in probabilities.items():
        if not 0 <= probability <= 1:
            raise ConfigError(f"--model.{name} is {probability:g}; it must lie between 0 and 1")


@contextlib.contextmanager
def explained_batch_norm() -> Iterator[None]:
    """Say what helps where batch normalization meets a batch of one, which has no spread to normalize by.

    Raises:
        ConfigError: Values were to be normalized over a single one.
    """
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise ConfigError(
            "batch normalization cannot be trained on a batch of a single sample: raise --data.batch_size or, where "
            "only the last batch of an epoch is that small, leave it out with --data.drop_last true"
        ) from error


def require_clippable(optimizer: torch.optim.Optimizer, precision: str | int, clip: float | None) -> None:
    """Check that gradients can be clipped, which a fused optimizer in 16-mixed precision would still have scaled.

    Raises:
        ConfigError: They cannot.
    """
    if clip and precision == "16-mixed" and private(optimizer, "_step_supports_amp_scaling", False):
        raise ConfigError(
            "--trainer.gradient_clip_val with --trainer.precision 16-mixed needs an optimizer that is not fused: set "
            "--model.optimizer.fused false"
        )


def require_trainable(precision: str | int) -> None:
    """Check that training is possible in a precision.

    Raises:
        ConfigError: It is not: in float16 Adam's 1e-8 is zero, small gradients are too, and nothing scales the loss.
    """
    if precision == "16-true":
        raise ConfigError(
            "weights and gradients in float16 cannot be trained, since what is small becomes zero there: set "
            "--trainer.precision 16-mixed (on a GPU), bf16-mixed or bf16-true"
        )


def require_finite_rate(optimizer: torch.optim.Optimizer) -> None:
    """Check that the learning rate of an optimizer is a number that a step can be taken with.

    Raises:
        ConfigError: It is not.
    """
    for group in optimizer.param_groups:
        if not math.isfinite(float(group.get("lr", 0.0))):
            raise ConfigError(f"--model.optimizer.lr is {float(group['lr'])}; it must be a number such as 0.001")


def check_shape(x: Tensor, input_shape: tuple[int, ...], instances: int | None, variant: str) -> None:
    """Check that a batch has the shape of samples that a variant was made for.

    Args:
        x: (batch, *input_shape), or (batch, instances, *input_shape) where each instance has samples of its own.
        input_shape: Shape of one sample.
        instances: Copies that the variant trains side by side, None for a single one.
        variant: Name of its class, for the message.

    Raises:
        ConfigError: It has another.
    """
    lead, shape = x.shape[1 : x.ndim - len(input_shape)], x.shape[x.ndim - len(input_shape) :]
    if tuple(shape) != input_shape or len(lead) > 1:
        own = _by(x.shape[1:])
        raise ConfigError(f"a sample of these data is {own}, but {variant} was made for {_by(input_shape)}")
    if lead and lead[0] != instances:
        own = "a single one" if instances is None else f"{instances} instances"
        raise ConfigError(
            f"these data have samples of their own for each of {lead[0]} instances, but {variant} has {own}: set "
            f"--model.instances {lead[0]} (of shallow variants), or change --data.instances"
        )


def check_target(target: Tensor, output_shape: tuple[int, ...], variant: str) -> None:
    """Check that what a variant is to produce has the shape that it produces.

    Args:
        target: (…, batch, *output_shape), as `pair` gives it.
        output_shape: Shape of one that the variant was made for.
        variant: Name of its class, for the message.

    Raises:
        ConfigError: It has another.
    """
    if target.ndim <= len(output_shape) or tuple(target.shape[target.ndim - len(output_shape) :]) != output_shape:
        raise ConfigError(
            f"a target of these data is {_by(target.shape[1:])}, but {variant} produces {_by(output_shape)}: name "
            "others with --data.target, or choose a Transcoder, which is made for them"
        )


def _by(shape: Iterable[int]) -> str:
    return "×".join(map(str, shape)) or "a single number"


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
            "--data.normalize unit where the data can be scaled, or choose --model.output_activation none with "
            "--model.reconstruction_loss mse"
        )


def check_support(x: Tensor, likelihood: str) -> None:
    """Check that data lie within [0, 1], where a likelihood is defined.

    Args:
        x: A batch of data, of any shape.
        likelihood: What it is called, for the message.

    Raises:
        ConfigError: They do not.
    """
    least, most = float(x.min()), float(x.max())
    if least < 0 or most > 1:
        raise ConfigError(
            f"the {likelihood} likelihood needs data within [0, 1], but the first batch spans [{least:.4g}, "
            f"{most:.4g}]: set --data.normalize unit where the data can be scaled, or --model.likelihood gaussian"
        )


def check_finite(losses: Mapping[str, Tensor], trainer: Trainer, x: Tensor | None = None) -> None:
    """Check that no loss, by name, has become infinite or not a number in the present step of a fit.

    Args:
        losses: Values by name.
        trainer: The trainer of the fit.
        x: The batch that they are the losses of, where it is known.

    Raises:
        TrainingError: One has; the message says what to change, and names the last checkpoint before.
    """
    numbers = {name: float(value.detach()) for name, value in losses.items()}
    broken = [f"{name} is {number}" for name, number in numbers.items() if not math.isfinite(number)]
    if not broken:
        return
    step = trainer.global_step
    if step == 0 and x is not None and float(x.abs().max()) > _LARGE:  # no learning rate has done anything yet
        raise TrainingError(
            f"the loss is not finite before the first step: {broken[-1]}, for values from {float(x.min()):.4g} to "
            f"{float(x.max()):.4g}; bring the data to a smaller scale, with --data.normalize where they have it, or "
            f"train in a wider format with --trainer.precision {'64' if trainer.precision == '32-true' else '32'}-true"
        )
    paths = [getattr(callback, "last_model_path", "") for callback in trainer.checkpoint_callbacks]
    saved = next(filter(None, paths), "none was saved yet")
    raise TrainingError(
        f"the loss is no longer finite at step {step} of epoch {trainer.current_epoch}: "
        f"{broken[-1]}; lower --model.optimizer.lr{_rate(trainer)} or clip gradients with "
        f"--trainer.gradient_clip_val 1 (last good checkpoint: {saved})"
    )


def _rate(trainer: Trainer) -> str:
    rates = [group.get("lr") for optimizer in trainer.optimizers for group in optimizer.param_groups]
    return f" (it is {float(rates[0]):g})" if rates and rates[0] is not None else ""

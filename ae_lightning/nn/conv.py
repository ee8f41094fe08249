"""Convolutional stages that halve an image, and their mirrors, which bring back exactly the size it had."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from torch import nn

from ae_lightning.errors import ConfigError
from ae_lightning.nn.activations import ActivationName, activation

Downsampling = Literal["pool", "stride"]
"""How a stage halves an image: 2×2 max-pooling after the convolution, or a convolution of stride 2."""

Upsampling = Literal["transpose", "bilinear", "bilinear_aligned"]
"""How a stage doubles an image: a transposed convolution of stride 2, or bilinear up-sampling and a convolution.

`bilinear` takes pixels for areas, so that an image is stretched by the same factor everywhere; `bilinear_aligned` takes
them for points and puts the corner pixels onto the corner pixels (torch's `align_corners`).

Where the kernel of a transposed convolution does not divide evenly into strides, neighboring pixels are written by
different numbers of weights, which may show as a checkerboard (Odena et al. 2016); the second way has none.
"""

Size = tuple[int, int]
"""Height and width in pixels."""


def halved(size: Size, downsampling: Downsampling) -> Size:
    """Height and width after a stage: pooling leaves out a last odd row, a strided convolution keeps it."""
    height, width = (n // 2 if downsampling == "pool" else (n + 1) // 2 for n in size)
    return height, width


def sizes_through(size: Size, stages: int, downsampling: Downsampling) -> list[Size]:
    """Height and width before the first stage and after each: 28, 14, 7, 3 for three stages of pooling."""
    sizes = [size]
    for _ in range(stages):
        sizes.append(halved(sizes[-1], downsampling))
    return sizes


def smallest_side(stages: int, downsampling: Downsampling) -> int:
    """Fewest pixels a side may have for at least one to be left, each stage having two or more to work on."""
    return 2**stages if downsampling == "pool" else 2 ** (stages - 1) + 1


def require_images(input_shape: tuple[int, ...], smallest: int, taker: str, *, vectors: str, smaller: str) -> None:
    """Check that samples are images that can be halved as often as is asked.

    Args:
        input_shape: Shape of one sample.
        smallest: Pixels that its height and its width must have at least.
        taker: What takes them, for the message.
        vectors: What to choose instead for samples that are no images.
        smaller: What to choose instead for smaller images.

    Raises:
        ConfigError: They are vectors, or smaller.
    """
    shape = "×".join(map(str, input_shape))
    if len(input_shape) != 3:
        raise ConfigError(
            f"{taker} takes images (channels, height, width), but a sample of these data is {shape}: give arrays "
            f"their shape with --data.sample_shape, or choose {vectors}"
        )
    if min(input_shape[1:]) < smallest:
        raise ConfigError(
            f"images of {shape} are too small for {taker}, which takes sides of at least {smallest} pixels: "
            f"choose {smaller}"
        )


class DownStage(nn.Sequential):
    """A 3×3 convolution, an activation, batch normalization where wanted, and halving.

    Args:
        channels_in: Channels of the input.
        channels_out: Channels of the output.
        activation_name: Activation after the convolution.
        batch_norm: Whether channels are normalized over the batch and all pixels.
        downsampling: How the image is halved.
        linear: Whether pooling takes the mean in place of the largest, so that a stage without activation is linear.

    Shapes: (batch, channels_in, height, width) to (batch, channels_out, *halved((height, width), downsampling)).
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        activation_name: ActivationName = "relu",
        batch_norm: bool = False,
        downsampling: Downsampling = "pool",
        linear: bool = False,
    ) -> None:
        stride = 1 if downsampling == "pool" else 2
        parts = [nn.Conv2d(channels_in, channels_out, 3, stride, padding=1), activation(activation_name)]
        if batch_norm:
            parts.append(nn.BatchNorm2d(channels_out))
        if downsampling == "pool":
            parts.append(nn.AvgPool2d(2) if linear else nn.MaxPool2d(2))
        super().__init__(*parts)


def doubling(
    channels_in: int, channels_out: int, size: Size, target: Size, upsampling: Upsampling, kernel: int = 3
) -> nn.Module:
    """The convolution of an up-sampling stage, without an activation.

    Args:
        channels_in: Channels of the input.
        channels_out: Channels of the output.
        size: Height and width of the input.
        target: Height and width of the output: twice the input's, or one pixel more or less.
        upsampling: How the image is doubled.
        kernel: Side of the transposed convolution's kernel, 2 or 3, along a side that doubles exactly; along another
            it is 3, so that no row or column is left that only the bias writes. Bilinear up-sampling is followed by
            a 3×3 convolution.

    Shapes: (batch, channels_in, *size) to (batch, channels_out, *target).
    """
    if upsampling != "transpose":
        return nn.Sequential(
            nn.Upsample(target, mode="bilinear", align_corners=upsampling == "bilinear_aligned"),
            nn.Conv2d(channels_in, channels_out, 3, padding=1),
        )
    sides = [_transposed_side(n, wanted, kernel) for n, wanted in zip(size, target, strict=True)]
    kernels, paddings, extra = zip(*sides, strict=True)
    return nn.ConvTranspose2d(channels_in, channels_out, kernels, 2, paddings, output_padding=extra)


def up_stages(
    widths: Sequence[int],
    sizes: Sequence[Size],
    activation_name: ActivationName,
    batch_norm: bool,
    upsampling: Upsampling,
) -> list[nn.Module]:
    """Stages up to the size of the image, as wide as the encoder's: 64 → 64 → 32 → 16 channels.

    Args:
        widths: Channels of the encoder's stages, from the image on: (16, 32, 64).
        sizes: Height and width of the image and after each of the encoder's stages.
        activation_name: Activation after each convolution.
        batch_norm: Whether channels are normalized over the batch and all pixels.
        upsampling: How the image is doubled.
    """
    stages: list[nn.Module] = []
    incoming = widths[-1]
    for outgoing, (target, size) in zip(widths[::-1], list(pairwise(sizes))[::-1], strict=True):
        norm = [nn.BatchNorm2d(outgoing)] if batch_norm else []
        convolution = doubling(incoming, outgoing, size, target, upsampling)
        stages.append(nn.Sequential(convolution, activation(activation_name), *norm))
        incoming = outgoing
    return stages


def _transposed_side(size: int, target: int, kernel: int) -> tuple[int, int, int]:
    """Kernel, padding and output padding along one side for (size − 1) · 2 − 2 · padding + kernel + extra = target."""
    choices = {2 * size - 1: (3, 1, 0), 2 * size: (2, 0, 0) if kernel == 2 else (3, 1, 1), 2 * size + 1: (3, 0, 0)}
    return choices[target]

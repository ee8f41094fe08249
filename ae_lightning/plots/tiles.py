"""Pictures as arrays: images to RGB, and many of them on one tile. Fast enough to be written during training.

Everything is uint8 RGB. Pixels without a value (NaN or infinite, the padding of a vector, the space between
images) have one color, ``NO_VALUE``, which neither color scale uses.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import torch

Array = np.ndarray[Any, Any]

# A slate blue-gray: apart from every gray, and from the blues and reds of the signed scale.
NO_VALUE = (148, 156, 176)
SIGNED_COLORMAP = "RdBu_r"
# Vectors up to this length are drawn as a strip, in which each entry can be counted.
_LONGEST_STRIP = 32


def to_numpy(x: Any) -> Array:
    """A tensor on any device, or an array, as a float32 array."""
    return x.detach().cpu().float().numpy() if isinstance(x, torch.Tensor) else np.asarray(x, dtype=np.float32)


def as_images(vectors: Any, image_shape: tuple[int, ...]) -> Array:
    """Give flat vectors the shape of the images that they stand for.

    Args:
        vectors: Shape (n, ...), with as many entries per vector as ``image_shape`` has.
        image_shape: ``(c, h, w)``, ``(h, w)``, or ``(d,)`` where there is no image. A vector of up to 32
            entries becomes a strip of 1 by d, a longer one a near-square picture filled row by row, its last
            row padded with NaN.

    Returns:
        float32 array of shape (n, c, h, w).

    Raises:
        ValueError: If ``image_shape`` has more than three dimensions or does not fit the vectors.
    """
    flat = to_numpy(vectors)
    flat = flat.reshape(len(flat), -1)
    if not 1 <= len(image_shape) <= 3 or math.prod(image_shape) != flat.shape[1]:
        raise ValueError(f"vectors of {flat.shape[1]} entries cannot be shown as images of shape {image_shape}")
    if len(image_shape) > 1:
        channels = image_shape[:-2] or (1,)
        return flat.reshape(-1, *channels, *image_shape[-2:])
    length = image_shape[0]
    width = length if length <= _LONGEST_STRIP else math.ceil(math.sqrt(length))
    height = math.ceil(length / width)
    padded = np.full((len(flat), height * width), np.nan, dtype=np.float32)
    padded[:, :length] = flat
    return padded.reshape(-1, 1, height, width)


def viewable_shape(sample_shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape in which samples can be shown: their own if it is a picture's or a vector's, else one flat vector.

    Pictures are (h, w), or (c, h, w) with one channel or three; other channels are shown below each other.
    """
    if len(sample_shape) == 3:
        channels, height, width = sample_shape
        return sample_shape if channels in (1, 3) else (channels * height, width)
    return sample_shape if len(sample_shape) < 3 else (math.prod(sample_shape),)


def is_picture(sample_shape: tuple[int, ...]) -> bool:
    """Whether samples of this shape are pictures: (h, w) or (channels, h, w); vectors are none, however long."""
    return len(viewable_shape(sample_shape)) > 1


def to_rgb_gray(images: Any, value_range: tuple[float, float] | None = None) -> Array:
    """Show images of one channel in gray, and images of three in color.

    Args:
        images: Shape (n, c, h, w) with c = 1 or 3.
        value_range: The values shown as black and as white; what lies outside is clipped. None takes the
            smallest and the largest value of all the images together.

    Returns:
        uint8 array of shape (n, h, w, 3).

    Raises:
        ValueError: If the shape is another one.
    """
    pixels = _channels_last(images)
    finite = _finite(pixels)
    low, high = value_range if value_range is not None else _range(pixels[finite])
    rgb = _to_bytes((pixels - low) / ((high - low) or 1.0))
    return _mark(np.broadcast_to(rgb, (*rgb.shape[:3], 3)), finite)


def to_rgb_signed(images: Any, limit: float | None = None, *, shared: bool = True) -> Array:
    """Show signed images: zero white, positive red, negative blue (RdBu, safe for color-blind readers).

    Three channels have no place left for a diverging scale. They are shown as color about a middle gray
    instead: zero is gray, and a channel is brighter where it is positive and darker where it is negative.

    Args:
        images: Shape (n, c, h, w) with c = 1 or 3.
        limit: The magnitude shown in full color; what lies beyond is clipped. None takes the largest
            magnitude.
        shared: Whether that largest magnitude is taken over all images or over each image by itself.

    Returns:
        uint8 array of shape (n, h, w, 3).

    Raises:
        ValueError: If the shape is another one.
    """
    pixels = _channels_last(images)
    finite = _finite(pixels)
    if limit is None:
        magnitude = np.where(finite[..., None], np.abs(pixels), 0)
        scale = magnitude.max(axis=None if shared else (1, 2, 3), keepdims=True, initial=0.0)
    else:
        scale = np.full((1, 1, 1, 1), limit, dtype=np.float32)
    shade = _to_bytes(0.5 + 0.5 * pixels / np.where(scale > 0, scale, 1))
    rgb = shade if shade.shape[-1] == 3 else _signed_colors()[shade[..., 0]]
    return _mark(rgb, finite)


def tile(
    images: Array,
    columns: int | None = None,
    *,
    pad: int = 1,
    fill: tuple[int, int, int] = NO_VALUE,
    scale: int = 1,
) -> Array:
    """Lay RGB images out on one picture, row by row.

    Args:
        images: uint8 array of shape (n, h, w, 3), as the ``to_rgb`` functions answer it.
        columns: Images per row; None makes the picture near-square.
        pad: Pixels between images and around them.
        fill: Color of the padding and of places without an image.
        scale: Whole factor by which each pixel is enlarged, the padding not.

    Returns:
        uint8 array of shape (H, W, 3), where H = rows (h scale + pad) + pad, and W alike.

    Raises:
        ValueError: If ``images`` is not a non-empty stack of RGB images.
    """
    if images.ndim != 4 or images.shape[-1] != 3 or 0 in images.shape:
        raise ValueError(f"a tile is made of RGB images of shape (n, h, w, 3), but theirs is {images.shape}")
    images = images.repeat(scale, axis=1).repeat(scale, axis=2)
    n, height, width, _ = images.shape
    columns = min(n, columns or math.ceil(math.sqrt(n * height / width)))
    rows = math.ceil(n / columns)
    canvas = np.empty((rows * columns, height + pad, width + pad, 3), dtype=np.uint8)
    canvas[...] = fill
    canvas[:n, pad:, pad:] = images
    canvas = canvas.reshape(rows, columns, height + pad, width + pad, 3).swapaxes(1, 2)
    picture = np.empty((rows * (height + pad) + pad, columns * (width + pad) + pad, 3), dtype=np.uint8)
    picture[...] = fill
    picture[: rows * (height + pad), : columns * (width + pad)] = canvas.reshape(
        rows * (height + pad), columns * (width + pad), 3
    )
    return picture


def _channels_last(images: Any) -> Array:
    pixels = to_numpy(images)
    if pixels.ndim != 4 or pixels.shape[1] not in (1, 3):
        raise ValueError(f"images must have the shape (n, 1 or 3, h, w), but theirs is {pixels.shape}")
    return np.moveaxis(pixels, 1, -1)


def _finite(pixels: Array) -> Array:
    return np.asarray(np.isfinite(pixels).all(axis=-1))


def _range(values: Array) -> tuple[float, float]:
    return (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)


def _to_bytes(unit: Array) -> Array:
    """Map [0, 1] to 0 ... 255; what is not a number becomes 0 and is marked afterwards."""
    return (np.nan_to_num(unit).clip(0, 1) * 255 + 0.5).astype(np.uint8)


def _mark(rgb: Array, finite: Array) -> Array:
    return np.where(finite[..., None], rgb, np.array(NO_VALUE, dtype=np.uint8))


@cache
def _signed_colors() -> Array:
    """The 256 colors of the signed scale, with an exact white at 128, where zero falls."""
    from matplotlib import colormaps

    colors = (colormaps[SIGNED_COLORMAP](np.arange(256))[:, :3] * 255).round().astype(np.uint8)
    colors[128] = 255
    return colors

"""What the hidden layers of an encoder give: feature maps of one sample, activations of many."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.ticker import MaxNLocator

from ae_lightning.plots.figure import Figure
from ae_lightning.plots.tiles import NO_VALUE, SIGNED_COLORMAP, Array, tile, to_numpy, to_rgb_gray, to_rgb_signed

_WIDTH = 10.0
_MAPS_WIDTH = 9.0
_LEGIBLE_SIDE = 28
# A few activations far beyond all others would leave these black.
_PERCENTILE = 99
_NO_VALUE = (NO_VALUE[0] / 255, NO_VALUE[1] / 255, NO_VALUE[2] / 255)
# Units that nothing excites, in an orange that neither color scale of the activations has at its dark end.
_MARK: dict[str, Any] = {"color": "#D55E00", "markersize": 3, "clip_on": False}


def feature_maps(
    maps: Sequence[Any],
    names: Sequence[str] | None = None,
    columns: int = 16,
    title: str | None = None,
    max_maps: int = 32,
) -> Figure:
    """Draw the feature maps of one sample: a panel per layer, an image per channel.

    A layer has one scale of its own for all its channels, beside it: black to white from zero to its
    largest value; a layer with negative values is blue below zero and red above.

    Args:
        maps: For each layer, its output for one sample, (channels, h, w).
        names: Names of the layers; None numbers them from 1.
        columns: Maps per row.
        title: Title of the figure.
        max_maps: Number of maps of a layer to show, the first ones; the panel says where more were left out.

    Returns:
        The figure.

    Raises:
        ValueError: If there are no layers, a layer has another shape, or the number of names is another one.
    """
    layers = _layers(maps, names, 3, "(channels, h, w) of one sample")
    pictures = [_tiled(values[:max_maps], columns) for _, values in layers]
    figure, axes = _panels([float(np.clip(_MAPS_WIDTH * len(p) / p.shape[1], 0.5, 6)) for p in pictures], 0.35, title)
    for ax, picture, (name, values) in zip(axes, pictures, layers, strict=True):
        channels, height, width = values.shape
        ax.imshow(picture, interpolation="nearest")
        ax.set(xticks=[], yticks=[])
        part = f"first {max_maps} of {channels} maps" if max_maps < channels else f"{channels} maps"
        ax.set_title(f"{name}: {part} of {height} × {width}", fontsize=10, loc="left")
        low, high = _scale(values[:max_maps])
        _color_bar(figure, ax, ScalarMappable(Normalize(low, high), "gray" if low == 0 else SIGNED_COLORMAP))
    return figure


def layer_activations(outputs: Sequence[Any], names: Sequence[str] | None = None, title: str | None = None) -> Figure:
    """Draw the activations of hidden layers: a panel per layer, a row per sample, a column per unit.

    Args:
        outputs: For each layer, its outputs (samples, width).
        names: Names of the layers; None numbers them from 1.
        title: Title of the figure.

    Returns:
        The figure. Each panel says how many units are above zero for none of the samples, and marks them above.
        The 99th percentile of what is not zero has full color, and so has what lies beyond.

    Raises:
        ValueError: If there are no layers, a layer has another shape, or the number of names is another one.
    """
    layers = _layers(outputs, names, 2, "(samples, width)")
    figure, axes = _panels([1.9] * len(layers), 0.6, title)
    for ax, (name, values) in zip(axes, layers, strict=True):
        low, high = _scale(values, _PERCENTILE)
        colors = colormaps["magma" if low == 0 else SIGNED_COLORMAP].with_extremes(bad=_NO_VALUE)
        image = ax.imshow(values, colors, vmin=low, vmax=high, aspect="auto", interpolation="nearest")
        silent = np.flatnonzero((values <= 0).all(axis=0))
        if silent.size:  # an empty line that is not clipped would confuse the layout
            ax.plot(silent, np.full(silent.size, 1.03), "v", transform=ax.get_xaxis_transform(), **_MARK)
        silent_ones = "silent on these samples" if low == 0 else "never above zero on these samples"
        units = "1 unit" if values.shape[1] == 1 else f"{values.shape[1]} units"
        ax.set_title(f"{name}: {units}", fontsize=10, loc="left", pad=9)
        share = f"{silent_ones}: {silent.size} of {values.shape[1]}"
        ax.set_title(share, fontsize=10, loc="right", pad=9, color=_MARK["color"])
        ax.set_ylabel("sample")
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(MaxNLocator(9, steps=[1, 2, 5, 10], integer=True))
        if values.shape[1] == 1:  # half a unit to each side would be named otherwise
            ax.set_xticks([0])
        _color_bar(figure, ax, image, "both" if low < 0 else "max")
    axes[-1].set_xlabel("unit")
    return figure


def _layers(arrays: Sequence[Any], names: Sequence[str] | None, ndim: int, shape: str) -> list[tuple[str, Array]]:
    """Each layer's name and its values, checked."""
    if not arrays:
        raise ValueError("there are no hidden layers to show")
    names = [f"layer {i}" for i in range(1, len(arrays) + 1)] if names is None else names
    if len(names) != len(arrays):
        raise ValueError(f"there are {len(arrays)} layers, but {len(names)} names")
    layers = [(name, to_numpy(values)) for name, values in zip(names, arrays, strict=True)]
    for name, values in layers:
        if values.ndim != ndim or values.size == 0:
            raise ValueError(f"a layer must have the shape {shape}, but that of {name} is {values.shape}")
    return layers


def _panels(heights: Sequence[float], between: float, title: str | None) -> tuple[Figure, Array]:
    """A figure with a panel of each height under each other, and the room between them, in inches."""
    size = (_WIDTH, sum(heights) + between * len(heights) + (0.5 if title else 0.1))
    figure = Figure(figsize=size, layout="constrained")
    if title:
        figure.suptitle(title, fontsize=12)
    return figure, figure.subplots(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]


def _tiled(maps: Array, columns: int) -> Array:
    """Maps (n, h, w) side by side, small ones enlarged, so that what lies between them is thin."""
    low, high = _scale(maps)
    images = maps[:, None]
    rgb = to_rgb_gray(images, (low, high)) if low == 0 else to_rgb_signed(images, high)
    return tile(rgb, columns, scale=math.ceil(_LEGIBLE_SIDE / max(maps.shape[1:])))


def _scale(values: Array, percentile: float = 100) -> tuple[float, float]:
    """From zero to the largest value, or symmetric about zero where some are negative; zeros do not count."""
    magnitudes = np.abs(values[np.isfinite(values) & (values != 0)])
    limit = float(np.percentile(magnitudes, percentile)) if magnitudes.size else 1.0
    return (-limit if (values < 0).any() else 0.0), limit


def _color_bar(figure: Figure, ax: Axes, scale: ScalarMappable, extend: str = "neither") -> None:
    bar = figure.colorbar(scale, ax=ax, aspect=15, pad=0.01, fraction=0.03, extend=extend)
    bar.ax.tick_params(labelsize=8)

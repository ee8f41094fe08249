"""Codebooks: how often each code is chosen, and what codes decode to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ae_lightning.plots.checks import finite_array
from ae_lightning.plots.figure import Figure
from ae_lightning.plots.tiles import as_images, to_rgb_gray
from ae_lightning.plots.weights import cell_size, draw_cells

_MOST_IN_A_LEGEND = 10
_COLUMNS = 12


def code_usage(counts: Any) -> Figure:
    """Draw how often each code is chosen, the most frequent first: a line for each codebook.

    Codes that are never chosen have no point. A dotted line is where all codes are chosen equally often.

    Args:
        counts: How often each code was chosen, (book, code).

    Returns:
        The figure.

    Raises:
        ValueError: The shape is another one, or a book has not been used at all.
    """
    found = finite_array("counts", counts, 2, "(book, code)").astype(np.float64)
    totals = found.sum(axis=1, keepdims=True)
    if found.min() < 0 or totals.min() == 0:
        raise ValueError("counts must not be negative, and each book must have been used")
    books, codes = found.shape
    figure = Figure(figsize=(7.2, 3.4), layout="constrained")
    ax = figure.subplots()
    for book, shares in enumerate(np.sort(found / totals)[:, ::-1]):
        used = shares[shares > 0]
        label = f"book {book}: {len(used)} of {codes} codes" if books > 1 else f"{len(used)} of {codes} codes"
        ax.plot(np.arange(1, len(used) + 1), used, drawstyle="steps-mid", lw=1.2, label=label)
    ax.axhline(1 / codes, color="0.5", lw=0.8, ls=":")
    ax.set(xlim=(0.5, codes + 0.5), yscale="log", xlabel="codes, the most frequent first", ylabel="share of choices")
    if books <= _MOST_IN_A_LEGEND:
        ax.legend(fontsize=8, frameon=False)
    return figure


def code_pictures(
    pictures: Any,
    image_shape: tuple[int, ...],
    codes: Sequence[Sequence[int]],
    names: Sequence[str],
    value_range: tuple[float, float] | None = None,
) -> Figure:
    """Draw what codes decode to, each under its number; each row of `codes` begins a new line, with its name.

    Args:
        pictures: The images of all rows, one after the other, (n, ...).
        image_shape: Shape of one, ``(c, h, w)`` or ``(h, w)``.
        codes: Their numbers, in rows of one length.
        names: Name of each row.
        value_range: The values shown as black and as white; None takes those of the pictures.

    Returns:
        The figure.

    Raises:
        ValueError: The shapes do not fit.
    """
    rgb = to_rgb_gray(as_images(pictures, image_shape), value_range)
    labels = [f"#{code}" for row in codes for code in row]
    if len(labels) != len(rgb) or len({len(row) for row in codes}) != 1 or len(names) != len(codes):
        raise ValueError(f"{len(rgb)} pictures need as many codes, in rows of one length that have a name each")
    columns = min(len(codes[0]), _COLUMNS)
    lines_of_each = -(-len(codes[0]) // columns)
    if lines_of_each * columns != len(codes[0]) and len(codes) > 1:
        raise ValueError(f"several rows can have {_COLUMNS} codes at most")
    width, height = cell_size(rgb, labeled=True)
    lines = lines_of_each * len(codes)
    inches = min(0.8, 9.0 / (columns * width))
    size = (columns * width * inches + 1.2, max(1.6, lines * height * inches + 0.3))
    figure = Figure(figsize=size, layout="constrained")
    ax = figure.subplots()
    _, y = draw_cells(ax, rgb, columns, labels)
    for place, name in enumerate(names):
        ax.text(-0.2, y[place * lines_of_each], name, fontsize=8, ha="right", va="center")
    ax.set_axis_off()
    return figure

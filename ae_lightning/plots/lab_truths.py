"""What latents stand for, beside what they should: all cosines, those within a family, and a tree of truths."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from ae_lightning.plots.checks import finite_array, fractions
from ae_lightning.plots.figure import Figure
from ae_lightning.plots.tiles import SIGNED_COLORMAP, Array

_MOST_SQUARES = 320
_MOST_NUMBERS = 10
_MOST_COLUMNS = 3
_RECOVERY = "viridis"


class Family(NamedTuple):
    """A parent, its children, and their latents."""

    cosines: Any  #: (latents, truths)
    latents: Sequence[str]  #: names of the rows
    truths: Sequence[str]  #: names of the columns


def match_matrices(cosines: Mapping[str, Any]) -> Figure:
    """Draw how latents and truths are matched: |cosine| of each latent with each truth, a panel for each model.

    Where all is recovered, the diagonal is dark and nothing else is. Large matrices are drawn in blocks, each with the
    largest of its cosines.

    Args:
        cosines: By the name of a model (truths, latents): truths in any order, latents in that of the truths that they
            are matched with.

    Raises:
        ValueError: There is nothing to draw, or a cosine is not finite.
    """
    if not cosines:
        raise ValueError("there are no models to draw")
    figure, axes = _panels(len(cosines), 3.6, 3.5)
    for ax, (name, values) in zip(axes, cosines.items(), strict=True):
        matrix = np.abs(finite_array("cosines", values, 2, "(truths, latents)"))
        image = ax.imshow(
            _blocks(matrix), vmin=0, vmax=1, cmap="Blues", interpolation="nearest", aspect="auto",
            extent=(0, matrix.shape[1], matrix.shape[0], 0),
        )  # fmt: skip
        ax.set_title(name, fontsize=10)
        ax.set(xlabel="latents, by the truth they are matched with", ylabel="truths, most frequent first")
        ax.xaxis.label.set_fontsize(8)
        ax.yaxis.label.set_fontsize(8)
        ax.tick_params(labelsize=8)
    figure.colorbar(image, ax=list(axes), label="|cosine|", shrink=0.8)
    return figure


def _blocks(matrix: Array) -> Array:
    """The largest number of each block, so that a single bright one is not lost."""
    for axis in (0, 1):
        step = math.ceil(matrix.shape[axis] / _MOST_SQUARES)
        starts = np.arange(0, matrix.shape[axis], step)
        matrix = np.maximum.reduceat(matrix, starts, axis=axis)
    return matrix


def families(shown: Mapping[str, Family]) -> Figure:
    """Draw cosines of latents with a parent and its children: an absorbing latent of a child leans to the parent.

    Args:
        shown: By the name of a model its family; the truths themselves, for comparison, are one too.

    Raises:
        ValueError: There is nothing to draw, a cosine is not finite, or names are missing.
    """
    if not shown:
        raise ValueError("there are no families to draw")
    figure, axes = _panels(len(shown), 4.1, 3.3)
    for ax, (name, family) in zip(axes, shown.items(), strict=True):
        matrix = finite_array("cosines", family.cosines, 2, "(latents, truths)")
        if matrix.shape != (len(family.latents), len(family.truths)):
            raise ValueError(
                f"there are names of {len(family.latents)} latents and {len(family.truths)} truths, but cosines of "
                f"{matrix.shape}"
            )
        image = ax.imshow(matrix, vmin=-1, vmax=1, cmap=SIGNED_COLORMAP, interpolation="nearest", aspect="auto")
        ax.set_xticks(range(len(family.truths)), labels=family.truths, fontsize=8, rotation=30, ha="right")
        ax.set_yticks(range(len(family.latents)), labels=family.latents, fontsize=8)
        ax.set_title(name, fontsize=10)
        if max(matrix.shape) <= _MOST_NUMBERS:
            _number(ax, matrix)
    figure.colorbar(image, ax=list(axes), label="cosine", shrink=0.8)
    return figure


def _number(ax: Axes, matrix: Array) -> None:
    for (row, column), value in np.ndenumerate(matrix):
        color = "white" if abs(value) > 0.6 else "black"
        text = f"{value:.2f}".replace("-", "−")
        ax.text(column, row, text, color=color, fontsize=7, ha="center", va="center")


def forest(parents: Any, recovered: Mapping[str, Any], label: str = "|cosine| with its latent") -> Figure:
    """Draw trees of truths, each colored by how well it is recovered, a panel for each model.

    Args:
        parents: The parent (features,) of each truth, -1 of roots.
        recovered: By the name of a model, a number from 0 to 1 for each truth (features,).
        label: What the numbers are.

    Raises:
        ValueError: There is nothing to draw, a number is out of range, or there are not as many as truths.
    """
    above = np.asarray(parents).astype(int)
    if not recovered or not len(above):
        raise ValueError("there are no truths to draw")
    across, depth = _places(above)
    figure, axes = _panels(len(recovered), 6.0, 2.0 + 0.4 * depth.max(), columns=2)
    children = np.flatnonzero(above >= 0)
    ends = np.stack([across, -depth], axis=1)
    size = float(np.clip(9000 / len(above), 6, 90))
    for ax, (name, values) in zip(axes, recovered.items(), strict=True):
        numbers = fractions("recovered", values, 1, "(features,)")
        if len(numbers) != len(above):
            raise ValueError(f"there are {len(above)} truths, but numbers of {len(numbers)}")
        lines = np.stack([ends[children], ends[above[children]]], axis=1)
        ax.add_collection(LineCollection(list(lines), colors="#B0B0B0", linewidths=0.7, zorder=1))
        dots = ax.scatter(
            *ends.T, s=size, c=numbers, cmap=_RECOVERY, vmin=0, vmax=1, zorder=2, edgecolors="#404040", linewidths=0.3
        )
        ax.set_title(name, fontsize=10)
        ax.set(xticks=[], yticks=range(-int(depth.max()), 1))
        ax.set_yticklabels([f"depth {-level:g}" for level in ax.get_yticks()], fontsize=8)
        ax.margins(0.03, 0.15)
        ax.spines[:].set_visible(False)
    figure.colorbar(dots, ax=list(axes), label=label, shrink=0.8)
    return figure


def _places(parents: Array) -> tuple[Array, Array]:
    """Where truths stand: leaves side by side, others above the middle of their children; and their depths."""
    below: list[list[int]] = [[] for _ in parents]
    for child, parent in enumerate(parents):
        if parent >= 0:
            below[parent].append(child)
    across, depth = np.zeros(len(parents)), np.zeros(len(parents), dtype=int)
    free = 0.0
    for root in np.flatnonzero(parents < 0):
        order = [int(root)]
        for node in order:  # which grows: all of a tree, parents before their children
            depth[below[node]] = depth[node] + 1
            order += below[node]
        free = _place_tree(int(root), below, across, free) + 0.7
    return across, depth


def _place_tree(root: int, below: Sequence[Sequence[int]], across: Array, free: float) -> float:
    """Place a tree from `free` on, and answer where the next may begin."""
    waiting: list[tuple[int, bool]] = [(root, False)]
    while waiting:
        node, has_children_placed = waiting.pop()
        if not below[node]:
            across[node] = free
            free += 1
        elif has_children_placed:
            across[node] = np.mean(across[list(below[node])])
        else:
            waiting.append((node, True))
            waiting += [(child, False) for child in reversed(below[node])]
    return free


def _panels(count: int, width: float, height: float, columns: int = _MOST_COLUMNS) -> tuple[Figure, Array]:
    """A figure with so many panels, in rows."""
    across = min(count, columns)
    down = math.ceil(count / across)
    figure = Figure(figsize=(width * across + 0.8, height * down), layout="constrained")
    axes = figure.subplots(down, across, squeeze=False).flatten()
    for ax in axes[count:]:
        ax.set_visible(False)
    return figure, axes[:count]

"""One reconstruction as a sum: the bias, what each of the strongest latents adds, and the rest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from ae_lightning.analysis.contributions import Contributions
from ae_lightning.plots.figure import Figure
from ae_lightning.plots.scatter import CLASS_COLORS
from ae_lightning.plots.tiles import (
    SIGNED_COLORMAP,
    Array,
    as_images,
    to_numpy,
    to_rgb_gray,
    to_rgb_signed,
    viewable_shape,
)

_COLUMNS = 6
# As parts of the width of an image: the room for a sign, and that for two lines of text.
_SIGN_GAP, _LABEL_SPACE = 0.32, 0.42
_BIAS, _REST = "#777777", "#DDDDDD"


class _Term(NamedTuple):
    """One image of the equation, or one layer of the bars: its sign, name, a note on it, and its values (input,)."""

    sign: str
    name: str
    note: str
    values: Array


def contribution_images(
    contributions: Contributions,
    x: Any,
    shape: tuple[int, ...],
    value_range: tuple[float, float] | None = None,
    reconstruction: Any = None,
    title: str | None = None,
) -> Figure:
    """Draw an equation of images: input ≈ reconstruction = bias + what each latent adds + what the rest adds.

    Input and reconstruction are gray (or in color). The terms of the sum are signed, all on one scale: red adds, blue
    takes away, white is zero; terms of three channels are color about a middle gray.

    Args:
        contributions: The terms, of ``analysis.contributions``.
        x: The input, of any shape with as many entries as ``shape``.
        shape: Shape of the images: ``(h, w)``, ``(c, h, w)``, or ``(d,)`` where there is no image.
        value_range: The values shown as black and as white; None takes those of input and reconstruction.
        reconstruction: What the model answers, where it applies an output activation to the sum. The sum is then
            drawn as well, as a signed image. None takes the sum for the reconstruction.
        title: What to write above the sentence that explains the figure.

    Returns:
        The figure.

    Raises:
        ValueError: If a shape does not fit.
    """
    grays = [_Term("", "input", "", to_numpy(x).reshape(-1))]
    signed = _terms(contributions)
    if reconstruction is None:
        grays.append(_Term("≈", "reconstruction", "", to_numpy(contributions.total)))
    else:
        grays.append(_Term("≈", "reconstruction", "", to_numpy(reconstruction).reshape(-1)))
        signed.insert(0, _Term("←", "sum", "before activation", to_numpy(contributions.total)))
    _require_one_length([*grays, *signed])
    view = viewable_shape(shape)
    images = as_images([term.values for term in signed], view)
    limit = float(np.nan_to_num(np.abs(images), posinf=0).max()) or 1.0
    rgb = [
        *to_rgb_gray(as_images([term.values for term in grays], view), value_range),
        *to_rgb_signed(images, limit),
    ]
    figure, ax = _draw_equation([*grays, *signed], rgb)
    if images.shape[1] == 1:
        scale = ScalarMappable(Normalize(-limit, limit), cmap=SIGNED_COLORMAP)
        bar = figure.colorbar(scale, ax=ax, shrink=0.8, aspect=22, pad=0.02)
        bar.set_label("what a term adds", fontsize=9)
        bar.ax.tick_params(labelsize=8)
    figure.suptitle(_sentence(contributions, title, reconstruction is not None, images.shape[1]), fontsize=10)
    return figure


def contribution_bars(
    contributions: Contributions, x: Any, names: Sequence[str] | None = None, title: str | None = None
) -> Figure:
    """Draw, for each entry of a vector, what adds up to its reconstruction: stacked bars, for up to about 64 entries.

    What is positive is stacked upward from zero and what is negative downward; the reconstruction, a black diamond, is
    the sum of both ends. The input is a white disk.

    Args:
        contributions: The terms, of ``analysis.contributions``.
        x: The input, (input,).
        names: Names of the entries; None numbers them from 0.
        title: What to write above the sentence that explains the figure.

    Returns:
        The figure.

    Raises:
        ValueError: If a shape does not fit, or the number of names is another one.
    """
    target = to_numpy(x)
    terms = _terms(contributions)
    _require_one_length([_Term("", "input", "", target), *terms])
    n = target.size
    if names is not None and len(names) != n:
        raise ValueError(f"there are {n} entries, but {len(names)} names")
    width = float(np.clip(0.25 * n + 4, 7, 20))
    figure = Figure(figsize=(width, 4.6), layout="constrained")
    ax = figure.subplots()
    places, upper, lower = np.arange(n), np.zeros(n), np.zeros(n)
    for term, style in zip(terms, _styles(terms), strict=True):
        bottom = np.where(term.values >= 0, upper, lower)
        label = f"{term.name}  ({term.note})" if term.note else term.name
        ax.bar(places, term.values, 0.8, bottom, label=label, edgecolor="white", linewidth=0.5, **style)
        upper, lower = upper + term.values.clip(min=0), lower + term.values.clip(max=0)
    total = to_numpy(contributions.total)
    # Black on white, and white about black: the colors of the bars are light and dark.
    ax.plot(places, target, "o", color="white", markersize=9, markeredgecolor="black", label="input", zorder=3)
    marks: dict[str, Any] = {"markersize": 6, "markeredgecolor": "white", "markeredgewidth": 0.6}
    ax.plot(places, total, "D", color="black", label="reconstruction (the sum)", zorder=4, **marks)
    ax.axhline(0, color="black", linewidth=0.8)
    ax.set(xlabel="entry of the input", ylabel="value", xlim=(-0.7, n - 0.3))
    if names is not None:
        slanted = 0.065 * sum(len(name) + 1 for name in names) > width - 3  # inches, beside the legend
        ax.set_xticks(places, labels=names, fontsize=8, rotation=90 if slanted else 0)
        ax.set_xlabel("")
    else:
        ax.xaxis.set_major_locator(MaxNLocator(16, steps=[1, 2, 5, 10], integer=True))
    ax.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right center", frameon=False, fontsize=9)
    figure.suptitle(_sentence(contributions, title, activated=False), fontsize=10)
    return figure


def _terms(contributions: Contributions) -> list[_Term]:
    """The terms of the sum: bias, parts, and the rest where there is one."""
    terms = [_Term("=", "bias", "", to_numpy(contributions.bias))]
    codes = contributions.codes.tolist()
    for latent, code, part in zip(contributions.latents.tolist(), codes, to_numpy(contributions.parts), strict=True):
        terms.append(_Term("+", f"#{latent}", f"z = {code:.3g}".replace("-", "−"), part))
    if contributions.rest_count:
        count = contributions.rest_count
        terms.append(_Term("+", "rest", f"{count} latent{'s' * (count > 1)}", to_numpy(contributions.rest)))
    return terms


def _require_one_length(terms: Sequence[_Term]) -> None:
    length = terms[-1].values.size
    for term in terms:
        if term.values.shape != (length,):
            raise ValueError(
                f"the decoder writes vectors ({length},), but the shape of {term.name} is {term.values.shape}"
            )


def _sentence(contributions: Contributions, title: str | None, activated: bool, channels: int = 1) -> str:
    count = len(contributions.latents) + contributions.rest_count
    latents = "1 active latent adds" if count == 1 else f"{count} active latents add"
    whole = "The reconstruction is the output activation of a sum" if activated else "The reconstruction is a sum"
    sentence = f"{whole}:\nthe decoder's bias, and what {latents}, code z times decoder row"
    gray = "\nA term is gray where it adds nothing" if channels == 3 else ""
    return f"{title}\n{sentence}{gray}" if title else sentence + gray


def _draw_equation(terms: Sequence[_Term], rgb: Sequence[Array]) -> tuple[Figure, Axes]:
    """Images (h, w, 3) in rows of six on one pair of axes, each under its name and after its sign."""
    height, width = rgb[0].shape[:2]
    aspect = float(np.clip(height / width, 0.25, 4))
    cell_width, cell_height = 1 + _SIGN_GAP, aspect + _LABEL_SPACE
    columns = min(len(terms), _COLUMNS)
    rows = math.ceil(len(terms) / columns)
    size = (columns * cell_width * 1.3 + 1.2, max(rows * cell_height * 1.3 + 0.6, 2.6))
    figure = Figure(figsize=size, layout="constrained")
    ax = figure.subplots()
    for place, (term, image) in enumerate(zip(terms, rgb, strict=True)):
        left, top = (place % columns) * cell_width, (place // columns) * cell_height
        ax.imshow(image, extent=(left, left + 1, top + aspect, top), interpolation="nearest")
        # A frame, because an image of a term that adds nothing is as white as the figure.
        ax.add_patch(Rectangle((left, top), 1, aspect, fill=False, edgecolor="#AAAAAA", linewidth=0.8, clip_on=False))
        name = f"{term.name}\n{term.note}" if term.note else term.name
        ax.text(left + 0.5, top - 0.04, name, fontsize=9, ha="center", va="bottom")
        ax.text(left - _SIGN_GAP / 2, top + aspect / 2, term.sign, fontsize=16, ha="center", va="center")
    ax.set(xlim=(-_SIGN_GAP, columns * cell_width - _SIGN_GAP), ylim=(rows * cell_height - _LABEL_SPACE, -_LABEL_SPACE))
    ax.set_aspect("equal")
    ax.set_axis_off()
    return figure, ax


def _styles(terms: Sequence[_Term]) -> list[dict[str, Any]]:
    """A color per term; where there are more latents than colors, they come again hatched."""
    colors = CLASS_COLORS[:-1]  # the last one is black, as the marks are
    styles: list[dict[str, Any]] = []
    for i, term in enumerate(terms):
        own = {"bias": _BIAS, "rest": _REST}.get(term.name, colors[(i - 1) % len(colors)])
        styles.append({"color": own, "hatch": "" if term.name == "rest" else "///" * ((i - 1) // len(colors))})
    return styles

"""Frames as an animation: a web page that needs nothing but itself, or a GIF."""

from __future__ import annotations

import base64
import io
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
from jinja2 import StrictUndefined, Template
from PIL import Image

from ae_lightning.plots.tiles import Array

_TEMPLATE = Path(__file__).with_name("animation.html")
_LAST_SECONDS = 1.5
# Of a drawing with a handful of colors and their shades; twice as many make a page a tenth larger.
_PALETTE_SIZE, _KEPT = 128, 16
# The highest level takes several times as long for a page that is 3 % smaller.
_COMPRESSION = 6
# GIF counts in hundredths of a second, and browsers slow down what is faster than two of them.
_GIF_TICK, _SHORTEST_TICKS = 10, 2


def animation_html(frames: Sequence[Array], captions: Sequence[str], title: str, frames_per_second: float = 6) -> str:
    """Make a web page that plays frames, with buttons, a slider and keys.

    The page holds its frames, styles and script, and loads nothing. The same arguments give the same text. Frames
    are drawings: they are reduced to 128 colors, common to them all.

    Args:
        frames: uint8 arrays (height, width, 3), RGB, of one size.
        captions: One for each frame, shown below it.
        title: Title of the page.
        frames_per_second: Speed. The last frame is held longer.

    Returns:
        The text of the page, to be written as UTF-8.

    Raises:
        ValueError: If there are no frames, they are no RGB images of one size, the number of captions is another
            one, or the speed is not positive.
    """
    _check(frames, frames_per_second)
    if len(captions) != len(frames):
        raise ValueError(f"there are {len(frames)} frames, but {len(captions)} captions")
    animation = {
        "width": frames[0].shape[1],
        "height": frames[0].shape[0],
        "seconds": 1 / frames_per_second,
        "lastSeconds": max(_LAST_SECONDS, 1 / frames_per_second),
        "captions": list(captions),
        "frames": [base64.b64encode(_png(image)).decode("ascii") for image in _quantized(frames)],
    }
    text = _TEMPLATE.read_text(encoding="utf-8")
    template = Template(text, autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True)
    return template.render(title=title, animation=animation)


def write_gif(frames: Sequence[Array], path_or_file: str | Path | IO[bytes], frames_per_second: float = 6) -> None:
    """Write frames as a GIF that plays forever, its last frame held longer.

    Equal frames in a row become a single one that is shown as long as all of them. The frames have 128 colors in
    common.

    Args:
        frames: uint8 arrays (height, width, 3), RGB, of one size.
        path_or_file: Where to write.
        frames_per_second: Speed, at most 50, to the nearest hundredth of a second per frame.

    Raises:
        ValueError: If there are no frames, they are no RGB images of one size, or the speed is not positive.
    """
    _check(frames, frames_per_second)
    milliseconds = _GIF_TICK * max(round(1000 / _GIF_TICK / frames_per_second), _SHORTEST_TICKS)
    durations = [milliseconds] * (len(frames) - 1) + [max(round(1000 * _LAST_SECONDS), milliseconds)]
    first, *others = _quantized(frames)
    first.save(
        path_or_file, format="GIF", save_all=True, append_images=others, duration=durations, loop=0, optimize=False
    )


def _check(frames: Sequence[Array], frames_per_second: float) -> None:
    if len(frames) == 0:
        raise ValueError("an animation needs at least one frame")
    for number, frame in enumerate(frames):
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or frame.size == 0:
            raise ValueError(
                f"frames must be uint8 arrays (height, width, 3), but frame {number} is {frame.dtype} {frame.shape}"
            )
        if frame.shape != frames[0].shape:
            raise ValueError(
                f"frames must have one size, but frame {number} is {frame.shape[:2]} and frame 0 {frames[0].shape[:2]}"
            )
    if not (math.isfinite(frames_per_second) and frames_per_second > 0):
        raise ValueError(f"frames per second must be a positive number, not {frames_per_second}")


def _quantized(frames: Sequence[Array]) -> list[Image.Image]:
    """The frames with a palette that they share."""
    seen: Counter[int] = Counter()
    for frame in frames:
        codes, counts = np.unique(_codes(frame), return_counts=True)
        seen.update(dict(zip(codes.tolist(), counts.tolist(), strict=True)))
    ranked = np.array(sorted(seen, key=lambda code: (-seen[code], code)))
    palette = _palette(_colors(ranked))
    known = np.sort(ranked)
    # Pillow itself takes any entry that is near, so that white is often not quite white.
    nearest = ((_colors(known)[:, None].astype(np.int32) - palette) ** 2).sum(axis=-1).argmin(axis=1).astype(np.uint8)
    images = [Image.fromarray(nearest[np.searchsorted(known, _codes(frame))]) for frame in frames]
    for image in images:
        image.putpalette(palette.tobytes())
    return images


def _palette(ranked: Array) -> Array:
    """A palette (n, 3) for colors (m, 3), the most frequent ones first.

    The most frequent ones are in it. Of the others each counts once, however rare: a few red arrows must not turn
    brown.
    """
    kept, others = ranked[:_KEPT], ranked[_KEPT:]
    if len(others) == 0:
        return kept
    shades = Image.fromarray(others[None]).quantize(_PALETTE_SIZE - _KEPT, method=Image.Quantize.MAXCOVERAGE)
    return np.concatenate([kept, np.array(shades.getpalette(), dtype=np.uint8).reshape(-1, 3)])


def _codes(frame: Array) -> Array:
    """A number for the color of each pixel."""
    return np.asarray(frame.astype(np.int64) @ (65536, 256, 1))


def _colors(codes: Array) -> Array:
    return np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=-1).astype(np.uint8)


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, format="PNG", compress_level=_COMPRESSION)
    return file.getvalue()

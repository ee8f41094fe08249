"""A figure as pixels, and pixels as PNG."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from ae_lightning.plots.tiles import Array

# Of drawings; higher levels take several times as long for files that are 3 % smaller.
_COMPRESSION = 1


def render(figure: Figure, dpi: float) -> Array:
    """Draw a figure into an RGB array (height, width, 3), uint8.

    The pixels are those of `Figure.savefig`, which draws a figure with a layout twice.
    """
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def as_png(picture: Array, dpi: float) -> bytes:
    """Encode an RGB array (height, width, 3), uint8, as PNG of so many dots per inch."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format="PNG", compress_level=_COMPRESSION, dpi=(dpi, dpi))
    return file.getvalue()

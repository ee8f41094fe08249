"""Figures as pixels: those of matplotlib's own files."""

import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from ae_lightning.plots.raster import as_png, render


@pytest.mark.parametrize("layout", ["constrained", None])
def test_the_pixels_are_those_that_matplotlib_saves(layout):
    def drawn() -> Figure:
        figure = Figure(figsize=(4, 3), layout=layout)
        left, right = figure.subplots(1, 2)
        left.plot([0, 1, 4])
        left.set(title="a long title that moves the axes", ylabel="values")
        right.imshow(np.arange(12).reshape(3, 4))
        return figure

    file = io.BytesIO()
    drawn().savefig(file, dpi=70, format="png")
    picture = render(drawn(), 70)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture, np.asarray(Image.open(file).convert("RGB")))


def test_a_png_holds_every_pixel():
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(as_png(picture, 100)))), picture)

"""Pictures go into sheets and come out again."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ae_lightning.explorer.latents.sheets import PER_SHEET, Sheets, sheets_of, shrunk

COLUMNS = 16


def cut_out(sheets: Sheets, number: int) -> np.ndarray:
    """A picture, int64 (height, width) or with three planes, as the page cuts it out."""
    sheet = np.asarray(Image.open(io.BytesIO(sheets.files[number // PER_SHEET]))).astype(int)
    row, column = divmod(number % PER_SHEET, COLUMNS)
    width, height = sheets.cell
    assert sheet.shape[1] == COLUMNS * width
    return sheet[row * height : row * height + sheets.height, column * width : column * width + sheets.width]


@pytest.mark.parametrize("planes", [1, 3])
def test_small_pictures_keep_every_pixel(planes: int) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (600, 5, 7, planes)).astype(np.uint8)
    wanted = np.random.default_rng(1).permutation(600)[:300]
    sheets = sheets_of(lambda samples: pictures[samples], wanted)
    assert (sheets.width, sheets.height, len(sheets.files), sheets.media_type) == (7, 5, 2, "image/png")
    for number in (0, 17, 255, 256, 299):
        np.testing.assert_array_equal(cut_out(sheets, number).reshape(5, 7, planes), pictures[wanted[number]])


def smooth(count: int) -> np.ndarray:
    """Pictures of 120 × 80 pixels whose colors change slowly, each from a color of its own."""
    colors = np.random.default_rng(0).integers(0, 100, (count, 1, 1, 3))
    down, right = np.linspace(0, 100, 120)[:, None, None], np.linspace(0, 50, 80)[:, None]
    return (colors + down + right * [0, 1, 0]).astype(np.uint8)


def test_large_pictures_are_shrunk_and_nearly_the_same() -> None:
    pictures = smooth(20)
    sheets = sheets_of(lambda samples: pictures[samples], np.arange(20))
    assert (sheets.width, sheets.height, sheets.media_type) == (64, 96, "image/jpeg")
    expected = np.asarray(Image.fromarray(pictures[18]).resize((64, 96), Image.Resampling.BOX)).astype(int)
    assert np.abs(cut_out(sheets, 18) - expected).max() <= 6


def test_many_large_pictures_are_shrunk_further(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = smooth(20)
    sizes: list[Any] = []
    for most in (1e9, 16_000, 10_000, 1):
        monkeypatch.setattr("ae_lightning.explorer.latents.sheets.MOST_BYTES", most)
        sheets = sheets_of(lambda samples: pictures[samples], np.arange(20))
        assert sum(map(len, sheets.files)) <= most or sheets.height == 32
        sizes.append(sheets.height)
    assert sizes[0] == 96
    assert sizes[-1] == 32
    assert sizes == sorted(sizes, reverse=True)


def test_a_shrunk_pixel_is_the_mean_of_those_that_it_covers() -> None:
    picture = np.array([[0, 10, 20, 30], [40, 50, 60, 70]], np.uint8)[None, :, :, None]
    assert shrunk(picture, 1, 2)[0, 0, :, 0].tolist() == [25, 45]
    assert shrunk(picture, 2, 4) is picture

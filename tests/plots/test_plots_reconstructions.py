import io

import numpy as np
import pytest
import torch

from ae_lightning.plots.reconstructions import reconstruction_strip, reconstruction_tile
from ae_lightning.plots.tiles import NO_VALUE

# Two images of 28 x 28: black and white; the reconstructions are white and gray.
X = torch.stack([torch.zeros(1, 28, 28), torch.ones(1, 28, 28)])
X_HAT = torch.stack([torch.ones(1, 28, 28), torch.full((1, 28, 28), 0.5)])


def test_strip_has_three_labeled_rows():
    figure = reconstruction_strip(X, X_HAT, (0, 1))
    axes = np.array(figure.axes[:6]).reshape(3, 2)
    assert [ax.get_ylabel() for ax in axes[:, 0]] == ["input", "reconstruction", "error"]
    centers = [[np.asarray(ax.images[0].get_array())[14, 14].astype(int) for ax in row] for row in axes]
    assert [color.tolist() for color in centers[0]] == [[0] * 3, [255] * 3]
    assert [color.tolist() for color in centers[1]] == [[255] * 3, [128] * 3]
    too_bright, too_dark = centers[2]
    assert too_bright[0] > 2 * too_bright[2]
    assert too_dark[2] > 2 * too_dark[0]


def test_what_was_reconstructed_from_has_a_row_of_its_own_and_a_place_in_each_tile():
    corrupted = torch.full((2, 1, 28, 28), 0.5)
    figure = reconstruction_strip(X, X_HAT, (0, 1), corrupted=corrupted)
    axes = np.array(figure.axes[:8]).reshape(4, 2)
    assert [ax.get_ylabel() for ax in axes[:, 0]] == ["clean", "corrupted", "reconstruction", "error"]
    assert [int(np.asarray(ax.images[0].get_array())[14, 14, 0]) for ax in axes[1]] == [128, 128]
    four, three = (reconstruction_tile(X[:1], X_HAT[:1], (0, 1), what) for what in (corrupted[:1], None))
    assert four.shape == (three.shape[0], three.shape[1] + 29, 3)
    assert four[16, 31 + 14].tolist() == [128] * 3


def test_strip_has_a_bar_in_the_units_of_the_input():
    figure = reconstruction_strip(X * 10, X_HAT * 10, (0, 10))
    assert figure.axes[-1].get_ylim() == pytest.approx((-5, 5))
    assert figure.axes[-1].get_ylabel() == "reconstruction − input"


def test_strip_shows_the_first_n():
    assert len(reconstruction_strip(X, X_HAT, (0, 1), n=1).axes) == 3 + 1


@pytest.mark.parametrize("shape", [(4, 28, 28), (4, 5), (4, 3, 8, 8), (4, 1, 6, 9)])
def test_labels_lie_within_the_figure(shape):
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    figure = reconstruction_strip(x, 1 - x)
    figure.savefig(io.BytesIO())
    width, height = figure.get_size_inches() * figure.dpi
    for ax in figure.axes:
        box = ax.get_tightbbox()
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= width
        assert box.y1 <= height


def test_color_errors_are_explained_without_a_bar():
    x = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    figure = reconstruction_strip(x, x, (0, 1))
    assert len(figure.axes) == 6
    assert "gray" in figure.axes[4].get_ylabel()
    assert (np.asarray(figure.axes[4].images[0].get_array()) == 128).all()


def test_tile_is_input_reconstruction_error_side_by_side():
    picture = reconstruction_tile(X[:1], X_HAT[:1], (0, 1))
    # A triplet is 3 x 28 pixels with 4 lines of padding, and 2 more around.
    assert picture.shape == (30 + 4, 88 + 4, 3)
    assert picture[3, 3].tolist() == [0, 0, 0]
    assert picture[3, 3 + 29].tolist() == [255, 255, 255]
    error = picture[3, 3 + 58].astype(int)
    assert error[0] > 2 * error[2]
    assert picture[0, 0].tolist() == list(NO_VALUE)


def test_tile_of_perfect_reconstructions_has_a_white_error():
    assert reconstruction_tile(X, X, (0, 1))[3, 3 + 58].tolist() == [255, 255, 255]


def test_small_images_are_enlarged_to_be_seen():
    x = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert reconstruction_tile(x, x, (0, 1)).shape == (32 + 2 + 4, 3 * 33 + 1 + 4, 3)


def test_a_diverged_reconstruction_is_marked_as_without_value():
    picture = reconstruction_tile(X, torch.full_like(X, torch.nan))
    assert picture[3, 3 + 29].tolist() == picture[3, 3 + 58].tolist() == list(NO_VALUE)


@pytest.mark.parametrize("draw", [reconstruction_strip, reconstruction_tile])
def test_shapes_that_differ_are_refused(draw):
    with pytest.raises(ValueError, match="same shape"):
        draw(X, X_HAT[:1], (0, 1))

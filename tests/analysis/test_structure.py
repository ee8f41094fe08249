"""Moran's I of images whose pairs can be counted by hand."""

import numpy as np
import pytest
import torch

from ae_lightning.analysis.structure import noise_deviation, spatial_autocorrelation


def of(*images, mask=None):
    rows = torch.tensor(np.array(images), dtype=torch.float32)
    return spatial_autocorrelation(rows.flatten(1), tuple(rows.shape[1:]), mask).tolist()


def test_a_gradient_is_what_counting_gives():
    """Columns −1, 0, 1: side by side all products are 0, on top of each other 2 · 1 + 2 · 1, of 12 pairs; Σd² = 6."""
    gradient = [[-1, 0, 1]] * 3
    assert of(gradient) == pytest.approx([9 / 12 * 4 / 6])


def test_length_sign_and_offset_do_not_count():
    gradient = np.array([[-1, 0, 1]] * 3)
    assert of(gradient, 5 * gradient + 2, -0.1 * gradient) == pytest.approx([0.5] * 3)


def test_a_checkerboard_is_minus_one():
    board = np.indices((6, 8)).sum(0) % 2
    assert of(board) == pytest.approx([-1])


def test_white_noise_is_near_zero_in_the_mean_and_spreads_as_said():
    noise = np.random.default_rng(0).normal(size=(4000, 8, 8))
    values = np.array(of(*noise))
    assert values.mean() == pytest.approx(-1 / 63, abs=4 * values.std() / 4000**0.5)
    assert values.std() == pytest.approx(noise_deviation((8, 8)), rel=0.1)
    assert noise_deviation((8, 8)) == pytest.approx((2 * 7 * 8) ** -0.5)


def test_a_constant_has_no_structure():
    assert of(np.full((4, 4), 0.1), np.zeros((4, 4))) == [0, 0]


def test_channels_have_means_of_their_own_and_are_no_neighbors():
    gradient = np.array([[-1, 0, 1]] * 3)
    assert of([gradient, gradient + 100]) == pytest.approx([0.5])


def test_pixels_outside_the_mask_do_not_count():
    image = np.array([[-1, 0, 1, 900], [-1, 0, 1, -7], [-1, 0, 1, 3]])
    mask = torch.tensor([True, True, True, False] * 3)
    assert of(image, mask=mask) == pytest.approx([0.5])


def test_what_is_no_image_is_refused():
    with pytest.raises(ValueError, match="no images of shape"):
        spatial_autocorrelation(torch.zeros(2, 6), (6,))
    with pytest.raises(ValueError, match="the mask has 4 pixels, but an image 6"):
        of(np.zeros((2, 3)), mask=torch.ones(4))
    with pytest.raises(ValueError, match="no two neighbors"):
        of(np.zeros((2, 3)), mask=torch.zeros(6))

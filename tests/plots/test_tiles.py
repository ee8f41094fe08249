import time

import numpy as np
import pytest
import torch

from ae_lightning.plots.tiles import NO_VALUE, as_images, tile, to_rgb_gray, to_rgb_signed, viewable_shape

WHITE, BLACK = [255, 255, 255], [0, 0, 0]


def test_gray_spans_the_value_range_and_clips_beyond_it():
    image = torch.tensor([-3.0, -1.0, 0.0, 1.0, 3.0]).reshape(1, 1, 1, 5)
    rgb = to_rgb_gray(image, (-1, 1))
    assert rgb.dtype == np.uint8
    assert rgb[0, 0].tolist() == [BLACK, BLACK, [128] * 3, WHITE, WHITE]


def test_gray_without_a_range_takes_that_of_all_images():
    rgb = to_rgb_gray(np.array([[2.0, 4.0], [6.0, np.nan]]).reshape(2, 1, 1, 2))
    assert rgb[:, 0].tolist() == [[BLACK, [128] * 3], [WHITE, list(NO_VALUE)]]


def test_a_constant_image_is_drawn():
    assert to_rgb_gray(np.full((1, 1, 1, 1), 7.0)).tolist() == [[[BLACK]]]


def test_three_channels_are_color():
    image = np.array([1.0, 0.0, 0.5]).reshape(1, 3, 1, 1)
    assert to_rgb_gray(image, (0, 1))[0, 0, 0].tolist() == [255, 0, 128]
    # Signed: zero is gray, plus is brighter, minus is darker.
    assert to_rgb_signed(np.array([0.0, 2.0, -2.0]).reshape(1, 3, 1, 1))[0, 0, 0].tolist() == [128, 255, 0]


def test_signed_zero_is_white_plus_is_red_and_minus_is_blue():
    zero, plus, minus, small = to_rgb_signed(np.array([0.0, 4.0, -4.0, 1.0]).reshape(1, 1, 1, 4))[0, 0].astype(int)
    assert zero.tolist() == WHITE
    assert plus[0] > 2 * plus[2]
    assert minus[2] > 2 * minus[0]
    # A quarter of full color is pale red: lighter than full color, and still red.
    assert small.sum() > plus.sum()
    assert small[0] > small[2]


def test_the_signed_scale_is_symmetric_per_image_or_shared_or_given():
    images = np.array([[1.0, 0.0], [-10.0, 10.0]]).reshape(2, 1, 1, 2)
    full = to_rgb_signed(np.ones((1, 1, 1, 1)))[0, 0, 0].tolist()
    own = to_rgb_signed(images, shared=False)
    assert own[0, 0, 0].tolist() == own[1, 0, 1].tolist() == full
    shared = to_rgb_signed(images)
    assert shared[1, 0, 1].tolist() == full
    assert shared[0, 0, 0].tolist() != full
    assert to_rgb_signed(images, limit=1.0)[0, 0, 0].tolist() == full


def test_all_zero_is_white_and_what_is_not_finite_is_marked():
    assert to_rgb_signed(np.zeros((1, 1, 1, 1)), shared=False)[0, 0, 0].tolist() == WHITE
    image = np.array([np.nan, np.inf, 1.0, 0.0]).reshape(1, 1, 1, 4)
    rgb = to_rgb_signed(image)[0, 0].tolist()
    assert rgb[0] == rgb[1] == list(NO_VALUE)
    assert rgb[3] == WHITE


def test_tile_puts_each_image_in_its_place():
    images = np.stack([np.full((2, 3, 3), value, dtype=np.uint8) for value in (10, 20, 30)])
    picture = tile(images, columns=2, pad=1, fill=(1, 2, 3))
    assert picture.shape == (2 * 3 + 1, 2 * 4 + 1, 3)
    expected = np.empty((7, 9, 3), dtype=np.uint8)
    expected[:] = (1, 2, 3)
    expected[1:3, 1:4] = 10
    expected[1:3, 5:8] = 20
    expected[4:6, 1:4] = 30
    assert np.array_equal(picture, expected)


def test_tile_without_padding_and_enlarged():
    pixels = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3)
    picture = tile(pixels, pad=0, scale=3)
    assert np.array_equal(picture, np.kron(pixels[0], np.ones((3, 3, 1), dtype=np.uint8)))


def test_tile_is_near_square():
    assert tile(np.zeros((64, 28, 28, 3), dtype=np.uint8)).shape == (233, 233, 3)
    # Ten strips of 1 by 9 are stacked.
    assert tile(np.zeros((10, 1, 9, 3), dtype=np.uint8), pad=0).shape[0] == 5


def test_vectors_become_the_images_they_stand_for():
    assert as_images(torch.arange(24).reshape(2, 12), (3, 2, 2))[1, 2, 1, 1] == 23
    assert as_images(np.arange(8).reshape(2, 4), (2, 2))[1, 0].tolist() == [[4, 5], [6, 7]]


def test_a_short_vector_is_a_strip_and_a_long_one_a_padded_square():
    assert as_images(np.zeros((2, 5)), (5,)).shape == (2, 1, 1, 5)
    long = as_images(np.arange(300)[None], (300,))[0, 0]
    assert long.shape == (17, 18)
    assert long[1, 0] == 18
    assert long[-1, -7] == 299
    assert np.isnan(long[-1, -6:]).all()


def test_sixty_four_digits_take_a_few_milliseconds():
    images = np.random.default_rng(0).standard_normal((64, 1, 28, 28)).astype(np.float32)
    seconds = []
    for _ in range(10):
        start = time.process_time()
        tile(to_rgb_signed(images))
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.02


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: as_images(np.zeros((2, 5)), (6,)), "5 entries"),
        (lambda: as_images(np.zeros((2, 16)), (2, 2, 2, 2)), "cannot be shown"),
        (lambda: to_rgb_gray(np.zeros((2, 2, 4, 4))), "1 or 3"),
        (lambda: to_rgb_signed(np.zeros((4, 4))), "1 or 3"),
        (lambda: tile(np.zeros((0, 4, 4, 3), dtype=np.uint8)), "RGB"),
    ],
)
def test_shapes_that_cannot_be_shown_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("sample", "shown"),
    [
        ((1, 8, 8), (1, 8, 8)),
        ((3, 4, 4), (3, 4, 4)),
        ((8, 8), (8, 8)),
        ((20,), (20,)),
        ((5, 4, 4), (20, 4)),  # its channels below each other
        ((2, 1, 3, 4), (24,)),
    ],
)
def test_samples_that_are_no_pictures_are_shown_as_one_channel_or_vectors(
    sample: tuple[int, ...], shown: tuple[int, ...]
) -> None:
    assert viewable_shape(sample) == shown

"""Corrupted samples: how much of them is corrupted, counted."""

import math

import pytest
import torch

from ae_lightning.errors import UserError
from ae_lightning.nn.corruption import Blocks, GaussianNoise, MaskingNoise, SaltAndPepper
from ae_lightning.nn.draws import SampleDraws, StreamDraws

X = torch.rand(200, 3, 10, 12, generator=torch.Generator().manual_seed(1)) * 0.8 + 0.1


def corrupted(corruption, x=X, seed=0):
    return corruption(x, SampleDraws(x, seed))


def share(marked):
    """Part of the entries that are marked, and three standard errors of it."""
    part = float(marked.double().mean())
    return part, 3 * math.sqrt(part * (1 - part) / marked.numel()) + 1e-12


def test_gaussian_noise_has_its_deviation_and_no_mean():
    noise = (corrupted(GaussianNoise(0.3)) - X).flatten()
    assert float(noise.mean()) == pytest.approx(0, abs=3 * 0.3 / math.sqrt(len(noise)))
    assert float(noise.std()) == pytest.approx(0.3, abs=3 * 0.3 / math.sqrt(2 * len(noise)))


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.7, 1.0])
def test_masking_covers_its_part_of_the_entries_and_leaves_the_others(rate):
    y = corrupted(MaskingNoise(rate, value=-1.0))
    part, error = share(y == -1)
    assert part == pytest.approx(rate, abs=error)
    assert torch.equal(y[y != -1], X[y != -1])


@pytest.mark.parametrize("rate", [0.0, 0.2, 1.0])
def test_as_many_entries_become_salt_as_pepper(rate):
    y = corrupted(SaltAndPepper(rate, low=0.0, high=1.0))
    for value in (0.0, 1.0):
        part, error = share(y == value)
        assert part == pytest.approx(rate / 2, abs=error)
    kept = (y != 0) & (y != 1)
    assert torch.equal(y[kept], X[kept])


def test_a_block_is_a_whole_square_in_all_channels_anywhere_in_the_image():
    y = corrupted(Blocks(4, value=2.0))
    covered = y == 2
    assert torch.equal(y[~covered], X[~covered])
    corners = set()
    for image in covered:
        assert torch.equal(image[0], image[1])
        assert torch.equal(image[0], image[2])
        rows, columns = image[0].nonzero(as_tuple=True)
        assert int(image[0].sum()) == 16
        top, left = int(rows.min()), int(columns.min())
        assert (int(rows.max()), int(columns.max())) == (top + 3, left + 3)
        corners.add((top, left))
    # 7 rows and 9 columns to begin in: 63 corners, of which 200 draws miss exp(-200/63) = 4 %.
    assert {top for top, _ in corners} == set(range(7))
    assert {left for _, left in corners} == set(range(9))
    assert len(corners) > 50


def test_several_blocks_cover_up_to_so_many_squares():
    covered = (corrupted(Blocks(3, count=4, value=2.0)) == 2)[:, 0].flatten(1).sum(1)
    assert int(covered.max()) <= 36
    assert float(covered.float().mean()) > 9 * 2


def test_a_block_may_be_as_large_as_the_image():
    assert bool((corrupted(Blocks(10, value=2.0), X[..., :10]) == 2).all())


@pytest.mark.parametrize("corruption", [GaussianNoise(), MaskingNoise(), SaltAndPepper(), Blocks(2)])
def test_formats_stay_and_samples_are_not_written_to(corruption):
    for dtype in (torch.float64, torch.bfloat16):
        x = X.to(dtype)
        y = corruption(x, StreamDraws(x))
        assert y.dtype == dtype
        assert y.shape == x.shape
        assert torch.equal(x, X.to(dtype))
        assert not torch.equal(y, x)


@pytest.mark.parametrize(
    ("corruption", "said"),
    [
        (GaussianNoise(-1), r"--model\.corruption\.sigma is -1; it must be at least 0"),
        (GaussianNoise(math.nan), r"--model\.corruption\.sigma is nan"),
        (MaskingNoise(1.5), r"--model\.corruption\.rate is 1\.5; it must be from 0 to 1"),
        (SaltAndPepper(-0.1), r"--model\.corruption\.rate is -0\.1"),
        (Blocks(0), r"--model\.corruption\.size is 0; it must be at least 1"),
        (Blocks(2, count=0), r"--model\.corruption\.count is 0"),
        (Blocks(11), r"--model\.corruption\.size 11 need images .* is 3×10×12"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(corruption, said):
    with pytest.raises(UserError, match=said):
        corruption.check((3, 10, 12))
    with pytest.raises(UserError, match=r"but a sample of these data is 20"):
        Blocks(2).check((20,))

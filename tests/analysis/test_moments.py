"""Sums over batches beside scikit-learn, which sees all samples at once."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from ae_lightning.analysis.moments import Moments, components_of


def moments_of(x, size=64):
    found = Moments(x.shape[:-2] + x.shape[-1:])
    for piece in torch.as_tensor(x).split(size, dim=-2):
        found.add(piece)
    return found


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_components_are_those_of_scikit_learn(offset):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, 20)) * np.linspace(3, 1, 20) + offset
    reference = PCA(5, svd_solver="full").fit(x)
    found = moments_of(x).components(5)
    overlaps = np.abs((found.vectors.numpy() * reference.components_).sum(1))
    np.testing.assert_allclose(overlaps, 1, atol=1e-8)
    np.testing.assert_allclose(found.mean.numpy(), x.mean(0), rtol=1e-12)
    expected = reference.inverse_transform(reference.transform(x))
    np.testing.assert_allclose(found.reconstruct(torch.from_numpy(x)).numpy(), expected, atol=1e-6)


def test_float32_far_from_zero_keeps_its_digits():
    rng = np.random.default_rng(0)
    x = (5000 + rng.standard_normal((500, 3)) * [1.0, 0.1, 0.01]).astype(np.float32)
    exact = PCA(3, svd_solver="full").fit(x.astype(np.float64))
    found = moments_of(x).components(3)
    np.testing.assert_allclose(np.abs((found.vectors.numpy() * exact.components_).sum(1)), 1, atol=1e-9)


def test_what_leads_is_kept_apart():
    x = torch.randn(4, 150, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    together, alone = moments_of(x).components(3), [moments_of(part).components(3) for part in x]
    overlaps = (together.vectors * torch.stack([part.vectors for part in alone])).sum(-1).abs()
    torch.testing.assert_close(overlaps, torch.ones_like(overlaps))
    torch.testing.assert_close(together.mean, x.mean(1))


@pytest.mark.parametrize("width", [1, 255, 256, 301])
def test_covariances_of_any_width_are_numpys(width):
    x = np.random.default_rng(0).standard_normal((2, 90, width))
    scatter = moments_of(x).scatter
    for found, samples in zip(scatter, x, strict=True):
        np.testing.assert_allclose(found, 90 * np.cov(samples.T, bias=True).reshape(width, width), atol=1e-10)
    torch.testing.assert_close(scatter, scatter.mT, rtol=0, atol=1e-12)


def test_samples_that_are_all_alike_are_their_mean():
    x = torch.full((50, 7), 0.1)
    found = moments_of(x).components(2)
    assert found.vectors.shape == (2, 7)
    torch.testing.assert_close(found.reconstruct(x.double()), x.double())


def test_there_are_no_more_components_than_numbers_in_a_sample():
    assert moments_of(torch.randn(30, 4)).components(9).vectors.shape == (4, 4)


def test_a_randomized_decomposition_is_nearly_exact():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 80)) * 0.9 ** np.arange(80)
    error = np.square(x - (pca := PCA(6, svd_solver="full").fit(x)).inverse_transform(pca.transform(x))).mean()
    rows = torch.from_numpy(x)
    found = components_of(rows.clone(), 6, torch.Generator().manual_seed(0))
    assert float((found.reconstruct(rows) - rows).square().mean()) == pytest.approx(error, rel=1e-4)
    assert components_of(rows[:5].clone(), 9, torch.Generator().manual_seed(0)).vectors.shape == (5, 80)

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from ae_lightning.analysis.pca import fit_pca


@pytest.mark.parametrize(("n", "width"), [(200, 12), (9, 40)])
def test_components_are_those_of_a_full_decomposition(n, width):
    x = np.random.default_rng(0).standard_normal((n, width)) * np.linspace(3, 1, width) + 4
    reference = PCA(3, svd_solver="full").fit(x)
    pca = fit_pca(x, 3)
    overlaps = np.abs(np.sum(pca.components * reference.components_, axis=1))
    np.testing.assert_allclose(overlaps, 1, atol=1e-5)
    np.testing.assert_allclose(np.abs(pca.encode(x)), np.abs(reference.transform(x)), atol=1e-4)
    np.testing.assert_allclose(pca.mean, x.mean(axis=0), rtol=1e-6)


def test_data_far_from_zero_keep_their_directions():
    rng = np.random.default_rng(0)
    direction = np.array([0.6, 0.8, 0.0])
    x = 5000 + rng.standard_normal((500, 1)) * direction + 0.01 * rng.standard_normal((500, 3))
    component = fit_pca(x.astype(np.float32), 1).components[0]
    assert abs(component @ direction) == pytest.approx(1, abs=1e-3)


def test_very_wide_samples_are_decomposed_too():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((30, 2)) @ rng.standard_normal((2, 5000))
    pca = fit_pca(x, 2)
    np.testing.assert_allclose(pca.decode(pca.encode(x)), x, atol=1e-3)


def test_components_are_capped_and_images_and_bytes_are_accepted():
    x = torch.randint(0, 256, (6, 1, 2, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    pca = fit_pca(x, 99)
    assert pca.components.shape == (6, 10)
    np.testing.assert_allclose(pca.decode(pca.encode(x)), x.flatten(1).numpy(), atol=0.01)


def test_data_that_do_not_vary_have_codes_of_zero():
    assert np.all(fit_pca(np.full((10, 4), 2.5), 2).encode(np.full((3, 4), 2.5)) == 0)


@pytest.mark.parametrize(
    ("x", "k", "message"),
    [
        (np.ones((5, 3)), 0, "at least 1"),
        (np.full((5, 3), np.nan), 2, "finite"),
        (np.ones((0, 3)), 2, "n > 0"),
    ],
)
def test_what_cannot_be_fitted_is_refused(x, k, message):
    with pytest.raises(ValueError, match=message):
        fit_pca(x, k)

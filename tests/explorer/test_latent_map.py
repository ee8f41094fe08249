"""Maps of codes."""

import numpy as np
import pytest

from ae_lightning.explorer.latent_map import latent_maps


def drawn(n, width):
    generator = np.random.default_rng(0)
    return (generator.standard_normal((n, width)) * np.geomspace(5, 0.5, width)).astype(np.float32)


def test_the_first_two_principal_components():
    codes = drawn(200, 7)
    pca, tsne = latent_maps(codes)
    assert (pca.name, tsne.name) == ("PCA", "t-SNE")
    centered = codes - codes.mean(axis=0)
    _, sizes, axes = np.linalg.svd(centered, full_matrices=False)
    wanted = centered @ axes[:2].T
    for column in range(2):
        sign = np.sign(pca.xy[:, column] @ wanted[:, column])
        np.testing.assert_allclose(sign * pca.xy[:, column], wanted[:, column], atol=1e-3)
    np.testing.assert_allclose((codes - pca.mean) @ pca.axes.T, pca.xy, atol=1e-5)
    share = (sizes[:2] ** 2).sum() / (sizes**2).sum()
    assert pca.note == f"the first two principal components hold {share:.0%} of the variance"
    assert tsne.xy.shape == (200, 2)
    assert (tsne.mean, tsne.axes) == (None, None)
    for found in (pca, tsne):
        assert found.xy.dtype == np.float32
        assert np.isfinite(found.xy).all()


def test_t_sne_keeps_groups_together_and_is_the_same_each_time():
    group = np.arange(90) % 3
    codes = drawn(90, 60) + 40 * np.eye(60, dtype=np.float32)[group]
    first, again = (latent_maps(codes)[1].xy for _ in range(2))
    np.testing.assert_array_equal(first, again)
    middles = np.stack([first[group == number].mean(axis=0) for number in range(3)])
    nearest = np.linalg.norm(first[:, None] - middles, axis=2).argmin(axis=1)
    assert (nearest == group).all()


@pytest.mark.parametrize("width", [1, 2])
def test_a_code_of_one_or_two_numbers_is_its_own_map(width):
    codes = drawn(30, width)
    (only,) = latent_maps(codes)
    assert only.name == "code"
    np.testing.assert_array_equal(only.xy[:, :width], codes)
    assert not only.xy[:, width:].any()
    np.testing.assert_array_equal((codes - only.mean) @ only.axes.T, only.xy)


@pytest.mark.parametrize("n", [1, 2, 9])
def test_few_samples_have_a_pca_alone(n):
    codes = drawn(n, 6)
    (only,) = latent_maps(codes)
    assert only.name == "PCA"
    assert (only.xy.shape, only.axes.shape) == ((n, 2), (2, 6))
    np.testing.assert_allclose((codes - only.mean) @ only.axes.T, only.xy, atol=1e-5)


def test_ten_samples_have_both():
    assert [found.name for found in latent_maps(drawn(10, 6))] == ["PCA", "t-SNE"]


def test_codes_that_do_not_vary():
    (only,) = latent_maps(np.ones((40, 6), dtype=np.float32))
    assert only.name == "PCA"
    assert only.note.endswith("0% of the variance")
    assert not only.xy.any()


def test_codes_that_are_not_finite_have_no_map():
    codes = drawn(40, 6)
    codes[3, 2] = np.inf
    assert latent_maps(codes) == []

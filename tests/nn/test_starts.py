import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from ae_lightning.errors import ConfigError
from ae_lightning.nn.starts import reading, sample_rows, subspace_rows


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def low_rank(rank: int = 5, n: int = 300, d: int = 20, seed: int = 3) -> torch.Tensor:
    """Samples far from zero that vary in a few directions only."""
    g = generator(seed)
    return torch.randn(n, rank, generator=g) @ torch.randn(rank, d, generator=g) + 30


def outside(rows: torch.Tensor, components: np.ndarray) -> float:
    """Largest part of a row's norm that lies outside the span of orthonormal rows."""
    array = rows.double().numpy()
    return float(np.linalg.norm(array - array @ components.T @ components, axis=1).max())


@pytest.mark.parametrize("start", [sample_rows, subspace_rows])
@pytest.mark.parametrize("lead", [(), (3,)])
def test_rows_have_norm_1_and_are_drawn_from_the_generator_alone(start, lead):
    samples = low_rank().expand(*lead, 300, 20)
    rows = start(samples, 40, generator(1))
    assert rows.shape == (*lead, 40, 20)
    torch.testing.assert_close(rows.norm(dim=-1), torch.ones(*lead, 40))
    torch.manual_seed(5)
    assert torch.equal(start(samples, 40, generator(1)), rows)
    assert not torch.equal(start(samples, 40, generator(2)), rows)
    if lead:
        assert not torch.equal(rows[0], rows[1])


def test_rows_point_to_samples_seen_from_their_mean():
    samples = low_rank(n=50)
    array = samples.double().numpy()
    directions = array - array.mean(0)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    exact = sample_rows(samples, 50, generator(), blend=1.0).double().numpy() @ directions.T
    # Each sample once
    np.testing.assert_allclose(np.sort(exact.argmax(1)), np.arange(50))
    np.testing.assert_allclose(exact.max(1), 1, atol=1e-6)
    # 0.8 u + 0.2 v with v nearly at right angles: cosine 0.8 / √(0.8² + 0.2²) = 0.970
    blended = (sample_rows(samples, 50, generator()).double().numpy() @ directions.T).max(1)
    assert blended.mean() == pytest.approx(0.8 / np.hypot(0.8, 0.2), abs=0.01)
    assert blended.max() < 0.999


def test_more_rows_than_samples_take_each_as_often():
    samples = low_rank(n=10)
    rows = sample_rows(samples, 30, generator(), blend=1.0)
    directions = torch.nn.functional.normalize(samples - samples.mean(0), dim=-1)
    assert (rows @ directions.mT).argmax(1).bincount(minlength=10).tolist() == [3] * 10


def test_samples_at_the_mean_leave_rows_random_and_of_norm_1():
    rows = sample_rows(torch.full((6, 4), 0.1), 6, generator(), blend=1.0)
    torch.testing.assert_close(rows.norm(dim=-1), torch.ones(6))
    assert len(rows.unique(dim=0)) == 6


def test_the_active_subspace_is_that_of_scikit_learn():
    samples = low_rank()
    pca = PCA().fit(samples.double().numpy())
    held = pca.explained_variance_ratio_.cumsum()
    for directions, count in ((2, 2), (0.99, int((held < 0.99).sum()) + 1), (0.5, int((held < 0.5).sum()) + 1), (5, 5)):
        rows = subspace_rows(samples, 60, generator(), directions)
        assert outside(rows, pca.components_[:count]) < 1e-5
        assert np.linalg.matrix_rank(rows.double().numpy(), tol=1e-4) == count


def test_instances_have_the_subspace_of_their_own_data():
    samples = torch.stack([low_rank(rank, seed=rank) for rank in (2, 4)])
    rows = subspace_rows(samples, 30, generator(), 0.999999)
    for i, rank in enumerate((2, 4)):
        components = PCA(rank).fit(samples[i].double().numpy()).components_
        assert outside(rows[i], components) < 1e-4
        assert np.linalg.matrix_rank(rows[i].double().numpy(), tol=1e-3) == rank


def test_the_encoder_is_a_copy():
    rows = sample_rows(low_rank(), 8, generator())
    encoder = reading(rows)
    assert torch.equal(encoder, rows.T)
    assert encoder.is_contiguous()
    encoder.zero_()
    assert bool((rows != 0).any())


@pytest.mark.parametrize("directions", [0, 21, -1, 2.5, 0.0])
def test_impossible_subspaces_are_refused(directions):
    with pytest.raises(ConfigError, match=r"a whole number from 1 to 20, or a part of the variance"):
        subspace_rows(low_rank(), 8, generator(), directions)


def test_samples_that_do_not_vary_and_blends_out_of_range_are_refused():
    with pytest.raises(ConfigError, match="finite and vary"):
        subspace_rows(torch.full((5, 3), 0.1), 8, generator())
    with pytest.raises(ConfigError, match=r"blends 1\.5"):
        sample_rows(low_rank(), 8, generator(), blend=1.5)

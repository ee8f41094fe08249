import numpy as np
import pytest
import torch
from sklearn.linear_model import OrthogonalMatchingPursuit
from torch import Tensor

from ae_lightning.analysis.known_baselines import (
    Baseline,
    cluster_centers,
    learned_dictionary,
    oracle,
    principal_components,
    random_rows,
)
from ae_lightning.analysis.pursuit import orthogonal_matching_pursuit
from ae_lightning.metrics.recovery import mcc


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("l0", [1, 4, 8])
def test_codes_are_scikit_learns(l0: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x, rows = drawn(30, 10), drawn(25, 10, seed=1)
    monkeypatch.setattr("ae_lightning.analysis.pursuit._NUMBERS", 7 * 25)
    code = orthogonal_matching_pursuit(x, rows, l0).to_dense()
    # Which of rows of other lengths is chosen is a question of directions; theirs takes unit rows.
    lengths = rows.norm(dim=1)
    fit = OrthogonalMatchingPursuit(n_nonzero_coefs=l0, fit_intercept=False)
    expected = np.stack([fit.fit((rows / lengths[:, None]).T.numpy(), one.numpy()).coef_ for one in x])
    np.testing.assert_allclose(code * lengths, expected, atol=1e-9)


def test_rows_that_span_the_space_leave_nothing_and_no_more_are_chosen() -> None:
    x, rows = drawn(20, 4), drawn(12, 4, seed=1)
    code = orthogonal_matching_pursuit(x, rows, 9)
    assert int(code.active().max()) == 4
    torch.testing.assert_close(code.to_dense() @ rows, x, rtol=1e-4, atol=1e-4)


def test_nothing_is_chosen_for_nothing() -> None:
    rows = torch.cat([torch.eye(3), torch.eye(3)[:1], torch.zeros(1, 3)])
    x = torch.tensor([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [3.0, -1.0, 0.0]])
    code = orthogonal_matching_pursuit(x, rows, 3).to_dense()
    assert code.count_nonzero(dim=1).tolist() == [0, 1, 2]
    torch.testing.assert_close(code @ rows, x)
    positive = orthogonal_matching_pursuit(x, rows, 3, nonnegative=True).to_dense()
    assert positive.count_nonzero(dim=1).tolist() == [0, 1, 1]


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="L0 must be at least 1 and at most the 3 rows, but is 4"):
        orthogonal_matching_pursuit(torch.ones(2, 3), torch.eye(3), 4)
    with pytest.raises(ValueError, match="of the same width"):
        orthogonal_matching_pursuit(torch.ones(2, 4), torch.eye(3), 1)


@pytest.fixture(scope="module")
def world() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Samples of 24 features in 12 dimensions with an offset, their features, their directions, and the offset."""
    generator = torch.Generator().manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(24, 12, generator=generator), dim=1)
    y = (torch.rand(3000, 24, generator=generator) < 0.06) * (1 + torch.rand(3000, 24, generator=generator))
    offset = torch.randn(12, generator=generator)
    return y @ directions + offset, y, directions, offset


def test_the_oracle_finds_what_the_samples_are_made_of(world: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
    x, y, directions, offset = world
    few = (y > 0).sum(1) == 2
    baseline = oracle(directions, offset)
    code = baseline.encode(x[few], 2)
    right = ((code.to_dense() > 0) == (y[few] > 0)).all(1)
    assert float(right.float().mean()) > 0.8
    torch.testing.assert_close(baseline.decode(code)[right], x[few][right], rtol=1e-4, atol=1e-4)


def test_baselines_have_as_many_rows_as_there_can_be(world: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
    x, _, directions, _ = world
    made: dict[str, Baseline] = {
        "random": random_rows(x, 24),
        "pca": principal_components(x, 24),
        "centers": cluster_centers(x, 24),
        "learned": learned_dictionary(x, 24, 1, steps=10),
    }
    assert {name: len(baseline.decoder_rows) for name, baseline in made.items()} == {
        "random": 24,
        "pca": 12,
        "centers": 24,
        "learned": 24,
    }
    errors = {name: float((one.decode(one.encode(x, 2)) - x).square().mean()) for name, one in made.items()}
    found = {name: float(mcc(one.decoder_rows, directions)) for name, one in made.items()}
    variance = float((x - x.mean(0)).square().mean())
    assert all(error < variance for error in errors.values())
    # Centers and learned rows know the features; half of them are out of reach for principal components.
    assert min(found["centers"], found["learned"]) > found["random"] > found["pca"]
    with pytest.raises(ValueError, match="24 rows starts from as many samples, but there are 20"):
        learned_dictionary(x[:20], 24, 1)


def test_principal_components_are_those_of_the_samples(world: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
    x, *_ = world
    baseline = principal_components(x, 3)
    centered = x.double() - x.double().mean(0)
    _, _, vectors = torch.linalg.svd(centered, full_matrices=False)
    code = baseline.encode(x, 3).to_dense().double()
    torch.testing.assert_close(code.abs(), (centered @ vectors[:3].mT).abs(), rtol=1e-3, atol=1e-3)

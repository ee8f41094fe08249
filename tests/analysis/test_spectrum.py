import math

import numpy as np
import pytest
import torch

from ae_lightning.analysis.spectrum import effective_rank, frobenius_norm, singular_values


@pytest.mark.parametrize("shape", [(7, 4), (4, 7), (3, 5, 6)])
def test_singular_values_are_those_of_numpy_in_descending_order(shape):
    weight = np.random.default_rng(0).standard_normal(shape)
    expected = np.linalg.svd(weight, compute_uv=False)
    np.testing.assert_allclose(singular_values(weight).numpy(), expected, rtol=1e-7)


def test_a_large_float32_weight_keeps_its_digits():
    weight = torch.randn(392, 512, generator=torch.Generator().manual_seed(0))
    expected = np.linalg.svd(weight.double().numpy(), compute_uv=False)
    np.testing.assert_allclose(singular_values(weight).numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("diagonal", "rank"),
    [
        ([1, 1, 1, 1], 4),
        ([5, 0, 0, 0], 1),
        ([2, 2, 0, 0], 2),
        # Shares 1/2, 1/4, 1/4: the entropy is 3/2 ln 2.
        ([2, 1, 1, 0], 2**1.5),
        ([0, 0, 0, 0], 0),
    ],
)
@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e6])
def test_effective_rank_by_hand(diagonal, rank, scale):
    weight = scale * torch.diag(torch.tensor(diagonal, dtype=torch.float32))
    assert float(effective_rank(weight)) == pytest.approx(rank, abs=1e-4)


def test_instances_are_ranked_one_by_one():
    stack = torch.stack([torch.eye(3, 5), torch.zeros(3, 5), torch.ones(3, 5)])
    torch.testing.assert_close(
        effective_rank(stack), torch.tensor([3.0, 0.0, 1.0], dtype=torch.float64), atol=1e-5, rtol=0
    )
    assert frobenius_norm(stack).tolist() == pytest.approx([math.sqrt(3), 0, math.sqrt(15)])


def test_a_weight_that_is_not_finite_is_nan_and_leaves_its_neighbors_alone():
    stack = torch.stack([torch.eye(3), torch.full((3, 3), torch.inf)])
    ranks = effective_rank(stack)
    assert float(ranks[0]) == pytest.approx(3)
    assert math.isnan(ranks[1])


def test_a_parameter_gives_numbers_without_a_graph():
    rank = effective_rank(torch.nn.Parameter(torch.eye(2)))
    assert rank.shape == ()
    assert not rank.requires_grad


@pytest.mark.parametrize("shape", [(3,), (0, 4)])
def test_what_is_not_a_matrix_is_refused(shape):
    with pytest.raises(ValueError, match="matrix"):
        effective_rank(torch.zeros(shape))

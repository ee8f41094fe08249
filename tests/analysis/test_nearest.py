"""Nearest rows, against all cosines by hand."""

import numpy as np
import pytest
import torch

from ae_lightning.analysis.nearest import nearest_few, nearest_rows, random_rows


def test_the_nearest_row_is_another_one_that_points_the_same_way():
    rows = torch.tensor([[1.0, 0], [0, 2], [3, 3], [-1, -0.1]])
    nearest, cosines = nearest_rows(rows)
    assert nearest.tolist() == [2, 2, 0, 1]  # of (1, 0) and (0, 2) the third is as near to both: the first one
    expected = [0.5**0.5, 0.5**0.5, 0.5**0.5, -0.1 / 1.01**0.5]
    assert cosines.tolist() == pytest.approx(expected, rel=1e-5)


def test_many_rows_are_compared_in_pieces():
    rows = random_rows(1500, 3)
    nearest, cosines = nearest_rows(rows)
    unit = rows.double().numpy() / np.linalg.norm(rows.double().numpy(), axis=1, keepdims=True)
    products = unit @ unit.T
    np.fill_diagonal(products, -2)
    np.testing.assert_allclose(cosines.numpy(), products.max(axis=1), atol=1e-6)
    assert (nearest != torch.arange(1500)).all()


def test_random_rows_are_always_the_same_and_draw_no_global_number():
    state = torch.get_rng_state()
    assert torch.equal(random_rows(3, 2), random_rows(3, 2))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_row_alone_has_no_nearest():
    with pytest.raises(ValueError, match="at least two rows"):
        nearest_rows(torch.ones(1, 3))


def test_the_nearest_few_are_those_of_a_sorted_row_of_cosines():
    rows = random_rows(1200, 5)
    numbers, cosines = nearest_few(rows, 4)
    unit = rows.double().numpy() / np.linalg.norm(rows.double().numpy(), axis=1, keepdims=True)
    products = unit @ unit.T
    np.fill_diagonal(products, -2)
    np.testing.assert_allclose(cosines.numpy(), -np.sort(-products, axis=1)[:, :4], atol=1e-6)
    np.testing.assert_allclose(np.take_along_axis(products, numbers.numpy(), 1), cosines.numpy(), atol=1e-6)


def test_of_few_rows_there_are_fewer_others():
    assert nearest_few(torch.eye(3), 8)[0].shape == (3, 2)
    assert nearest_few(torch.eye(1), 8)[0].shape == (1, 0)

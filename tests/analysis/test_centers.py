import math

import pytest
import torch
from scipy.optimize import minimize

from ae_lightning.analysis.centers import geometric_median


def test_it_has_the_least_mean_distance():
    x = torch.randn(200, 3, generator=torch.Generator().manual_seed(0)).double().exp()  # skewed
    found = geometric_median(x)
    truth = minimize(lambda point: (x - torch.tensor(point)).norm(dim=1).sum().item(), x.mean(0).numpy(), tol=1e-10).x
    torch.testing.assert_close(found, torch.tensor(truth), rtol=1e-4, atol=1e-4)
    assert float((found - x.mean(0)).norm()) > 0.2


def test_on_a_line_it_is_the_median():
    x = torch.tensor([[0.0], [1.0], [2.0], [3.5], [100.0]])
    assert float(geometric_median(x, max_iter=2000, tolerance=1e-9)) == pytest.approx(2.0, abs=1e-3)


def test_the_point_of_a_triangle_that_sees_its_sides_at_equal_angles():
    # Of an equilateral triangle it is the center; a fourth point far away moves the mean but hardly this.
    corners = torch.tensor([[math.cos(a), math.sin(a)] for a in (0, 2 * math.pi / 3, 4 * math.pi / 3)])
    torch.testing.assert_close(geometric_median(corners), torch.zeros(2), atol=1e-5, rtol=0)


def test_instances_have_their_own():
    x = torch.randn(2, 50, 4, generator=torch.Generator().manual_seed(1)).exp()
    both = geometric_median(x)
    for i in range(2):
        torch.testing.assert_close(both[i], geometric_median(x[i]), atol=1e-4, rtol=1e-4)


def test_points_that_are_all_the_same_are_their_own_median():
    assert torch.equal(geometric_median(torch.full((5, 2), 3.0)), torch.full((2,), 3.0))


def test_no_points_are_refused():
    with pytest.raises(ValueError, match=r"points must have the shape"):
        geometric_median(torch.zeros(0, 3))

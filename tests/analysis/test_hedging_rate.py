"""The hedging rate, against values worked out by hand and NumPy's least squares."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ae_lightning.analysis.hedging_rate import hedging_rate


def test_rows_that_give_a_part_up_to_the_new_latent():
    size = 400  # where a random direction holds next to nothing: b is 0.04 of what moved
    axes = torch.eye(size)
    mixed = F.normalize(axes[:1] + 0.5 * axes[1:2], dim=-1)
    moved = math.sqrt((1 - 1 / math.sqrt(1.25)) ** 2 + 0.25 / 1.25)  # 0.46
    along = 0.5 / math.sqrt(1.25)
    b = moved * math.exp(math.lgamma(size / 2) - math.lgamma((size + 1) / 2)) / math.sqrt(math.pi)  # E |cos|
    found = hedging_rate(mixed, axes[:2], draws=4000)
    assert float(found) == pytest.approx((along - b) / (1 - b), abs=2e-4)


def test_what_moves_elsewhere_is_no_hedging():
    axes = torch.eye(64)
    control = F.normalize(axes[:2] + 0.5 * axes[10:12], dim=-1)
    assert float(hedging_rate(control, torch.cat([axes[:2], axes[40:44]]))) == 0.0
    same = torch.randn(8, 64)
    assert float(hedging_rate(same[:5], same)) == 0.0


def test_lengths_do_not_count_and_instances_stand_alone():
    generator = torch.Generator().manual_seed(0)
    control = torch.randn(3, 6, 32, generator=generator)
    extended = torch.cat([control, torch.randn(3, 4, 32, generator=generator)], dim=1)
    extended[:, :6] += 0.3 * extended[:, 6:].sum(1, keepdim=True)
    rate = hedging_rate(control, extended)
    lengths = torch.rand(3, 10, 1, generator=generator) + 0.5
    torch.testing.assert_close(hedging_rate(control * 3, extended * lengths), rate, atol=1e-6, rtol=0)
    assert rate.shape == (3,)
    assert float(rate.min()) > 0.1


def test_the_projection_is_that_of_least_squares():
    generator = torch.Generator().manual_seed(1)
    control = torch.randn(5, 16, generator=generator)
    new = torch.randn(2, 16, generator=generator)
    new = torch.cat([new, new[:1] * 2])  # two of them span the same
    extended = torch.cat([control + 2 * new[:1], new])
    unit = [F.normalize(rows, dim=-1).double().numpy() for rows in (control, extended)]
    moved = unit[1][:5] - unit[0]
    span = unit[1][5:].T
    projected = span @ np.linalg.lstsq(span, moved.T, rcond=None)[0]
    h = np.linalg.norm(projected, axis=0).mean()
    draws = [np.linalg.qr(np.random.default_rng(i).normal(size=(16, 3)))[0] for i in range(4000)]
    b = np.mean([np.linalg.norm(moved @ q, axis=1).mean() for q in draws])
    assert float(hedging_rate(control, extended, draws=4000)) == pytest.approx((h - b) / (1 - b), abs=5e-3)


@pytest.mark.parametrize(("control", "extended"), [((4, 8), (4, 8)), ((4, 8), (6, 9)), ((2, 4, 8), (3, 6, 8))])
def test_rows_that_do_not_extend_others_are_refused(control, extended):
    with pytest.raises(ValueError, match="do not extend"):
        hedging_rate(torch.ones(control), torch.ones(extended))

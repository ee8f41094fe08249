import math

import pytest
import torch

from ae_lightning.metrics.sparsity import L0, DeadFraction, FiringDensity, fired, firing_counts

# Latent 0 fires three times, latent 1 once, latent 2 never, latent 3 is negative twice.
Z = torch.tensor([[1.0, 0.0, 0.0, -1.0], [2.0, 0.5, 0.0, 0.0], [3.0, 0.0, 0.0, -2.0], [0.0, 0.0, 0.0, 0.0]])


def test_fired_is_greater_than_zero_unless_two_sided():
    z = torch.tensor([-1.0, -0.0, 0.0, 1e-30, math.nan])
    assert fired(z).tolist() == [False, False, False, True, False]
    assert fired(z, two_sided=True).tolist() == [True, False, False, True, False]


def test_counts_are_integers_summed_over_the_batch():
    counts = firing_counts(torch.stack([Z, -Z]))
    assert counts.dtype == torch.int64
    assert counts.tolist() == [[3, 1, 0, 0], [0, 0, 0, 2]]


@pytest.mark.parametrize(
    ("metric", "one_sided", "two_sided"),
    [
        (FiringDensity, [0.75, 0.25, 0.0, 0.0], [0.75, 0.25, 0.0, 0.5]),
        (L0, 1.0, 1.5),
        (DeadFraction, 0.5, 0.25),
    ],
)
def test_by_hand(metric, one_sided, two_sided):
    for flag, expected in ((False, one_sided), (True, two_sided)):
        instance = metric(two_sided=flag)
        instance.update(Z)
        assert instance.compute().tolist() == pytest.approx(expected)


@pytest.mark.parametrize("metric", [FiringDensity, L0, DeadFraction])
def test_two_halves_merged_are_the_whole(metric):
    z = torch.randn(3, 40, 6, generator=torch.Generator().manual_seed(0)) - 1.5
    whole, first, second = metric(), metric(), metric()
    whole.update(z)
    # Uneven halves: a mean of means would differ.
    first.update(z[:, :9])
    second.update(z[:, 9:])
    first.merge_state(second)
    torch.testing.assert_close(first.compute(), whole.compute())


def test_instances_have_a_density_each_and_share_their_means():
    z = torch.stack([Z, torch.ones_like(Z)])
    density, l0, dead = FiringDensity(), L0(), DeadFraction()
    for metric in (density, l0, dead):
        metric.update(z)
    assert density.compute().tolist() == [[0.75, 0.25, 0.0, 0.0], [1.0] * 4]
    assert l0.compute().item() == pytest.approx((1.0 + 4.0) / 2)
    assert dead.compute().item() == pytest.approx(2 / 8)


def test_a_latent_is_dead_only_if_no_batch_woke_it():
    metric = DeadFraction()
    assert metric(torch.tensor([[1.0, 0.0, 0.0]])).item() == pytest.approx(2 / 3)
    assert metric(torch.tensor([[0.0, 1.0, 0.0]])).item() == pytest.approx(2 / 3)
    assert metric.compute().item() == pytest.approx(1 / 3)


def test_reset_forgets_the_counts_and_the_width():
    metric = L0()
    metric.update(Z)
    metric.reset()
    metric.update(torch.ones(2, 7))
    assert metric.compute().item() == 7.0


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_nothing_seen_is_not_a_number():
    assert math.isnan(L0().compute())
    assert math.isnan(FiringDensity().compute())
    assert math.isnan(DeadFraction().compute())


def test_codes_without_a_batch_are_refused():
    with pytest.raises(ValueError, match="batch, latent"):
        L0().update(torch.ones(3))

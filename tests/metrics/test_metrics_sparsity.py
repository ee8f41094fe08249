import math

import pytest
import torch

from ae_lightning.metrics.sparsity import (
    L0,
    L1,
    DeadFraction,
    FiringDensity,
    HoyerSparsity,
    MeanActivation,
    NearZeroFraction,
    fired,
    firing_counts,
    has_silent_latents,
)
from ae_lightning.nn.sparse_code import Places, SparseCode

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


METRICS = [FiringDensity, L0, DeadFraction, L1, HoyerSparsity, MeanActivation, NearZeroFraction]


@pytest.mark.parametrize("metric", METRICS)
def test_two_halves_merged_are_the_whole(metric):
    z = torch.randn(3, 40, 6, generator=torch.Generator().manual_seed(0)) - 1.5
    # Some exact zeros, and halves that differ.
    z[:, :9] = z[:, :9].relu()
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
    for metric, expected in ((L0(), 7.0), (L1(), 7.0), (MeanActivation(), [1.0] * 7), (NearZeroFraction(), 0.0)):
        metric.update(Z)
        metric.reset()
        metric.update(torch.ones(2, 7))
        assert metric.compute().tolist() == expected


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
@pytest.mark.parametrize("metric", METRICS)
def test_nothing_seen_is_not_a_number(metric):
    assert math.isnan(metric().compute())


@pytest.mark.parametrize("metric", METRICS)
def test_codes_without_a_batch_are_refused(metric):
    with pytest.raises(ValueError, match="batch, latent"):
        metric().update(torch.ones(3))


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        # Norms 2, 2.5, 5 and 0.
        (L1(), 9.5 / 4),
        (L1("mean"), 9.5 / 16),
        # 10 of 16 values are zero; 0.5 is within 0.999 of it, 1 and −1 are at 1.
        (NearZeroFraction(), 10 / 16),
        (NearZeroFraction(threshold=0), 10 / 16),
        (NearZeroFraction(threshold=0.999), 11 / 16),
        (NearZeroFraction(threshold=1), 13 / 16),
        (MeanActivation(), [6 / 4, 0.5 / 4, 0.0, -3 / 4]),
        (MeanActivation(rectified=True), [6 / 4, 0.5 / 4, 0.0, 0.0]),
        # √4 − ‖z‖₁/‖z‖₂: 2 − 2/√2, 2 − 2.5/√4.25, 2 − 5/√13, and 0 for the code of zeros; √4 − 1 is 1.
        (HoyerSparsity(), (6 - 2 / math.sqrt(2) - 2.5 / math.sqrt(4.25) - 5 / math.sqrt(13)) / 4),
    ],
)
def test_values_by_hand_in_one_batch_and_in_uneven_ones(metric, expected):
    metric.update(Z)
    assert metric.compute().tolist() == pytest.approx(expected)
    metric.reset()
    for batch in Z.split([1, 3]):
        metric.update(batch)
    assert metric.compute().tolist() == pytest.approx(expected)


def test_l1_is_the_torch_norm():
    z = torch.randn(50, 9, generator=torch.Generator().manual_seed(0))
    metric = L1()
    metric.update(z)
    assert metric.compute().item() == pytest.approx(torch.linalg.vector_norm(z.double(), ord=1, dim=1).mean().item())


@pytest.mark.parametrize("metric", [L1, HoyerSparsity, NearZeroFraction])
def test_instances_share_the_mean_of_what_each_has_alone(metric):
    z = torch.stack([Z, torch.ones_like(Z), 3 * Z.flip(0)])
    together, alone = metric(), []
    together.update(z)
    for one in z:
        alone.append(metric())
        alone[-1].update(one)
    assert together.compute().item() == pytest.approx(sum(m.compute().item() for m in alone) / 3)


def test_instances_have_a_mean_activation_each():
    metric = MeanActivation()
    metric.update(torch.stack([Z, torch.ones_like(Z)]))
    assert metric.compute().tolist() == [[1.5, 0.125, 0.0, -0.75], [1.0] * 4]


def test_a_batch_gives_its_own_value_when_called():
    metric = MeanActivation()
    assert metric(Z[:2]).tolist() == [1.5, 0.25, 0.0, -0.5]
    assert metric(Z[2:]).tolist() == [1.5, 0.0, 0.0, -1.0]
    assert metric.compute().tolist() == [1.5, 0.125, 0.0, -0.75]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_not_summed_in_half_precision(dtype):
    # 3,000 ones: bfloat16 counts to 256, float16 to 2,048.
    z = torch.ones(3000, 3000, dtype=dtype)
    for metric, expected in ((L1(), 3000.0), (MeanActivation(), [1.0] * 3000), (HoyerSparsity(), 0.0)):
        metric.update(z)
        assert metric.compute().tolist() == pytest.approx(expected, abs=1e-5)


def test_a_long_evaluation_does_not_swallow_small_batches():
    metric = MeanActivation()
    metric.update(torch.full((1, 1), 1e8))
    for _ in range(100):
        # In float32 1e8 + 1 is 1e8.
        metric.update(torch.ones(1, 1))
    assert metric.compute().item() == pytest.approx((1e8 + 100) / 101, rel=1e-12)


def test_the_threshold_is_not_rounded_to_the_precision_of_the_codes():
    # The bfloat16 nearest to 0.003 is larger than it.
    z = torch.tensor([[0.003]], dtype=torch.bfloat16)
    assert z.item() > 0.003
    metric = NearZeroFraction(0.003)
    metric.update(z)
    assert metric.compute().item() == 0


def test_not_a_number_is_seen():
    z = torch.tensor([[math.nan, 1.0]])
    for metric in (L1(), HoyerSparsity(), MeanActivation()):
        metric.update(z)
        assert metric.compute().isnan().any()


def test_arguments_out_of_range_are_refused():
    with pytest.raises(ValueError, match="unknown reduction 'max'; known are sum, mean"):
        L1("max")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="threshold must not be negative, but it is -1"):
        NearZeroFraction(-1)


def test_hoyer_of_the_samples_that_have_a_code_at_all():
    """Of sparse features most samples are empty: counted as 0 they would make the sparsest code look dense."""
    z = torch.zeros(6, 4)
    z[0, 1], z[3] = 2.0, torch.tensor([1.0, 1.0, 0.0, 0.0])
    pair = (2 - 2 / 2**0.5) / (2 - 1)  # n = 4: (√n − ‖z‖₁/‖z‖₂) / (√n − 1)
    everything, nonzero = HoyerSparsity(), HoyerSparsity(nonzero_only=True)
    for metric in (everything, nonzero):
        metric.update(z[:3])
        metric.update(z[3:])
    assert float(everything.compute()) == pytest.approx((1 + pair) / 6)
    assert float(nonzero.compute()) == pytest.approx((1 + pair) / 2)
    instances = HoyerSparsity(nonzero_only=True)
    instances.update(torch.stack([z, torch.zeros(6, 4)]))
    assert float(instances.compute()) == pytest.approx((1 + pair) / 2)
    nothing = HoyerSparsity(nonzero_only=True)
    nothing.update(torch.zeros(3, 4))
    assert float(nothing.compute()) == 0.0


def test_a_code_is_sparse_where_latents_are_exactly_zero_and_others_are_not():
    x = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
    x[7] = 0  # a sample that is zero, of which a linear code is zero too
    assert has_silent_latents(x.relu())
    assert has_silent_latents(x.relu().expand(3, 50, 6))
    for dense in (x, x.tanh(), x.sigmoid(), 0 * x):
        assert not has_silent_latents(dense)


def entries(z):
    """The same codes by their entries that are not zero, and some that are."""
    kept = (z != 0).flatten() | (torch.arange(z.numel()) % 5 == 0)
    return SparseCode(z.flatten()[kept], Places.of_flat(kept.nonzero().squeeze(-1), z.shape))


@pytest.mark.parametrize("shape", [(40, 7), (3, 40, 7)], ids=["single", "instances"])
@pytest.mark.parametrize(
    "make",
    [
        *METRICS,
        lambda: FiringDensity(two_sided=True),
        lambda: L1("mean"),
        lambda: HoyerSparsity(nonzero_only=True),
        lambda: MeanActivation(rectified=True),
        lambda: NearZeroFraction(0.5),
        lambda: NearZeroFraction(0),
    ],
)
def test_a_sparse_code_is_measured_by_its_entries(make, shape, monkeypatch):
    monkeypatch.delattr(SparseCode, "to_dense")
    z = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    z[z.abs() < 0.7] = 0
    z[..., 3] = 0  # a latent that no sample chose
    z[..., :4, :] = 0  # samples without any
    dense, sparse = make(), make()
    for start, stop in ((0, 3), (3, 40)):
        dense.update(z[..., start:stop, :])
        sparse.update(entries(z[..., start:stop, :]))
    # Hoyer's norms are taken in float32 of a dense code.
    tolerance = 1e-6 if isinstance(dense, HoyerSparsity) else 1e-14
    found, expected = sparse.compute(), dense.compute()
    assert expected.count_nonzero() > 0
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=0)


def test_a_nan_among_entries_never_fires_and_is_seen():
    z = torch.tensor([[0.0, math.nan, 2.0], [0.0, 1.0, 0.0]])
    assert firing_counts(entries(z)).tolist() == firing_counts(z).tolist() == [0, 1, 1]
    for metric in (L1(), HoyerSparsity(), MeanActivation()):
        metric.update(entries(z))
        assert metric.compute().isnan().any()
    near = NearZeroFraction()
    near.update(entries(z))
    assert near.compute().item() == 0.5


@pytest.mark.parametrize("kind", [torch.Tensor.clone, lambda z: entries(z)], ids=["dense", "entries"])
def test_each_instance_has_its_own_number(kind):
    """Three instances of two samples: codes of one and of two latents, none at all, and two like one."""
    z = torch.tensor(
        [[[3.0, 0.0, 0.0, 0.0], [0.0, 1.0, 1.0, 0.0]], [[0.0] * 4] * 2, [[0.0, 0.0, 0.0, 5.0], [0.0, 0.0, 0.0005, 0.0]]]
    )
    of_two = (4**0.5 - 2 / 2**0.5) / (4**0.5 - 1)  # (√n − ‖z‖₁ / ‖z‖₂) / (√n − 1)
    for metric, expected in (
        (L1(), [(3 + 2) / 2, 0.0, 5.0005 / 2]),
        (HoyerSparsity(nonzero_only=True), [(1 + of_two) / 2, 0.0, 1.0]),
        (HoyerSparsity(), [(1 + of_two) / 2, 0.0, 1.0]),
        (NearZeroFraction(), [5 / 8, 1.0, 7 / 8]),
    ):
        metric.update(kind(z[:, :1]))
        metric.update(kind(z[:, 1:]))
        assert metric.each().tolist() == pytest.approx(expected, rel=1e-6), metric

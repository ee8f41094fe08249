import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Bernoulli, kl_divergence

from ae_lightning.losses.sparsity import hoyer, hoyer_sparsity, kl, l1, log, lp, sparsity_penalty, weighted_l1

NAMES = ["l1", "kl", "hoyer", "log", "lp"]
# Two samples of three latents.
Z = torch.tensor([[3.0, -4.0, 0.0], [1.0, 0.0, 0.0]])


def _codes(*shape: int) -> torch.Tensor:
    """Rectified codes in which no latent rests, and with means below one: where `kl` has its plain formula."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0)).mul(0.9).add(0.05)


def _gradient(penalty: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    return torch.autograd.grad(penalty, z)[0]


def test_l1_by_hand():
    # Norms of the samples: 3 + 4 + 0 = 7 and 1; their mean is 4, and 4/3 per latent.
    assert float(l1(Z)) == pytest.approx(4)
    assert float(l1(Z, "mean")) == pytest.approx(4 / 3)
    torch.testing.assert_close(l1(Z, "mean"), F.l1_loss(Z, torch.zeros_like(Z)))


def test_l1_gradient_by_hand():
    z = Z.clone().requires_grad_()
    # A half per sample in the direction of the sign, and nothing at zero.
    assert _gradient(l1(z), z).tolist() == [[0.5, -0.5, 0.0], [0.5, 0.0, 0.0]]


def test_an_l1_weighted_by_norms_by_hand():
    z, norms = Z.clone().requires_grad_(), torch.tensor([2.0, 1.0, 5.0], requires_grad=True)
    value = weighted_l1(z, norms)
    assert value.item() == 6  # (3 · 2 + 4 · 1 and 1 · 2) / 2
    of_z, of_norms = torch.autograd.grad(value, (z, norms))
    assert of_z.tolist() == [[1, -0.5, 0], [1, 0, 0]]
    assert of_norms.tolist() == [2, 2, 0]
    assert float(weighted_l1(Z)) == float(l1(Z)) == 4


def test_a_weighted_l1_is_told_for_each_instance():
    z, norms = _codes(3, 5, 4), _codes(3, 4)
    found = weighted_l1(z, norms, rectified=True)
    torch.testing.assert_close(found, torch.stack([(a * b).sum(1).mean() for a, b in zip(z, norms, strict=True)]))
    with pytest.raises(ValueError, match="codes must have shape"):
        weighted_l1(torch.ones(3))


def test_kl_by_hand():
    # Means of ReLU: (0.4 + 0) / 2 = 0.2 and (0.5 + 0.5) / 2 = 0.5.
    z = torch.tensor([[0.4, 0.5], [-3.0, 0.5]])
    # ½ ln(½ / p) + ½ ln(½ / (1 − p)): at p = 0.2 it is ½ ln 2.5 + ½ ln 0.625, at p = 0.5 it is 0.
    first = 0.5 * math.log(2.5) + 0.5 * math.log(0.625)
    assert float(kl(z, target=0.5)) == pytest.approx(first / 2, rel=1e-6)
    assert float(kl(z, target=0.5, reduction="sum")) == pytest.approx(first, rel=1e-6)


@pytest.mark.parametrize("target", [0.01, 0.05, 0.5, 0.9])
def test_kl_is_torchs_divergence_of_coins(target):
    z = _codes(30, 6).double()
    expected = kl_divergence(Bernoulli(torch.tensor(target, dtype=torch.float64)), Bernoulli(z.mean(dim=0)))
    torch.testing.assert_close(kl(z, target), expected.mean())
    torch.testing.assert_close(kl(z.float(), target).double(), expected.mean(), rtol=1e-5, atol=1e-7)


def test_kl_of_a_target_of_zero_or_one_is_the_limit():
    # Rates 0.25 and 0.75: −ln(1 − p) is ln(4/3) and ln 4, −ln p is ln 4 and ln(4/3).
    z = torch.tensor([[0.5, 1.0], [0.0, 0.5]], requires_grad=True)
    for target in (0.0, 1e-9, 1 - 1e-9, 1.0):
        assert kl(z, target, "sum").item() == pytest.approx(math.log(4 / 3) + math.log(4), rel=1e-6)
    # Slopes 1 / (1 − p) = 4/3 and 4, −1 / p = −4 and −4/3, half of each per sample; ReLU has none at zero.
    assert _gradient(kl(z, 0.0, "sum"), z).flatten().tolist() == pytest.approx([2 / 3, 2, 0, 2])
    assert _gradient(kl(z, 1.0, "sum"), z).flatten().tolist() == pytest.approx([-2, -2 / 3, 0, -2 / 3])


def test_kl_and_its_gradient_are_finite_everywhere():
    values, targets = [-1.0, 0.0, 1e-30, 1e-8, 1 - 2**-24, 1.0, 1.5, 100.0], [0.0, 0.05, 1.0]
    for case in itertools.product(values, targets, [torch.float32, torch.float64]):
        value, target, dtype = case
        z = torch.full((4, 3), value, dtype=dtype, requires_grad=True)
        penalty = kl(z, target)
        assert penalty.isfinite(), case
        assert penalty > -1e-6, case
        assert _gradient(penalty, z).isfinite().all(), case


def test_kl_of_rates_of_zero_and_one_by_hand():
    # 0.05 ln(0.05 / 1e-10) + 0.95 ln 0.95, and 0.05 ln 0.05 + 0.95 ln(0.95 / 1e-10).
    never, always = 0.05 * math.log(5e8) + 0.95 * math.log(0.95), 0.05 * math.log(0.05) + 0.95 * math.log(0.95e10)
    assert float(kl(torch.zeros(4, 1))) == pytest.approx(never, rel=1e-6)
    assert float(kl(torch.ones(4, 1))) == pytest.approx(always, rel=1e-6)


def test_kl_pulls_down_a_latent_whose_mean_is_no_rate_and_up_one_that_hardly_fires():
    z = torch.tensor([[3.0, 1e-12, -1.0], [5.0, -1.0, -2.0]], requires_grad=True)
    gradient = _gradient(kl(z), z)
    assert (gradient[:, 0] > 0).all()
    assert gradient[0, 1] < 0
    # Never above zero: ReLU passes nothing on.
    assert (gradient[:, 2] == 0).all()
    # Steps out there are of ordinary size, not 1e10.
    assert gradient.abs().max() < 1
    for target in (0.05, 0.5, 0.95):
        above = torch.tensor([[1.0], [1.0 + 1e-6]], requires_grad=True)
        assert (_gradient(kl(above, target), above) > 0).all()


def test_kl_brings_any_latent_that_fires_to_its_target():
    z = torch.tensor([[1e-3, 0.3, 2.0, 30.0]]).repeat(8, 1).requires_grad_()
    optimizer = torch.optim.Adam([z], lr=0.05)
    for _ in range(1500):
        optimizer.zero_grad()
        kl(z, 0.2).backward()
        optimizer.step()
    torch.testing.assert_close(z.detach(), torch.full_like(z, 0.2), rtol=0.05, atol=0)


def test_hoyer_by_hand():
    # √3 = 1.732: (1.732 − 7/5) / 0.732 for (3, −4, 0), and 1 for the single active latent.
    root = math.sqrt(3)
    measures = [(root - 1.4) / (root - 1), 1.0]
    assert hoyer_sparsity(Z).tolist() == pytest.approx(measures)
    assert float(hoyer(Z)) == pytest.approx(1 - sum(measures) / 2)


def test_hoyer_runs_from_all_equal_to_one_active():
    assert hoyer_sparsity(torch.full((1, 16), -0.3)).item() == pytest.approx(0, abs=1e-6)
    assert hoyer_sparsity(torch.eye(16)).tolist() == pytest.approx([1] * 16)
    # Four equal latents of 16: (4 − √4) / 3.
    assert hoyer_sparsity(torch.tensor([2.0] * 4 + [0.0] * 12)).item() == pytest.approx(2 / 3)


@pytest.mark.parametrize("scale", [1e-9, 1e-4, 1e6, 1e15])
def test_hoyer_does_not_depend_on_scale_and_stays_between_zero_and_one(scale):
    z = torch.randn(500, 9, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(hoyer_sparsity(z * scale), hoyer_sparsity(z), rtol=1e-4, atol=1e-5)
    edges = torch.cat([z, torch.ones(1, 9) / 3, torch.eye(9) * 0.7])
    assert hoyer_sparsity(edges * scale).min() >= 0
    assert hoyer_sparsity(edges * scale).max() <= 1


def test_hoyer_of_zero_codes_and_of_one_latent_is_zero_without_gradient():
    for shape in ((4, 3), (4, 1)):
        z = torch.zeros(shape).requires_grad_()
        assert hoyer_sparsity(z).tolist() == [0.0] * 4
        assert hoyer(z).item() == 1.0
        assert (_gradient(hoyer(z), z) == 0).all()
    one = torch.tensor([[2.0], [-1e-3]], requires_grad=True)
    assert hoyer_sparsity(one).tolist() == [0.0, 0.0]
    assert (_gradient(hoyer(one), one) == 0).all()


def test_a_zero_code_does_not_disturb_the_gradient_of_the_others():
    z = torch.cat([Z, torch.zeros(1, 3), torch.tensor([[1e-15, 3e-15, 0.0]])]).requires_grad_()
    alone = Z.clone().requires_grad_()
    gradient = _gradient(hoyer(z), z)
    assert (gradient[2:] == 0).all()
    # The mean is over four samples in place of two.
    torch.testing.assert_close(gradient[:2], _gradient(hoyer(alone), alone) / 2)


def test_minimizing_hoyer_makes_codes_sparse():
    z = torch.rand(8, 10, generator=torch.Generator().manual_seed(0)).add(0.5).requires_grad_()
    before = hoyer_sparsity(z).max().item()
    optimizer = torch.optim.Adam([z], lr=0.05)
    for _ in range(50):
        optimizer.zero_grad()
        hoyer(z).backward()
        optimizer.step()
    assert before < 0.2
    assert hoyer_sparsity(z).min() > before + 0.3


def test_not_a_number_is_not_hidden():
    z = torch.cat([Z, torch.full((1, 3), math.nan)])
    for name in NAMES:
        assert sparsity_penalty(name, z).isnan(), name


def test_log_by_hand():
    # ln 4 + ln 5 + ln 1 = ln 20 and ln 2; their mean is ½ ln 40. With scale ½: ln 7 + ln 9 and ln 3, mean ½ ln 189.
    assert float(log(Z)) == pytest.approx(0.5 * math.log(40))
    assert float(log(Z, scale=0.5)) == pytest.approx(0.5 * math.log(189))
    assert float(log(Z, reduction="mean")) == pytest.approx(0.5 * math.log(40) / 3)
    z = Z.clone().requires_grad_()
    # sign(z) / (1 + |z|), half of it per sample.
    assert _gradient(log(z), z).flatten().tolist() == pytest.approx([1 / 8, -1 / 10, 0, 1 / 4, 0, 0])


def test_lp_by_hand():
    # √4 + √9 + √0 = 5 and √1 = 1; their mean is 3. Each value is too low by at most √1e-4 = 0.01: three active ones.
    z = torch.tensor([[4.0, -9.0, 0.0], [1.0, 0.0, 0.0]])
    assert 3 - 0.03 / 2 <= float(lp(z)) < 3
    assert 1 - 0.01 <= float(lp(z, reduction="mean")) < 1


def test_lp_is_l1_for_one_and_counts_for_hardly_anything():
    z = torch.randn(20, 5, generator=torch.Generator().manual_seed(0)).double()
    assert float(lp(z, p=1.0)) == pytest.approx(float(l1(z)), rel=1e-12)
    torch.testing.assert_close(lp(z, p=1 - 1e-9), l1(z), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(lp(z.abs() + 1, p=0.3), (z.abs() + 1).pow(0.3).sum(1).mean(), rtol=0.1, atol=0)


@pytest.mark.parametrize("p", [0.1, 0.5, 1.0])
def test_lp_costs_nothing_at_zero_and_its_slope_is_finite_there(p):
    z = torch.tensor([[0.0, 1e-30, 1e-12, -1e-12]], requires_grad=True)
    assert float(lp(torch.zeros(3, 4), p)) == pytest.approx(0, abs=1e-6)
    gradient = _gradient(lp(z, p), z)[0]
    assert gradient[0] == 0
    # p · 1e-4^(p − 1), toward zero: for p = ½ it is 50.
    slope = p * 1e-4 ** (p - 1)
    assert gradient[1:].tolist() == pytest.approx([slope, slope, -slope], rel=1e-4)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("l1", {"reduction": "sum"}),
        ("l1", {"reduction": "mean"}),
        ("kl", {}),
        ("kl", {"target": 0.0, "reduction": "sum"}),
        ("kl", {"target": 1.0}),
        ("hoyer", {}),
        ("log", {"scale": 0.2}),
        ("lp", {"p": 0.5}),
        ("lp", {"p": 0.1, "reduction": "mean"}),
    ],
)
def test_gradients_agree_with_differences(name, options):
    # Away from the kinks at zero; for `kl`, the third latent is above one in the mean and the fourth never above zero.
    z = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    z = z + 0.1 * z.sign()
    z[..., 2] += 5
    z[..., 3] -= 5
    assert torch.autograd.gradcheck(lambda z: sparsity_penalty(name, z, **options), z.requires_grad_())


@pytest.mark.parametrize("name", NAMES)
def test_instances_are_summed_and_each_has_the_gradient_it_would_have_alone(name):
    z = _codes(3, 8, 5).mul(torch.tensor([0.1, 1.0, 2.0]).reshape(3, 1, 1)).requires_grad_()
    together = sparsity_penalty(name, z)
    alone = [sparsity_penalty(name, one) for one in z]
    torch.testing.assert_close(together, torch.stack(alone).sum())
    gradient = _gradient(together, z)
    for i, one in enumerate(alone):
        torch.testing.assert_close(gradient[i], torch.autograd.grad(one, z, retain_graph=True)[0][i])


@pytest.mark.parametrize("name", ["l1", "hoyer", "log", "lp"])
def test_a_batch_is_the_mean_of_batches_of_one(name):
    z = torch.randn(7, 5, generator=torch.Generator().manual_seed(1))
    single = torch.stack([sparsity_penalty(name, one[None]) for one in z])
    torch.testing.assert_close(sparsity_penalty(name, z), single.mean())


def test_kl_of_a_batch_of_one_takes_the_sample_for_the_rate():
    # ReLU gives rates 0.2 and 0: ½ ln 2.5 + ½ ln 0.625, and ½ ln(½ / 1e-10) + ½ ln ½.
    expected = 0.5 * math.log(2.5) + 0.5 * math.log(0.625) + 0.5 * math.log(0.5e10) + 0.5 * math.log(0.5)
    assert float(kl(torch.tensor([[0.2, -1.0]]), 0.5, "sum")) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", NAMES)
def test_half_precision_is_computed_in_float32(name, dtype):
    z = _codes(64, 300).to(dtype).requires_grad_()
    penalty = sparsity_penalty(name, z)
    assert penalty.dtype == torch.float32
    assert sparsity_penalty(name, z.double()).dtype == torch.float64
    assert penalty.item() == sparsity_penalty(name, z.detach().float()).item()
    assert _gradient(penalty, z).dtype == dtype


def test_by_name_each_has_the_reduction_of_its_own_and_takes_its_arguments():
    z = _codes(6, 4)
    assert sparsity_penalty("l1", z) == l1(z, "sum") == 4 * sparsity_penalty("l1", z, reduction="mean")
    assert sparsity_penalty("kl", z) == kl(z, 0.05, "mean") != sparsity_penalty("kl", z, target=0.2)
    assert sparsity_penalty("kl", z, target=0.2, reduction="sum") == kl(z, 0.2, "sum")
    assert sparsity_penalty("hoyer", z, reduction="sum") == hoyer(z)
    assert sparsity_penalty("log", z, scale=3.0) == log(z, 3.0) != log(z)
    assert sparsity_penalty("lp", z, p=0.25) == lp(z, 0.25) != lp(z)


def test_an_unknown_name_is_refused_with_those_that_are_known():
    with pytest.raises(ValueError, match="unknown sparsity penalty 'l0'; known are l1, kl, hoyer, log, lp"):
        sparsity_penalty("l0", Z)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unknown reduction 'max'; known are sum, mean"):
        l1(Z, "max")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("kl", {"target": -0.01}, r"target rate must lie in \[0, 1\], but it is -0.01"),
        ("kl", {"target": 1.01}, "but it is 1.01"),
        ("kl", {"target": math.nan}, "but it is nan"),
        ("lp", {"p": 0.0}, r"p must lie in \(0, 1\], but it is 0.0"),
        ("lp", {"p": 1.5}, "but it is 1.5"),
        ("log", {"scale": 0.0}, "scale of the log penalty must be positive and finite, but it is 0.0"),
        ("log", {"scale": math.inf}, "but it is inf"),
    ],
)
def test_arguments_out_of_range_are_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        sparsity_penalty(name, Z, **options)


@pytest.mark.parametrize("shape", [(3,), (2, 3, 4, 5)])
@pytest.mark.parametrize("name", NAMES)
def test_a_code_without_a_batch_or_of_images_is_refused(name, shape):
    with pytest.raises(ValueError, match=r"\(batch, latent\) or \(instances, batch, latent\)"):
        sparsity_penalty(name, torch.ones(shape))

"""Losses against scipy and numpy in float64, over whatever numbers they may be given."""

import numpy as np
import scipy.special
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from ae_lightning.losses.reconstruction import reconstruction_loss
from ae_lightning.losses.sparsity import hoyer_sparsity, kl, l1, log, lp, sparsity_penalty

WHOLE = st.floats(-1e3, 1e3, width=32)
PARTS = st.floats(0, 1, width=32)
SHAPES = array_shapes(min_dims=2, max_dims=4, max_side=5)
CODES = array_shapes(min_dims=2, max_dims=3, max_side=6)
NAMES = st.sampled_from(["l1", "kl", "hoyer", "log", "lp"])


@st.composite
def pairs(draw, values):
    shape = draw(SHAPES)
    return draw(arrays(np.float32, shape, elements=values)), draw(arrays(np.float32, shape, elements=values))


def codes(values=WHOLE):
    return arrays(np.float32, CODES, elements=values)


def value(loss):
    assert loss.ndim == 0
    return float(loss)


def close(found, wanted, scale=1.0):
    assert abs(found - wanted) <= 1e-5 * max(abs(wanted), scale), (found, wanted)


def per_instance(z):
    return z if z.ndim == 3 else z[None]


@given(pairs(WHOLE))
def test_squared_and_absolute_error_are_numpys(pair):
    x_hat, x = (part.astype(np.float64) for part in pair)
    tensors = [torch.from_numpy(part) for part in pair]
    close(value(reconstruction_loss("mse", *tensors)), np.mean((x_hat - x) ** 2))
    close(value(reconstruction_loss("mae", *tensors)), np.mean(np.abs(x_hat - x)))


@given(pairs(PARTS))
def test_binary_cross_entropy_is_scipys_but_for_its_bound(pair):
    x_hat, x = (part.astype(np.float64) for part in pair)
    with np.errstate(divide="ignore"):
        logs = np.maximum(np.log(x_hat), -100), np.maximum(np.log(1 - x_hat), -100)
    wanted = -np.mean(x * logs[0] + (1 - x) * logs[1])
    found = value(reconstruction_loss("bce", *(torch.from_numpy(part) for part in pair)))
    close(found, wanted)
    entropy = np.mean(scipy.special.entr(x) + scipy.special.entr(1 - x))
    assert found >= entropy - 1e-5, "no answer costs less than the target's own entropy"


@given(pairs(PARTS), st.sampled_from(["mse", "bce", "mae"]), st.integers(1, 4))
def test_instances_are_summed_as_if_each_were_alone(pair, name, instances):
    x_hat, x = (torch.from_numpy(part) for part in pair)
    alone = value(reconstruction_loss(name, x_hat, x))
    together = torch.stack([x_hat] * instances)
    close(value(reconstruction_loss(name, together, x, instances)), instances * alone)


@given(pairs(PARTS), st.sampled_from(["mse", "bce", "mae"]), st.floats(0, 10, width=32))
def test_a_weight_for_all_pixels_is_a_factor(pair, name, weight):
    x_hat, x = (torch.from_numpy(part) for part in pair)
    plain = value(reconstruction_loss(name, x_hat, x))
    close(value(reconstruction_loss(name, x_hat, x, weight=torch.tensor(weight))), weight * plain)


@given(codes(), st.floats(0.01, 1), st.floats(0.01, 100))
def test_norms_are_numpys(array, p, scale):
    z, wide = torch.from_numpy(array), np.abs(per_instance(array.astype(np.float64)))
    close(value(l1(z)), wide.sum(axis=-1).mean(axis=-1).sum())
    close(value(l1(z, "mean")), wide.mean(axis=-1).mean(axis=-1).sum())
    close(value(log(z, scale)), np.log1p(wide / scale).sum(axis=-1).mean(axis=-1).sum())
    exact = (wide**p).sum(axis=-1).mean(axis=-1).sum()
    bound = 1e-4**p * wide.shape[-1] * len(wide)  # what the shift may cost
    assert exact - bound - 1e-5 * max(exact, 1) <= value(lp(z, p)) <= exact + 1e-5 * max(exact, 1)


@given(codes(st.floats(-1, 1, width=32)), st.floats(0.001, 0.999))
def test_divergence_from_a_rate_is_scipys(array, target):
    rates = np.maximum(per_instance(array.astype(np.float64)), 0).mean(axis=-2)
    inside = (rates > 1e-6) & (rates < 1 - 1e-6)
    wanted = scipy.special.rel_entr(target, rates) + scipy.special.rel_entr(1 - target, 1 - rates)
    found = value(kl(torch.from_numpy(array), target, "sum"))
    assert np.isfinite(found)
    assert found >= -1e-4
    if inside.all():
        close(found, wanted.sum(), scale=10)


@given(codes())
def test_hoyers_measure_lies_between_none_and_one_and_has_no_scale(array):
    z = torch.from_numpy(array)
    found = hoyer_sparsity(z)
    assert found.shape == z.shape[:-1]
    assert bool(((found >= 0) & (found <= 1)).all())
    torch.testing.assert_close(hoyer_sparsity(z * 4), found, atol=1e-5, rtol=0)
    torch.testing.assert_close(hoyer_sparsity(z.flip(-1)), found, atol=1e-5, rtol=0)


@given(st.integers(2, 50), st.integers(0, 49), st.floats(2**-10, 2**10, width=32))
def test_hoyers_measure_is_one_for_one_latent_and_none_for_all_alike(latents, active, height):
    one = torch.zeros(latents)
    one[active % latents] = height
    assert abs(float(hoyer_sparsity(one)) - 1) < 1e-5
    assert abs(float(hoyer_sparsity(torch.full((latents,), height)))) < 1e-4


@given(codes(), NAMES)
def test_a_penalty_is_finite_and_so_is_its_gradient(array, name):
    z = torch.from_numpy(array).requires_grad_()
    penalty = sparsity_penalty(name, z)
    assert np.isfinite(value(penalty.detach()))
    (gradient,) = torch.autograd.grad(penalty, z)
    assert bool(gradient.isfinite().all())


@given(codes(), NAMES, st.randoms(use_true_random=False))
def test_a_penalty_asks_neither_for_the_order_of_samples_nor_of_latents(array, name, random):
    z = torch.from_numpy(array)
    rows, columns = (random.sample(range(size), size) for size in z.shape[-2:])
    shuffled = z[..., rows, :][..., columns]
    close(value(sparsity_penalty(name, shuffled)), value(sparsity_penalty(name, z)))


@given(codes(), NAMES)
def test_the_penalty_of_a_population_is_the_sum_of_its_members(array, name):
    z = torch.from_numpy(per_instance(array))
    close(value(sparsity_penalty(name, z)), sum(value(sparsity_penalty(name, one)) for one in z))

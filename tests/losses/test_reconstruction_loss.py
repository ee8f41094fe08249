import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ae_lightning.losses.reconstruction import bce, fvu, mae, mse, mse_sum, reconstruction_loss

# Two samples of two pixels each; the errors are 0.5, 0, −0.25, 0.25.
X = torch.tensor([[0.0, 1.0], [0.5, 0.25]])
X_HAT = torch.tensor([[0.5, 1.0], [0.25, 0.5]])
LN2 = math.log(2)
BY_HAND = {
    "mse": (0.25 + 0 + 0.0625 + 0.0625) / 4,
    "mae": (0.5 + 0 + 0.25 + 0.25) / 4,
    # −x ln x̂ − (1−x) ln(1−x̂): ln 2;  0;  ½·2 ln 2 + ½ ln 4/3;  ln 2
    "bce": (LN2 + 0 + (LN2 + 0.5 * math.log(4 / 3)) + LN2) / 4,
}


@pytest.mark.parametrize("name", BY_HAND)
def test_mean_per_pixel_by_hand(name):
    assert float(reconstruction_loss(name, X_HAT, X)) == pytest.approx(BY_HAND[name], rel=1e-6)
    assert float({"mse": mse, "mae": mae, "bce": bce}[name](X_HAT, X)) == pytest.approx(BY_HAND[name], rel=1e-6)


@pytest.mark.parametrize("name", BY_HAND)
def test_the_mean_does_not_depend_on_how_pixels_are_laid_out(name):
    image = reconstruction_loss(name, X_HAT.repeat(3, 4).view(6, 2, 2, 2), X.repeat(3, 4).view(6, 2, 2, 2))
    assert float(image) == pytest.approx(BY_HAND[name], rel=1e-6)


def test_bce_of_a_grey_target_is_its_own_entropy_and_certain_mistakes_are_cut_off():
    grey = torch.full((1, 1), 0.5)
    assert float(bce(grey, grey)) == pytest.approx(LN2)
    assert float(bce(torch.zeros(1, 1), torch.ones(1, 1))) == 100.0


@pytest.mark.parametrize("name", BY_HAND)
def test_instances_are_summed_and_each_has_the_gradient_it_would_have_alone(name):
    torch.manual_seed(0)
    x = torch.rand(4, 1, 3, 3)
    x_hat = torch.rand(5, 4, 1, 3, 3, requires_grad=True)
    function = {"mse": F.mse_loss, "mae": F.l1_loss, "bce": F.binary_cross_entropy}[name]
    together = reconstruction_loss(name, x_hat, x, instances=5)
    (gradient,) = torch.autograd.grad(together, x_hat)
    alone = [function(one, x) for one in x_hat]
    torch.testing.assert_close(together, torch.stack(alone).sum())
    for i, loss in enumerate(alone):
        torch.testing.assert_close(gradient[i], torch.autograd.grad(loss, x_hat, retain_graph=True)[0][i])


def test_instances_may_have_data_of_their_own():
    torch.manual_seed(0)
    x, x_hat = torch.rand(2, 5, 4, 7)
    found = reconstruction_loss("mse", x_hat, x, instances=5)
    torch.testing.assert_close(found, torch.stack([F.mse_loss(a, b) for a, b in zip(x_hat, x, strict=True)]).sum())


def test_one_instance_is_the_loss_itself():
    assert float(reconstruction_loss("mse", X_HAT[None], X, instances=1)) == pytest.approx(BY_HAND["mse"])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", BY_HAND)
def test_half_precision_is_computed_in_float32(name, dtype):
    torch.manual_seed(1)
    x, x_hat = torch.rand(64, 100), torch.rand(64, 100).to(dtype)
    function = {"mse": F.mse_loss, "mae": F.l1_loss, "bce": F.binary_cross_entropy}[name]
    found = reconstruction_loss(name, x_hat, x)
    assert found.dtype == torch.float32
    # The prediction is rounded, the target is not, and nothing is rounded again on the way.
    assert float(found) == float(function(x_hat.float(), x))


def test_double_precision_stays():
    found = reconstruction_loss("mse", X_HAT.double(), X)
    assert found.dtype == torch.float64
    assert float(found) == BY_HAND["mse"]


@pytest.mark.parametrize("shape", [(2, 1, 2), (2, 1), (1, 2), (2, 3), (4,)])
def test_a_prediction_of_another_shape_is_refused_and_not_broadcast(shape):
    with pytest.raises(RuntimeError):
        reconstruction_loss("mse", torch.zeros(shape), X)


def test_an_unknown_name_is_refused_with_those_that_are_known():
    with pytest.raises(ValueError, match=r"unknown reconstruction loss 'huber'; known are mse, bce, mae, mse_sum, fvu"):
        reconstruction_loss("huber", X_HAT, X)  # type: ignore[arg-type]


# --- weighted pixels -------------------------------------------------------------------------------------------------

WEIGHT = torch.tensor([2.0, 0.5])
WEIGHTED_BY_HAND = {
    "mse": (2 * 0.25 + 0 + 2 * 0.0625 + 0.5 * 0.0625) / 4,
    "mae": (2 * 0.5 + 0 + 2 * 0.25 + 0.5 * 0.25) / 4,
    "bce": (2 * LN2 + 0 + 2 * (LN2 + 0.5 * math.log(4 / 3)) + 0.5 * LN2) / 4,
}


@pytest.mark.parametrize("name", BY_HAND)
def test_each_pixel_is_multiplied_by_its_weight_and_the_mean_not_divided_by_it(name):
    assert float(reconstruction_loss(name, X_HAT, X, weight=WEIGHT)) == pytest.approx(WEIGHTED_BY_HAND[name], rel=1e-6)
    function = {"mse": mse, "mae": mae, "bce": bce}[name]
    assert float(function(X_HAT, X, WEIGHT)) == pytest.approx(WEIGHTED_BY_HAND[name], rel=1e-6)
    unweighted = reconstruction_loss(name, X_HAT, X, weight=torch.ones(2))
    assert float(unweighted) == pytest.approx(BY_HAND[name], rel=1e-6)
    assert float(reconstruction_loss(name, X_HAT, X, weight=torch.zeros(2))) == 0


@pytest.mark.parametrize("name", BY_HAND)
@pytest.mark.parametrize("shape", [(7,), (1, 7), (5, 1, 7)], ids=str)
def test_weights_may_be_shared_by_instances_or_their_own(name, shape):
    torch.manual_seed(0)
    x = torch.rand(4, 7)
    x_hat = torch.rand(5, 4, 7, requires_grad=True)
    weight = torch.rand(shape) * 3
    together = reconstruction_loss(name, x_hat, x, 5, weight)
    error = {
        "mse": lambda p, t: (p - t) ** 2,
        "mae": lambda p, t: (p - t).abs(),
        "bce": lambda p, t: -t * p.log() - (1 - t) * (1 - p).log(),
    }[name]
    alone = [(error(one, x) * weight.expand(5, 1, 7)[i]).mean() for i, one in enumerate(x_hat)]
    torch.testing.assert_close(together, torch.stack(alone).sum())
    (gradient,) = torch.autograd.grad(together, x_hat, retain_graph=True)
    torch.testing.assert_close(gradient, torch.autograd.grad(torch.stack(alone).sum(), x_hat)[0])


@pytest.mark.parametrize("name", BY_HAND)
def test_weighted_losses_of_half_precision_are_computed_in_float32(name):
    x_hat = X_HAT.to(torch.bfloat16)  # exact
    found = reconstruction_loss(name, x_hat, X, weight=WEIGHT)
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(WEIGHTED_BY_HAND[name], rel=1e-6)


# --- the sum over pixels, and the fraction of variance ---------------------------------------------------------------


def test_mse_sum_and_fvu_by_hand():
    # Squared errors of the samples are 0.25 and 0.125; pixels lie ±0.25 and ±0.375 from their means.
    assert float(reconstruction_loss("mse_sum", X_HAT, X)) == float(mse_sum(X_HAT, X)) == (0.25 + 0.125) / 2
    truth = (0.25 + 0.125) / (2 * 0.25**2 + 2 * 0.375**2)
    assert float(reconstruction_loss("fvu", X_HAT, X)) == float(fvu(X_HAT, X)) == pytest.approx(truth, rel=1e-6)
    assert float(reconstruction_loss("mse_sum", X_HAT, X, weight=WEIGHT)) == pytest.approx((2 * 0.3125 + 0.03125) / 2)
    weighted = (2 * 0.3125 + 0.5 * 0.0625) / (2 * 2 * 0.25**2 + 0.5 * 2 * 0.375**2)
    assert float(reconstruction_loss("fvu", X_HAT, X, weight=WEIGHT)) == pytest.approx(weighted, rel=1e-6)
    assert float(reconstruction_loss("fvu", X_HAT, X, weight=7 * WEIGHT)) == pytest.approx(weighted, rel=1e-6)


def numpy_loss(name, x_hat, x, weight=1.0):
    """Of one instance: x_hat and x (batch, …)."""
    x_hat, x, weight = (np.asarray(part, dtype=np.float64) for part in (x_hat, x, weight))
    errors = weight * (x_hat - x) ** 2
    if name == "mse_sum":
        return errors.reshape(len(x), -1).sum(1).mean()
    return errors.sum() / (weight * (x - x.mean(0)) ** 2).sum()


@pytest.mark.parametrize("name", ["mse_sum", "fvu"])
@pytest.mark.parametrize("own", [False, True], ids=["shared", "own"])
@pytest.mark.parametrize("shape", [(7,), (1, 3, 3)], ids=str)
def test_mse_sum_and_fvu_of_instances_are_numpy_s_of_each(name, own, shape):
    torch.manual_seed(0)
    x_hat = torch.rand(5, 4, *shape, dtype=torch.float64)
    x = torch.rand(*((5, 4) if own else (4,)), *shape, dtype=torch.float64)
    weight = torch.rand(5, 1, *shape, dtype=torch.float64)
    for weights in (None, weight):
        truth = [
            numpy_loss(name, one, x[i] if own else x, 1.0 if weights is None else weights[i])
            for i, one in enumerate(x_hat)
        ]
        assert float(reconstruction_loss(name, x_hat, x, 5, weights)) == pytest.approx(sum(truth), rel=1e-12)
    flat = reconstruction_loss(name, x_hat.flatten(2), x.flatten(-len(shape)), 5)
    assert float(flat) == pytest.approx(float(reconstruction_loss(name, x_hat, x, 5)), rel=1e-12)


@pytest.mark.parametrize("instances", [None, 3])
def test_the_gradients_of_mse_sum_and_fvu_are_that_of_mse_by_a_factor(instances):
    torch.manual_seed(0)
    x = torch.rand(4, 7, dtype=torch.float64)
    x_hat = torch.rand(*(() if instances is None else (instances,)), 4, 7, dtype=torch.float64, requires_grad=True)
    gradient = {
        name: torch.autograd.grad(reconstruction_loss(name, x_hat, x, instances), x_hat)[0]
        for name in ("mse", "mse_sum", "fvu")
    }
    torch.testing.assert_close(gradient["mse_sum"], 7 * gradient["mse"], rtol=1e-12, atol=0)
    variance = float(np.var(x.numpy(), axis=0).mean())
    torch.testing.assert_close(gradient["fvu"], gradient["mse"] / variance, rtol=1e-12, atol=0)


@pytest.mark.parametrize("x", [torch.full((1, 3), 0.3), torch.full((5, 3), 0.1)], ids=["one sample", "equal samples"])
def test_a_batch_that_does_not_vary_has_no_fraction_and_no_gradient(x):
    x_hat = torch.rand(2, *x.shape, requires_grad=True)
    loss = reconstruction_loss("fvu", x_hat, x, 2)
    loss.backward()
    assert float(loss.detach()) == 0
    assert torch.equal(x_hat.grad, torch.zeros_like(x_hat))


def test_an_instance_that_does_not_vary_leaves_the_others_theirs():
    torch.manual_seed(0)
    x, x_hat = torch.rand(2, 3, 6, 4)
    x[1] = 0.1
    x_hat.requires_grad_()
    reconstruction_loss("fvu", x_hat, x, 3).backward()
    assert float(x_hat.grad[1].abs().max()) == 0
    for i in (0, 2):
        alone = x_hat[i].detach().requires_grad_()
        fvu(alone, x[i]).backward()
        torch.testing.assert_close(x_hat.grad[i], alone.grad)


def test_the_variance_of_data_far_from_zero_is_theirs():
    torch.manual_seed(0)
    near = torch.rand(64, 8).mul(16).round()
    x_hat = near + torch.rand(64, 8).round()
    truth = numpy_loss("fvu", x_hat, near)
    assert float(fvu(x_hat + 1e6, near + 1e6)) == pytest.approx(truth, rel=1e-5)


@pytest.mark.parametrize("name", ["mse_sum", "fvu"])
def test_half_precision_is_summed_in_float32(name):
    torch.manual_seed(1)
    x, x_hat = torch.rand(64, 100), torch.rand(64, 100).to(torch.bfloat16)
    found = reconstruction_loss(name, x_hat, x)
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(numpy_loss(name, x_hat.float(), x), rel=1e-5)


@pytest.mark.parametrize("name", ["mse_sum", "fvu"])
def test_the_gradient_lies_as_the_reconstruction_does(name):
    x_hat = torch.rand(3, 5, 8).mT.requires_grad_()  # samples side by side
    (gradient,) = torch.autograd.grad(reconstruction_loss(name, x_hat, torch.rand(8, 5), 3), x_hat)
    assert gradient.stride() == x_hat.stride()

import math

import pytest
import torch
import torch.nn.functional as F

from ae_lightning.losses.reconstruction import bce, mae, mse, reconstruction_loss

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
    with pytest.raises(ValueError, match=r"unknown reconstruction loss 'huber'; known are mse, bce, mae"):
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

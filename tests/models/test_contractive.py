"""Contractive autoencoders: the penalty in training, in validation and for the best checkpoint."""

import pytest
import torch
from torch.func import jacrev, vmap

from ae_lightning.callbacks.observing import validation_losses
from ae_lightning.data.digits import DigitsDataModule
from ae_lightning.data.mnist import MNISTDataModule
from ae_lightning.errors import UserError
from ae_lightning.models.contractive import ContractiveAutoencoder
from ae_lightning.nn.networks import DeepConvNetwork, MLPNetwork
from ae_lightning.testing.building import quiet_trainer

SHAPE = (1, 8, 8)
ONE_LAYER = MLPNetwork((), latent_activation="sigmoid")


def contractive(network, **settings):
    torch.manual_seed(0)
    return ContractiveAutoencoder(SHAPE, network=network, latent_dim=6, **settings)


@pytest.fixture(scope="module")
def digits():
    data = DigitsDataModule(batch_size=256)
    data.setup()
    return data


def squared_norms(model, x):
    """‖J‖²_F at each sample, by torch.func."""
    model.eval()
    with torch.no_grad():
        return vmap(jacrev(lambda one: model.encode(one[None])[0].flatten()))(x).flatten(1).square().sum(1)


def test_the_objective_is_the_error_plus_the_weighted_norm(digits):
    model = contractive(ONE_LAYER, contraction_weight=0.3)
    x, _ = digits.val_set.take(20)
    losses, _ = model.loss(x)
    assert set(losses) == {"loss", "reconstruction", "contraction"}
    truth = float(squared_norms(model, x).mean())
    assert float(losses["contraction"].detach()) == pytest.approx(truth, rel=1e-6)
    assert float(losses["loss"].detach()) == pytest.approx(float(losses["reconstruction"].detach()) + 0.3 * truth)


@pytest.mark.parametrize(
    "network", [MLPNetwork((16,), activation="tanh", batch_norm=True), DeepConvNetwork((4,), flat_code=True)]
)
def test_of_several_layers_many_probes_come_near_it_in_training_too(network, digits):
    x, _ = digits.val_set.take(10)
    model = contractive(network, probes=100)
    for part in model.modules():  # statistics that are not those of the batch
        if hasattr(part, "running_mean"):
            part.running_var.fill_(2.0)
    truth = float(squared_norms(model, x).mean())
    for training in (True, False):
        model.train(training)
        assert float(model.contraction(x).detach().mean()) == pytest.approx(truth, rel=0.1)


@pytest.mark.parametrize("network", [ONE_LAYER, MLPNetwork((16,), batch_norm=True)])
def test_it_is_validated_by_the_same_projections_each_time(network, digits, tmp_path):
    model = contractive(network)
    trainer = quiet_trainer(tmp_path)  # which validates in inference mode

    def validated(batch_size):
        digits.eval_batch_size = batch_size
        return trainer.validate(model, digits, verbose=False)[0]

    first, again, small = validated(1000), validated(1000), validated(37)
    assert first["val/contraction"] > 0
    assert first["val/loss"] == pytest.approx(first["val/reconstruction"] + 1e-4 * first["val/contraction"])
    assert first == again
    assert small == pytest.approx(first, rel=1e-5)
    assert validation_losses(trainer, model, digits) == pytest.approx(first, rel=1e-5)


def test_training_contracts(digits):
    """On one batch a strong penalty brings the norm down, and no penalty does not."""
    x, _ = digits.val_set.take(64)

    def after(weight):
        model = contractive(MLPNetwork((16,), activation="tanh"), contraction_weight=weight)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, fused=True)
        for _ in range(60):
            optimizer.zero_grad()
            model.loss(x)[0]["loss"].backward()
            optimizer.step()
        return float(squared_norms(model, x).mean())

    assert after(0.1) < 0.3 * after(0.0)


@pytest.mark.parametrize("option", [{"contraction_weight": -1.0}, {"probes": 0}])
def test_what_cannot_be_is_refused_in_a_sentence(option):
    with pytest.raises(UserError, match=rf"--model\.{next(iter(option))} is .*; it must be at least"):
        contractive(ONE_LAYER, **option)


@pytest.mark.slow
@pytest.mark.mnist
def test_half_the_norm_costs_little_error_on_digits(mnist_root):
    """784-400-20 on 10,000 images: ‖J‖ falls by half or more, the error rises by 5 % at most."""
    data = MNISTDataModule(root=mnist_root)
    data.setup()
    x, unseen = data.train_set.take(10_000)[0], data.test_set.take(1000)[0]

    def norm_and_error(weight):
        torch.manual_seed(0)
        model = ContractiveAutoencoder((1, 28, 28), contraction_weight=weight)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
        for rows in torch.cat([torch.randperm(len(x)) for _ in range(4)]).split(128):
            optimizer.zero_grad()
            model.loss(x[rows])[0]["loss"].backward()
            optimizer.step()
        error = (model.eval()(unseen).x_hat - unseen).square().mean()
        return float(squared_norms(model, unseen[:200]).mean().sqrt()), float(error.detach())

    (plain_norm, plain_error), (norm, error) = norm_and_error(0.0), norm_and_error(1e-4)
    print(f"‖J‖ {plain_norm:.2f} and {norm:.2f}, error {plain_error:.5f} and {error:.5f}")
    assert norm < 0.5 * plain_norm
    assert error < 1.05 * plain_error

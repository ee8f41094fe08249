"""Wasserstein autoencoders: the penalty of a batch, and what it makes of codes."""

import copy

import pytest
import torch

from ae_lightning.data.digits import DigitsDataModule
from ae_lightning.errors import UserError
from ae_lightning.losses.mmd import imq_mmd
from ae_lightning.models.wasserstein import WassersteinAutoencoder
from ae_lightning.nn.draws import SampleDraws
from ae_lightning.nn.networks import DeepConvNetwork, MLPNetwork
from ae_lightning.testing.building import quiet_trainer

SHAPE = (1, 8, 8)


def wasserstein(**settings):
    torch.manual_seed(0)
    return WassersteinAutoencoder(SHAPE, **{"latent_dim": 4, "network": MLPNetwork((32,))} | settings)


@pytest.fixture(scope="module")
def digits():
    data = DigitsDataModule(batch_size=256)
    data.setup()
    return data


def test_the_objective_is_the_error_plus_the_weighted_discrepancy(digits):
    model = wasserstein(mmd_weight=3.0).eval()
    x, _ = digits.val_set.take(40)
    losses, output = model.loss(x)
    assert set(losses) == {"loss", "reconstruction", "mmd"}
    truth = float(imq_mmd(output.z, SampleDraws(x, 0).normal(4)).detach())
    error = float((output.x_hat - x).square().flatten(1).sum(1).mean().detach())
    assert float(losses["mmd"].detach()) == pytest.approx(truth)
    assert float(losses["loss"].detach()) == pytest.approx(error + 3 * truth)


def test_codes_that_are_maps_are_compared_whole(digits):
    model = wasserstein(network=DeepConvNetwork((4,)), latent_dim=3).eval()
    x, _ = digits.val_set.take(40)
    losses, output = model.loss(x)
    assert output.z.ndim == 4
    truth = imq_mmd(output.z.flatten(1), SampleDraws(x, 0).normal(output.z[0].numel()))
    assert float(losses["mmd"].detach()) == pytest.approx(float(truth.detach()))
    assert float(output.z.detach().min()) < 0  # a code has to be able to be any number


def test_a_single_sample_has_no_discrepancy_and_batches_of_one_are_refused(digits, tmp_path):
    model = wasserstein()
    assert set(model.loss(digits.val_set.take(1)[0])[0]) == {"loss", "reconstruction"}
    alone = copy.deepcopy(digits)
    alone.batch_size = 1
    with pytest.raises(UserError, match=r"--data\.batch_size is 1; .* set it to 2"):
        quiet_trainer(tmp_path, max_steps=1, limit_val_batches=0).fit(model, alone)
    with pytest.raises(UserError, match=r"--model\.mmd_weight is -1"):
        wasserstein(mmd_weight=-1.0)


def test_training_brings_codes_to_the_prior(digits):
    """Means and deviations of codes come near 0 and 1; without the penalty they do not."""
    x, _ = digits.val_set.take(100)

    def moments(weight):
        model = wasserstein(mmd_weight=weight)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, fused=True)
        for _ in range(100):
            optimizer.zero_grad()
            model.loss(x)[0]["loss"].backward()
            optimizer.step()
        with torch.no_grad():
            codes = model.eval().encode(x)
        return float(codes.mean(0).abs().max()), float((codes.std(0) - 1).abs().max())

    mean, deviation = moments(100.0)
    assert mean < 0.3
    assert deviation < 0.3
    assert max(moments(0.0)) > 1

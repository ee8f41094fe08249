"""Every objective over every kind of network: what `test_variants` asks of it over the network of its own config."""

from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer

from ae_lightning.errors import ConfigError
from ae_lightning.explorer.chain import can_be_explored, network_of
from ae_lightning.models import variants
from ae_lightning.models.base import Autoencoder
from ae_lightning.models.networked import NetworkAutoencoder
from ae_lightning.nn.networks import ConvNetwork, DeepConvNetwork, MLPNetwork
from ae_lightning.testing.building import quiet_trainer, seeded
from ae_lightning.testing.outputs import assert_same_state
from ae_lightning.testing.variant_tests import StopAfterAnEpoch

NAMED = {"FullyConnectedAutoencoder", "ConvAutoencoder", "DeepConvAutoencoder", "StackedAutoencoder"}
OBJECTIVES = [
    pytest.param(kind, id=name)
    for name, kind in variants().items()
    if issubclass(kind, NetworkAutoencoder) and name not in NAMED
]
NETWORKS = {
    "mlp": MLPNetwork(hidden_dims=(16,)),
    "conv": ConvNetwork(),
    "deep_conv": DeepConvNetwork(hidden_channels=(3, 4)),
    "flat": DeepConvNetwork(hidden_channels=(3, 4), flat_code=True),
}
SETTINGS: dict[str, dict[str, Any]] = {"VQVAE": {"codes": 8}}
SHAPE = (1, 8, 8)

every_objective = pytest.mark.parametrize("kind", OBJECTIVES)
every_image_network = pytest.mark.parametrize("network", ["conv", "deep_conv", "flat"])


def built(kind: type[Autoencoder], network: str, seed: int = 0) -> Autoencoder:
    torch.manual_seed(seed)
    settings: dict[str, Any] = {"latent_dim": 8, "network": NETWORKS[network], **SETTINGS.get(kind.__name__, {})}
    return kind(SHAPE, **settings)


@pytest.mark.slow
@pytest.mark.parametrize("network", ["deep_conv", "flat"])
@every_objective
def test_a_fit_that_is_resumed_goes_on_bit_for_bit(kind, network, digits, tmp_path, monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")
    path = tmp_path / "last.ckpt"

    def fit(seed: int, *callbacks: Any, **resumed: Any) -> tuple[Autoencoder, Trainer]:
        model = built(kind, network, seed)
        options: dict[str, Any] = {"limit_train_batches": 2, "limit_val_batches": 0, "callbacks": [*callbacks]}
        trainer = quiet_trainer(tmp_path, max_epochs=2, **options)
        trainer.fit(model, digits, **resumed)
        return model, trainer

    whole, _ = fit(0)
    before = built(kind, network).state_dict()
    assert any(not torch.equal(before[name], value) for name, value in whole.state_dict().items())
    _, first = fit(0, StopAfterAnEpoch())
    first.save_checkpoint(path)
    resumed, _ = fit(99, ckpt_path=path, weights_only=True)
    assert_same_state(resumed, whole)


@every_image_network
@every_objective
def test_narrow_and_wide_formats(kind, network, digits):
    """Under bfloat16 the same noise gives nearly the same losses; in float64 gradients are finite."""
    x, *_ = digits.test_set.take(32)
    model = built(kind, network)
    with torch.no_grad():
        exact, _ = seeded(model.loss, x)
    with torch.autocast("cpu", torch.bfloat16):
        losses, _ = seeded(model.loss, x)
    for term, value in losses.items():
        assert value.dtype == torch.float32, term
        assert float(value.detach()) == pytest.approx(float(exact[term]), rel=0.1, abs=0.02), term
    wide = built(kind, network).double()
    losses, output = seeded(wide.loss, x.double())
    assert output.x_hat.dtype == losses["loss"].dtype == torch.float64
    losses["loss"].backward()
    gradients = [parameter.grad for parameter in wide.trained_parameters() if parameter.grad is not None]
    assert gradients
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)


@every_objective
def test_the_explorer_shows_it_or_says_why_not(kind):
    assert not can_be_explored(built(kind, "flat"))
    model = built(kind, "mlp")
    if can_be_explored(model):
        assert [layer.name for layer in network_of(model).layers] == [
            "encoder 1",
            "code",
            "decoder 1",
            "reconstruction",
        ]
    else:
        assert kind.__name__ == "VQVAE"


@every_objective
def test_vectors_are_refused_by_a_network_of_images(kind):
    with pytest.raises(ConfigError, match=r"the network conv takes images .* or choose --model\.network mlp"):
        kind((20,), network="conv")

"""Networks under a model: the named variants are the same, checkpoints hold the settings, mistakes are told."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ae_lightning.cli.command_line import CommandLine
from ae_lightning.cli.fit.parsing import OnlySettings, prepare
from ae_lightning.errors import CheckpointError, ConfigError
from ae_lightning.explorer.chain import can_be_explored, network_of
from ae_lightning.models.base import Autoencoder
from ae_lightning.models.checkpoint import load_autoencoder, model_settings, read_checkpoint
from ae_lightning.models.convolutional import ConvAutoencoder, DeepConvAutoencoder
from ae_lightning.models.fully_connected import FullyConnectedAutoencoder
from ae_lightning.models.networked import NetworkAutoencoder
from ae_lightning.nn.networks import ConvNetwork, DeepConvNetwork, MLPNetwork, OwnNetwork
from ae_lightning.testing.building import quiet_trainer

SHAPE = (1, 8, 8)


def seeded(build: Any, *arguments: Any, **settings: Any) -> Any:
    torch.manual_seed(0)
    return build(*arguments, **settings)


@pytest.mark.parametrize(
    ("named", "width", "settings", "network"),
    [
        (FullyConnectedAutoencoder, "latent_dim", {"hidden_dims": (7,)}, MLPNetwork((7,))),
        (FullyConnectedAutoencoder, "latent_dim", {}, "mlp"),
        (ConvAutoencoder, "latent_channels", {}, "conv"),
        (DeepConvAutoencoder, "latent_channels", {"batch_norm": False}, DeepConvNetwork(batch_norm=False)),
    ],
)
def test_a_named_variant_is_the_plain_one_over_its_network(named: Any, width: str, settings: Any, network: Any) -> None:
    own = seeded(named, SHAPE, **{width: 3}, **settings)
    plain = seeded(NetworkAutoencoder, SHAPE, 3, network)
    assert own.state_dict().keys() == plain.state_dict().keys()
    x = torch.rand(2, *SHAPE)
    assert torch.equal(own(x).x_hat, plain(x).x_hat)
    assert own.code_shape == own.latent_shape == plain.code_shape
    for ours, theirs in zip(own.layer_outputs(x, True), plain.layer_outputs(x, True), strict=True):
        assert torch.equal(ours, theirs)


def own_network() -> OwnNetwork:
    decoder = nn.Sequential(nn.Linear(3, 64), nn.Unflatten(1, SHAPE))
    return OwnNetwork(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), decoder)


def saved(model: Autoencoder, path: Path, data: Any) -> Path:
    trainer = quiet_trainer(path.parent, max_steps=1)
    trainer.fit(model, data)
    trainer.save_checkpoint(path)
    return path


def test_a_network_made_in_python_comes_back_from_a_checkpoint(tmp_path, digits):
    model = NetworkAutoencoder(SHAPE, 3, MLPNetwork((9, 7), activation="tanh"))
    path = saved(model, tmp_path / "model.ckpt", digits)
    loaded = load_autoencoder(path)
    x = torch.rand(2, *SHAPE)
    assert torch.equal(loaded(x).x_hat, model.eval()(x).x_hat)
    assert model_settings(read_checkpoint(path))["network"]["init_args"]["hidden_dims"] == (9, 7)


def test_own_modules_made_in_python_have_to_be_given_again(tmp_path, digits):
    model = NetworkAutoencoder(SHAPE, 3, own_network())
    path = saved(model, tmp_path / "model.ckpt", digits)
    with pytest.raises(CheckpointError, match=r"made in Python: give it again, as network=OwnNetwork\(encoder, dec"):
        load_autoencoder(path)
    x = torch.rand(2, *SHAPE)
    assert torch.equal(load_autoencoder(path, network=own_network())(x).x_hat, model.eval()(x).x_hat)


def test_own_modules_are_explored_where_they_are_dense_and_have_no_known_layers():
    model = NetworkAutoencoder(SHAPE, 3, own_network()).eval()
    assert model.layer_outputs(torch.rand(2, *SHAPE)) == []
    assert [tuple(layer.weight.shape) for layer in network_of(model).layers] == [(64, 3), (3, 64)]
    assert can_be_explored(model)
    assert not can_be_explored(NetworkAutoencoder(SHAPE, 3, ConvNetwork()))


def test_an_objective_that_does_more_with_a_code_than_its_layers_say_is_not_explored():
    class Rounded(NetworkAutoencoder):
        def encode(self, x: torch.Tensor) -> torch.Tensor:
            return self.encoder(x).round()

    assert not can_be_explored(Rounded(SHAPE, 3))


def test_the_explorer_shows_the_means_of_a_posterior():
    class Posterior(NetworkAutoencoder):
        numbers_per_latent = 2

        def __init__(self) -> None:
            super().__init__(SHAPE, latent_dim=3, output_activation="none", _numbers_per_output=2)

        def encode(self, x: torch.Tensor) -> torch.Tensor:
            return self.encoder(x).chunk(2, dim=1)[0]

        def decode(self, z: torch.Tensor) -> torch.Tensor:
            return self.decoder(z).chunk(2, dim=1)[0]

    model = Posterior().eval()
    assert can_be_explored(model)
    assert [layer.weight.shape[1] for layer in network_of(model).layers] == [400, 3, 400, 64]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["deep_cnv"],
            r"of mlp, conv, deep_conv, or one of the classes .*; did you mean deep_conv\?",
        ),
        (["MLPNetwok"], r"it is 'MLPNetwok'; did you mean MLPNetwork\?"),
        (
            ["mlp", "--model.network.hidden_dims", "[3]"],
            r"hidden_dims belongs to a class, and mlp has no settings",
        ),
        (["MLPNetwork", "--model.network.hiden_dims", "[3]"], r"did you mean --model\.network\.hidden_dims\?"),
        (["OwnNetwork"], r"--model\.network\.encoder and --model\.network\.decoder must be given"),
    ],
)
def test_mistakes_about_a_network_are_told_in_a_sentence(options: list[str], message: str) -> None:
    line = CommandLine(["fit", "--model", "NetworkAutoencoder", "--model.network", *options])
    with pytest.raises(ConfigError, match=message):
        OnlySettings(prepare(line))

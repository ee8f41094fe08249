"""Networks beside the layers written out: what shapes lie at their ends, and what they refuse."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ae_lightning.errors import ConfigError
from ae_lightning.nn.layers import Layers
from ae_lightning.nn.network import Coding, Network
from ae_lightning.nn.networks import ConvNetwork, DeepConvNetwork, MLPNetwork, OwnNetwork, network_named

NETWORKS = {
    "mlp": MLPNetwork(),
    "no hidden layer": MLPNetwork(hidden_dims=()),
    "conv": ConvNetwork(),
    "strided": ConvNetwork(downsampling="stride", upsampling="bilinear"),
    "deep_conv": DeepConvNetwork(hidden_channels=(3, 4)),
    "one stage": DeepConvNetwork(hidden_channels=()),
    "flat": DeepConvNetwork(hidden_channels=(3, 4), flat_code=True),
    "flat, strided": DeepConvNetwork(hidden_channels=(3,), flat_code=True, downsampling="stride"),
}
every_network = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)


@every_network
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 12)])
def test_both_ends_have_the_shapes_of_the_coding(network: Network, shape: tuple[int, ...]) -> None:
    encoder, decoder = network.build(Coding(shape, 5, numbers_per_latent=2, numbers_per_output=2))
    given = encoder(torch.rand(2, *shape))
    assert given.shape[:2] == (2, 10)
    assert given.ndim == (2 if isinstance(network, MLPNetwork) or getattr(network, "flat_code", False) else 4)
    mean, _ = given.chunk(2, dim=1)
    assert decoder(mean).shape == (2, 2 * shape[0], *shape[1:])


@every_network
def test_a_linear_code_ends_in_a_layer_that_is_affine(network: Network) -> None:
    """What the last layer gives of the mean of two inputs is the mean of what it gives of each."""
    torch.manual_seed(0)
    encoder, _ = network.build(Coding((1, 8, 8), 5, linear=True))
    assert isinstance(encoder, Layers)
    *hidden, last = encoder.eval()
    vectors = isinstance(network, MLPNetwork)
    samples = [x.flatten(1) if vectors else x for x in torch.rand(2, 4, 1, 8, 8)]
    one, other = (nn.Sequential(*hidden)(x).detach() for x in samples)
    torch.testing.assert_close(last((one + other) / 2), (last(one) + last(other)) / 2)
    assert float(encoder(torch.rand(50, 1, 8, 8)).detach().min()) < 0


def test_a_flat_code_written_out() -> None:
    torch.manual_seed(0)
    network = DeepConvNetwork(hidden_channels=(3,), batch_norm=False, flat_code=True)
    encoder, decoder = network.build(Coding((1, 8, 8), 5))
    x = torch.rand(2, 1, 8, 8)
    (down, into), (up, out, last) = _weighted(encoder), _weighted(decoder)
    maps = F.max_pool2d(torch.relu(F.conv2d(x, down.weight, down.bias, padding=1)), 2)
    z = F.linear(maps.flatten(1), into.weight, into.bias)
    torch.testing.assert_close(encoder(x), z)
    maps = torch.relu(F.linear(z, up.weight, up.bias)).reshape(2, 3, 4, 4)
    maps = torch.relu(F.conv_transpose2d(maps, out.weight, out.bias, 2, 1, 1))
    torch.testing.assert_close(decoder(z), torch.sigmoid(F.conv2d(maps, last.weight, last.bias, padding=1)))


def _weighted(module: nn.Module) -> list[Any]:
    return [part for part in module.modules() if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear))]


@every_network
def test_settings_build_it_again(network: Network) -> None:
    settings = network.settings
    assert isinstance(settings, dict)
    again = type(network)(**settings["init_args"])
    assert settings["class_path"] == f"ae_lightning.nn.networks.{type(network).__name__}"
    assert repr(again.build(Coding((1, 8, 8), 5))) == repr(network.build(Coding((1, 8, 8), 5)))


@pytest.mark.parametrize(
    ("network", "shape", "message"),
    [
        (MLPNetwork((4, 0)), (8,), r"--model\.network\.hidden_dims has 0; each must be at least 1"),
        (MLPNetwork(dropout=1.0), (8,), r"--model\.network\.dropout is 1; it must be at least 0 and less than 1"),
        (MLPNetwork(latent_activation="relu"), (8,), r"latent_activation is relu, but the code .* has to be linear"),
        (ConvNetwork(), (8,), r"the network conv takes images .* is 8: .* or choose --model\.network mlp"),
        (DeepConvNetwork(), (8,), r"the network deep_conv takes images .* or choose --model\.network mlp"),
        (DeepConvNetwork(), (1, 4, 4), r"1×4×4 are too small for the network deep_conv, .* at least 8 pixels"),
        (DeepConvNetwork((), flat_code=True), (1, 4, 4), r"hidden_channels is empty; a flat code needs a stage"),
        (DeepConvNetwork((2, -1)), (1, 8, 8), r"--model\.network\.hidden_channels has -1"),
    ],
)
def test_what_cannot_be_built_is_refused(network: Network, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        network.build(Coding(shape, 5, linear=True))


def own(width: int = 5, produced: int = 64) -> OwnNetwork:
    """Modules as somebody else would write them."""
    decoder = nn.Sequential(nn.Linear(5, produced), nn.Unflatten(1, (1, 8, produced // 8)))
    return OwnNetwork(nn.Sequential(nn.Flatten(), nn.Linear(64, width)), decoder)


def test_own_modules_are_used_as_they_are() -> None:
    network = own()
    encoder, decoder = network.build(Coding((1, 8, 8), 5))
    assert encoder is network.encoder
    z = torch.randn(2, 5)
    assert torch.equal(decoder(z), network.decoder(z).sigmoid())


@pytest.mark.parametrize(
    ("network", "coding", "message"),
    [
        (own(), Coding((1, 4, 4), 5), r"network\.encoder cannot take 1×4×4: .*shapes cannot be multiplied \(1x16"),
        (own(7), Coding((1, 8, 8), 5), r"encoder gives 7 for a sample, but 5 should come first, which is --model\.lat"),
        (
            own(5),
            Coding((1, 8, 8), 5, numbers_per_latent=2),
            r"encoder gives 5 for a sample, but 10 should come first, which is 2 numbers for each of --model\.latent_",
        ),
        (own(5, 56), Coding((1, 8, 8), 5), r"decoder gives 1×8×7 for a code of 5, but it should be 1×8×8"),
        (own(4), Coding((1, 8, 8), 4), r"network\.decoder cannot take 4: "),
        (OwnNetwork(nn.LSTM(8, 5), nn.Identity()), Coding((3, 8), 5), r"encoder should give a tensor \(batch, …\)"),
    ],
)
def test_own_modules_that_do_not_fit_are_refused(network: OwnNetwork, coding: Coding, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        network.build(coding)


def test_names_stand_for_classes_as_they_are() -> None:
    assert [type(network_named(name)) for name in ("mlp", "conv", "deep_conv")] == [
        MLPNetwork,
        ConvNetwork,
        DeepConvNetwork,
    ]
    assert network_named("deep_conv").settings == DeepConvNetwork().settings
    with pytest.raises(ConfigError, match=r"there is no network 'deep_cnv': known are .*; did you mean deep_conv"):
        network_named("deep_cnv")


def test_a_decoder_of_two_numbers_gives_blocks_of_channels() -> None:
    _, decoder = MLPNetwork(hidden_dims=()).build(Coding((2, 3), 4, numbers_per_output=2, output_activation="none"))
    layer = _weighted(decoder)[0]
    z = torch.randn(5, 4)
    mean, log_variance = decoder(z).chunk(2, dim=1)
    flat = F.linear(z, layer.weight, layer.bias)
    assert torch.equal(mean.flatten(1), flat[:, : math.prod((2, 3))])
    assert torch.equal(log_variance.flatten(1), flat[:, math.prod((2, 3)) :])

import itertools

import pytest
import torch
import torch.nn.functional as F
import yaml
from torch import nn

from ae_lightning.cli.configs import packaged
from ae_lightning.data.digits import DigitsDataModule
from ae_lightning.errors import ConfigError
from ae_lightning.models.convolutional import ConvAutoencoder, DeepConvAutoencoder

OPTIONS = [*itertools.product(("pool", "stride"), ("transpose", "bilinear")), ("pool", "bilinear_aligned")]
every_option = pytest.mark.parametrize(("downsampling", "upsampling"), OPTIONS)


@pytest.mark.parametrize(
    ("config", "kind", "parameters"),
    [
        ("conv", ConvAutoencoder, 225),
        ("deep_conv", DeepConvAutoencoder, 83_905),
    ],
)
def test_the_packaged_ones_have_the_published_number_of_parameters(config, kind, parameters):
    settings = yaml.safe_load(packaged()[f"model/{config}"].read_text())["init_args"]
    assert kind((1, 28, 28), **settings).num_parameters == parameters


def test_the_shallow_one_written_out():
    torch.manual_seed(0)
    model = ConvAutoencoder((1, 28, 28))
    down, up = (part for part in model.modules() if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d)))
    assert (tuple(down.weight.shape), tuple(up.weight.shape)) == ((16, 1, 3, 3), (16, 1, 2, 2))
    x = torch.rand(5, 1, 28, 28)
    z = F.max_pool2d(torch.relu(F.conv2d(x, down.weight, down.bias, padding=1)), 2)
    x_hat = torch.sigmoid(F.conv_transpose2d(z, up.weight, up.bias, stride=2))
    output = model(x)
    assert output.z.shape == (5, 16, 14, 14)
    torch.testing.assert_close(output.z, z)
    torch.testing.assert_close(output.x_hat, x_hat)


def test_the_deep_one_goes_through_the_published_sizes():
    model = DeepConvAutoencoder((1, 28, 28))
    x = torch.rand(2, 1, 28, 28)
    assert [tuple(maps.shape[1:]) for maps in model.layer_outputs(x)] == [(16, 14, 14), (32, 7, 7)]
    assert model.latent_shape == (64, 3, 3)
    up = []
    for stage in model.decoder:
        stage.register_forward_hook(lambda module, inputs, output: up.append(tuple(output.shape[1:])))
    model(x)
    assert up == [(64, 7, 7), (32, 14, 14), (16, 28, 28), (1, 28, 28), (1, 28, 28)]
    kinds = [type(part) for part in model.decoder[0]]
    assert kinds == [nn.ConvTranspose2d, nn.ReLU, nn.BatchNorm2d]


def test_layer_outputs_end_before_the_code():
    torch.manual_seed(0)
    model = DeepConvAutoencoder((1, 12, 12), hidden_channels=(3, 4), latent_channels=5).eval()
    x = torch.rand(2, 1, 12, 12)
    outputs = model.layer_outputs(x)
    torch.testing.assert_close(model.encoder[2](outputs[1]), model.encode(x))
    assert ConvAutoencoder((1, 8, 8)).layer_outputs(torch.rand(2, 1, 8, 8)) == []


def test_layer_outputs_after_activations_come_before_normalization_and_pooling():
    torch.manual_seed(0)
    model = DeepConvAutoencoder((1, 12, 12), hidden_channels=(3, 4), latent_channels=5).eval()
    x = torch.rand(2, 1, 12, 12)
    first, second, code = model.layer_outputs(x, after_activation=True)
    one, two = (stage[0] for stage in model.encoder[:2])
    torch.testing.assert_close(first, torch.relu(F.conv2d(x, one.weight, one.bias, padding=1)))
    pooled = F.max_pool2d(first / (1 + 1e-5) ** 0.5, 2)  # statistics of a network that has seen nothing: 0 and 1
    torch.testing.assert_close(second, torch.relu(F.conv2d(pooled, two.weight, two.bias, padding=1)))
    assert torch.equal(code, model.encode(x))


@every_option
@pytest.mark.parametrize("kind", [ConvAutoencoder, DeepConvAutoencoder])
def test_any_image_size_comes_back(kind, downsampling, upsampling):
    for shape in [(1, 8, 8), (3, 32, 32), (2, 9, 11), (1, 15, 31), (4, 13, 8)]:
        model = kind(shape, downsampling=downsampling, upsampling=upsampling)
        x = torch.rand(2, *shape)
        assert model(x).x_hat.shape == x.shape


@every_option
def test_the_options_choose_the_layers(downsampling, upsampling):
    model = DeepConvAutoencoder((1, 16, 16), downsampling=downsampling, upsampling=upsampling)
    kinds = [type(part) for part in model.modules()]
    assert kinds.count(nn.MaxPool2d) == (3 if downsampling == "pool" else 0)
    assert kinds.count(nn.ConvTranspose2d) == (3 if upsampling == "transpose" else 0)
    assert kinds.count(nn.Upsample) == (0 if upsampling == "transpose" else 3)
    strides = {part.stride for part in model.encoder.modules() if isinstance(part, nn.Conv2d)}
    assert strides == ({(1, 1)} if downsampling == "pool" else {(2, 2)})


def test_one_image_is_a_batch_where_its_pixels_have_a_spread(make_trainer):
    alone = DigitsDataModule(batch_size=1)
    model = DeepConvAutoencoder((1, 8, 8))
    make_trainer(max_steps=1).fit(model, alone)
    assert model.images_seen == 1


def test_without_batch_normalization_there_is_none():
    model = DeepConvAutoencoder((1, 8, 8), batch_norm=False)
    assert not [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]


def test_the_range_is_that_of_the_output():
    assert ConvAutoencoder((1, 8, 8)).output_range == (0, 1)
    assert DeepConvAutoencoder((1, 8, 8), output_activation="tanh").output_range == (-1, 1)


@pytest.mark.parametrize(
    ("kind", "shape", "options", "message"),
    [
        (ConvAutoencoder, (20,), {}, r"takes images \(channels, height, width\), but a sample of these data is 20"),
        (ConvAutoencoder, (28, 28), {}, "is 28×28: give arrays their shape with --data.sample_shape"),
        (ConvAutoencoder, (1, 1, 8), {}, "images of 1×1×8 are too small for ConvAutoencoder, .* at least 2 pixels"),
        (DeepConvAutoencoder, (1, 7, 28), {}, "1×7×28 are too small for DeepConvAutoencoder, .* at least 8 pixels"),
        (DeepConvAutoencoder, (1, 4, 4), {"downsampling": "stride"}, "sides of at least 5 pixels"),
        (DeepConvAutoencoder, (1, 8, 8), {"hidden_channels": (4, 4, 4)}, "sides of at least 16 pixels"),
        (DeepConvAutoencoder, (1, 8, 8), {"hidden_channels": (4, 0)}, "--model.hidden_channels is 0"),
        (ConvAutoencoder, (1, 8, 8), {"latent_channels": 0}, "--model.latent_channels is 0; it must be at least 1"),
    ],
)
def test_images_and_widths_that_it_cannot_take_are_refused(kind, shape, options, message):
    with pytest.raises(ConfigError, match=message):
        kind(shape, **options)

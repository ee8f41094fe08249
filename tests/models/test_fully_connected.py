import pytest
import torch
import yaml
from torch import nn

from ae_lightning.cli.configs import packaged
from ae_lightning.data.digits import DigitsDataModule
from ae_lightning.errors import ConfigError
from ae_lightning.models.fully_connected import FullyConnectedAutoencoder
from ae_lightning.models.overcomplete import OvercompleteAutoencoder
from ae_lightning.training.checks import require_clippable


def test_it_is_the_mirrored_stack_written_out():
    torch.manual_seed(0)
    model = FullyConnectedAutoencoder((1, 2, 3), 2, (5, 4), activation="tanh", latent_activation="relu")
    written_out = nn.Sequential(
        nn.Flatten(),
        nn.Linear(6, 5),
        nn.Tanh(),
        nn.Linear(5, 4),
        nn.Tanh(),
        nn.Linear(4, 2),
        nn.ReLU(),
        nn.Linear(2, 4),
        nn.Tanh(),
        nn.Linear(4, 5),
        nn.Tanh(),
        nn.Linear(5, 6),
        nn.Sigmoid(),
        nn.Unflatten(1, (1, 2, 3)),
    )
    for theirs, ours in zip(written_out.parameters(), model.parameters(), strict=True):
        assert theirs.shape == ours.shape
        theirs.data = ours.data
    x = torch.rand(7, 1, 2, 3)
    x_hat, z = model(x)
    assert torch.equal(x_hat, written_out(x))
    assert torch.equal(z, written_out[:7](x))


def test_the_default_on_mnist_is_784_400_20_400_784():
    model = FullyConnectedAutoencoder((1, 28, 28))
    sizes = [(layer.in_features, layer.out_features) for layer in model.modules() if isinstance(layer, nn.Linear)]
    assert sizes == [(784, 400), (400, 20), (20, 400), (400, 784)]


@pytest.mark.parametrize(
    ("config", "parameters"),
    [("fully_connected", 644_804), ("simple", 484_944), ("deep", 1_144_880), ("deep_relu", 1_144_880)],
)
def test_the_packaged_ones_have_the_published_number_of_parameters(config, parameters):
    settings = yaml.safe_load(packaged()[f"model/{config}"].read_text())["init_args"]
    assert FullyConnectedAutoencoder((1, 28, 28), **settings).num_parameters == parameters


@pytest.mark.parametrize(("config", "negative"), [("deep", True), ("deep_relu", False)])
def test_the_deep_one_has_a_linear_code_or_a_rectified_one(config, negative):
    settings = yaml.safe_load(packaged()[f"model/{config}"].read_text())["init_args"]
    model = FullyConnectedAutoencoder((1, 8, 8), **settings).eval()
    assert bool((model.encode(torch.rand(50, 1, 8, 8)) < 0).any()) == negative


def test_layer_outputs_are_the_hidden_layers_without_the_code():
    torch.manual_seed(0)
    model = FullyConnectedAutoencoder((2, 3), 2, (5, 4), activation="tanh")
    first, second, *_ = (module for module in model.modules() if isinstance(module, nn.Linear))
    x = torch.rand(7, 2, 3)
    hidden = torch.tanh(first(x.flatten(1)))
    outputs = model.layer_outputs(x)
    assert len(outputs) == 2
    torch.testing.assert_close(outputs[0], hidden)
    torch.testing.assert_close(outputs[1], torch.tanh(second(hidden)))


def test_layer_outputs_after_activations_are_those_before_normalization_and_the_code():
    torch.manual_seed(0)
    model = FullyConnectedAutoencoder((6,), 2, (5, 4), latent_activation="relu", batch_norm=True, dropout=0.5).eval()
    first, second, third = (layer for layer in model.encoder.modules() if isinstance(layer, nn.Linear))
    with torch.no_grad():
        for norm in (layer for layer in model.modules() if isinstance(layer, nn.BatchNorm1d)):
            norm.weight.fill_(3)
            norm.running_mean.fill_(0.5)
    x = torch.rand(7, 6)
    one = torch.relu(first(x))
    two = torch.relu(second((one - 0.5) / (1 + 1e-5) ** 0.5 * 3))
    code = torch.relu(third((two - 0.5) / (1 + 1e-5) ** 0.5 * 3))
    for ours, by_hand in zip(model.layer_outputs(x, after_activation=True), (one, two, code), strict=True):
        torch.testing.assert_close(ours, by_hand)
    assert not torch.allclose(model.layer_outputs(x)[0], one)


def test_a_shallow_encoder_has_no_output_after_its_activation_but_the_code():
    model = OvercompleteAutoencoder((6,), 9)
    x = torch.rand(3, 6)
    assert model.layer_outputs(x) == []
    (code,) = model.layer_outputs(x, after_activation=True)
    assert torch.equal(code, model(x).z)


@pytest.mark.parametrize("dropout", [-0.1, 1.0, float("nan")])
def test_a_dropout_that_is_no_part_of_a_layer_is_refused(dropout):
    with pytest.raises(ConfigError, match=r"--model.dropout is .*; it must be at least 0 and less than 1"):
        FullyConnectedAutoencoder((4,), dropout=dropout)


def test_a_batch_of_one_sample_is_refused_where_the_batch_is_normalized(make_trainer):
    one_too_many = DigitsDataModule(batch_size=1292)  # 1,293 training images
    with pytest.raises(
        ConfigError, match=r"batch of a single sample: raise --data.batch_size or, .* with --data.drop_last true"
    ):
        make_trainer().fit(FullyConnectedAutoencoder((1, 8, 8), 2, (4,), batch_norm=True), one_too_many)
    make_trainer().fit(FullyConnectedAutoencoder((1, 8, 8), 2, (4,)), one_too_many)


def test_clipping_in_half_precision_asks_for_an_optimizer_that_is_not_fused():
    fused = torch.optim.Adam([nn.Parameter(torch.ones(1))], fused=True)
    plain = torch.optim.Adam([nn.Parameter(torch.ones(1))], fused=False)
    with pytest.raises(ConfigError, match=r"set --model.optimizer.fused false"):
        require_clippable(fused, "16-mixed", 1.0)
    require_clippable(plain, "16-mixed", 1.0)
    require_clippable(fused, "16-mixed", None)
    require_clippable(fused, "bf16-mixed", 1.0)


def test_without_hidden_layers_and_activations_it_is_linear():
    model = FullyConnectedAutoencoder((8,), 3, (), output_activation="none")
    x = torch.randn(5, 8)
    encoder, decoder = (module for module in model.modules() if isinstance(module, nn.Linear))
    torch.testing.assert_close(model(x).x_hat, (x @ encoder.weight.T + encoder.bias) @ decoder.weight.T + decoder.bias)


@pytest.mark.parametrize(("name", "span"), [("sigmoid", (0, 1)), ("tanh", (-1, 1)), ("relu", (0, float("inf")))])
def test_the_range_is_that_of_the_output(name, span):
    model = FullyConnectedAutoencoder((4,), 2, (3,), output_activation=name)
    assert model.output_range == span


def test_an_unknown_activation_is_refused():
    with pytest.raises(ValueError, match="unknown activation 'swish'"):
        FullyConnectedAutoencoder((4,), activation="swish")

import pytest
import torch
from torch import nn

from ae_lightning.models.fully_connected import FullyConnectedAutoencoder


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


def test_without_hidden_layers_and_activations_it_is_linear():
    model = FullyConnectedAutoencoder((8,), 3, (), output_activation="none")
    x = torch.randn(5, 8)
    (encoder,), (decoder,) = model.encoder, model.decoder
    torch.testing.assert_close(model(x).x_hat, (x @ encoder.weight.T + encoder.bias) @ decoder.weight.T + decoder.bias)


@pytest.mark.parametrize(("name", "span"), [("sigmoid", (0, 1)), ("tanh", (-1, 1)), ("relu", (0, float("inf")))])
def test_the_range_is_that_of_the_output(name, span):
    model = FullyConnectedAutoencoder((4,), 2, (3,), output_activation=name)
    assert model.output_range == span


def test_an_unknown_activation_is_refused():
    with pytest.raises(ValueError, match="unknown activation 'swish'"):
        FullyConnectedAutoencoder((4,), activation="swish")

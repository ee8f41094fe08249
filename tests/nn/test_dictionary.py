import math

import pytest
import torch
from torch import nn

from ae_lightning.nn.dictionary import Dictionary

INPUT, LATENT, BATCH = 6, 9, 5


def linear_pair(dictionary: Dictionary, instance: int | None = None) -> tuple[nn.Linear, nn.Linear]:
    """Two torch layers with the weights of a dictionary, or of one of its instances."""
    encoder, decoder = nn.Linear(INPUT, LATENT), nn.Linear(LATENT, INPUT)
    at = () if instance is None else (instance,)
    with torch.no_grad():
        encoder.weight.copy_(dictionary.W_enc[at].T)
        encoder.bias.copy_(dictionary.b_enc[at])
        decoder.weight.copy_(dictionary.W_dec[at].T)
        decoder.bias.copy_(dictionary.b_dec[at])
    return encoder, decoder


def gradients(encoder: nn.Linear, decoder: nn.Linear) -> dict[str, torch.Tensor]:
    return {
        "W_enc": encoder.weight.grad.T,
        "b_enc": encoder.bias.grad,
        "W_dec": decoder.weight.grad.T,
        "b_dec": decoder.bias.grad,
    }


@pytest.mark.parametrize("instances", [None, 3])
def test_weights_start_uniform_within_one_over_root_fan_in(instances):
    torch.manual_seed(0)
    d = Dictionary(100, 400, instances=instances)
    for parameter, fan_in in ((d.W_enc, 100), (d.b_enc, 100), (d.W_dec, 400), (d.b_dec, 400)):
        bound = 1 / math.sqrt(fan_in)
        assert float(parameter.detach().abs().max()) <= bound
        # That of a uniform distribution; a normal one or another fan-in would be far off.
        assert float(parameter.detach().std()) == pytest.approx(bound / math.sqrt(3), rel=0.1)
    assert float(d.W_enc.detach().abs().max()) > 0.999 / 10


def test_instances_start_apart():
    d = Dictionary(4, 5, instances=2)
    for parameter in d.parameters():
        assert not torch.equal(parameter[0], parameter[1])


@pytest.mark.parametrize("name", ["relu", "none", "sigmoid"])
def test_it_equals_two_linear_layers_with_the_same_weights(name):
    torch.manual_seed(1)
    d = Dictionary(INPUT, LATENT, name)
    encoder, decoder = linear_pair(d)
    function = {"relu": torch.relu, "none": lambda x: x, "sigmoid": torch.sigmoid}[name]
    x = torch.randn(BATCH, INPUT)
    z = d.encode(x)
    torch.testing.assert_close(z, function(encoder(x)))
    torch.testing.assert_close(d.decode(z), decoder(function(encoder(x))))


@pytest.mark.parametrize("shared", [True, False], ids=["shared data", "data per instance"])
def test_three_instances_equal_three_dictionaries_apart(shared):
    torch.manual_seed(2)
    d = Dictionary(INPUT, LATENT, instances=3)
    x = torch.randn(BATCH, INPUT) if shared else torch.randn(3, BATCH, INPUT)
    target = torch.randn(3, BATCH, INPUT)
    z = d.encode(x)
    x_hat = d.decode(z)
    assert (z.shape, x_hat.shape) == ((3, BATCH, LATENT), (3, BATCH, INPUT))
    (x_hat - target).square().sum().backward()
    for i in range(3):
        encoder, decoder = linear_pair(d, i)
        alone = torch.relu(encoder(x if shared else x[i]))
        torch.testing.assert_close(z[i], alone)
        torch.testing.assert_close(x_hat[i], decoder(alone))
        (decoder(alone) - target[i]).square().sum().backward()
        for name, gradient in gradients(encoder, decoder).items():
            torch.testing.assert_close(getattr(d, name).grad[i], gradient)


def test_vectors_are_latent_by_input():
    d = Dictionary(INPUT, LATENT)
    assert d.encoder_vectors.shape == d.decoder_vectors.shape == (LATENT, INPUT)
    d = Dictionary(INPUT, LATENT, instances=3)
    assert d.encoder_vectors.shape == d.decoder_vectors.shape == (3, LATENT, INPUT)


# A square dictionary, so that a transposed view would have the right shape and only its meaning be wrong.
@pytest.mark.parametrize("instances", [None, 2])
@pytest.mark.parametrize("latent", [0, 3, 4])
def test_writing_to_a_row_of_the_encoder_view_changes_that_latent_alone(latent, instances):
    torch.manual_seed(4)
    d = Dictionary(5, 5, "none", instances)
    x = torch.randn(7, 5)
    row = torch.randn(5)
    before = d.encode(x).detach().clone()
    with torch.no_grad():
        d.encoder_vectors[..., latent, :] = row
    after = d.encode(x).detach()
    others = [i for i in range(5) if i != latent]
    assert torch.equal(after[..., others], before[..., others])
    truth = (x @ row).expand(after.shape[:-1]) + d.b_enc[..., latent].detach().unsqueeze(-1)
    torch.testing.assert_close(after[..., latent], truth)


@pytest.mark.parametrize("instances", [None, 2])
@pytest.mark.parametrize("latent", [0, 3, 4])
def test_writing_to_a_row_of_the_decoder_view_changes_what_that_latent_writes(latent, instances):
    torch.manual_seed(5)
    d = Dictionary(5, 5, "none", instances)
    row = torch.randn(5)
    lead = () if instances is None else (instances,)
    one_hot = torch.eye(5).expand(*lead, 5, 5)  # sample i has latent i alone
    before = d.decode(one_hot).detach().clone()
    with torch.no_grad():
        d.decoder_vectors[..., latent, :] = row
    after = d.decode(one_hot).detach()
    others = [i for i in range(5) if i != latent]
    assert torch.equal(after[..., others, :], before[..., others, :])
    torch.testing.assert_close(after[..., latent, :], row + d.b_dec.detach())


def test_reset_parameters_draws_anew():
    d = Dictionary(3, 4)
    before = [parameter.detach().clone() for parameter in d.parameters()]
    d.reset_parameters()
    for old, new in zip(before, d.parameters(), strict=True):
        assert not torch.equal(old, new)

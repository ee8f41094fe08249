import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ae_lightning.models.overcomplete import OvercompleteAutoencoder


def linear_pair(model: OvercompleteAutoencoder, at: tuple[int, ...] = ()) -> tuple[nn.Linear, nn.Linear]:
    encoder = nn.Linear(model.input_size, model.latent_dim)
    decoder = nn.Linear(model.latent_dim, model.input_size)
    with torch.no_grad():
        encoder.weight.copy_(model.encoder_vectors[at])
        encoder.bias.copy_(model.dictionary.b_enc[at])
        decoder.weight.copy_(model.decoder_vectors[at].T)
        decoder.bias.copy_(model.dictionary.b_dec[at])
    return encoder, decoder


def test_it_is_relu_between_two_linear_layers():
    torch.manual_seed(0)
    model = OvercompleteAutoencoder((1, 3, 4), 20)
    encoder, decoder = linear_pair(model)
    x = torch.randn(6, 1, 3, 4)
    x_hat, z = model(x)
    torch.testing.assert_close(z, F.relu(encoder(x.flatten(1))))
    torch.testing.assert_close(x_hat, decoder(F.relu(encoder(x.flatten(1)))).view(6, 1, 3, 4))
    assert float(z.min()) == 0.0


def test_the_output_activation_is_applied_to_the_reconstruction():
    torch.manual_seed(0)
    model = OvercompleteAutoencoder((5,), 9, output_activation="sigmoid")
    encoder, decoder = linear_pair(model)
    x = torch.rand(4, 5)
    torch.testing.assert_close(model(x).x_hat, torch.sigmoid(decoder(F.relu(encoder(x)))))
    assert model.output_range == (0, 1)


def test_a_population_trains_as_its_members_would_alone(make_trainer, digits):
    torch.manual_seed(0)
    population = OvercompleteAutoencoder((1, 8, 8), 70, instances=2, optimizer=sgd)
    start = [linear_pair(population, (i,)) for i in range(2)]
    batches = []

    class Keep(nn.Module):
        def forward(self, module: nn.Module, arguments: tuple[torch.Tensor]) -> None:
            batches.append(arguments[0].clone())

    handle = population.register_forward_pre_hook(Keep())
    make_trainer(max_steps=4, limit_val_batches=0).fit(population, digits)
    handle.remove()
    assert len(batches) == 4
    for i, (encoder, decoder) in enumerate(start):
        optimizer = sgd([*encoder.parameters(), *decoder.parameters()])
        for x in batches:
            optimizer.zero_grad()
            F.mse_loss(decoder(F.relu(encoder(x.flatten(1)))), x.flatten(1)).backward()
            optimizer.step()
        torch.testing.assert_close(population.encoder_vectors[i].detach(), encoder.weight.detach())
        torch.testing.assert_close(population.decoder_vectors[i].detach().T, decoder.weight.detach())


def sgd(parameters: object) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.5)


@pytest.mark.parametrize("instances", [None, 2])
def test_snapshots_hold_rows_of_latents(instances):
    model = OvercompleteAutoencoder((1, 2, 3), 10, instances=instances)
    lead = () if instances is None else (instances,)
    snapshot = model.snapshot()
    assert {name: tuple(value.shape) for name, value in snapshot.items()} == {
        "encoder_vectors": (*lead, 10, 6),
        "encoder_bias": (*lead, 10),
        "decoder_vectors": (*lead, 10, 6),
        "decoder_bias": (*lead, 6),
    }
    # Row 4 is what latent 4 reads: it alone answers to that direction's change.
    x = torch.randn(1, 6)
    pre = (snapshot["encoder_vectors"] @ x[0]) + snapshot["encoder_bias"]
    torch.testing.assert_close(model.encode(x.view(1, 1, 2, 3)).detach()[..., 0, :], F.relu(pre))
    one_hot = torch.eye(10)[4].expand(*lead, 1, 10)
    written = model.decode(one_hot).detach().reshape(*lead, 6)
    torch.testing.assert_close(written, snapshot["decoder_vectors"][..., 4, :] + snapshot["decoder_bias"])


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh", "none", "gelu"])
def test_fires_above_zero_tells_whether_resting_latents_are_exactly_zero(activation):
    torch.manual_seed(0)
    model = OvercompleteAutoencoder((12,), 50, activation=activation)
    z = model.encode(torch.randn(200, 12))
    rests_at_zero = bool(((z == 0).float().mean() > 0.1) and (z >= 0).all())
    assert model.fires_above_zero == rests_at_zero == (activation == "relu")


def test_flatten_and_unflatten_put_instances_first():
    model = OvercompleteAutoencoder((2, 3, 4), 5, instances=6)
    shared, own = torch.randn(7, 2, 3, 4), torch.randn(7, 6, 2, 3, 4)
    assert torch.equal(model.unflatten(model.flatten(shared)), shared)
    assert model.flatten(own).shape == (6, 7, 24)
    assert torch.equal(model.flatten(own)[4, 2], own[2, 4].flatten())
    assert torch.equal(model.unflatten(model.flatten(own)), own.transpose(0, 1))

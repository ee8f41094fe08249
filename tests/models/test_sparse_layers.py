"""The layers of the deep sparse autoencoders: which matrices they use, and whose gradients go where."""

import pytest
import torch
import torch.nn.functional as F
import yaml
from torch import nn

from ae_lightning.cli.configs import packaged
from ae_lightning.data.digits import DigitsDataModule
from ae_lightning.models.sparse import SparseAutoencoder, TiedSparseAutoencoder

SHAPE = (1, 8, 8)
BOTH = pytest.mark.parametrize("kind", [SparseAutoencoder, TiedSparseAutoencoder])


def small(kind=SparseAutoencoder, **options):
    torch.manual_seed(0)
    return kind(SHAPE, **{"latent_dim": 6, "hidden_dims": (32, 16), **options})


def some(n=9):
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(1))


def digits_of_validation():
    data = DigitsDataModule()
    data.setup()
    return data.val_set.take(1000)[0]


def linears(model):
    return [part for part in model.modules() if isinstance(part, nn.Linear)]


# --- layers ----------------------------------------------------------------------------------------------------


def test_it_is_the_mirrored_stack_written_out():
    torch.manual_seed(0)
    model = SparseAutoencoder((2, 3), 2, activation="tanh", latent_activation="soft_threshold", threshold=0.05)
    written_out = nn.Sequential(
        *(nn.Flatten(), nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2), nn.Softshrink(0.05)),
        *(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 6), nn.Unflatten(1, (2, 3))),
    )
    for theirs, ours in zip(written_out.parameters(), model.parameters(), strict=True):
        assert theirs.shape == ours.shape
        theirs.data = ours.data
    x = torch.rand(7, 2, 3)
    x_hat, z = model(x)
    assert torch.equal(x_hat, written_out(x))
    assert torch.equal(z, written_out[:7](x))
    hidden = model.layer_outputs(x)
    assert [torch.equal(found, written_out[:end](x)) for found, end in zip(hidden, (3, 5), strict=True)] == [True, True]


@pytest.mark.parametrize(
    ("shape", "widths"),
    [((200,), [200, 125, 125, 50, 125, 125, 200]), ((1, 28, 28), [784, 417, 417, 50, 417, 417, 784])],
)
def test_hidden_layers_lie_halfway_between_input_and_code(shape, widths):
    layers = linears(SparseAutoencoder(shape))
    assert [layers[0].in_features, *(layer.out_features for layer in layers)] == widths


def test_a_threshold_gives_codes_with_true_zeros():
    x = some(200)
    soft = small(latent_activation="soft_threshold", threshold=0.2)
    hard = small(latent_activation="hard_threshold", threshold=0.2)
    linear = small().encode(x)
    silent = linear.abs() <= 0.2
    assert 0.1 < float(silent.float().mean()) < 0.9
    assert torch.equal(soft.encode(x) == 0, silent)
    assert torch.equal(hard.encode(x), linear.masked_fill(silent, 0))


# --- basis vectors ---------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    ("unit_norm", "normalized"),
    [("none", [False, False, False]), ("last", [False, False, True]), ("all", [True, True, True])],
)
def test_a_row_of_a_basis_is_what_one_unit_writes(kind, unit_norm, normalized):
    model = small(kind, unit_norm=unit_norm)
    bases = model.basis_vectors()
    assert [tuple(basis.shape) for basis in bases] == [(6, 16), (16, 32), (32, 64)]
    for basis, layer, is_unit in zip(bases, model.decoder, normalized, strict=True):
        units = torch.eye(len(basis))
        written = layer[0](units) - layer[0](torch.zeros(1, len(basis)))
        torch.testing.assert_close(written, F.normalize(basis, dim=1) if is_unit else basis)
        assert torch.allclose(written.norm(dim=1), torch.ones(len(basis))) == is_unit


@BOTH
def test_the_earlier_name_of_all_means_the_same(kind):
    earlier, now = small(kind, unit_norm="forward"), small(kind, unit_norm="all")
    assert earlier.state_dict().keys() == now.state_dict().keys()
    assert torch.equal(earlier(some()).x_hat, now(some()).x_hat)


@BOTH
@pytest.mark.parametrize(("layers", "normalized"), [("last", [False, False, True]), ("all", [True, True, True])])
def test_basis_vectors_can_be_normalized_in_place(kind, layers, normalized):
    model = small(kind)
    with torch.no_grad():
        model.basis_vectors()[-1][3] = 0
    before = [F.normalize(basis.detach(), dim=1) for basis in model.basis_vectors()]
    model.normalize_basis_vectors(layers)
    for basis, directions, layer, is_unit in zip(model.basis_vectors(), before, model.decoder, normalized, strict=True):
        written = layer[0](torch.eye(len(basis))) - layer[0](torch.zeros(1, len(basis)))
        torch.testing.assert_close(written, basis)
        torch.testing.assert_close(F.normalize(basis, dim=1), directions)
        assert torch.allclose(basis.norm(dim=1), directions.norm(dim=1)) == is_unit
    assert model.basis_vectors()[-1][3].tolist() == [0] * 64


@BOTH
def test_with_unit_norm_a_decoder_cannot_make_up_for_small_codes_by_growing(kind):
    model = small(kind, unit_norm="all", batch_norm=True).eval()
    z = model.encode(some()).detach()
    before = model.decode(z)
    with torch.no_grad():
        for basis in model.basis_vectors():
            basis.mul_(torch.linspace(0.5, 20, len(basis))[:, None])
    torch.testing.assert_close(model.decode(z), before)


def test_the_packaged_recipe_is_a_plain_loop_of_it():
    """The module's steps, written out: 200-125-125-50 and back, the last matrix divided by its columns' norms."""
    settings = yaml.safe_load(packaged()["sparse_module"].read_text())["model"]["init_args"]
    torch.manual_seed(0)
    model = SparseAutoencoder((200,), **settings)
    layers = linears(SparseAutoencoder((200,), **settings | {"unit_norm": "none"}))
    last = model.decoder[-1][0]
    for ours, theirs in zip([*linears(model), last], layers, strict=True):
        theirs.weight.data, theirs.bias.data = ours.weight.detach().clone(), ours.bias.detach().clone()
    plain = torch.optim.Adam([parameter for layer in layers for parameter in layer.parameters()], lr=1e-3)
    optimizer = model.configure_optimizers()
    for x in torch.randn(10, 32, 200, generator=torch.Generator().manual_seed(1)):
        h = x
        for number, layer in enumerate(layers[:-1]):
            h = layer(h)
            if number == 2:
                z = h
            else:
                h = h.relu()
        x_hat = h @ (layers[-1].weight / layers[-1].weight.norm(dim=0)).T + layers[-1].bias
        expected = ((x_hat - x) ** 2).mean() + 0.1 * z.abs().mean()
        loss = model.loss(x)[0]["loss"]
        torch.testing.assert_close(loss, expected)
        for value, by in ((loss, optimizer), (expected, plain)):
            by.zero_grad()
            value.backward()
            by.step()
    torch.testing.assert_close(last.weight, layers[-1].weight, rtol=1e-4, atol=1e-6)


# --- tied ------------------------------------------------------------------------------------------------------


def untied_twin(tied, **options):
    """A sparse autoencoder of its own weights that computes the same at this moment."""
    twin = small(**options)
    parts = [*tied.encoder, *tied.decoder]
    with torch.no_grad():
        for part, layer in zip(parts, [*twin.encoder, *twin.decoder], strict=True):
            layer[0].weight.copy_(part[0].weight)
            layer[0].bias.copy_(part[0].bias)
    return twin


def test_tied_weights_get_the_gradients_of_both_uses():
    options = {"penalty_weight": 0.5, "layer_weights": (0.1, 0.2)}
    tied = small(TiedSparseAutoencoder, **options)
    twin = untied_twin(tied, **options)
    x = some()
    ours, theirs = tied.loss(x)[0], twin.loss(x)[0]
    torch.testing.assert_close(ours, theirs)
    ours["loss"].backward()
    theirs["loss"].backward()
    for layer, reader, writer in zip(tied.encoder, twin.encoder, reversed(twin.decoder), strict=True):
        assert float(writer[0].weight.grad.abs().max()) > 0
        torch.testing.assert_close(layer[0].weight.grad, reader[0].weight.grad + writer[0].weight.grad.T)
        torch.testing.assert_close(layer[0].bias.grad, reader[0].bias.grad)
    for layer, writer in zip(tied.decoder, twin.decoder, strict=True):
        torch.testing.assert_close(layer[0].bias.grad, writer[0].bias.grad)


def test_tied_and_normalized_both_sides_use_the_same_matrices():
    tied = small(TiedSparseAutoencoder, unit_norm="all")
    x = some()
    h, matrices = x.flatten(1), []
    for number, layer in enumerate(tied.encoder):
        rows = layer[0].weight / layer[0].weight.norm(dim=1, keepdim=True)
        matrices.append(rows)
        h = h @ rows.T + layer[0].bias
        h = h if number == 2 else h.relu()
    torch.testing.assert_close(tied.encode(x), h)
    for number, (layer, matrix) in enumerate(zip(tied.decoder, reversed(matrices), strict=True)):
        h = h @ matrix + layer[0].bias
        h = h if number == 2 else h.relu()
    torch.testing.assert_close(tied(x).x_hat, h.unflatten(1, SHAPE))


def test_tied_with_the_last_layer_normalized_leaves_the_encoder_as_it_is():
    """Value and gradient, beside the recipe written out with a matrix that is divided by hand."""
    tied = small(TiedSparseAutoencoder, unit_norm="last", penalty_weight=0.3)
    with torch.no_grad():
        tied.encoder[0][0].weight.mul_(3)
    x = some().flatten(1)
    weights = [layer[0].weight.detach().clone().requires_grad_() for layer in tied.encoder]
    down, up = ([layer[0].bias.detach() for layer in part] for part in (tied.encoder, tied.decoder))
    z = ((x @ weights[0].T + down[0]).relu() @ weights[1].T + down[1]).relu() @ weights[2].T + down[2]
    h = ((z @ weights[2] + up[0]).relu() @ weights[1] + up[1]).relu()
    x_hat = h @ (weights[0] / weights[0].norm(dim=1, keepdim=True)) + up[2]
    loss = (x_hat - x).square().mean() + 0.3 * z.abs().mean()
    loss.backward()
    ours, output = tied.loss(x.unflatten(1, SHAPE))
    ours["loss"].backward()
    torch.testing.assert_close(output.z, z)
    torch.testing.assert_close(ours["loss"], loss)
    for layer, weight in zip(tied.encoder, weights, strict=True):
        torch.testing.assert_close(layer[0].weight.grad, weight.grad)


def test_tied_has_half_the_weights():
    weights = 64 * 32 + 32 * 16 + 16 * 6
    biases = 32 + 16 + 6 + 16 + 32 + 64
    assert small(TiedSparseAutoencoder).num_parameters == weights + biases
    assert small().num_parameters == 2 * weights + biases
    assert sum(value.numel() for value in small(TiedSparseAutoencoder).state_dict().values()) == weights + biases


# --- less memory, and the shape of the space of codes ----------------------------------------------------------


@BOTH
def test_recomputing_changes_nothing(kind, make_trainer):
    def trained(checkpoint_gradients):
        options = {"batch_norm": True, "layer_weights": (0.1, 0.1), "geometric_weight": 0.1, "unit_norm": "all"}
        model = small(kind, checkpoint_gradients=checkpoint_gradients, **options)
        make_trainer(max_epochs=1).fit(model, DigitsDataModule(batch_size=256, drop_last=True))
        return model.state_dict()

    plain, recomputed = trained(False), trained(True)
    assert any("running_mean" in name for name in plain)
    for name, value in plain.items():
        assert torch.equal(recomputed[name], value), name


def test_recomputing_keeps_less():
    def kept(checkpoint_gradients):
        model = small(hidden_dims=(500, 400, 300), checkpoint_gradients=checkpoint_gradients)
        weights = {parameter.data_ptr() for parameter in model.parameters()}
        sizes = {}

        def pack(tensor):
            if tensor.data_ptr() not in weights:
                sizes[tensor.data_ptr()] = tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            losses, _ = model.loss(some(100))
        return sum(sizes.values()), losses

    (much, _), (little, _) = kept(False), kept(True)
    assert much > 100 * 2 * (500 + 400 + 300)
    assert little < 100 * 3 * 64 + 100 * 3 * 6


def condition_of_the_decoder(model):
    """Mean over codes of the ratio of the largest to the smallest stretch of the decoder."""
    model.eval()
    with torch.no_grad():
        codes = model.encode(digits_of_validation()[:50])
    jacobians = [torch.autograd.functional.jacobian(lambda z: model.decode(z[None]).flatten(), z) for z in codes]
    stretches = torch.linalg.svdvals(torch.stack(jacobians))
    return float((stretches[:, 0] / stretches[:, -1]).mean())


def test_the_geometric_term_makes_the_decoder_stretch_alike(make_trainer):
    def trained(weight):
        model = small(geometric_weight=weight, penalty_weight=0.0)
        make_trainer(max_epochs=10).fit(model, DigitsDataModule(batch_size=64))
        return condition_of_the_decoder(model)

    assert trained(1.0) < 0.5 * trained(0.0)


def test_the_geometric_term_is_of_training_only_and_draws_nothing_elsewhere(make_trainer, recorder):
    model = small(geometric_weight=0.5, batch_norm=True)
    make_trainer(logger=recorder).fit(model, DigitsDataModule(batch_size=256, drop_last=True))
    assert len(recorder.series("train/geometric")) == 5
    assert not recorder.series("val/geometric")
    first = recorder.rows[0][1]
    weighted = first["train/reconstruction"] + 0.1 * first["train/l1"] + 0.5 * first["train/geometric"]
    assert first["train/loss"] == pytest.approx(weighted, rel=1e-5)
    state = torch.get_rng_state()
    model.eval().loss(some())
    assert torch.equal(torch.get_rng_state(), state)
    assert int(model.decoder[0][2].num_batches_tracked) == 5


@BOTH
@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_every_part_trains_in_half_precision(kind, precision, make_trainer, recorder):
    options = {"batch_norm": True, "geometric_weight": 0.1, "unit_norm": "all", "checkpoint_gradients": True}
    model = small(kind, **options, layer_weights=(0.1, 0.1), latent_activation="soft_threshold")
    data = DigitsDataModule(batch_size=256, drop_last=True)
    make_trainer(precision=precision, max_epochs=3, logger=recorder).fit(model, data)
    losses = list(recorder.series("train/reconstruction").values())
    assert losses[-1] < 0.7 * losses[0]
    assert recorder.rows[0][1]["train/geometric"] > 0

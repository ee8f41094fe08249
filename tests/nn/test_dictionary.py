import math

import pytest
import torch
from torch import nn

from ae_lightning.nn.activations import activation
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
    d = Dictionary(100, 400, nn.ReLU(), instances=instances)
    for parameter, fan_in in ((d.W_enc, 100), (d.b_enc, 100), (d.W_dec, 400), (d.b_dec, 400)):
        bound = 1 / math.sqrt(fan_in)
        assert float(parameter.detach().abs().max()) <= bound
        # That of a uniform distribution; a normal one or another fan-in would be far off.
        assert float(parameter.detach().std()) == pytest.approx(bound / math.sqrt(3), rel=0.1)
    assert float(d.W_enc.detach().abs().max()) > 0.999 / 10


def test_instances_start_apart():
    d = Dictionary(4, 5, nn.ReLU(), instances=2)
    for parameter in d.parameters():
        assert not torch.equal(parameter[0], parameter[1])


@pytest.mark.parametrize("name", ["relu", "none", "sigmoid"])
def test_it_equals_two_linear_layers_with_the_same_weights(name):
    torch.manual_seed(1)
    d = Dictionary(INPUT, LATENT, activation(name))
    encoder, decoder = linear_pair(d)
    function = {"relu": torch.relu, "none": lambda x: x, "sigmoid": torch.sigmoid}[name]
    x = torch.randn(BATCH, INPUT)
    z = d.encode(x)
    torch.testing.assert_close(z, function(encoder(x)))
    torch.testing.assert_close(d.decode(z), decoder(function(encoder(x))))


@pytest.mark.parametrize("shared", [True, False], ids=["shared data", "data per instance"])
def test_three_instances_equal_three_dictionaries_apart(shared):
    torch.manual_seed(2)
    d = Dictionary(INPUT, LATENT, nn.ReLU(), instances=3)
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
    d = Dictionary(INPUT, LATENT, nn.ReLU())
    assert d.encoder_vectors.shape == d.decoder_vectors.shape == (LATENT, INPUT)
    d = Dictionary(INPUT, LATENT, nn.ReLU(), instances=3)
    assert d.encoder_vectors.shape == d.decoder_vectors.shape == (3, LATENT, INPUT)


# A square dictionary, so that a transposed view would have the right shape and only its meaning be wrong.
@pytest.mark.parametrize("instances", [None, 2])
@pytest.mark.parametrize("latent", [0, 3, 4])
def test_writing_to_a_row_of_the_encoder_view_changes_that_latent_alone(latent, instances):
    torch.manual_seed(4)
    d = Dictionary(5, 5, nn.Identity(), instances)
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
    d = Dictionary(5, 5, nn.Identity(), instances)
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
    d = Dictionary(3, 4, nn.ReLU())
    before = [parameter.detach().clone() for parameter in d.parameters()]
    d.reset_parameters()
    for old, new in zip(before, d.parameters(), strict=True):
        assert not torch.equal(old, new)


# --- tied, centered, and other starts --------------------------------------------------------------------------------


@pytest.mark.parametrize("instances", [None, 3])
def test_a_tied_decoder_is_the_encoder_transposed_with_gradients_of_both_uses(instances):
    torch.manual_seed(0)
    d = Dictionary(INPUT, LATENT, nn.ReLU(), instances, tied=True)
    assert {name for name, _ in d.named_parameters()} == {"W_enc", "b_enc", "b_dec"}
    x = torch.randn(BATCH, INPUT)
    d.decode(d.encode(x)).square().sum().backward()
    encoder = d.W_enc.detach().clone().requires_grad_()
    decoder = d.W_enc.detach().mT.clone().requires_grad_()
    z = torch.relu(x @ encoder + d.b_enc.detach().unsqueeze(-2))
    (z @ decoder + d.b_dec.detach().unsqueeze(-2)).square().sum().backward()
    torch.testing.assert_close(d.W_enc.grad, encoder.grad + decoder.grad.mT)


@pytest.mark.parametrize("instances", [None, 3])
def test_a_centered_encoder_reads_the_input_without_the_decoder_s_bias(instances):
    torch.manual_seed(0)
    d = Dictionary(INPUT, LATENT, nn.Identity(), instances, centered=True)
    x = torch.randn(BATCH, INPUT)
    truth = (x - d.b_dec.unsqueeze(-2)) @ d.W_enc + d.b_enc.unsqueeze(-2)
    torch.testing.assert_close(d.pre_activations(x), truth)
    weights = torch.randn_like(truth)
    found = torch.autograd.grad((d.pre_activations(x) * weights).sum(), [d.b_dec, d.W_enc])
    torch.testing.assert_close(found, torch.autograd.grad((truth * weights).sum(), [d.b_dec, d.W_enc]))


def test_kaiming_weights_keep_the_scale_of_a_rectified_signal():
    torch.manual_seed(0)
    d = Dictionary(300, 500, nn.ReLU(), init="kaiming")
    assert float(d.W_enc.detach().std()) == pytest.approx(math.sqrt(2 / 300), rel=0.02)  # He et al. (2015)
    assert float(d.W_dec.detach().std()) == pytest.approx(math.sqrt(2 / 500), rel=0.02)
    assert not d.b_enc.any()
    assert not d.b_dec.any()


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("instances", [None, 2])
def test_a_latent_may_start_by_reading_what_it_writes(tied, instances):
    d = Dictionary(INPUT, LATENT, nn.ReLU(), instances=instances, tied=tied, init="transpose")
    assert torch.equal(d.encoder_vectors, d.decoder_vectors)
    torch.testing.assert_close(d.decoder_vectors.norm(dim=-1), torch.ones(*d.b_enc.shape))  # rows, not columns
    assert not d.b_enc.any()


def test_parameters_say_which_axis_counts_latents():
    d = Dictionary(INPUT, LATENT, nn.ReLU(), instances=2)
    assert {tuple(p.shape): p.shape[axis] for p, axis in d.latent_axes.items()} == {
        (2, INPUT, LATENT): LATENT,
        (2, LATENT): LATENT,
        (2, LATENT, INPUT): LATENT,
    }
    assert len(Dictionary(INPUT, LATENT, nn.ReLU(), tied=True).latent_axes) == 2


@pytest.mark.parametrize("instances", [None, 3])
@pytest.mark.parametrize("centered", [False, True])
def test_an_encoder_may_do_without_a_bias(centered, instances):
    torch.manual_seed(0)
    d = Dictionary(INPUT, LATENT, nn.ReLU(), instances, centered=centered, encoder_bias=False)
    assert {name for name, _ in d.named_parameters()} == {"W_enc", "W_dec", "b_dec"}
    assert d.b_enc is None
    for x in (torch.randn(BATCH, INPUT), torch.randn(*d.b_dec.shape[:-1], BATCH, INPUT)):
        read = x - d.b_dec.unsqueeze(-2) if centered else x
        truth = torch.einsum("...bi,...il->...bl", read.expand(*d.b_dec.shape[:-1], BATCH, INPUT), d.W_enc)
        torch.testing.assert_close(d.pre_activations(x), truth)
        torch.testing.assert_close(d.encode(x), truth.relu())
    assert sorted(parameter.shape[axis] for parameter, axis in d.latent_axes.items()) == [LATENT, LATENT]
    d.reset_parameters()
    assert d.b_enc is None


@pytest.mark.parametrize("instances", [None, 4])
def test_xavier_weights_are_normal_with_a_variance_between_that_of_both_widths(instances):
    torch.manual_seed(0)
    d = Dictionary(300, 50, nn.ReLU(), instances=instances, init="xavier")
    truth = math.sqrt(2 / (300 + 50))  # Glorot and Bengio (2010)
    for weight in (d.W_enc, d.W_dec):
        for one in weight.detach().reshape(-1, 300 * 50):
            assert float(one.std()) == pytest.approx(truth, rel=4.5 / math.sqrt(2 * 300 * 50))
            assert float(one.double().pow(4).mean()) == pytest.approx(3 * truth**4, rel=0.15)  # a uniform one has 1.8
    assert not d.b_enc.any()
    assert not d.b_dec.any()


@pytest.mark.parametrize(("init", "function"), [("kaiming", "kaiming_uniform_"), ("xavier", "xavier_normal_")])
def test_a_joint_start_is_what_torch_makes_of_all_instances_as_one_tensor(init, function):
    """The workshop's encoder is (instances, input, latent), its toy model (instances, hidden, features)."""
    torch.manual_seed(0)
    d = Dictionary(30, 12, nn.ReLU(), instances=16, init=f"{init}_joint")
    layout = (16, 30, 12) if init == "kaiming" else (16, 12, 30)
    truth = getattr(nn.init, function)(torch.empty(layout))
    assert float(d.W_enc.detach().std()) == pytest.approx(float(truth.std()), rel=0.03)
    alone = getattr(nn.init, function)(torch.empty(12, 30))
    assert float(truth.std()) < 0.8 * float(alone.std())  # one instance by itself would start larger
    decoder = nn.init.kaiming_uniform_(torch.empty(16, 12, 30))
    if init == "kaiming":
        assert float(d.W_dec.detach().std()) == pytest.approx(float(decoder.std()), rel=0.03)
        assert float(d.W_dec.detach().abs().max()) <= math.sqrt(6 / (12 * 30))
    assert not d.b_enc.any()


@pytest.mark.parametrize("init", ["kaiming", "xavier"])
def test_without_instances_a_joint_start_is_the_same(init):
    torch.manual_seed(0)
    joint, apart = Dictionary(300, 500, nn.ReLU(), init=f"{init}_joint"), Dictionary(300, 500, nn.ReLU(), init=init)
    for name in ("W_enc", "W_dec"):
        assert float(getattr(joint, name).detach().std()) == pytest.approx(
            float(getattr(apart, name).detach().std()), rel=0.02
        )


# --- rows that are divided as they are used --------------------------------------------------------------------------


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("instances", [None, 2])
def test_decoding_divides_rows_and_the_gradient_goes_through_the_division(tied, instances):
    torch.manual_seed(0)
    d = Dictionary(INPUT, LATENT, nn.ReLU(), instances, tied=tied, unit_norm=True)
    x = torch.randn(BATCH, INPUT)
    d.decode(d.encode(x)).square().sum().backward()
    encoder = d.W_enc.detach().clone().requires_grad_()
    rows = encoder.mT if tied else d.W_dec.detach().clone().requires_grad_()
    z = torch.relu(x @ encoder + d.b_enc.detach().unsqueeze(-2))  # with rows of any length
    directions = rows / (rows.norm(dim=-1, keepdim=True) + 1e-8)
    (z @ directions + d.b_dec.detach().unsqueeze(-2)).square().sum().backward()
    torch.testing.assert_close(d.W_enc.grad, encoder.grad)
    torch.testing.assert_close(d.decoder_vectors, directions)
    if not tied:
        torch.testing.assert_close(d.W_dec.grad, rows.grad)


def test_a_row_of_zeros_is_divided_without_nan():
    d = Dictionary(INPUT, LATENT, nn.ReLU(), unit_norm=True)
    with torch.no_grad():
        d.W_dec[2] = 0
    d.decode(d.encode(torch.rand(BATCH, INPUT))).sum().backward()
    assert not d.decoder_vectors[2].any()
    assert d.W_dec.grad.isfinite().all()


@pytest.mark.parametrize(
    ("options", "read", "written"),
    [
        ({}, 0.5, 1.0),
        ({"tied": True}, 1.0, 1.0),
        ({"unit_norm": True}, 0.5, 1.0),
        ({"unit_norm": True, "tied": True}, 0.5, 1.0),  # the encoder has a length of its own
    ],
    ids=str,
)
def test_latents_that_are_set_read_and_write_what_they_were_given(options, read, written):
    torch.manual_seed(0)
    d = Dictionary(INPUT, LATENT, nn.Identity(), instances=2, **options)
    which = torch.zeros(2, LATENT, dtype=torch.bool)
    which[0, 3] = which[1, 5] = True
    before = d.encoder_vectors.detach().clone()
    rows = torch.nn.functional.normalize(torch.randn(2, INPUT), dim=-1)
    d.set_latents(which, 0.5 * rows, rows)
    torch.testing.assert_close(d.encoder_vectors[which], read * rows)
    torch.testing.assert_close(d.decoder_vectors[which], written * rows)
    assert not d.b_enc[which].any()
    assert torch.equal(d.encoder_vectors[~which], before[~which])

"""A pass some latents at a time, beside finite differences, torch's own gradients, and formulas entry by entry."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ae_lightning.losses.jumprelu import l0_of_counts, l0_step
from ae_lightning.nn import blocked_pass as module
from ae_lightning.nn.blocked_pass import block_code, blocked_pass, is_wide
from ae_lightning.nn.dictionary import Dictionary
from ae_lightning.nn.gated import Gated
from ae_lightning.nn.jumprelu import JumpReLU
from ae_lightning.nn.topk import TopK

BATCH, INPUT, LATENTS = 9, 4, 7

each_width = pytest.mark.parametrize("width", [1, 3, 7, 100])
populations = pytest.mark.parametrize(("instances", "own"), [(None, False), (2, False), (2, True)])


def made(activation: nn.Module, instances: int | None = None, **options: Any) -> Dictionary:
    """A dictionary in float64 with biases, of which one decoder row is zero."""
    torch.manual_seed(0)
    dictionary = Dictionary(INPUT, LATENTS, activation, instances, **{"centered": True, **options}).double()
    with torch.no_grad():
        dictionary.b_dec.normal_()
    return dictionary


def samples(instances: int | None = None, own: bool = False) -> Tensor:
    torch.manual_seed(1)
    return torch.randn(*((instances,) if own and instances else ()), BATCH, INPUT, dtype=torch.float64)


@populations
@each_width
@pytest.mark.parametrize("options", [{}, {"centered": False}, {"tied": True}, {"unit_norm": True}], ids=str)
def test_gradients_are_finite_differences(monkeypatch, width, instances, own, options):
    """Of all that a pass gives at once: x̂, the code, its sums, and norms."""
    monkeypatch.setattr(module, "_LATENTS_OF_BLOCK", width)
    dictionary, x = made(nn.ReLU(), instances, **options), samples(instances, own)

    def given(*_: Tensor) -> tuple[Tensor, ...]:
        found = blocked_pass(dictionary, x, block_code(dictionary.activation), with_norms=True)
        return found.decoded[0], found.codes[0], found.sums, found.norms

    assert torch.autograd.gradcheck(given, tuple(dictionary.parameters()))


@populations
@pytest.mark.parametrize("encoder_bias", [True, False])
def test_values_are_those_of_the_dictionary(monkeypatch, instances, own, encoder_bias):
    monkeypatch.setattr(module, "_LATENTS_OF_BLOCK", 3)
    dictionary, x = made(nn.ReLU(), instances, encoder_bias=encoder_bias), samples(instances, own)
    found = blocked_pass(dictionary, x, block_code(dictionary.activation), with_norms=True)
    z = dictionary.encode(x)
    assert 0 < int((z > 0).sum()) < z.numel()
    torch.testing.assert_close(found.codes[0], z)
    torch.testing.assert_close(found.decoded[0], dictionary.decode(z))
    torch.testing.assert_close(found.sums, z.sum(-2))
    torch.testing.assert_close(found.norms, dictionary.decoder_norms)


@pytest.mark.parametrize("asked", [("decoded",), ("codes",), ("sums",), ("norms",), ("sums", "norms")])
def test_what_nothing_was_made_of_gives_no_gradient(monkeypatch, asked):
    monkeypatch.setattr(module, "_LATENTS_OF_BLOCK", 3)
    blocked, plain, x = made(nn.ReLU()), made(nn.ReLU()), samples()
    found = blocked_pass(blocked, x, block_code(blocked.activation), with_norms=True)._asdict()
    z = plain.encode(x)
    truth = {"decoded": [plain.decode(z)], "codes": [z], "sums": z.sum(-2), "norms": plain.decoder_norms}
    for values in (found, truth):
        chosen = [values[name][0] if name in ("decoded", "codes") else values[name] for name in asked]
        sum(value.square().sum() for value in chosen).backward()
    for one, other in zip(blocked.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(
            torch.zeros_like(one) if one.grad is None else one.grad,
            torch.zeros_like(one) if other.grad is None else other.grad,
        )


def test_the_norm_of_a_row_of_zeros_has_no_gradient():
    dictionary = made(nn.ReLU())
    with torch.no_grad():
        dictionary.W_dec[2] = 0
    found = blocked_pass(dictionary, samples(), block_code(dictionary.activation), with_norms=True)
    found.norms.sum().backward()
    assert dictionary.W_dec.grad[2].tolist() == [0.0] * INPUT
    torch.testing.assert_close(dictionary.W_dec.grad[1], dictionary.W_dec[1].detach() / dictionary.W_dec[1].norm())


def test_frozen_weights_get_no_gradient():
    dictionary = made(nn.ReLU())
    dictionary.W_enc.requires_grad_(False)
    blocked_pass(dictionary, samples(), block_code(dictionary.activation)).decoded[0].sum().backward()
    assert dictionary.W_enc.grad is None
    assert float(dictionary.W_dec.grad.abs().max()) > 0


def test_what_is_not_a_number_is_seen():
    dictionary, x = made(nn.ReLU()), samples()
    x[3, 1] = torch.nan
    found = blocked_pass(dictionary, x, block_code(dictionary.activation))
    assert bool(found.codes[0][3].isnan().all())
    assert bool(found.decoded[0][3].isnan().all())
    assert not bool(found.decoded[0][:3].isnan().any())


# --- other codes ----------------------------------------------------------------------------------------------------


def jumprelu(instances: int | None) -> JumpReLU:
    code = JumpReLU(LATENTS, instances, bandwidth=0.9).double()
    with torch.no_grad():
        code.threshold.uniform_(0.1, 0.9)
    return code


def gated(instances: int | None) -> Gated:
    code = Gated(LATENTS, instances).double()
    with torch.no_grad():
        for parameter in code.parameters():
            parameter.normal_(std=0.5)
    return code


def of_jumprelu(dictionary: Dictionary, x: Tensor) -> list[Tensor]:
    jump = dictionary.activation
    pre = dictionary.pre_activations(x)
    z = jump(pre)
    return [dictionary.decode(z), z, l0_step(pre, jump.threshold, jump.bandwidth)]


def blocked_jumprelu(dictionary: Dictionary, x: Tensor) -> list[Tensor]:
    jump = dictionary.activation
    found = blocked_pass(dictionary, x, block_code(jump))
    counts: Any = found.code
    l0 = l0_of_counts(counts.active, counts.near, jump.threshold, counts.samples, jump.bandwidth)
    return [found.decoded[0], found.codes[0], l0]


def of_gated(dictionary: Dictionary, x: Tensor) -> list[Tensor]:
    pre = dictionary.pre_activations(x)
    z, gate = dictionary.activation(pre), dictionary.activation.scores(pre).relu()
    fixed = gate @ dictionary.decoder_vectors.detach() + dictionary.b_dec.detach().unsqueeze(-2)
    return [dictionary.decode(z), fixed, z, gate, gate.sum(-2)]


def blocked_gated(dictionary: Dictionary, x: Tensor) -> list[Tensor]:
    found = blocked_pass(dictionary, x, block_code(dictionary.activation))
    return [*found.decoded, *found.codes, found.sums]


@populations
@each_width
@pytest.mark.parametrize(
    ("activation", "blocked", "plain"),
    [(jumprelu, blocked_jumprelu, of_jumprelu), (gated, blocked_gated, of_gated)],
    ids=["jumprelu", "gated"],
)
def test_other_codes_are_those_of_whole_arrays(
    monkeypatch,
    width: int,
    instances: int | None,
    own: bool,
    activation: Callable[..., nn.Module],
    blocked: Callable[..., list[Tensor]],
    plain: Callable[..., list[Tensor]],
):
    """Each of what a pass gives, with the gradients of each by itself: those are held to the papers elsewhere."""
    monkeypatch.setattr(module, "_LATENTS_OF_BLOCK", width)
    dictionary = made(activation(instances), instances, encoder_bias=activation is jumprelu)
    x, parameters = samples(instances, own), list(dictionary.parameters())
    found, wanted = blocked(dictionary, x), plain(dictionary, x)
    for one, truth in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, truth)
        gradient = torch.randn_like(truth)
        every = (
            torch.autograd.grad(
                value, parameters, gradient, retain_graph=True, allow_unused=True, materialize_grads=True
            )
            for value in (one, truth)
        )
        for mine, theirs in zip(*every, strict=True):
            torch.testing.assert_close(mine, theirs)


def test_a_code_that_looks_at_more_than_a_latent_has_no_blocks():
    class Shifted(JumpReLU):
        def forward(self, pre: Tensor, norms: Tensor | None = None) -> Tensor:
            return super().forward(pre - 1, norms)

    assert block_code(TopK(2, LATENTS)) is None
    assert block_code(nn.Sigmoid()) is None
    assert block_code(JumpReLU(LATENTS, to_pre=True)) is None
    assert block_code(Shifted(LATENTS)) is None
    assert block_code(JumpReLU(LATENTS)) is not None


# --- where it is ----------------------------------------------------------------------------------------------------


def test_it_is_for_training_in_full_precision_on_wide_codes(monkeypatch):
    monkeypatch.setattr(module, "_FEWEST_NUMBERS", BATCH * LATENTS)
    dictionary, x = made(nn.ReLU()).float(), samples().float()
    assert is_wide(dictionary, x)
    assert is_wide(dictionary.double(), x.double())
    assert not is_wide(dictionary, x), "another format than the weights'"
    dictionary.float()
    assert not is_wide(dictionary, x[1:])
    assert not is_wide(dictionary, x.mT.contiguous().mT), "samples side by side"
    assert not is_wide(dictionary, x.clone().requires_grad_())
    with torch.no_grad():
        assert not is_wide(dictionary, x)
    with torch.autocast("cpu", torch.bfloat16):
        assert not is_wide(dictionary, x)
    assert not is_wide(dictionary.bfloat16(), x.bfloat16())
    assert not is_wide(dictionary.to("meta"), x.bfloat16().to("meta"))


def test_blocks_hold_each_latent_once(monkeypatch):
    for width, latents in itertools.product((1, 2, 3, 10), (1, 5, 6)):
        monkeypatch.setattr(module, "_LATENTS_OF_BLOCK", width)
        seen = [number for (at,) in module._blocks((), latents) for number in range(latents)[at]]
        assert seen == list(range(latents))

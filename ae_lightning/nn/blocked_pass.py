"""A training pass through a wide dictionary, and its gradients, some latents at a time.

A code that may have any number of active latents takes five products with arrays of batch × latents numbers, and what
lies between products are passes over such arrays, which memory is slower to give than a processor to compute with. Here
the codes are the only arrays of that size: pre-activations and all gradients exist for some latents at a time, from one
product to the next, while they lie in the processor's cache.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ae_lightning.nn.affine import product, samples_side_by_side
from ae_lightning.nn.block_code import BlockCode, ReluCode, columns
from ae_lightning.nn.code_activation import CodeActivation
from ae_lightning.nn.dictionary import Dictionary

# Latents that are computed at once. Of 512 and 1,024 products took up to a tenth longer.
_LATENTS_OF_BLOCK = 2048
# Of batch × latents, 4 MiB in float32: smaller arrays stay in the cache as they are.
_FEWEST_NUMBERS = 2**20


class BlockedOutput(NamedTuple):
    """What a pass gives; everything has a gradient.

    Args:
        decoded: What each code decodes to, (…, batch, output).
        codes: The codes (…, batch, latent).
        sums: Σ over the batch (…, latent) of the code that is summed; None where none is.
        norms: Norms of the decoder's rows (…, latent), where they were asked for.
        code: What made them.
    """

    decoded: Sequence[Tensor]
    codes: Sequence[Tensor]
    sums: Tensor | None
    norms: Tensor | None
    code: BlockCode


def is_wide(dictionary: Dictionary, x: Tensor) -> bool:
    """Whether a pass with gradients is one that `blocked_pass` can compute, and large enough to be faster so."""
    weight = dictionary.W_enc
    plain = x.dtype == weight.dtype and x.dtype in (torch.float32, torch.float64) and not samples_side_by_side(x)
    here = x.device.type == "cpu" and not torch.is_autocast_enabled("cpu") and not torch.compiler.is_compiling()
    learns = torch.is_grad_enabled() and not x.requires_grad
    return plain and here and learns and x.shape[-2] * dictionary.latent_dim >= _FEWEST_NUMBERS


def block_code(activation: nn.Module) -> BlockCode | None:
    """What an activation does, some latents at a time; None where it looks at more, or is not known to be so."""
    if isinstance(activation, CodeActivation):
        return activation.block_code()
    return ReluCode() if type(activation) is nn.ReLU else None


def blocked_pass(dictionary: Dictionary, x: Tensor, code: BlockCode, with_norms: bool = False) -> BlockedOutput:
    """Encode and decode samples, some latents at a time, as `Dictionary` does in whole.

    Args:
        dictionary: The weights.
        x: (batch, input), shared by all instances, or (…, batch, input); it gets no gradient.
        code: What the dictionary's activation does.
        with_norms: Whether norms of the decoder's rows are given; their gradient then takes no array of its own.
    """
    center = dictionary.b_dec if dictionary.centered else None
    weights = (dictionary.W_enc, dictionary.b_enc, dictionary.decoder_vectors, dictionary.b_dec)
    *found, sums, norms = _Pass.apply(code, with_norms, x, center, *weights, *code.parameters)
    return BlockedOutput(found[: code.codes], found[code.codes :], sums, norms, code)


class _Pass(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        code: BlockCode,
        with_norms: bool,
        x: Tensor,
        center: Tensor | None,
        weight: Tensor,
        bias: Tensor | None,
        rows: Tensor,
        out_bias: Tensor,
        *parameters: Tensor,
    ) -> tuple[Tensor | None, ...]:
        lead, (batch, latents) = weight.shape[:-2], (x.shape[-2], weight.shape[-1])
        codes = [weight.new_empty(*lead, batch, latents) for _ in range(code.codes)]
        decoded = [weight.new_empty(*lead, batch, rows.shape[-1]) for _ in range(code.codes)]
        sums = None if code.summed is None else weight.new_empty(*lead, latents)
        code.begin(codes[0])
        for instance, own in _samples(x, center, lead):
            for at in _blocks(instance, latents):
                some = weight[columns(at)]
                pre = own @ some if bias is None else torch.addmm(bias[at], own, some)
                mine = [each[columns(at)] for each in codes]
                code.encode(pre, mine, at)
                del pre  # before the next is made
                if code.summed is not None and sums is not None:
                    torch.sum(mine[code.summed], 0, out=sums[at])
            for z, y in zip(codes, decoded, strict=True):
                torch.addmm(out_bias[instance], z[instance], rows[instance], out=y[instance])
        norms = torch.linalg.vector_norm(rows, dim=-1) if with_norms else None
        ctx.save_for_backward(x, center, weight, rows, norms, *codes)
        ctx.set_materialize_grads(False)
        ctx.code = code
        return *decoded, *codes, sums, norms

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        x, center, weight, rows, norms, *codes = ctx.saved_tensors
        code: BlockCode = ctx.code
        given = _Given(gradients, code, norms)
        lead, (batch, latents) = weight.shape[:-2], (x.shape[-2], weight.shape[-1])
        of_weight, of_bias = torch.empty_like(weight), weight.new_empty(*lead, latents)
        of_rows = torch.empty_like(rows, memory_format=torch.contiguous_format)
        of_parameters = [torch.empty_like(parameter) for parameter in code.parameters]
        for instance, own in _samples(x, center, lead):
            for at in _blocks(instance, latents):
                mine = [each[columns(at)] for each in codes]
                given.to_rows(of_rows[at], mine[0], rows[at], instance, at)
                passed = given.to_codes(rows[at], batch, instance, at)
                of_pre, *own_parameters = code.backward(passed, mine, at)
                torch.mm(own.mT, of_pre, out=of_weight[columns(at)])
                torch.sum(of_pre, 0, out=of_bias[at])
                del passed, of_pre
                for whole, some in zip(of_parameters, own_parameters, strict=True):
                    whole[at] = some
        of_center = None if center is None else -product(weight, of_bias.unsqueeze(-1)).squeeze(-1)
        of_out_bias = None if given.decoded[0] is None else given.decoded[0].sum(-2)
        biased = ctx.needs_input_grad[5]
        return None, None, None, of_center, of_weight, of_bias if biased else None, of_rows, of_out_bias, *of_parameters


class _Given:
    """Gradients that reach a pass, of which any may be missing."""

    def __init__(self, gradients: Sequence[Tensor | None], code: BlockCode, norms: Tensor | None) -> None:
        *both, self.sums, of_norms = gradients
        self.decoded, self.codes, self.summed = both[: code.codes], both[code.codes :], code.summed
        # Of a row w it is the norm's gradient times w / ‖w‖, and nothing where w is 0, as torch has it.
        self.over_norms = None
        if of_norms is not None and norms is not None:
            self.over_norms = (of_norms / norms).masked_fill_(norms.eq(0), 0).unsqueeze(-1)

    def to_codes(self, rows: Tensor, batch: int, instance: Any, at: Any) -> list[Tensor]:
        """Gradients (batch, some) of the codes, from all that they went into, in memory of their own."""
        found = []
        for number, (of_decoded, of_code) in enumerate(zip(self.decoded, self.codes, strict=True)):
            gradient = rows.new_zeros(batch, len(rows)) if of_decoded is None else of_decoded[instance] @ rows.mT
            if number == self.summed and self.sums is not None:
                gradient.add_(self.sums[at])
            found.append(gradient if of_code is None else gradient.add_(of_code[columns(at)]))
        return found

    def to_rows(self, out: Tensor, z: Tensor, rows: Tensor, instance: Any, at: Any) -> None:
        """Write the gradient of decoder rows (some, output)."""
        if self.decoded[0] is None:
            out.zero_()
        else:
            torch.mm(z.mT, self.decoded[0][instance], out=out)
        if self.over_norms is not None:
            out.addcmul_(rows, self.over_norms[at])


def _samples(x: Tensor, center: Tensor | None, lead: Sequence[int]) -> Iterator[tuple[Any, Tensor]]:
    """Each instance, as an index, and what its encoder multiplies, (batch, input)."""
    for instance in [(number,) for number in range(lead[0])] if lead else [()]:
        own = x[instance] if x.ndim > 2 else x
        yield instance, own if center is None else own - center[instance]


def _blocks(instance: Any, latents: int) -> Iterator[Any]:
    """Some latents of an instance at a time: an index into tensors (…, latent), or into rows (…, latent, width)."""
    for start in range(0, latents, _LATENTS_OF_BLOCK):
        yield *instance, slice(start, min(start + _LATENTS_OF_BLOCK, latents))

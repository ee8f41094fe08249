"""Products of sparse codes with dense matrices, and their gradients, at a cost that follows the entries kept.

With n samples, d inputs and k of F latents active a dense product takes 2·n·d·F operations, and these 2·n·d·k. Of the
five products of a training step four are of that kind: the decoder, its gradient to the code, and both gradients to
weights.
"""

import functools
import warnings
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from ae_lightning.nn.precision import at_least_float32
from ae_lightning.nn.sparse_code import Places, SparseCode

# Gradients of so many latents are turned into columns at once, while they lie in the processor's cache.
_COLUMNS = 256


def decode_sparse(code: SparseCode, rows: Tensor, bias: Tensor | None = None) -> Tensor:
    """Σ value · row over the entries of each sample, plus a bias: z W_dec + b_dec.

    Args:
        code: Codes (…, batch, latent).
        rows: Decoder rows (…, latent, output).
        bias: (…, output), or None.

    Returns:
        (…, batch, output), in float32 or wider.
    """
    return _with_bias(_decode(code.values, rows, code.places).view(*code.shape[:-1], rows.shape[-1]), bias)


def decode_prefixes(code: SparseCode, rows: Tensor, bias: Tensor | None, widths: list[int]) -> list[Tensor]:
    """What the first `width` latents of a code decode to, for each of some rising widths, the last being all.

    Args:
        code: Codes (…, batch, latent).
        rows: Decoder rows (…, latent, output).
        bias: (…, output), or None.
        widths: How many latents each prefix has.

    Returns:
        As many of (…, batch, output), in float32 or wider.
    """
    parts = _decode(code.values, rows, code.places.split(widths))
    sums = parts.view(*code.shape[:-1], len(widths), rows.shape[-1]).cumsum(-2)
    return [_with_bias(part, bias) for part in sums.unbind(-2)]


def known_at(
    values: Tensor, places: Places, x: Tensor, weight: Tensor, bias: Tensor | None, center: Tensor | None = None
) -> Tensor:
    """Pre-activations (x − center) W_enc + b_enc at some places, which are known, with their gradient.

    Args:
        values: The pre-activations (kept,), without a gradient.
        places: Of codes (…, batch, latent).
        x: (batch, input), shared by all instances, or (…, batch, input).
        weight: W_enc (…, input, latent).
        bias: b_enc (…, latent), or None.
        center: (…, input), or None.
    """
    return _EncodeAt.apply(values, places, x, weight, bias, center)


def _with_bias(y: Tensor, bias: Tensor | None) -> Tensor:
    return y if bias is None else y + bias.unsqueeze(-2)


def _decode(values: Tensor, rows: Tensor, places: Places) -> Tensor:
    return _Decode.apply(values, rows, places)


class _Decode(Function):
    """Σ value · row over each bag's entries."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, rows: Tensor, places: Places) -> Tensor:
        ctx.save_for_backward(values, rows)
        ctx.places = places
        return _sums(at_least_float32(rows).flatten(0, -2), places.latents, values, places.offsets)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        values, rows = ctx.saved_tensors
        places, gradient = ctx.places, gradient.contiguous()
        to_values = to_rows = None
        if ctx.needs_input_grad[0]:
            to_values = _sampled(gradient, at_least_float32(rows).flatten(0, -2), places).to(values.dtype)
        if ctx.needs_input_grad[1]:
            order, offsets = places.by_latent
            to_rows = _sums(gradient, places.bags[order], values[order], offsets).to(rows.dtype).view(rows.shape)
        return to_values, to_rows, None


class _EncodeAt(Function):
    """Pre-activations at places, whose values are given."""

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, places: Places, x: Tensor, weight: Tensor, bias: Tensor | None, center: Tensor | None
    ) -> Tensor:
        ctx.save_for_backward(x, weight, bias, center)
        ctx.places = places
        return values.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, center = ctx.saved_tensors
        places, wide = ctx.places, at_least_float32(weight)
        to_x = to_weight = to_bias = to_center = None
        to_latents = torch.zeros(places.rows, dtype=gradient.dtype, device=gradient.device)
        to_latents = to_latents.index_add_(0, places.latents, gradient).view(*weight.shape[:-2], weight.shape[-1])
        if ctx.needs_input_grad[2]:
            rows = wide.mT.contiguous().flatten(0, -2)
            sums = _sums(rows, places.latents, gradient, places.offsets).view(*places.shape[:-1], weight.shape[-2])
            to_x = sums.sum_to_size(x.shape).to(x.dtype)
        if ctx.needs_input_grad[3]:
            table = at_least_float32(x if center is None else x - center.unsqueeze(-2))
            to_weight = _columns(table, gradient, places, weight)
        if bias is not None and ctx.needs_input_grad[4]:
            to_bias = to_latents.to(bias.dtype)
        if center is not None and ctx.needs_input_grad[5]:
            to_center = -(wide @ to_latents.to(wide.dtype).unsqueeze(-1)).squeeze(-1).to(center.dtype)
        return None, None, to_x, to_weight, to_bias, to_center


def _columns(table: Tensor, gradient: Tensor, places: Places, weight: Tensor) -> Tensor:
    """Gradient to W_enc (…, input, latent): for each latent the sum of gradient · sample, as a column."""
    order, offsets = places.by_latent
    samples, weights = places.samples[order], gradient[order].to(table.dtype)
    if table.ndim == 2:  # shared by all instances
        samples = samples % len(table)
    found = torch.empty_like(weight, memory_format=torch.contiguous_format)
    width = weight.shape[-1]
    for instance, columns in enumerate(found.view(-1, *weight.shape[-2:])):
        for start in range(0, width, _COLUMNS):
            stop = min(start + _COLUMNS, width)
            edges = offsets[instance * width + start : instance * width + stop + 1]
            begin, end = int(edges[0]), int(edges[-1])
            sums = _sums(table.flatten(0, -2), samples[begin:end], weights[begin:end], edges - begin)
            columns[:, start:stop] = sums.mT.contiguous()  # which torch has a quick way for
    return found


def _sums(table: Tensor, places: Tensor, weights: Tensor, offsets: Tensor) -> Tensor:
    """Σ weight · row over the entries of each bag: table (rows, width), to (bags, width)."""
    weights = weights.to(table.dtype)
    return F.embedding_bag(
        places, table.contiguous(), offsets, mode="sum", per_sample_weights=weights, include_last_offset=True
    )


def _sampled(bags: Tensor, rows: Tensor, places: Places) -> Tensor:
    """Scalar products (kept,) of each entry's bag, of (bags, width), with its latent's row, of (rows, width)."""
    shape = (len(bags), len(rows))
    zeros = bags.new_zeros(len(places.latents))
    _make_csr_quiet()
    mask = torch.sparse_csr_tensor(places.offsets, places.latents, zeros, shape, check_invariants=False)
    return torch.sparse.sampled_addmm(mask, bags, rows.mT, beta=0.0).values()


@functools.cache
def _make_csr_quiet() -> None:
    """Let torch say once, unheard, that its CSR tensors are in beta.

    A filter around each product would let Python show every other warning anew at each step.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        none = torch.zeros(0, dtype=torch.int64)
        torch.sparse_csr_tensor(torch.zeros(2, dtype=torch.int64), none, torch.zeros(0), (1, 1), check_invariants=False)

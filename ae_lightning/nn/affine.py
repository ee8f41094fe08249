"""x W + b over optional instances, in the layout that the samples have in memory."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def affine(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    activation: Callable[[Tensor], Tensor] | None = None,
    center: Tensor | None = None,
) -> Tensor:
    """Compute activation((x − c) W + b), under autocast in the precision that `torch.nn.Linear` has.

    Args:
        x: (…, batch, in); without instances it may be shared by all.
        weight: (in, out), or (instances, in, out).
        bias: (out,), or (instances, out).
        activation: Elementwise; it may work in place, for nothing else holds what it is given.
        center: c (in,), or (instances, in), which is nothing where it is left out.

    Returns:
        (…, batch, out). With instances the samples lie side by side in memory if those of x do, so that a whole step
        keeps one layout.
    """
    if weight.ndim == 2:  # one product that adds the bias as it goes, a tenth of the time saved
        y = F.linear(x, weight.mT, bias) if center is None else _Centered.apply(x, center, weight, bias)
        return _through(activation, y)
    if center is not None:  # without a copy of shared samples for each instance
        shift = product(center.unsqueeze(-2), weight).squeeze(-2)
        bias = -shift if bias is None else bias - shift
    if samples_side_by_side(x):
        return _through(activation, _plus(product(weight.mT, x.mT), bias, -1)).mT
    return _through(activation, _plus(product(x, weight), bias, -2))


class _Centered(torch.autograd.Function):
    """(x − c) W + b, whose gradient of c takes no product with each sample.

    It is that of a bias −c W, but what flows into W has no part of c to be added, which would be a pass over all of W.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, center: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        rows = x - center
        ctx.save_for_backward(rows, weight)
        return F.linear(rows, weight.mT, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
        rows, weight = ctx.saved_tensors
        flat = gradient.reshape(-1, gradient.shape[-1])
        of_bias = flat.sum(0, dtype=weight.dtype)
        of_x = (gradient @ weight.mT.to(gradient.dtype)).to(rows.dtype) if ctx.needs_input_grad[0] else None
        of_weight = rows.reshape(-1, rows.shape[-1]).to(flat.dtype).mT @ flat if ctx.needs_input_grad[2] else None
        return of_x, -(weight @ of_bias), of_weight, of_bias if ctx.needs_input_grad[3] else None


def _plus(y: Tensor, bias: Tensor | None, axis: int) -> Tensor:
    return y if bias is None else y.add_(bias.unsqueeze(axis))


def _through(activation: Callable[[Tensor], Tensor] | None, y: Tensor) -> Tensor:
    return y if activation is None else activation(y)


def product(a: Tensor, b: Tensor) -> Tensor:
    """Matrix product a b of two matrices, or of two stacks of as many.

    Of stacks `@` would expand and reshape both, and undo it in the gradient, though nothing is there to expand: eight
    calls more, which take longer than the product of small matrices.
    """
    return torch.bmm(a, b) if a.ndim == b.ndim == 3 else a @ b


def samples_side_by_side(x: Tensor) -> bool:
    """Tell whether x (…, batch, width) lies in memory as (…, width, batch), and not also as it is indexed.

    Rows of few numbers are slow: bias, activation and sums go through them in pieces too short for vector instructions.
    """
    return x.ndim > 1 and x.mT.is_contiguous() and not x.is_contiguous()

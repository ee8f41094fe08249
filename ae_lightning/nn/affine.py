"""x W + b over optional instances, in the layout that the samples have in memory."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ae_lightning.nn.elementwise import where_positive

# Of 4 bytes: four megabytes, which the system does not take back at once, and enough for a product.
_NUMBERS_OF_BLOCK = 2**20


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
    if isinstance(activation, nn.ReLU) and _has_blocks(x, weight):
        return _Rectified.apply(x, center, weight, bias)
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


def _has_blocks(x: Tensor, weight: Tensor) -> bool:
    """Whether a gradient can be computed of some latents at a time: on a CPU, of weights alone."""
    plain = x.requires_grad or samples_side_by_side(x) or torch.compiler.is_compiling()
    return x.device.type == "cpu" and x.ndim in (2, weight.ndim) and not plain


class _Rectified(torch.autograd.Function):
    """ReLU((x − c) W + b) for samples without a gradient.

    Of the gradient that passes the ReLU there are only some latents at a time: an array of the code's size, which would
    be a third one beside the code and its gradient, is slow to make (see `nn.elementwise`).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, center: Tensor | None, weight: Tensor, bias: Tensor | None) -> Tensor:
        z = affine(x, weight, bias, torch.relu_, center)
        ctx.save_for_backward(x, center, weight, z)
        return z

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor | None, Tensor, Tensor | None]:
        x, center, weight, z = ctx.saved_tensors
        single = weight.ndim == 2
        rows = (x if center is None or not single else x - center).to(gradient.dtype)
        of_weight = torch.empty_like(weight, dtype=gradient.dtype)
        of_bias = weight.new_empty(weight.shape[:-2] + weight.shape[-1:])
        for instance in [()] if single else range(len(weight)):
            own = rows[instance] if rows.ndim == weight.ndim else rows
            width = max(1, _NUMBERS_OF_BLOCK // max(1, len(own)))
            parts = (part[instance].split(width, -1) for part in (gradient, z, of_weight, of_bias))
            for some, some_z, some_of_weight, some_of_bias in zip(*parts, strict=True):
                passed = where_positive(some, some_z, out=torch.empty_like(some))
                torch.mm(own.mT, passed, out=some_of_weight)
                torch.sum(passed, 0, dtype=of_bias.dtype, out=some_of_bias)
        of_center = None
        if center is not None:
            of_center = -product(weight, of_bias.unsqueeze(-1)).squeeze(-1)
            if not single:
                of_weight.baddbmm_(center.unsqueeze(-1).to(rows), of_bias.unsqueeze(-2).to(rows), alpha=-1)
        return None, of_center, of_weight.to(weight.dtype), of_bias if ctx.needs_input_grad[3] else None


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

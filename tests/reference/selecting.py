"""A training step of a dictionary that selects latents, written out, for any selection."""

from collections.abc import Callable

import torch
from torch import Tensor

LATENTS = 12
#: Of the comparison of two computations.
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


def selecting_step(
    activate: Callable[[Tensor, Tensor], Tensor], samples: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
    """Code, loss and gradients of z = activate(W_enc (x − b) + b_enc), x̂ = W_dec z + b, the same at each call.

    Args:
        activate: Makes codes (n, 12) of pre-activations and of the norms (12,) of the decoder's rows.
        samples: Vectors of five numbers in the batch.
        dtype: What all is computed in.
    """
    torch.manual_seed(0)
    shapes = {"x": (samples, 5), "enc": (LATENTS, 5), "b_enc": (LATENTS,), "dec": (LATENTS, 5), "b": (5,)}
    p = {name: torch.randn(shape, dtype=dtype).requires_grad_() for name, shape in shapes.items()}
    z = activate((p["x"] - p["b"]) @ p["enc"].T + p["b_enc"], p["dec"].detach().norm(dim=-1))
    loss = (z @ p["dec"] + p["b"] - p["x"]).square().sum(-1).mean()
    return z, loss, torch.autograd.grad(loss, list(p.values()))

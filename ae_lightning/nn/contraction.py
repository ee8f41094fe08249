"""How much an encoder's code moves with its input: the squared Frobenius norm of its Jacobian, of each sample."""

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.autograd import grad

from ae_lightning.nn.activations import ACTIVATIONS
from ae_lightning.nn.draws import Draws
from ae_lightning.nn.precision import at_least_float32

Layer = tuple[nn.Linear, nn.Module]
"""A linear map, and an activation that takes every number by itself."""

_ELEMENTWISE = (*ACTIVATIONS, nn.SiLU, nn.Softplus, nn.Softsign, nn.Hardtanh, nn.Softshrink, nn.Hardshrink)


def single_layer(encoder: nn.Module) -> Layer | None:
    """The linear map and the activation that an encoder consists of; None if it is anything else."""
    parts = [part for part in _leaves(encoder) if not isinstance(part, (nn.Flatten, nn.Identity))]
    if len(parts) == 1:
        parts.append(nn.Identity())
    if len(parts) != 2 or type(parts[0]) is not nn.Linear or not isinstance(parts[1], _ELEMENTWISE):
        return None
    return parts[0], parts[1]


def layer_contraction(layer: Layer, x: Tensor) -> Tensor:
    """‖J‖²_F of z = φ(W x + b) at each sample, exactly: Σ_j φ′(a_j)² Σ_i W_ji² with a = W x + b.

    Source: Rifai et al. (2011), "Contractive auto-encoders: explicit invariance during feature extraction", of a
    sigmoid; here φ is any function of single numbers.

    Args:
        layer: W and φ.
        x: Samples (batch, …), flattened here.

    Returns:
        (batch,), in float32 or wider, in evaluation too; its gradient reaches W and b.
    """
    linear, activation = layer
    with differentiable(x) as (x, is_wanted):
        a = linear(x.flatten(1))
        (slope,) = grad(activation(a).sum(), a, create_graph=is_wanted)
    return (at_least_float32(slope).square() * at_least_float32(linear.weight).square().sum(1)).sum(1)


def projected_contraction(encode: Callable[[Tensor], Tensor], x: Tensor, draws: Draws, probes: int) -> Tensor:
    """‖J‖²_F of an encoder at each sample, estimated by random projections: the mean of ‖Jᵀu‖² over k probes u.

    A probe has a sign, −1 or 1, for each number of the code. The estimate is unbiased; with M = J Jᵀ its variance is
    2 (‖M‖²_F − Σ_i M_ii²) / k, at most 2 ‖J‖⁴_F / k, and 0 where the rows of J are orthogonal, as for a code of one
    number.

    Source: Hutchinson (1990), "A stochastic estimator of the trace of the influence matrix".

    Args:
        encode: Takes (batch, …) to codes (batch, …); no sample's code depends on another sample.
        x: Samples (batch, …), in the format of the encoder's weights.
        draws: What draws the probes of each sample.
        probes: k. Each takes one pass back through the encoder.

    Returns:
        (batch,), in float32 or wider, in evaluation too; its gradient reaches the encoder's weights.
    """
    with differentiable(x) as (x, is_wanted):
        z = encode(x).flatten(1)
        total = torch.zeros(len(x), device=x.device)
        for _ in range(probes):
            u = draws.signs(z.shape[1]).to(z.dtype)
            (pulled,) = grad(z, x, u, create_graph=is_wanted, retain_graph=True)
            total = total + at_least_float32(pulled).flatten(1).square().sum(1)
        return total / probes


@contextlib.contextmanager
def differentiable(x: Tensor) -> Iterator[tuple[Tensor, bool]]:
    """Samples with respect to which one can differentiate, and whether what is found is to have a gradient itself.

    It works wherever this is: Lightning validates in a mode without any. Squares of slopes want the weights' own
    precision, so that autocast is off.
    """
    is_wanted = torch.is_grad_enabled()
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(x.device.type, enabled=False):
        yield x.detach().clone().requires_grad_(), is_wanted


def _leaves(module: nn.Module) -> Iterator[nn.Module]:
    if isinstance(module, nn.Sequential):
        for part in module:
            yield from _leaves(part)
    else:
        yield module

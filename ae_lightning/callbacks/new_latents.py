"""New weights for dead latents: how they are chosen, written, and forgotten by the optimizer."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ae_lightning.models.shallow import ShallowAutoencoder
from ae_lightning.nn.precision import at_least_float32, like_weights

_CHUNK = 1024  # examples encoded together


class NewWeights(NamedTuple):
    """Rows of the dead latents, (dead, input), in the order of the instances; on the CPU, in float32 or wider."""

    encoder: Tensor
    decoder: Tensor


def random_weights(
    module: ShallowAutoencoder, dead: Tensor, scale: float, generators: Sequence[torch.Generator]
) -> NewWeights:
    """Random directions of norm 1 as decoder rows, and `scale` times them as encoder rows.

    Args:
        module: The model.
        dead: (…, latent).
        scale: Norm of the encoder rows.
        generators: One on the CPU for each instance, or one for all.
    """
    wide = at_least_float32(module.decoder_vectors).dtype
    # Drawn in the same format whatever the weights have, so that a run in another precision gets the same directions.
    counts = dead.reshape(len(generators), -1).sum(-1).tolist()
    drawn = [
        torch.randn(count, module.input_size, generator=generator, dtype=torch.float32)
        for count, generator in zip(counts, generators, strict=True)
    ]
    directions = _unit(torch.cat(drawn).to(wide))
    return NewWeights(scale * directions, directions)


def weights_by_loss(
    module: ShallowAutoencoder,
    examples: Tensor,
    dead: Tensor,
    scale: float,
    generators: Sequence[torch.Generator],
    with_replacement: bool = False,
) -> NewWeights:
    """Directions from the decoder's bias to inputs that are reconstructed badly.

    Args:
        module: In evaluation mode, gradients off.
        examples: Samples (n, *input_shape) to draw from, or (n, instances, *input_shape), each instance's own.
        dead: (…, latent).
        scale: Norm of the encoder rows, in units of the mean norm of the instance's living encoder rows.
        generators: One on the CPU for each instance, or one for all.
        with_replacement: As `draw_by_loss` has it.

    Source: Bricken et al. (2023), "Towards Monosemanticity", appendix "Neuron resampling".
    """
    bias = at_least_float32(module.dictionary.b_dec).cpu()
    parts = [like_weights(module, part) for part in examples.split(_CHUNK)]
    vectors = torch.cat([at_least_float32(module.inputs(part)).cpu() for part in parts], dim=-2)
    losses = torch.cat([_squared_errors(module, part) for part in parts], dim=-1).cpu()
    by_instance = dead.reshape(-1, dead.shape[-1])
    losses, bias = (part.reshape(len(by_instance), -1) for part in (losses, bias))
    each = list(generators) * (len(by_instance) if len(generators) == 1 else 1)
    counts = by_instance.sum(-1).tolist()
    offsets = []
    for instance, (k, generator) in enumerate(zip(counts, each, strict=True)):
        if k:
            own = vectors[instance] if vectors.ndim == 3 else vectors
            offsets.append(own[draw_by_loss(losses[instance], k, generator, with_replacement)] - bias[instance])
    directions = _unit(torch.cat(offsets))
    # An input that is the bias itself has no direction; any other will do.
    for generator, rows in zip(generators, _parts(directions, counts, len(generators)), strict=True):
        lost = rows.isnan().any(-1)
        rows[lost] = _unit(torch.randn(int(lost.sum()), rows.shape[-1], generator=generator).to(rows))
    lengths = scale * _living_norm(module, dead)[dead].cpu()
    return NewWeights(lengths[:, None] * directions, directions)


def draw_by_loss(losses: Tensor, k: int, generator: torch.Generator, with_replacement: bool = False) -> Tensor:
    """Draw k samples with probability proportional to the square of their loss.

    Args:
        losses: (n,), not negative. If all are zero, or one is not finite, every sample is as likely.
        k: How many to draw.
        generator: Generator on the CPU.
        with_replacement: Whether a sample can be drawn again, though two latents that start equal stay equal. It can
            in any case where fewer than k samples have a loss.

    Returns:
        Indices (k,).
    """
    weights = losses.double()
    weights = (weights / weights.max()).square()  # the largest is 1: the squares of small losses do not vanish
    if not bool(weights.isfinite().all()):
        weights = torch.ones_like(weights)
    replacement = with_replacement or k > int((weights > 0).sum())
    return torch.multinomial(weights, k, replacement=replacement, generator=generator)


@torch.no_grad()
def forget_moments(optimizers: Iterable[Optimizer], axes: dict[nn.Parameter, int], dead: Tensor) -> None:
    """Zero what optimizers remember of the dead latents; a count of steps is that of a whole parameter and stays.

    Args:
        optimizers: Any; those that have not stepped yet remember nothing.
        axes: Parameters, and the axis of latents in each, counted from the end.
        dead: (…, latent).
    """
    for optimizer in optimizers:
        for parameter, axis in axes.items():
            for value in optimizer.state.get(parameter, {}).values():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    value.movedim(axis, dead.ndim - 1)[dead] = 0.0


def _parts(rows: Tensor, counts: list[int], generators: int) -> Sequence[Tensor]:
    """Views of the rows that each generator draws: those of an instance, or all."""
    return rows.split(counts) if generators > 1 else [rows]


def _unit(rows: Tensor) -> Tensor:
    return rows / rows.norm(dim=-1, keepdim=True)


def _squared_errors(module: ShallowAutoencoder, x: Tensor) -> Tensor:
    """Squared error of each sample, mean over its pixels: x as `examples` to (n,), or (instances, n)."""
    differences = at_least_float32(module(x).x_hat) - at_least_float32(module.as_target(x))
    return differences.square().flatten(-len(module.output_shape)).mean(-1)


def _living_norm(module: ShallowAutoencoder, dead: Tensor) -> Tensor:
    """Mean norm of the living latents' encoder rows in each instance, 1 where none lives, as (…, latent)."""
    norms = at_least_float32(module.encoder_vectors).norm(dim=-1)
    living = (~dead).sum(-1, keepdim=True)
    mean = norms.masked_fill(dead, 0.0).sum(-1, keepdim=True) / living
    return torch.where(living > 0, mean, torch.ones_like(mean)).expand_as(norms)

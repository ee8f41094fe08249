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
    """Rows of the dead latents, (dead, input) and (dead, output), in the order of the instances.

    They are on the CPU, in float32 or wider.
    """

    encoder: Tensor
    decoder: Tensor


def random_weights(
    module: ShallowAutoencoder, dead: Tensor, scale: float, generators: Sequence[torch.Generator]
) -> NewWeights:
    """Random directions of norm 1 as decoder rows, and `scale` times them as encoder rows.

    Encoder rows of a model whose output is not its input have directions of their own.

    Args:
        module: The model.
        dead: (…, latent).
        scale: Norm of the encoder rows.
        generators: One on the CPU for each instance, or one for all.
    """
    wide = at_least_float32(module.decoder_vectors).dtype
    # Drawn in the same format whatever the weights have, so that a run in another precision gets the same directions.
    counts = dead.reshape(len(generators), -1).sum(-1).tolist()

    def drawn(width: int) -> Tensor:
        each = [
            torch.randn(count, width, generator=generator, dtype=torch.float32)
            for count, generator in zip(counts, generators, strict=True)
        ]
        return _unit(torch.cat(each).to(wide))

    written = drawn(module.decoder_vectors.shape[-1])
    return NewWeights(scale * (drawn(module.input_size) if module.needs_targets else written), written)


def weights_by_loss(
    module: ShallowAutoencoder,
    examples: tuple[Tensor, Tensor],
    dead: Tensor,
    scale: float,
    generators: Sequence[torch.Generator],
    with_replacement: bool = False,
) -> NewWeights:
    """Directions from the decoder's bias to inputs that are reconstructed badly.

    Of a model whose output is not its input, decoder rows point to what is missing of these inputs' targets, and
    encoder rows from the mean of all inputs to them.

    Args:
        module: In evaluation mode, gradients off.
        examples: Samples (n, *input_shape) to draw from, or (n, instances, *input_shape), each instance's own; and what
            is to be produced of them.
        dead: (…, latent).
        scale: Norm of the encoder rows, in units of the mean norm of the instance's living encoder rows.
        generators: One on the CPU for each instance, or one for all.
        with_replacement: As `draw_by_loss` has it.

    Source: Bricken et al. (2023), "Towards Monosemanticity", appendix "Neuron resampling".
    """
    parts = [
        (like_weights(module, x), module.as_target(like_weights(module, target)))
        for x, target in zip(*(part.split(_CHUNK) for part in examples), strict=True)
    ]
    vectors = torch.cat([at_least_float32(module.inputs(x)).cpu() for x, _ in parts], dim=-2)
    losses = torch.cat([_squared_errors(module, *part) for part in parts], dim=-1).cpu()
    count = dead.reshape(-1, dead.shape[-1]).shape[0]
    losses = losses.reshape(count, -1)
    each = list(generators) * (count if len(generators) == 1 else 1)
    wanted = dead.reshape(count, -1).sum(-1).tolist()
    places = [
        draw_by_loss(of, k, generator, with_replacement) if k else torch.empty(0, dtype=torch.int64)
        for of, k, generator in zip(losses, wanted, each, strict=True)
    ]
    if module.needs_targets:
        center = vectors.mean(-2, keepdim=True)
        missing = torch.cat([at_least_float32(_missing(module, *part)).cpu() for part in parts], dim=-2)
        written = _directions(missing, places, generators)
    else:
        center = at_least_float32(module.dictionary.b_dec).cpu().unsqueeze(-2)
    read = _directions(vectors - center, places, generators)
    lengths = scale * _living_norm(module, dead)[dead].cpu()
    return NewWeights(lengths[:, None] * read, written if module.needs_targets else read)


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


def _directions(offsets: Tensor, places: Sequence[Tensor], generators: Sequence[torch.Generator]) -> Tensor:
    """Directions (dead, width) of those of offsets (…, n, width) that were drawn for each instance."""
    chosen = [offsets[number] if offsets.ndim == 3 else offsets for number in range(len(places))]
    directions = _unit(torch.cat([own[rows] for own, rows in zip(chosen, places, strict=True)]))
    # An input that is the bias itself has no direction; any other will do.
    counts = [len(rows) for rows in places]
    parts = directions.split(counts) if len(generators) > 1 else [directions]
    for generator, rows in zip(generators, parts, strict=True):
        lost = rows.isnan().any(-1)
        rows[lost] = _unit(torch.randn(int(lost.sum()), rows.shape[-1], generator=generator).to(rows))
    return directions


def _unit(rows: Tensor) -> Tensor:
    return rows / rows.norm(dim=-1, keepdim=True)


def _squared_errors(module: ShallowAutoencoder, x: Tensor, target: Tensor) -> Tensor:
    """Squared error of each sample, mean over its pixels: x as `examples` to (n,), or (instances, n)."""
    differences = at_least_float32(module(x).x_hat) - at_least_float32(target)
    return differences.square().flatten(-len(module.output_shape)).mean(-1)


def _missing(module: ShallowAutoencoder, x: Tensor, target: Tensor) -> Tensor:
    """What is left of targets (…, n, output), in the units that the decoder writes."""
    return module.scaled_target(target) - module.scaled_target(module(x).x_hat)


def _living_norm(module: ShallowAutoencoder, dead: Tensor) -> Tensor:
    """Mean norm of the living latents' encoder rows in each instance, 1 where none lives, as (…, latent)."""
    norms = at_least_float32(module.encoder_vectors).norm(dim=-1)
    living = (~dead).sum(-1, keepdim=True)
    mean = norms.masked_fill(dead, 0.0).sum(-1, keepdim=True) / living
    return torch.where(living > 0, mean, torch.ones_like(mean)).expand_as(norms)

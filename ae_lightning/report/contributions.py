"""One reconstruction of a model, taken apart into what its latents add, and drawn."""

from __future__ import annotations

from typing import NamedTuple, TypeGuard

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ae_lightning.analysis.contributions import Contributions, contributions
from ae_lightning.models.base import Autoencoder
from ae_lightning.models.shallow import ShallowAutoencoder
from ae_lightning.models.toy_model import ToyModel
from ae_lightning.nn.precision import like_weights
from ae_lightning.plots.contributions import contribution_bars, contribution_images
from ae_lightning.run.codes import by_instance, encode, reconstruct

MOST_PARTS = 8
"""How many latents are listed singly if it is not said."""

_MOST_BARS = 64


class TakenApart(NamedTuple):
    """A sample, its reconstruction, and what that is the sum of, in the data's units; those of the first instance."""

    x: Tensor  #: (input,)
    x_hat: Tensor  #: the model's answer, after an output activation, (input,)
    parts: Contributions  #: what adds up to it, before the activation


def can_be_taken_apart(model: Autoencoder) -> TypeGuard[ShallowAutoencoder]:
    """Whether samples are to be sums over latents; a toy model's hidden dimensions stand for nothing singly."""
    return isinstance(model, ShallowAutoencoder) and not isinstance(model, ToyModel) and not model.needs_targets


def take_apart(model: ShallowAutoencoder, x: Tensor, most: int = MOST_PARTS) -> TakenApart:
    """Take the reconstruction of a sample apart.

    Args:
        model: The model.
        x: One sample, (*input_shape), or (instances, *input_shape).
        most: How many latents are listed singly.
    """
    z = encode(model, x[None])
    x_hat = reconstruct(model, x[None])[0].flatten()
    sample = model.flatten(x[None]).reshape(-1, model.input_size)[0]
    with torch.no_grad():
        like = like_weights(model, x[None])
        written = (model.writing(model.decoder_vectors, like), model.written_bias(like))
    vectors, bias = (by_instance(part, model)[0] for part in written)
    return TakenApart(sample, x_hat, contributions(z[0, 0], vectors, bias, most))


def is_told_by_parts(model: ShallowAutoencoder, x: Tensor, most: int = MOST_PARTS) -> bool:
    """Whether the latents that are listed singly add more to a reconstruction, by norm, than all others together."""
    parts = take_apart(model, x, most).parts
    return bool(parts.parts.float().sum(dim=0).norm() >= parts.rest.float().norm())


def contribution_figure(
    model: ShallowAutoencoder, x: Tensor, most: int, value_range: tuple[float, float] | None, title: str
) -> Figure:
    """Draw `take_apart` of a sample: bars of up to 64 numbers that get no output activation, otherwise images."""
    sample, x_hat, parts = take_apart(model, x, most)
    activated = getattr(model, "output_activation_name", "none") != "none"
    if len(model.input_shape) == 1 and len(sample) <= _MOST_BARS and not activated:
        return contribution_bars(parts, sample, title=title)
    return contribution_images(parts, sample, model.input_shape, value_range, x_hat if activated else None, title)

"""What of a shallow model lies in a plane or in space, where it can be drawn: directions, samples, reconstructions."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ae_lightning.analysis.view import spread_view, turned
from ae_lightning.data.base import AutoencoderDataModule
from ae_lightning.models.base import Autoencoder
from ae_lightning.models.shallow import ShallowAutoencoder
from ae_lightning.models.toy_model import ToyModel
from ae_lightning.run.codes import by_instance, first_batches, reconstruct

_DRAWN = (2, 3)


def can_be_drawn(model: Autoencoder) -> bool:
    """Whether a model has directions of two or three numbers: a toy model's hidden dimensions, another's input."""
    if isinstance(model, ToyModel):
        return model.latent_dim in _DRAWN
    return isinstance(model, ShallowAutoencoder) and model.input_size in _DRAWN and not model.needs_targets


class View:
    """From where vectors are looked at: those of two numbers lie in the picture, those of three are turned.

    Args:
        rotation: Rows that point to the right, up and towards the viewer, (3, 3); None leaves vectors as they are.
    """

    def __init__(self, rotation: Tensor | None = None) -> None:
        self._rotation = rotation

    @classmethod
    def of(cls, model: ShallowAutoencoder, data: AutoencoderDataModule) -> View:
        """The view in which the true directions lie furthest apart, or those of the model's first instance.

        Raises:
            ValueError: A direction is not finite.
        """
        known = None if isinstance(model, ToyModel) else true_directions(data)
        vectors = (list(directions(model).values())[-1] if known is None else known)[0]
        return cls() if vectors.shape[-1] == 2 else cls(spread_view(vectors))

    @property
    def is_in_space(self) -> bool:
        """Whether vectors have three numbers."""
        return self._rotation is not None

    def __call__(self, vectors: Tensor) -> Tensor:
        """Vectors (…, 2 or 3) as they are seen: to the right, up, and towards the viewer."""
        return vectors if self._rotation is None else vectors @ self._rotation.T.to(vectors)

    def turned(self, degrees: float) -> View:
        """The view of what has turned to the right, about the line that points up in the picture."""
        return self if self._rotation is None else View(turned(self._rotation, degrees))


def directions(model: ShallowAutoencoder) -> Mapping[str, Tensor]:
    """The rows of arrows of a model, (instances, n, 2 or 3) each: a toy model's features, or encoder and decoder.

    They are in the data's units, unless each sample is scaled by itself.
    """
    if isinstance(model, ToyModel):
        rows = {"features": model.feature_directions}
    else:
        rows = {"encoder": model.reading(model.encoder_vectors), "decoder": model.writing(model.decoder_vectors)}
    return {name: by_instance(vectors.detach(), model).cpu() for name, vectors in rows.items()}


def true_directions(data: AutoencoderDataModule) -> Tensor | None:
    """The known directions that samples are sums of, (1, features, 2 or 3); None where none can be drawn."""
    known = data.feature_directions
    return known[None].cpu() if known is not None and known.shape[-1] in _DRAWN else None


def hidden_states(model: ShallowAutoencoder, data: AutoencoderDataModule, n: int) -> Tensor:
    """Test samples to draw, as the model reads them: (batch, *input_shape), or (batch, instances, *input_shape).

    The first n of the first 10,000 that are not zero, each instance its own; zeros follow where there are fewer.
    """
    x = torch.cat(list(first_batches(data.test_set, data.eval_batch_size)))
    is_zero = (x.flatten(x.ndim - len(model.input_shape)) == 0).all(dim=-1)
    order = is_zero.to(torch.uint8).argsort(dim=0, stable=True)[:n]
    return x.take_along_dim(order.reshape(*order.shape, *(1 for _ in model.input_shape)), dim=0)


def reconstructed(model: ShallowAutoencoder, x: Tensor) -> tuple[Tensor, Tensor]:
    """Samples x as `hidden_states` gives them, and their reconstructions, (instances, n, 2 or 3) each."""
    x_hat = reconstruct(model, x).cpu().flatten(2)
    return model.flatten(x).cpu().float().expand(x_hat.shape), x_hat


def shown(rows: Mapping[str, Tensor], instances: int, view: View) -> dict[str, Tensor]:
    """The first so many instances of each, as they are seen."""
    return {name: view(vectors[:instances]) for name, vectors in rows.items()}

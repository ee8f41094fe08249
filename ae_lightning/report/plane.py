"""What of a shallow model lies in a plane, where it can be drawn: directions, hidden states and reconstructions."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ae_lightning.data.base import AutoencoderDataModule
from ae_lightning.models.base import Autoencoder
from ae_lightning.models.shallow import ShallowAutoencoder
from ae_lightning.models.toy_model import ToyModel
from ae_lightning.run.codes import by_instance, first_batches, reconstruct


def has_plane(model: Autoencoder) -> bool:
    """Whether a model has directions of two numbers: a toy model by its hidden dimensions, another by its input."""
    if isinstance(model, ToyModel):
        return model.latent_dim == 2
    return isinstance(model, ShallowAutoencoder) and model.input_size == 2


def directions(model: ShallowAutoencoder) -> Mapping[str, Tensor]:
    """The rows of arrows of a model, (instances, n, 2) each: a toy model's features, or encoder and decoder.

    They are in the data's units, unless each sample is scaled by itself.
    """
    if isinstance(model, ToyModel):
        rows = {"features": model.feature_directions}
    else:
        rows = {"encoder": model.reading(model.encoder_vectors), "decoder": model.writing(model.decoder_vectors)}
    return {name: by_instance(vectors.detach(), model).cpu() for name, vectors in rows.items()}


def true_directions(data: AutoencoderDataModule) -> Tensor | None:
    """The known directions that samples are sums of, (1, features, 2); None where there are none, or in no plane."""
    known = data.feature_directions
    return known[None].cpu() if known is not None and known.shape[-1] == 2 else None


def hidden_states(model: ShallowAutoencoder, data: AutoencoderDataModule, n: int) -> Tensor:
    """Test samples to draw, as the model reads them: (batch, *input_shape), or (batch, instances, *input_shape).

    The first n of the first 10,000 that are not zero, each instance its own; zeros follow where there are fewer.
    """
    x = torch.cat(list(first_batches(data.test_set, data.eval_batch_size)))
    is_zero = (x.flatten(x.ndim - len(model.input_shape)) == 0).all(dim=-1)
    order = is_zero.to(torch.uint8).argsort(dim=0, stable=True)[:n]
    return x.take_along_dim(order.reshape(*order.shape, *(1 for _ in model.input_shape)), dim=0)


def reconstructed(model: ShallowAutoencoder, x: Tensor) -> tuple[Tensor, Tensor]:
    """Samples x as `hidden_states` gives them, and their reconstructions, (instances, n, 2) each."""
    x_hat = reconstruct(model, x).cpu().flatten(2)
    return model.flatten(x).cpu().float().expand(x_hat.shape), x_hat


def shown(rows: Mapping[str, Tensor], instances: int) -> dict[str, Tensor]:
    """The first so many instances of each."""
    return {name: vectors[:instances] for name, vectors in rows.items()}

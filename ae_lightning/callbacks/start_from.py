"""A start from the weights of another run: of a dictionary that is trained on, as it is or with more latents."""

from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from ae_lightning.callbacks.decoder_norm import refuse_split_weights
from ae_lightning.errors import ConfigError
from ae_lightning.models.base import Autoencoder
from ae_lightning.models.checkpoint import load_autoencoder


class StartFrom(Callback):
    """Start from another run's trained model, of the same class; where there are more latents, those are the model's.

    The first latents are those of the run, with all of its state: weights, thresholds, coefficients that a controller
    has found. Further latents start as the model starts them. The optimizer and its schedule begin anew. It acts before
    the first step of a new run; a run that goes on from a checkpoint has its own weights.

    Args:
        run: Folder of the run, or a checkpoint.
    """

    def __init__(self, run: str) -> None:
        self.run = run

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse strategies that tear rows apart."""
        if stage == "fit":
            refuse_split_weights(trainer, "StartFrom")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Copy the weights into a new model."""
        if trainer.global_step == 0 and isinstance(pl_module, Autoencoder):
            start_from(pl_module, load_autoencoder(Path(self.run).expanduser()), self.run)


@torch.no_grad()
def start_from(model: Autoencoder, trained: Autoencoder, name: str) -> None:
    """Copy the state of a trained model into one of as many latents, or the first latents of one with more.

    Args:
        model: What is written.
        trained: What is read.
        name: What it is called, for a message.

    Raises:
        ConfigError: They are of other classes, or a shape differs by more than the number of latents.
    """
    given, own = trained.snapshot(), model.snapshot()
    if type(model) is not type(trained) or given.keys() != own.keys():
        raise ConfigError(
            f"StartFrom: {name} holds a {type(trained).__name__}, and the model is a {type(model).__name__}"
        )
    places = {part: _place(given[part], own[part], trained.latent_size, model.latent_size) for part in own}
    if wrong := next((part for part, place in places.items() if place is None), None):
        raise ConfigError(
            f"StartFrom: {wrong} of {name} has the shape {tuple(given[wrong].shape)}, and the model's "
            f"{tuple(own[wrong].shape)}; only latents may be added"
        )
    for part, place in places.items():
        own[part][place].copy_(given[part])


def _place(given: Tensor, own: Tensor, latents: int, more: int) -> tuple[slice, ...] | None:
    """Where a tensor belongs in a larger one: all of it but for an axis of latents; None where it does not fit."""
    if given.ndim != own.ndim or latents > more:
        return None
    sizes = list(zip(given.shape, own.shape, strict=True))
    if any(size != room and (size, room) != (latents, more) for size, room in sizes):
        return None
    return tuple(slice(size) for size, _ in sizes)

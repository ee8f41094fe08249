"""What can be resampled: variants with latents that are known to be dead."""

from lightning.pytorch import LightningModule

from ae_lightning.errors import ConfigError
from ae_lightning.models.shallow import ShallowAutoencoder
from ae_lightning.models.vqvae import VQVAE

Resampled = ShallowAutoencoder | VQVAE
"""Variants with latents, or codes, that can be given new weights one by one."""


def resampled(module: LightningModule) -> Resampled:
    """A model that `ResampleDeadLatents` can act on.

    Raises:
        ConfigError: It has neither a dictionary whose latents can be dead, nor a codebook.
    """
    name = type(module).__name__
    if isinstance(module, VQVAE):
        return module
    if not isinstance(module, ShallowAutoencoder):
        raise ConfigError(
            f"ResampleDeadLatents needs a variant with a dictionary, such as OvercompleteAutoencoder, or with a "
            f"codebook, but {name} has neither: take it out of trainer.callbacks"
        )
    if not module.fires_above_zero:
        raise ConfigError(
            f"ResampleDeadLatents needs a code that is zero where a latent does not fire, as with ReLU, but that of "
            f"{name} is not: set --model.activation relu, or take it out of trainer.callbacks"
        )
    return module

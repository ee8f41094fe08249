"""Autoencoders that mend corrupted samples."""

from typing import Any, Literal

import torch
from torch import Tensor

from ae_lightning.errors import ConfigError
from ae_lightning.models.networked import NetworkAutoencoder
from ae_lightning.nn.corruption import Blocks, Corruption, GaussianNoise, MaskingNoise, SaltAndPepper
from ae_lightning.training.batch import StepOutput
from ae_lightning.training.checks import require_not_negative
from ae_lightning.training.draws import draws_for, is_step

CorruptionName = Literal["gaussian", "masking", "salt_and_pepper", "blocks"]
"""`GaussianNoise`, `MaskingNoise`, `SaltAndPepper`, `Blocks`, as they are by default."""

_CORRUPTIONS: dict[str, type[Corruption]] = {
    "gaussian": GaussianNoise,
    "masking": MaskingNoise,
    "salt_and_pepper": SaltAndPepper,
    "blocks": Blocks,
}


class DenoisingAutoencoder(NetworkAutoencoder):
    """Reads corrupted samples and is to produce them as they were.

    In training the corruption is another one at each step; it follows the run's seed and the step, so that a run that
    is resumed is the same, bit for bit. In evaluation a sample is corrupted in the same way each time, for any batch
    size and any number of processes. `val/loss` is that of corrupted samples, and `val/clean` the reconstruction loss
    of samples as they are, which is no part of it. `encode`, `forward` and all that measures the model take samples as
    they are; `corrupted` gives what it was trained on.

    Source: Vincent et al. (2008), "Extracting and composing robust features with denoising autoencoders".

    Args:
        input_shape: Shape of one sample, such as (1, 28, 28). The command line takes it from the data.
        corruption: What is done to samples: gaussian, masking, salt_and_pepper or blocks, or one of the classes behind
            them with options of its own, such as `GaussianNoise`, or a subclass of `Corruption` that you wrote.
        noise_seed: Seed of the corruption; that in evaluation follows from it alone.
        **kwargs: Arguments of `NetworkAutoencoder`.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        corruption: CorruptionName | Corruption = "gaussian",
        noise_seed: int = 0,
        **kwargs: Any,
    ) -> None:
        require_not_negative(noise_seed=noise_seed)
        super().__init__(input_shape, **kwargs)
        if isinstance(corruption, str):
            corruption = _named(corruption)
        elif isinstance(self.hparams.get("corruption"), Corruption):  # checkpoints hold plain values
            self.hparams["corruption"] = corruption.settings
        corruption.check(self.input_shape)
        self.corruption = corruption
        self.noise_seed = noise_seed

    def corrupted(self, x: Tensor) -> Tensor:
        """Samples x (batch, *input_shape) as the model reads them now: another corruption at each step of training."""
        with torch.no_grad():
            return self.corruption(x, draws_for(self, x, self.noise_seed))

    def as_read(self, x: Tensor) -> Tensor:
        """Corrupted samples."""
        return self.corrupted(x)

    def loss(self, x: Tensor, target: Tensor | None = None) -> tuple[dict[str, Tensor], StepOutput]:
        """Loss of corrupted samples; in evaluation `clean`, that of samples as they are, beside it.

        Args:
            x: Samples as they are.
            target: What is to be produced; x itself if there is none.
        """
        self.check_data(x, target)
        target = self.as_target(x) if target is None else target
        losses, output = super().loss(self.corrupted(x), target)
        if not is_step(self):
            losses["clean"] = self.loss_terms(target, self(x))["reconstruction"]
        return losses, output


def _named(name: str) -> Corruption:
    """The corruption of a name, with the options that it has by default.

    Raises:
        ConfigError: There is none of that name.
    """
    if name not in _CORRUPTIONS:
        raise ConfigError(f"--model.corruption is {name!r}; it can be {', '.join(_CORRUPTIONS)}")
    return _CORRUPTIONS[name]()

"""Pictures in TensorBoard: reconstructions and weights at a few moments of the run."""

import math
from typing import Any

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from ae_lightning.callbacks.observing import observing
from ae_lightning.callbacks.schedule import Clock, Schedule
from ae_lightning.data.base import AutoencoderDataModule
from ae_lightning.models.base import Autoencoder
from ae_lightning.models.shallow import ShallowAutoencoder
from ae_lightning.nn.precision import like_weights
from ae_lightning.plots.reconstructions import reconstruction_tile
from ae_lightning.plots.tiles import as_images, tile, to_rgb_signed, viewable_shape
from ae_lightning.run.loggers import write_pictures
from ae_lightning.training.checks import check_shape


class TensorBoardImages(Callback):
    """Write `images/reconstructions` and, for shallow variants, `images/{encoder,decoder}_weights`.

    The reconstructions are those of the same first validation images each time: input, reconstruction and signed
    error; of a model that reads corrupted images these stand after the input. The weights are those of the same first
    latents each time, blue below zero and red above, each on its own scale. With instances the first one is shown.

    Args:
        schedule: When to write; TensorBoard keeps ten images of a kind, so by default ten, denser at the start.
        samples: Validation images to show.
        units: Latents to show.
    """

    def __init__(
        self,
        schedule: Schedule = Schedule(count=10, spacing="log"),  # noqa: B008 - it is frozen
        samples: int = 8,
        units: int = 16,
    ) -> None:
        self.clock = Clock(schedule)
        self.samples = samples
        self.units = units
        self._drawn_step = -1

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the first state."""
        if self.clock.start(trainer):
            self._draw(trainer, pl_module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Show the present state if it is time."""
        if self.clock.ticks(trainer):
            self._draw(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the last state, unless the schedule had it already."""
        if self.clock.schedule.last and self._drawn_step != trainer.global_step:
            self._draw(trainer, pl_module)

    def _draw(self, trainer: Trainer, module: LightningModule) -> None:
        self._drawn_step = trainer.global_step
        writers = [logger.experiment for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
        data = trainer.datamodule  # type: ignore[attr-defined]
        if not (trainer.is_global_zero and writers and isinstance(module, Autoencoder)):
            return
        pictures = self._weights(module) if isinstance(module, ShallowAutoencoder) else {}
        if isinstance(data, AutoencoderDataModule):
            pictures["images/reconstructions"] = self._reconstructions(trainer, module, data)
        for writer in writers:
            write_pictures(writer, pictures, trainer.global_step)
            # The writer's own thread would take a processor from the threads of the next steps' products.
            writer.flush()

    def _reconstructions(self, trainer: Trainer, module: Autoencoder, data: AutoencoderDataModule) -> np.ndarray:
        batch = data.val_set.take(self.samples)
        x, target = module.pair(batch)
        check_shape(x, module.input_shape, module.instances, type(module).__name__)  # this is the first look at them
        with observing(trainer, module):
            x = like_weights(module, x)
            read = module.as_read(x)
            x_hat = module(read).x_hat.float().cpu()
        if module.instances is not None:
            target, x_hat = target[0] if target.ndim == x_hat.ndim else target, x_hat[0]
        shape = viewable_shape(module.output_shape)
        bounded = len(batch) == 2 and all(map(math.isfinite, data.value_range))  # of targets no range is known
        return reconstruction_tile(
            target.cpu().reshape(-1, *shape),
            x_hat.reshape(-1, *shape),
            data.value_range if bounded else None,
            None if read is x else read.reshape(-1, *viewable_shape(module.input_shape)),
        )

    def _weights(self, module: ShallowAutoencoder) -> dict[str, np.ndarray]:
        sides = {
            "encoder": module.reading(module.encoder_vectors),
            "decoder": module.writing(module.decoder_vectors),
        }
        pictures = {}
        for side, vectors in sides.items():
            one = vectors if module.instances is None else vectors[0]
            shape = module.input_shape if side == "encoder" else module.output_shape
            images = as_images(one[: self.units], viewable_shape(shape))
            pictures[f"images/{side}_weights"] = tile(to_rgb_signed(images, shared=False))
        return pictures

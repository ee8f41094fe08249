"""Figures of the latent space at moments of a run, as files and in TensorBoard, and the codes for its projector."""

import contextlib
import difflib
import math
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from ae_lightning.analysis.coder import single
from ae_lightning.analysis.latent_space import encode_dataset
from ae_lightning.callbacks.observing import observing
from ae_lightning.callbacks.schedule import Clock, Schedule
from ae_lightning.data.base import AutoencoderDataModule
from ae_lightning.errors import ConfigError, Notice, UserError
from ae_lightning.files import write_bytes
from ae_lightning.gallery import Gallery
from ae_lightning.models.base import Autoencoder
from ae_lightning.plots.raster import as_png, render
from ae_lightning.run.loggers import write_pictures

_DPI = 110
# The projector reads a sprite of at most this many pixels a side.
_LARGEST_SPRITE = 8192


class Figures(Callback):
    """Draw what `Gallery` has for the model and its data: `figures/<name>_step_<n>.png` and TensorBoard's `figures/…`.

    The names are reconstructions, interpolation, arithmetic, samples, grid, scatter and layers; layers is left out
    where an encoder has none. A figure that cannot be made is warned of, and the others are drawn. When training
    ends, the codes of some test samples go to TensorBoard's projector, with their classes and, of images, pictures.

    The callback only looks: it draws no random numbers, and training goes on bit for bit as without it.

    Args:
        schedule: When to draw; by default after the last step. All figures together take some seconds.
        names: Figures to draw; null draws those that tell something of the model and its data, an empty list none.
        projector: Whether to write codes for the projector.
        projector_samples: Test samples in it, the first ones.
    """

    def __init__(
        self,
        schedule: Schedule = Schedule(first=False),  # noqa: B008 - it is frozen
        names: list[str] | None = None,
        projector: bool = True,
        projector_samples: int = 1000,
    ) -> None:
        if projector_samples < 1:
            raise ConfigError(f"Figures: projector_samples must be at least 1, not {projector_samples}")
        self.clock = Clock(schedule)
        self.names = names
        self.projector = projector
        self.projector_samples = projector_samples
        self._folder: Path | None = None
        self._writers: list[SummaryWriter] = []
        self._drawn_step = -1

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse names of figures that cannot be drawn for this model and these data."""
        if stage != "fit" or not self.names or not (gallery := _gallery(trainer, pl_module)):
            return
        known = list(gallery.drawable())
        for name in self.names:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                guess = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
                raise ConfigError(f"Figures: {type(pl_module).__name__} has no figure {name}; {guess}")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find out where to write, and draw the first state if it is asked for."""
        first = self.clock.start(trainer)
        folder = trainer.log_dir  # to be asked on all processes at once
        if trainer.fast_dev_run or not trainer.loggers:  # type: ignore[attr-defined]
            return
        if trainer.is_global_zero:
            self._folder = Path(folder) / "figures" if folder is not None else None
            self._writers = [log.experiment for log in trainer.loggers if isinstance(log, TensorBoardLogger)]
        if first:
            self._draw(trainer, pl_module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Draw if it is time."""
        if self.clock.ticks(trainer):
            self._draw(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the last state, unless the schedule had it already, and fill the projector."""
        if self.clock.schedule.last and self._drawn_step != trainer.global_step:
            self._draw(trainer, pl_module)
        if self.projector and self._writers and (gallery := _gallery(trainer, pl_module)):
            with observing(trainer, pl_module):
                codes, classes, pictures = _codes_for_projector(gallery, self.projector_samples)
            for writer in self._writers:
                _forget(writer)
                writer.add_embedding(codes, classes, pictures, trainer.global_step, "codes")

    def _draw(self, trainer: Trainer, module: LightningModule) -> None:
        self._drawn_step = trainer.global_step
        if (self._folder is None and not self._writers) or not (gallery := _gallery(trainer, module)):
            return
        with observing(trainer, module):
            figures = gallery.fitting() if self.names is None else gallery.drawable()
            for name, make in figures.items():
                if self.names is not None and name not in self.names:
                    continue
                try:
                    self._show(name, render(make(), _DPI), trainer.global_step)
                except (ValueError, UserError) as error:
                    said = f"the figure {name} was not drawn at step {trainer.global_step}: {error}"
                    warnings.warn(said, Notice, stacklevel=2)

    def _show(self, name: str, picture: np.ndarray, step: int) -> None:
        if self._folder is not None:
            write_bytes(self._folder / f"{name}_step_{step:08d}.png", as_png(picture, _DPI))
        for writer in self._writers:
            write_pictures(writer, {f"figures/{name}": picture}, step)


def _gallery(trainer: Trainer, module: LightningModule) -> Gallery | None:
    data = trainer.datamodule  # type: ignore[attr-defined]
    if not (isinstance(module, Autoencoder) and isinstance(data, AutoencoderDataModule)):
        return None
    return Gallery(module, data)


def _forget(writer: SummaryWriter) -> None:
    """Remove what an earlier fit into this folder gave the projector, which shows the latest codes only."""
    for folder in Path(writer.log_dir).glob("[0-9]*/codes"):
        shutil.rmtree(folder)
        with contextlib.suppress(OSError):  # something else lies beside it
            folder.parent.rmdir()


def _codes_for_projector(gallery: Gallery, n: int) -> tuple[Tensor, list[str] | None, Tensor | None]:
    """Of the first test samples codes (n, width), classes, and pictures (n, channels, side, side) within [0, 1]."""
    data = gallery.data
    x, known, *_ = gallery.test_set.take(n)
    y = data.classes_of(known)
    codes, _ = encode_dataset(single(gallery.model), zip(x.split(512), y.split(512), strict=True))
    classes = [str(label) for label in y.tolist()] if data.num_classes is not None else None
    return codes.flatten(1), classes, _sprites(x.cpu(), data.value_range)


def _sprites(x: Tensor, value_range: tuple[float, float]) -> Tensor | None:
    is_picture = x.ndim == 3 or (x.ndim == 4 and x.shape[1] in (1, 3))
    if not is_picture:
        return None
    images = x[:, None] if x.ndim == 3 else x
    height, width = images.shape[-2:]
    side = max(height, width)
    if math.ceil(len(images) ** 0.5) * side > _LARGEST_SPRITE:
        return None
    low, high = value_range if all(map(math.isfinite, value_range)) else (float(x.min()), float(x.max()))
    # TensorBoard lays them out on a square, which has room for square pictures only.
    square = torch.zeros(*images.shape[:2], side, side)
    square[..., :height, :width] = (images - low) / ((high - low) or 1.0)
    return square.clamp(0, 1)

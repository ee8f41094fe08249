"""`predict`: codes, reconstructions and errors of a whole set, written as they are computed."""

from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from torch import Tensor

from ae_lightning.errors import ConfigError
from ae_lightning.models.base import Autoencoder, AutoencoderOutput


class PredictionWriter(BasePredictionWriter):
    """Write `codes.npy`, `reconstructions.npy` and `errors.npy`, one row for each sample of the test set in its order.

    With instances the arrays carry a leading instance axis. An error is the squared error of one sample, mean over
    its pixels. The files are memory-mapped, so that the set may be larger than memory, and get their names when all
    is written.

    Args:
        folder: Where to write; files of an earlier prediction there are replaced.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(write_interval="batch")
        self.folder = folder
        self._arrays: dict[str, np.memmap[Any, Any]] = {}
        self._written = 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse several processes, each of which would write its own share over the others'."""
        if trainer.world_size > 1:
            raise ConfigError("predict writes from one process: set --trainer.devices 1 and --trainer.num_nodes 1")

    def write_on_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        prediction: AutoencoderOutput,
        batch_indices: Any,
        batch: tuple[Tensor, Tensor],
        *args: Any,
    ) -> None:
        """Write the rows of one batch."""
        assert isinstance(pl_module, Autoencoder)
        x = batch[0]
        axis = 0 if pl_module.instances is None else 1
        error = (prediction.x_hat - x).square().flatten(axis + 1).mean(-1)
        parts = {"codes": prediction.z, "reconstructions": prediction.x_hat, "errors": error}
        rows = slice(self._written, self._written + len(x))
        for name, part in parts.items():
            if name not in self._arrays:
                self._arrays[name] = self._create(name, part, axis, _samples(trainer))
            self._arrays[name][(slice(None),) * axis + (rows,)] = part.float().cpu().numpy()
        self._written += len(x)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the files their names, now that they are whole."""
        for name, array in self._arrays.items():
            array.flush()
            self._unfinished(name).replace(self.folder / f"{name}.npy")

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave no half-written files behind."""
        for name in self._arrays:
            self._unfinished(name).unlink(missing_ok=True)

    def _create(self, name: str, part: Tensor, axis: int, samples: int) -> "np.memmap[Any, Any]":
        self.folder.mkdir(parents=True, exist_ok=True)
        shape = (*part.shape[:axis], samples, *part.shape[axis + 1 :])
        return np.lib.format.open_memmap(self._unfinished(name), mode="w+", dtype=np.float32, shape=shape)

    def _unfinished(self, name: str) -> Path:
        return self.folder / f".{name}.npy.tmp"


def _samples(trainer: Trainer) -> int:
    """How many samples are going to be predicted: all, unless `--trainer.limit_predict_batches` is set."""
    data = trainer.datamodule  # type: ignore[attr-defined]
    return min(len(data.test_set), int(trainer.num_predict_batches[0]) * data.eval_batch_size)

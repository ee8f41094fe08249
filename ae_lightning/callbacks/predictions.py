"""`predict`: codes, reconstructions and errors of a whole set, written as they are computed."""

from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter

from ae_lightning.errors import ConfigError
from ae_lightning.models.base import Autoencoder, AutoencoderOutput
from ae_lightning.safetensors_writer import SafetensorsWriter
from ae_lightning.training.batch import Batch, labels_of
from ae_lightning.training.population import require_instance


class PredictionWriter(BasePredictionWriter):
    """Write one safetensors file, a row of each tensor for each sample of the test set, in its order.

    `codes` (n, …), `reconstructions` (n, *input_shape) and `errors` (n,), in float32, and `labels` (n, …) of data
    that have them. Codes of a `VQVAE` are those of `VQVAE.indices_of`, in int64. With instances all but the labels
    carry a leading instance axis. An error is the squared error of one sample, mean over its pixels. Batches go to the
    file as they come, so that the set may be larger than memory; the file gets its name when it is whole.

    Args:
        path: The file, which replaces that of an earlier prediction.
        checkpoint: Where the weights come from, for the file's metadata.
        instance: Which instance of a population to write alone, without an instance axis; None writes all.
    """

    def __init__(self, path: Path, checkpoint: str, instance: int | None = None) -> None:
        super().__init__(write_interval="batch")
        self.path = path
        self.checkpoint = checkpoint
        self.instance = instance
        self._writer: SafetensorsWriter | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse several processes, each of which would write its own share over the others', and no such instance."""
        if self.instance is not None:
            require_instance(pl_module, self.instance)
        if trainer.world_size > 1:
            raise ConfigError("predict writes from one process: set --trainer.devices 1 and --trainer.num_nodes 1")

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse to predict nothing, which would leave an earlier file to be taken for the answer."""
        if _samples(trainer) == 0:
            raise ConfigError("there is nothing to predict: --trainer.limit_predict_batches is 0")

    def write_on_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        prediction: AutoencoderOutput,
        batch_indices: Any,
        batch: Batch,
        *args: Any,
    ) -> None:
        """Write the rows of one batch."""
        assert isinstance(pl_module, Autoencoder)
        _, target = pl_module.pair(batch)
        y = labels_of(batch[1])
        axis = 0 if pl_module.instances is None else 1
        x_hat, z = prediction.x_hat.float(), prediction.z
        errors = (x_hat - target.float()).square().flatten(axis + 1).mean(-1)
        parts = {"codes": z.float() if z.is_floating_point() else z, "reconstructions": x_hat, "errors": errors}
        if axis == 1 and self.instance is not None:
            parts, axis = {name: part[self.instance] for name, part in parts.items()}, 0
        axes = dict.fromkeys(parts, axis)
        if y.numel():  # data without labels give an empty tensor
            parts["labels"] = y.float() if y.is_floating_point() else y
            axes["labels"] = 0
        if self._writer is None:
            metadata = {"class": type(pl_module).__name__, "checkpoint": self.checkpoint}
            self._writer = SafetensorsWriter(self.path, _samples(trainer), axes, metadata).__enter__()
        self._writer.append({name: part.cpu().numpy() for name, part in parts.items()})

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the file its name, now that it is whole."""
        if self._writer is not None:
            self._writer.__exit__(None, None, None)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave no half-written file behind."""
        if self._writer is not None:
            self._writer.__exit__(type(exception), exception, exception.__traceback__)


def _samples(trainer: Trainer) -> int:
    """How many samples are going to be predicted: all, unless `--trainer.limit_predict_batches` is set."""
    data = trainer.datamodule  # type: ignore[attr-defined]
    return min(len(data.test_set), int(trainer.num_predict_batches[0]) * data.eval_batch_size)

"""Steps of training and evaluation: the objective of a batch, and what of it is logged when."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ae_lightning.nn.precision import adding_device
from ae_lightning.nn.sparse_code import SparseCode
from ae_lightning.training.batch import AutoencoderOutput, Batch, StepOutput
from ae_lightning.training.checks import check_finite, check_shape, explained_batch_norm
from ae_lightning.training.epoch_means import EpochMeans
from ae_lightning.training.learning_rate import LearningRate
from ae_lightning.training.objective import Objective
from ae_lightning.training.rows import NumberedRows, log_training_row
from ae_lightning.training.trainer import trainer_of


class Steps(Objective, LearningRate, NumberedRows, ABC):
    """A module whose steps are those of every autoencoder, over the objective that `loss` computes."""

    input_shape: tuple[int, ...]
    #: Independent copies trained side by side; variants with instances overwrite it.
    instances: int | None = None
    images_seen: int
    _epoch_means: EpochMeans
    _sums_of_each: Tensor | None
    #: The step that what was gathered is for, until it is taken up; -1 where nothing is.
    _gathered_for: int

    @abstractmethod
    def pair(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """What is encoded, and what is to be produced."""

    @abstractmethod
    def measures(self) -> dict[str, Tensor]:
        """Scalars that tell of the model's state and are no loss."""

    @abstractmethod
    def observe(self, output: Any) -> None:
        """Gather what a training batch tells."""

    @abstractmethod
    def forget(self) -> None:
        """Drop what was gathered."""

    def per_instance(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The losses as they are logged: detached, and divided by the number of instances they are sums over."""
        if self.instances is None:
            return {name: value.detach() for name, value in losses.items()}
        return {name: value.detach() / self.instances for name, value in losses.items()}

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor | SparseCode]:
        """Objective of one batch, logged every `log_every_n_steps` optimizer steps, and the code for callbacks."""
        x, target = self.pair(batch)
        if len(x) == 1:
            with explained_batch_norm():
                losses, output = self.loss(x, target)
        else:
            losses, output = self.loss(x, target)
        # On another device it would wait for that at each step. A term cannot be broken without the total.
        if x.device.type == "cpu" and not math.isfinite(losses["loss"].item()):
            check_finite(losses, self.trainer, x)
        if batch_idx == 0:  # not so in the rest of an epoch that was interrupted
            self._epoch_means.reset()
        self._epoch_means.add(losses, len(x))
        self.images_seen += len(x) * self.trainer.world_size
        self._gather(output)
        if self.row_is_due(batch_idx):
            check_finite(self._epoch_means.sums, self.trainer)
            log_training_row(self, self.per_instance(losses), self.measures(), self.images_seen)
        return {"loss": losses["loss"], "z": output.z.detach()}

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor | SparseCode]:
        """Log the mean of the objective and its terms over the validation set; callbacks get the output."""
        output = self._evaluation_step("val", batch)
        if self.instances is not None:
            self._add_of_each(len(batch[0]), batch_idx)
        return output

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor | SparseCode]:
        """Log the mean of the objective and its terms over the test set; callbacks get the output."""
        return self._evaluation_step("test", batch)

    def predict_step(self, batch: Batch, batch_idx: int) -> AutoencoderOutput:
        """Reconstruction and code of one batch."""
        x, _ = self.pair(batch)
        check_shape(x, self.input_shape, self.instances, type(self).__name__)
        return self.predicted(x)

    def predicted(self, x: Tensor) -> AutoencoderOutput:
        """Reconstruction and code as `predict` writes them; a code of integers stays one."""
        return self(x)

    def on_train_epoch_end(self) -> None:
        """Log the epoch's means over all training images, taken while the weights were changing."""
        means = self.per_instance(self._epoch_means.compute())
        if means:
            self.log_dict({f"train/{name}_epoch": value for name, value in means.items()}, sync_dist=True)
            self.log_dict(self.row_number(), sync_dist=True)

    def on_validation_epoch_end(self) -> None:
        """Stop before weights that have become useless are saved."""
        if self.trainer.sanity_checking or self.trainer.state.fn != "fit":
            return
        self.log_dict(self.row_number(), sync_dist=True)
        loss = self.trainer.callback_metrics.get("val/loss")
        if loss is not None:
            check_finite({"val/loss": loss}, self.trainer)

    def validation_loss_of_each(self) -> Tensor | None:
        """Objective of each instance (instances,), its mean over the last validation, of all processes; on the CPU.

        None of a single model, and where a variant's terms do not tell instances apart. All processes have to ask.
        """
        if self._sums_of_each is None:
            return None
        sums = torch.as_tensor(self.trainer.strategy.reduce(self._sums_of_each.clone(), reduce_op="sum"))
        return (sums[:-1] / sums[-1]).cpu()

    def _add_of_each(self, samples: int, batch_idx: int) -> None:
        """Add the objectives of a validation batch to those of the batches before it, and count its samples."""
        if self.loss_of_each is None:
            self._sums_of_each = None
            return
        losses = self.loss_of_each.to(adding_device(self.loss_of_each.device), torch.float64)
        sums = torch.cat((losses, losses.new_ones(1))) * samples
        self._sums_of_each = sums if batch_idx == 0 or self._sums_of_each is None else self._sums_of_each + sums

    def _reduce(self, value: Tensor, operation: str) -> Tensor:
        """A tensor of all processes, by "sum", "mean" or "max"; of one process the tensor itself."""
        trainer = trainer_of(self)
        if trainer is None or trainer.world_size == 1:
            return value
        return torch.as_tensor(trainer.strategy.reduce(value, reduce_op=operation))

    def _gather(self, output: StepOutput) -> None:
        step = self.trainer.global_step  # which counts a step that was skipped, too
        if self._gathered_for not in (-1, step):
            self.forget()
        self._gathered_for = step
        self.observe(output)

    def _evaluation_step(self, stage: str, batch: Batch) -> dict[str, Tensor | SparseCode]:
        x, target = self.pair(batch)
        losses, output = self.loss(x, target)
        values = {f"{stage}/{name}": value for name, value in self.per_instance(losses).items()}
        loss = values.pop(f"{stage}/loss")
        how: dict[str, Any] = {"on_step": False, "on_epoch": True, "batch_size": len(x), "sync_dist": True}
        self.log(f"{stage}/loss", loss, prog_bar=True, **how)
        self.log_dict(values, **how)
        return output._asdict()

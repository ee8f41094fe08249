"""Weight snapshots: the encoder's and decoder's weights and biases at many moments of a run."""

from pathlib import Path
from typing import Any

import safetensors.torch
from lightning.pytorch import Callback, LightningModule, Trainer

from ae_lightning.callbacks.schedule import Clock, Schedule, moment_of
from ae_lightning.files import write_bytes, write_json
from ae_lightning.models.base import Autoencoder
from ae_lightning.run.snapshots import INDEX_NAME, read_index


class WeightSnapshots(Callback):
    """Write `snapshots/step_<n>.safetensors` in the run's folder on a schedule.

    A file holds what the model's `snapshot()` gives: for a shallow autoencoder `encoder_vectors` and
    `decoder_vectors`, both (…, latent, input), `encoder_bias` and `decoder_bias`; for others all parameters and
    buffers by name. `index.json` lists the snapshots with their step, epoch and images seen. Each file appears whole
    or not at all, so a run can be read while it goes on.

    Args:
        schedule: When to take them; by default before the first step and after the last.
    """

    def __init__(self, schedule: Schedule = Schedule()) -> None:  # noqa: B008 - it is frozen
        self.clock = Clock(schedule)
        self._folder = Path()
        self._index: list[dict[str, Any]] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the first state, or carry on after the last snapshot of an interrupted run."""
        first = self.clock.start(trainer)
        folder = trainer.log_dir
        if folder is None or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        self._folder = Path(folder) / "snapshots"
        self._index = [entry for entry in read_index(self._folder) if entry["step"] <= trainer.global_step]
        if trainer.is_global_zero:
            self._remove_later_than(trainer.global_step)
        if first:
            self._take(trainer, pl_module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Take a snapshot if one is due."""
        if self.clock.ticks(trainer):
            self._take(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the last state, unless the schedule had it already."""
        taken = self._index and self._index[-1]["step"] == trainer.global_step
        if self.clock.schedule.last and not taken:
            self._take(trainer, pl_module)

    def _remove_later_than(self, step: int) -> None:
        # A run that resumes from its last checkpoint walks again through the steps that followed it.
        later = [path for path in self._folder.glob("step_*.safetensors") if int(path.stem[5:]) > step]
        for path in later:
            path.unlink()
        if later:
            write_json(self._folder / INDEX_NAME, self._index)

    def _take(self, trainer: Trainer, module: LightningModule) -> None:
        if not (trainer.is_global_zero and self._folder != Path() and isinstance(module, Autoencoder)):
            return
        moment = moment_of(trainer, module)
        name = f"step_{moment['step']:08d}.safetensors"
        tensors = {key: value.detach().cpu().contiguous() for key, value in module.snapshot().items()}
        # Not `save_file`, which writes to a name of its own choosing: a killed run would leave that behind.
        write_bytes(self._folder / name, safetensors.torch.save(tensors))
        # A fit into the folder of an earlier one finds that one's first entry.
        self._index = [entry for entry in self._index if entry["step"] != moment["step"]]
        self._index.append({**moment, "file": name})
        write_json(self._folder / INDEX_NAME, self._index)

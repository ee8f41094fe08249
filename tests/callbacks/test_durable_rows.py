"""What was logged is written out before each checkpoint, wherever in an epoch that is."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from ae_lightning.callbacks.durable_rows import DurableRows
from ae_lightning.data.digits import DigitsDataModule
from ae_lightning.models.overcomplete import OvercompleteAutoencoder


class Files(TorchCheckpointIO):
    """Notes, at each checkpoint, the rows that the logger still holds and the last one that it was given."""

    def __init__(self, logger: Any) -> None:
        super().__init__()
        self.logger = logger
        self.written = 0
        self.seen: list[tuple[int, int | None, bool]] = []

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        step, metrics = self.logger.rows[-1]
        self.seen.append((len(self.logger.rows) - self.written, step, "train/loss_epoch" in metrics))


def test_nothing_is_held_when_a_checkpoint_is_written(
    make_trainer: Callable[..., Trainer], tmp_path: Path, recorder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = Files(recorder)
    monkeypatch.setattr(recorder, "save", lambda: setattr(files, "written", len(recorder.rows)))
    by_step = ModelCheckpoint(tmp_path, "{step}", save_top_k=-1, every_n_train_steps=4)
    by_epoch = ModelCheckpoint(tmp_path, "epoch", monitor="train/loss_epoch", save_on_train_epoch_end=True)
    trainer = make_trainer(
        DurableRows(), by_step, by_epoch, logger=recorder, plugins=[files], enable_checkpointing=True, max_epochs=1
    )
    trainer.fit(OvercompleteAutoencoder((1, 8, 8), 8), DigitsDataModule(batch_size=256))
    assert files.seen == [(0, 4, False), (0, 6, True)]
    epochs = recorder.series("train/loss_epoch")  # once, by the number of its last step
    assert list(epochs) == [6]
    assert epochs[6] == pytest.approx(float(trainer.callback_metrics["train/loss_epoch"]))

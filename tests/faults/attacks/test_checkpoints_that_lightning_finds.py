"""Checkpoints that nobody named: Lightning looks for them, and our own reader alone opens them."""

import shutil

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.strategies import SingleDeviceStrategy

from ae_lightning.cli.fit.checkpoint_guard import check_all_loading
from ae_lightning.data.digits import DigitsDataModule
from ae_lightning.errors import CheckpointError
from ae_lightning.models.checkpoint import load_autoencoder

SMALL = [
    *("--config", "overcomplete_digits", "--model.latent_dim", "8", "--trainer.max_epochs", "2"),
    *("--trainer.limit_train_batches", "2", "--snapshots.schedule.count", "2", "--images.schedule.count", "1"),
]
ON_EXCEPTION = "[{class_path: OnExceptionCheckpoint, init_args: {dirpath: ., filename: theirs}}]"


def test_what_a_callback_points_to_is_not_run(poisoned, tmp_path, refused):
    poisoned(tmp_path / "theirs.ckpt")
    refused(["--safe", "fit", *SMALL, "--trainer.callbacks", ON_EXCEPTION], "theirs.ckpt", "Python objects")


def test_what_a_restart_under_slurm_finds_is_not_run(poisoned, tmp_path, refused, monkeypatch):
    monkeypatch.setenv("SLURM_NTASKS", "1")
    monkeypatch.setenv("SLURM_JOB_NAME", "train")
    for name in ("SLURM_JOB_ID", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID"):
        monkeypatch.setenv(name, "0")
    poisoned(tmp_path / "hpc_ckpt_1.ckpt")
    options = [*SMALL, "--trainer.callbacks", "null"]
    refused(["--safe", "fit", *options, "--trainer.default_root_dir", tmp_path], "hpc_ckpt_1.ckpt", "Python objects")


@pytest.mark.parametrize("word", ["last", "best", "hpc"])
@pytest.mark.parametrize("command", ["fit", "test"])
def test_a_file_by_one_of_lightnings_words_is_that_file(word, command, poisoned, trained, tmp_path, ae):
    shutil.copy(trained / "checkpoints" / "last.ckpt", tmp_path / word)
    poisoned(tmp_path / "theirs.ckpt")
    outcome = ae("--safe", command, *SMALL, "--trainer.callbacks", ON_EXCEPTION, "--ckpt_path", word)
    assert outcome.code == 0, outcome.err


@pytest.mark.parametrize("command", ["fit", "test", "predict"])
def test_code_in_checkpoints_cannot_be_asked_for(command, poisoned, trained, tmp_path, refused):
    (tmp_path / "theirs.yaml").write_text("weights_only: false\n")
    poisoned(tmp_path / "theirs.ckpt")
    named = ["--config", "theirs.yaml", "--ckpt_path", trained / "checkpoints" / "last.ckpt"]
    refused(["--safe", command, *SMALL, *named], "--weights_only is false", "leave it out")
    refused([command, *SMALL, "--weights_only", "false", "--ckpt_path", "theirs.ckpt"], "--weights_only is false")


class Careless(SingleDeviceStrategy):
    """A strategy that opens checkpoints by itself and runs what is in them, as some of Lightning's do."""

    def load_checkpoint(self, checkpoint_path, weights_only=None):
        return torch.load(checkpoint_path, weights_only=False)


@pytest.mark.parametrize("strategy", ["auto", Careless(torch.device("cpu"))])
def test_a_strategy_gets_nothing_that_was_not_read_before(strategy, poisoned, trained, tmp_path):
    callbacks = [ModelCheckpoint(tmp_path)]
    options = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "max_epochs": 2}
    trainer = Trainer(accelerator="cpu", strategy=strategy, callbacks=callbacks, limit_train_batches=1, **options)
    check_all_loading(trainer)
    with pytest.raises(CheckpointError, match="Python objects"):
        trainer.fit(load_autoencoder(trained), DigitsDataModule(), ckpt_path=poisoned(tmp_path / "theirs.ckpt"))
    trainer.fit(load_autoencoder(trained), DigitsDataModule(), ckpt_path=trained / "checkpoints" / "last.ckpt")
    assert trainer.global_step == 3  # two of the run's first epoch, and one here

"""Training that cannot succeed: the message says what to change, and what had been made is kept."""

import numpy as np
import pytest
import torch

from ae_lightning.errors import Notice

DIGITS = [
    *("fit", "--config", "overcomplete_digits", "--model.latent_dim", "8", "--trainer.callbacks", "null"),
    *("--trainer.max_epochs", "1", "--snapshots.schedule.count", "2", "--images.schedule.count", "1"),
]
RUN = "lightning_logs/overcomplete_digits/version_0"


@pytest.mark.parametrize("optimizer", ["Adam", "SGD"])
def test_a_rate_at_which_the_loss_overflows(optimizer, ae, tmp_path):
    outcome = ae(*DIGITS, "--model.optimizer", optimizer, "--model.optimizer.lr", "1e30")
    assert outcome.code == 2
    message = outcome.err.strip().splitlines()[-1]
    assert "no longer finite at step" in message
    assert "lower --model.optimizer.lr (it is 1e+30)" in message
    assert "--trainer.gradient_clip_val 1" in message
    assert not list(tmp_path.rglob("*.tmp"))
    assert (tmp_path / RUN / "metrics.csv").is_file()


def test_a_rate_at_which_the_loss_only_grows(ae):
    with pytest.warns(Notice, match=r"times that of the untrained model: lower --model\.optimizer\.lr \(it is 30\)"):
        assert ae(*DIGITS, "--model.optimizer.lr", "30").code == 0


def test_a_rate_that_is_right_is_not_remarked_upon(ae, recwarn):
    assert ae(*DIGITS).code == 0
    assert not [warning for warning in recwarn if issubclass(warning.category, Notice)]


@pytest.mark.parametrize("resampled", [False, True])
def test_all_latents_dead(resampled, ae, monkeypatch, recwarn):
    from ae_lightning.models.overcomplete import OvercompleteAutoencoder

    setup = OvercompleteAutoencoder.on_fit_start

    def kill(self):
        with torch.no_grad():
            self.dictionary.b_enc.fill_(-100)
        setup(self)

    monkeypatch.setattr(OvercompleteAutoencoder, "on_fit_start", kill)
    rescue = (
        ["--trainer.callbacks", "[{class_path: ResampleDeadLatents, init_args: {every: 1000}}]"] if resampled else []
    )
    assert ae(*DIGITS, "--trainer.max_epochs", "2", *rescue).code == 0
    told = [str(warning.message) for warning in recwarn if "all latents are dead after" in str(warning.message)]
    assert len(told) == (not resampled)
    for line in told:
        assert "lower --model.optimizer.lr" in line
        assert "ResampleDeadLatents in --trainer.callbacks" in line


def test_batch_normalization_of_a_batch_of_one(refused):
    model = ["--model", "FullyConnectedAutoencoder", "--model.batch_norm", "true", "--data", "digits"]
    words = ["batch of a single sample", "--data.drop_last true", "--data.batch_size"]
    refused(["fit", *model, "--data.batch_size", "1"], *words)


def test_batch_normalization_of_a_last_batch_of_one(ae, tmp_path):
    model = ["--model", "FullyConnectedAutoencoder", "--model.batch_norm", "true", "--data", "digits"]
    outcome = ae("fit", *model, "--data.batch_size", "1292")
    assert outcome.code == 2
    assert "where only the last batch of an epoch is that small, leave it out with --data.drop_last true" in outcome.err
    assert (
        ae("fit", *model, "--data.batch_size", "1292", "--data.drop_last", "true", "--trainer.max_epochs", "1").code
        == 0
    )


def test_values_whose_squares_overflow(ae, tmp_path):
    np.save(tmp_path / "x.npy", np.full((40, 6), 1e30, np.float32))
    outcome = ae("fit", "--model", "OvercompleteAutoencoder", "--data", "ArraysDataModule", "--data.train", "x.npy")
    assert outcome.code == 2
    assert "before the first step" in outcome.err
    assert "values from 1e+30 to 1e+30" in outcome.err
    assert outcome.err.strip().endswith("--trainer.precision 64-true")
    assert not (tmp_path / "lightning_logs").exists()

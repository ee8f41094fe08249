"""Training on a store of activations by the command line: what is said, going on, and what can be made of the run."""

import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from ae_lightning.data.store import StoreWriter
from ae_lightning.data.window_reader import WindowReader
from ae_lightning.errors import Notice
from ae_lightning.models.checkpoint import load_autoencoder
from ae_lightning.models.topk_sae import TopKSAE
from ae_lightning.run.run import Run

ROWS, SHARD = 4000, 1000


@pytest.fixture(scope="session")
def store(made_once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """A store of 1,000 sequences of four rows, of 16 numbers near a plane of 3 dimensions; for reading only."""

    def fill(folder: Path) -> None:
        generator = torch.Generator().manual_seed(0)
        rows = torch.randn(ROWS, 3, generator=generator) @ torch.randn(3, 16, generator=generator)
        with StoreWriter(folder / "store", {}, {"h": 16}, "float16", SHARD, ("sample", "position", "y")) as writer:
            number = torch.arange(ROWS)
            writer.add({"h": rows}, number // 4, number % 4, number // 4 % 3)
            writer.finish(model={"name": "Net"}, data={"kind": "vectors"}, samples=ROWS // 4, num_classes=3)

    return made_once("store_of_activations", fill) / "store"


# Six steps an epoch, from windows, since all rows would take 160 kB.
OPTIONS = (
    *(
        "--seed_everything",
        "3",
        "--model",
        "TopKSAE",
        "--model.latent_dim",
        "24",
        "--model.k",
        "3",
        "--trainer.max_epochs",
        "3",
    ),
    *("--data", "ActivationsDataModule", "--data.batch_size", "600", "--data.memory", "100kB", "--data.window", "1024"),
    *("--snapshots.schedule.count", "2", "--images.schedule.count", "1", "--trainer.log_every_n_steps", "2"),
)


@pytest.fixture(scope="session")
def uninterrupted(fit_once: Callable[..., Path], store: Path) -> Path:
    """The run of three epochs; for reading only."""
    return fit_once(*OPTIONS, "--data.root", str(store))


def the_run(root: Path) -> Path:
    return next(root.glob("lightning_logs/*/version_0"))


def test_it_says_what_is_read(ae: Callable[..., Any], store: Path) -> None:
    said = r"^Activations of h in Net: read in windows of 1,024 rows, which takes 80\.0 KiB of memory\.$"
    with pytest.warns(Notice, match=said):
        assert ae("fit", *OPTIONS, "--data.root", store, "--trainer.max_epochs", "1").code == 0


@pytest.mark.parametrize("step", [2, 8])
def test_a_run_that_was_interrupted_goes_on_bit_for_bit_and_with_the_same_batches_only(
    ae: Callable[..., Any],
    store: Path,
    uninterrupted: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: int,
) -> None:
    train = TopKSAE.training_step

    def interrupted(self: TopKSAE, batch: Any, batch_idx: int) -> Any:
        if self.trainer.global_step == step:
            signal.raise_signal(signal.SIGINT)
        return train(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(TopKSAE, "training_step", interrupted)
        assert ae("fit", *OPTIONS, "--data.root", store).code == 130
    last = the_run(tmp_path) / "checkpoints" / "last.ckpt"
    assert torch.load(last, weights_only=True)["global_step"] < 18
    code, _, err = ae("fit", "--ckpt_path", last, "--data.batch_size", "300")
    assert code == 2
    assert "batches of 600 rows over all processes, and this run has 300: choose" in " ".join(err.split())
    assert ae("fit", "--ckpt_path", last, "--data.batch_size", "600").code == 0
    runs = (last.parents[1], uninterrupted)
    ends = [torch.load(run / "checkpoints" / "last.ckpt", weights_only=True) for run in runs]
    assert ends[0]["global_step"] == ends[1]["global_step"] == 18
    assert all(map(torch.equal, ends[0]["state_dict"].values(), ends[1]["state_dict"].values()))


def test_a_shard_that_is_gone_while_training_ends_it_with_a_sentence(
    ae: Callable[..., Any], store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = shutil.copytree(store, tmp_path / "mine")
    start = WindowReader.__enter__
    monkeypatch.setattr(
        WindowReader, "__enter__", lambda self: ((mine / "rows-00002.safetensors").unlink(), start(self))[1]
    )
    code, _, err = ae("fit", *OPTIONS, "--data.root", mine)
    assert code == 2
    assert re.search(r"rows-00002\.safetensors is missing; run .* again", " ".join(err.split()))


def test_what_can_be_made_of_a_run(ae: Callable[..., Any], uninterrupted: Path, tmp_path: Path) -> None:
    run = shutil.copytree(uninterrupted, tmp_path / "of" / "version_0")
    assert ae("evaluate", run).code == 0
    assert ae("predict", "--ckpt_path", run / "checkpoints" / "last.ckpt").code == 0
    found = load_file(run / "predictions" / "last.safetensors")
    data = Run.load(run).data
    data.setup("test")
    x, y = data.test_set.take(400)
    assert len(found["labels"]) == 400  # of 100 sequences
    assert np.array_equal(found["labels"], y.numpy())
    with torch.no_grad():
        x_hat = load_autoencoder(run / "checkpoints" / "last.ckpt")(x).x_hat
    np.testing.assert_allclose(found["reconstructions"], x_hat.numpy(), rtol=1e-4, atol=1e-5)
    assert ae("report", run).code == 0
    assert ae("latent", run).code == 0

"""Codebooks on two processes: codes move by what both chose, and are revived on both alike."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from torch import Tensor

from ae_lightning.callbacks.resampling import ResampleDeadLatents
from ae_lightning.data.gaussian import GaussianDataModule
from ae_lightning.models.vqvae import VQVAE
from ae_lightning.nn.networks import MLPNetwork

pytestmark = pytest.mark.slow

BATCH, STEPS = 24, 8
FITS: dict[str, dict[str, Any]] = {
    "ema": {},
    "gradient": {"codebook_update": "gradient"},
    "product": {"product": True, "depth": 2},
}

TRAIN = """
import sys
import torch
from test_codebook_in_two_processes import FITS, trained
for name in FITS:
    for batches in (1, 2):
        model, rank = trained(name, 2, batches)
        torch.save(model.state_dict(), f"{sys.argv[1]}/{name}_{batches}_{rank}.pt")
"""


class Rank(Callback):
    def on_train_start(self, trainer, pl_module):
        self.rank = trainer.global_rank


def descent(parameters):
    return torch.optim.SGD(parameters, lr=0.1)


def trained(name: str, processes: int, batches: int = 1) -> tuple[VQVAE, int]:
    """A model after eight steps of 24 samples, each in so many batches of each process; revived after the fourth."""
    from lightning.pytorch import Trainer

    torch.manual_seed(3)
    network = MLPNetwork((12,))
    settings = {"latent_dim": 8, "codes": 10, "groups": 2, "output_activation": "none", "optimizer": descent}
    model = VQVAE((6,), network=network, **settings, **FITS[name])
    data = GaussianDataModule(
        dim=6, rank=3, num_train=96, num_val=12, num_test=12, batch_size=BATCH // processes // batches, drop_last=True
    )
    rank = Rank()
    trainer = Trainer(
        accelerator="cpu",
        devices=processes,
        strategy="ddp" if processes > 1 else "auto",
        max_epochs=2,
        accumulate_grad_batches=batches,
        callbacks=[rank, ResampleDeadLatents(4, 4, "simple", stop_after=4)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
    )
    torch.manual_seed(0)
    trainer.fit(model, data)
    assert trainer.global_step == STEPS
    return model, rank.rank


@pytest.fixture(scope="module")
def ends(run_twice: Callable[[str, list[Path]], Path]) -> dict[tuple[str, int, int], dict[str, Tensor]]:
    """What both processes of one launch ended with, by fit, batches of a step, and process."""
    folder = run_twice(TRAIN, [Path(__file__).parent])
    return {
        (name, batches, rank): torch.load(folder / f"{name}_{batches}_{rank}.pt", weights_only=True)
        for name in FITS
        for batches in (1, 2)
        for rank in range(2)
    }


@pytest.mark.parametrize("batches", [1, 2])
@pytest.mark.parametrize("name", FITS)
def test_two_processes_are_one_with_the_whole_batch(ends, name, batches, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, second = ends[name, batches, 0], ends[name, batches, 1]
    whole = trained(name, 1)[0].state_dict()
    assert first.keys() == second.keys() == whole.keys()
    assert int(whole["codebook.silence.seen"]) == STEPS
    for part, value in whole.items():
        assert torch.equal(first[part], second[part]), part
        torch.testing.assert_close(first[part], value, rtol=1e-4, atol=2e-5, msg=part)

"""A population of mixed settings on two processes: each instance is what it is alone on two processes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ae_lightning.callbacks.run_checkpoints import RunCheckpoints
from ae_lightning.data.gaussian import GaussianDataModule
from ae_lightning.models import BatchTopKSAE, JumpReLUSAE, StandardSAE, TopKSAE

pytestmark = pytest.mark.slow

KINDS: dict[str, tuple[Any, dict[str, list[Any]]]] = {
    "topk": (TopKSAE, {"k": [1, 2, 4], "seed": [3, 0, 1]}),
    "batch_topk": (BatchTopKSAE, {"k": [1.0, 2.5, 4.0], "seed": [3, 0, 1]}),
    "jumprelu": (JumpReLUSAE, {"penalty_weight": [0.1, 0.3, 1.0], "threshold": [0.1, 0.3, 0.2], "seed": [3, 0, 1]}),
    "standard": (StandardSAE, {"penalty_weight": [0.01, 0.1, 1.0], "seed": [3, 0, 1]}),
}

TRAIN = """
import sys
import torch
from test_populations_in_two_processes import KINDS, trained
for name in KINDS:
    for number in (None, 0, 1, 2):
        model, rank = trained(name, number, sys.argv[1])
        torch.save(model.state_dict(), f"{sys.argv[1]}/{name}_{number}_{rank}.pt")
"""


def trained(name: str, number: int | None, folder: str) -> tuple[Any, int]:
    """The population, or the single model of one of its instances, after three epochs in float64 on two processes."""
    from lightning.pytorch import Trainer

    kind, lists = KINDS[name]
    settings = lists if number is None else {option: values[number] for option, values in lists.items()}
    model = kind((6,), 16, optimizer=lambda p: torch.optim.Adam(p, lr=0.2), **settings)
    best = RunCheckpoints(f"{folder}/{name}_{number}", "best", monitor="val/loss", enable_version_counter=False)
    trainer = Trainer(
        accelerator="cpu",
        devices=2,
        strategy="ddp",
        precision="64-true",
        max_epochs=3,
        gradient_clip_val=0.5,
        callbacks=[best],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    torch.manual_seed(0)
    # Of 27 validation samples one process has more than the other.
    trainer.fit(model, GaussianDataModule(dim=6, rank=3, num_train=96, num_val=27, num_test=6, batch_size=12))
    return model, trainer.global_rank


@pytest.fixture(scope="module")
def ends(run_twice: Callable[[str, list[Path]], Path]) -> Path:
    """A folder with what each process of one launch ended with, and the best checkpoints."""
    return run_twice(TRAIN, [Path(__file__).parent])


@pytest.mark.parametrize("name", KINDS)
def test_an_instance_is_what_it_is_alone(name: str, ends: Path):
    def loaded(file: str) -> Any:
        return torch.load(ends / file, weights_only=True)

    for rank in (0, 1):
        population = loaded(f"{name}_None_{rank}.pt")
        for number in range(3):
            assert_instance(population, number, loaded(f"{name}_{number}_{rank}.pt"))
    best = loaded(f"{name}_None/best.ckpt")["state_dict"]
    for number in range(3):
        assert_instance(best, number, loaded(f"{name}_{number}/best.ckpt")["state_dict"])


def assert_instance(population: dict[str, Any], number: int, alone: dict[str, Any]) -> None:
    for key, value in alone.items():
        own = population[key] if population[key].ndim == value.ndim else population[key][number]
        if key != "silence.seen":  # of a best checkpoint it is the newest
            torch.testing.assert_close(own, value, rtol=1e-8, atol=1e-8, msg=f"{key} of instance {number}")

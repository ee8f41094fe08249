"""Two processes train on the global batches that one trains on, and each goes on from the other's checkpoint."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ae_lightning.data.store import StoreWriter

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """A fit of two epochs of six global batches of 600 rows, from windows."""
    folder = tmp_path_factory.mktemp("store") / "store"
    with StoreWriter(folder, {}, {"h": 16}) as writer:
        number = torch.arange(4000)
        writer.add({"h": torch.randn(4000, 16)}, number // 4, number % 4)
        writer.finish(model={}, data={}, samples=1000)
    return (
        *("--seed_everything", "1", "--model", "StandardSAE", "--model.latent_dim", "24", "--trainer.max_epochs", "2"),
        *("--data", "ActivationsDataModule", "--data.root", str(folder), "--data.window", "1024"),
        *("--data.memory", "150kB", "--snapshots.schedule.count", "2", "--images.schedule.count", "1"),
    )


def test_two_processes_see_the_batches_of_one_and_go_on_with_its_checkpoint(
    fit: Callable[..., Any], launch: Callable[..., Any], options: tuple[str, ...], tmp_path: Path
) -> None:
    whole = fit(*options, "--data.batch_size", "600", processes=1)
    halves = fit(*options, "--data.batch_size", "300")
    batches = [torch.cat(parts) for parts in zip(*halves.seen, strict=True)]
    assert len(batches) == 12
    assert all(map(torch.equal, batches, whole.seen[0]))

    stopped = fit(*options, "--data.batch_size", "600", "--trainer.max_steps", "8", processes=1)
    last = stopped.run.folder / "checkpoints" / "last.ckpt"
    done = launch(
        tmp_path,
        *("--ckpt_path", str(last), "--data.batch_size", "300", "--trainer.max_steps", "-1"),
        callbacks=(f"{{class_path: witness.Witness, init_args: {{folder: '{tmp_path}'}}}}",),
    )
    assert done.returncode == 0, done.stderr
    ranks = [torch.load(tmp_path / f"rank_{rank}.pt", weights_only=True)["seen"] for rank in range(2)]
    batches = [torch.cat(parts) for parts in zip(*ranks, strict=True)]
    assert len(batches) == 4
    assert all(map(torch.equal, batches, whole.seen[0][8:]))

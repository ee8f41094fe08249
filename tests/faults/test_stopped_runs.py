"""Processes that are asked to stop by a signal: the run is saved, and the command that they print goes on with it."""

import multiprocessing
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from ae_lightning.cli.main import main
from ae_lightning.models.overcomplete import OvercompleteAutoencoder

# 1,293 images in batches of 256: six steps an epoch, 18 in all.
RUN = [
    *("--config", "overcomplete_digits", "--model.latent_dim", "16", "--trainer.callbacks", "null"),
    *("--trainer.max_epochs", "3", "--data.batch_size", "256", "--images.schedule.count", "1"),
    *("--snapshots.schedule.every", "1", "--snapshots.schedule.unit", "steps"),
]
STEP = 9


@pytest.fixture(scope="module")
def whole(fit_once: Callable[..., Path]) -> Path:
    """Folder of the run that nobody stops; for reading only."""
    return fit_once(*RUN)


class Waiting:
    """A run in a process of its own, which stands still amid a step until it is let on."""

    def __init__(self, folder: Path) -> None:
        self.printed = folder / "printed.txt"
        self._here, there = os.pipe()
        here, self._there = os.pipe()

        def work() -> None:
            sys.stdout = sys.stderr = self.printed.open("w", buffering=1)
            step = OvercompleteAutoencoder.training_step

            def waits(model: OvercompleteAutoencoder, batch: Any, index: int) -> Any:
                if model.trainer.global_step == STEP:
                    os.write(there, b"!")
                    os.read(here, 1)
                return step(model, batch, index)

            OvercompleteAutoencoder.training_step = waits  # type: ignore[method-assign]
            os._exit(main(["fit", *RUN, "--trainer.default_root_dir", str(folder)]))

        # Forked, so that the libraries need not be imported again.
        self.process: BaseProcess = multiprocessing.get_context("fork").Process(target=work)
        self.process.start()
        os.read(self._here, 1)

    def send(self, number: int) -> None:
        """Send it a signal."""
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def end(self) -> int | None:
        """Let it on, and wait for its exit code."""
        os.write(self._there, b"!")
        self.process.join()
        return self.process.exitcode


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[Waiting]:
    """A run that waits amid its tenth step."""
    run = Waiting(tmp_path)
    yield run
    run.process.kill()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"])
def test_a_signal_amid_a_step_loses_nothing(
    number: int, code: int, waiting: Waiting, whole: Path, ae: Callable[..., Any]
) -> None:
    waiting.send(number)
    assert waiting.end() == code
    printed = waiting.printed.read_text()
    assert "Traceback" not in printed
    assert f"interrupted at step {STEP + 1}; saved. Go on with:" in printed
    (command,) = [line.strip() for line in printed.splitlines() if line.strip().startswith("ae-lightning fit")]
    last = Path(command.split()[-1])
    assert torch.load(last, weights_only=True)["global_step"] == STEP + 1

    assert ae(*shlex.split(command)[1:]).code == 0
    run = last.parents[1]
    for name in ("last.ckpt", "best.ckpt"):
        ended, wanted = (torch.load(folder / "checkpoints" / name, weights_only=True) for folder in (run, whole))
        assert ended["global_step"] == wanted["global_step"]
        for key, weight in wanted["state_dict"].items():
            assert torch.equal(ended["state_dict"][key], weight), (name, key)
    snapshots = {path.name for path in (run / "snapshots").iterdir()}
    assert snapshots == {path.name for path in (whole / "snapshots").iterdir()}
    for name in snapshots - {"index.json"}:
        taken, wanted = (safetensors.torch.load_file(folder / "snapshots" / name) for folder in (run, whole))
        assert all(torch.equal(taken[key], value) for key, value in wanted.items()), name

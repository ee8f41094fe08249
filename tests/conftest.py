import hashlib
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import torch
from filelock import FileLock
from lightning.pytorch import Trainer
from lightning.pytorch.loggers.logger import Logger

from ae_lightning.data.digits import DigitsDataModule

# The same examples at each run and on each machine, however long they take there.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, database=None, max_examples=60)
hypothesis.settings.load_profile("repeatable")


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    # What is computed here is tiny; threads that wait for each other make it ten times as slow on a busy machine.
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"  # without it the first fit under DDP gives all later ones every core


@pytest.fixture(scope="session", autouse=True)
def _cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as environment:  # names of options are kept there, for these sources only
        environment.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _processes_part() -> Iterator[None]:
    # A fit with ddp leaves its process group, in which a later fit, or one in a forked process, would wait for others.
    yield
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@pytest.fixture(autouse=True)
def _ctrl_c_is_heard() -> Iterator[None]:
    # Lightning goes on ignoring Ctrl-C after the first one, and a process that was started under nohup ignores it too.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


CHROMIUM = "AE_LIGHTNING_CHROMIUM"
"""Environment variable: path of the browser, or `required`, which looks for it and fails where there is none."""


def chromium() -> str:
    """Path of the browser; skips, or fails where it is required, if there is none."""
    wanted = os.environ.get(CHROMIUM, "")
    found = wanted if wanted not in ("", "required") else shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None and wanted == "required":
        pytest.fail(f"There is no Chromium, and {CHROMIUM} says that it is required.")
    if found is None:
        pytest.skip(f"There is no Chromium on the path: install it, or name it with {CHROMIUM}.")
    return found


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A real Chromium; one for all tests of a process, since Playwright cannot be started twice in one."""
    path = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """Answer the folder of a name, filled by the first process of the session that asks for it; for reading only."""
    own = tmp_path_factory.getbasetemp()
    shared = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "shared"
    shared.mkdir(exist_ok=True)

    def make(name: str, fill: Callable[[Path], object]) -> Path:
        folder, finished = shared / name, shared / f"{name}.finished"
        with FileLock(shared / f"{name}.lock"):
            if not finished.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of a process that failed
                folder.mkdir()
                fill(folder)
                finished.touch()
        return folder

    return make


@pytest.fixture(scope="session")
def fit_once(made_once: Callable[[str, Callable[[Path], object]], Path]) -> Callable[..., Path]:
    """Train with these options of `ae-lightning fit`, and answer the run's folder, which is for reading only."""

    def fit(*options: str) -> Path:
        def train(root: Path) -> None:
            from ae_lightning.cli.main import main

            with pytest.MonkeyPatch.context() as environment:  # puts back what Lightning writes its seed into
                environment.setenv("PL_GLOBAL_SEED", "0")
                assert main(["fit", *options, "--trainer.default_root_dir", str(root)]) == 0

        name = "fit_" + hashlib.sha256(repr(options).encode()).hexdigest()[:16]
        return next(made_once(name, train).glob("lightning_logs/*/version_0"))

    return fit


@pytest.fixture(scope="session")
def population(fit_once: Callable[..., Path]) -> Path:
    """The run of three TopK autoencoders on digits, of two sparsities, one of them from two seeds; for reading only."""
    return fit_once(
        *("--model", "TopKSAE", "--model.latent_dim", "24", "--model.k", "[3,6,6]", "--model.seed", "[0,0,1]"),
        *("--data", "digits", "--trainer.max_epochs", "1", "--trainer.limit_train_batches", "3"),
        *("--snapshots.schedule.count", "2", "--images.schedule.count", "1"),
    )


@pytest.fixture
def mnist_root() -> Path:
    root = os.environ.get("AE_LIGHTNING_DATA")
    if not root or not (Path(root) / "MNIST" / "raw").is_dir():
        pytest.skip("The real MNIST is not here: name the folder that holds MNIST/raw with AE_LIGHTNING_DATA.")
    return Path(root)


@pytest.fixture
def digits() -> DigitsDataModule:
    """Digits in six training batches: 5 × 256 + 13 images."""
    data = DigitsDataModule(batch_size=256)
    data.setup()
    return data


@pytest.fixture
def make_trainer(tmp_path: Path) -> Callable[..., Trainer]:
    """Build a trainer on the CPU that prints nothing and writes nothing unless asked to."""

    def make(*callbacks: Any, **options: Any) -> Trainer:
        quiet = {
            "accelerator": "cpu",
            "max_epochs": 1,
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "num_sanity_val_steps": 0,
            "log_every_n_steps": 1,
            "default_root_dir": tmp_path,
        }
        return Trainer(**{**quiet, **options}, callbacks=list(callbacks))

    return make


class RecordingLogger(Logger):
    """Keeps all that is logged, as (step, metrics), in the order it arrived."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[int | None, dict[str, float]]] = []

    name = "recorded"
    version = "0"

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.rows.append((step, dict(metrics)))

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        pass

    def series(self, name: str) -> dict[int | None, float]:
        """Values of a metric by step; logging it twice for one step is a fault."""
        found = [(step, metrics[name]) for step, metrics in self.rows if name in metrics]
        assert len(dict(found)) == len(found), f"{name} was logged twice for the same step: {found}"
        return dict(found)


@pytest.fixture
def recorder() -> RecordingLogger:
    return RecordingLogger()

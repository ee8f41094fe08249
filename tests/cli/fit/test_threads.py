"""The number of threads: chosen by the size of a step, kept by the run, shared by processes, and a user's to set."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn

from ae_lightning.cli.fit.threads import SHARE, SMALL_STEP, step_flops, threads_for
from ae_lightning.cli.sweep.runs import _environment
from ae_lightning.models.convolutional import ConvAutoencoder
from ae_lightning.models.fully_connected import FullyConnectedAutoencoder
from ae_lightning.models.overcomplete import OvercompleteAutoencoder
from ae_lightning.models.toy_model import ToyModel

RUN = Path("lightning_logs/overcomplete_digits/version_0")
LAST = RUN / "checkpoints" / "last.ckpt"


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A machine of four cores, on which nobody has said how many threads are to be used."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    torch.set_num_threads(4)
    yield 4
    torch.set_num_threads(1)


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of threads in force at each first step of a fit."""
    seen: list[int] = []
    step = OvercompleteAutoencoder.training_step

    def notes(model: OvercompleteAutoencoder, batch: Any, index: int) -> Any:
        seen.append(torch.get_num_threads())
        return step(model, batch, index)

    monkeypatch.setattr(OvercompleteAutoencoder, "training_step", notes)
    return seen


def recorded(run: Path = RUN) -> int | None:
    return yaml.safe_load((run / "config.yaml").read_text())["threads"]


def test_the_products_of_a_step_are_counted() -> None:
    forward = 2 * 64 * 784 * 1024 * 2  # two products, a multiplication and an addition each
    assert step_flops(OvercompleteAutoencoder((1, 28, 28), 1024), 64) == 3 * forward
    assert step_flops(ToyModel((5,), 2, instances=8), 1024) == 3 * 2 * 1024 * 8 * 2 * 5 * 2
    conv = ConvAutoencoder((1, 28, 28))
    sizes = sum(part.weight.numel() for part in conv.modules() if isinstance(part, nn.Conv2d | nn.ConvTranspose2d))
    assert step_flops(conv, 1) > 3 * 2 * 20 * sizes, "each weight is used at many places"


def test_counting_leaves_no_trace() -> None:
    model = FullyConnectedAutoencoder((1, 8, 8), 4, (16,), batch_norm=True, dropout=0.5)
    state, random = {name: value.clone() for name, value in model.state_dict().items()}, torch.get_rng_state()
    step_flops(model, 8)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert all(part.training for part in model.modules())


@pytest.mark.parametrize(
    ("latents", "batch", "processes", "threads"), [(64, 64, 1, 1), (2048, 512, 1, 4), (2048, 512, 3, 1)]
)
def test_a_small_step_gets_one_thread_and_processes_share_the_cores(
    latents: int, batch: int, processes: int, threads: int, cores: int
) -> None:
    model = OvercompleteAutoencoder((1, 8, 8), latents)
    assert (step_flops(model, batch) < SMALL_STEP) == (latents == 64)
    assert threads_for(model, batch, processes) == threads


def test_a_run_keeps_its_number_and_the_user_s_counts_more(
    cores: int, used: list[int], ae: Callable[..., Any], quick: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(*options: Any) -> tuple[set[int], int | None]:
        used.clear()
        assert ae("fit", *options).code == 0
        assert torch.get_num_threads() == cores, "the process that asked for the fit has its own again"
        return set(used), recorded()

    assert fit(*quick) == ({1}, 1)
    monkeypatch.setattr("ae_lightning.cli.fit.threads.SMALL_STEP", 0)
    assert fit("--ckpt_path", LAST, "--trainer.max_epochs", "2") == ({1}, 1)
    assert fit("--ckpt_path", LAST, "--trainer.max_epochs", "3", "--threads", "2") == ({2}, 2)
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert fit("--ckpt_path", LAST, "--trainer.max_epochs", "4") == ({4}, 4)
    monkeypatch.setenv(SHARE, "4")  # a sweep's, which nobody typed
    assert fit("--ckpt_path", LAST, "--trainer.max_epochs", "5", "--threads", "3") == ({3}, 3)
    assert fit("--ckpt_path", LAST, "--trainer.max_epochs", "6") == ({3}, 3)


def test_a_run_of_an_earlier_version_goes_on_with_pytorch_s_number(
    cores: int, used: list[int], ae: Callable[..., Any], quick: list[str]
) -> None:
    assert ae("fit", *quick).code == 0
    config = yaml.safe_load((RUN / "config.yaml").read_text())
    del config["threads"]
    (RUN / "config.yaml").write_text(yaml.safe_dump(config))
    used.clear()
    assert ae("fit", "--ckpt_path", LAST, "--trainer.max_epochs", "2").code == 0
    assert set(used) == {cores}


def test_no_thread_is_refused(ae: Callable[..., Any], quick: list[str], tmp_path: Path) -> None:
    outcome = ae("fit", *quick, "--threads", "0")
    assert (outcome.code, "--threads is 0; it must be at least 1" in outcome.err) == (2, True)
    assert not os.listdir(tmp_path)


def test_a_sweep_s_share_of_the_cores_is_no_user_s_wish(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert SHARE not in _environment(tmp_path, 2)  # the tests' own number is in force
    monkeypatch.delenv("OMP_NUM_THREADS")
    environment = _environment(tmp_path, 2)
    assert environment[SHARE] == environment["OMP_NUM_THREADS"]

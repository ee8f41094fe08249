"""The question for a GPU is cheap after the command line has started, and losses of any size fit beside the bar."""

import ctypes
import os
from collections.abc import Callable
from typing import Any

import pytest
import torch

from ae_lightning.cli.fit.trainer_setup import LossProgressBar, shorten_device_check


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_without_a_gpu_no_library_is_looked_for_at_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTORCH_NVML_BASED_CUDA_CHECK", "1")  # as Lightning leaves it
    shorten_device_check()
    opened = []
    load: Callable[..., Any] = ctypes.CDLL
    monkeypatch.setattr(ctypes, "CDLL", lambda *args, **kwargs: opened.append(args) or load(*args, **kwargs))
    weight = torch.nn.Parameter(torch.ones(3))
    weight.grad = torch.ones(3)
    torch.optim.Adam([weight], fused=True).step()
    assert opened == []
    assert not torch.cuda.is_available()


def test_with_a_gpu_the_question_stays_as_lightning_asks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    shorten_device_check()
    assert os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] == "1"


def test_losses_of_any_size_fit_beside_the_bar(make_trainer, monkeypatch):
    losses = {"train/loss": torch.tensor(3.4e31), "val/loss": torch.tensor(1.2e-7), "test/loss": torch.tensor(0.03824)}
    trainer = make_trainer()
    monkeypatch.setattr(type(trainer._logger_connector), "progress_bar_metrics", losses)
    shown = LossProgressBar().get_metrics(trainer, None)
    assert shown == {"train/loss": "3.4e+31", "val/loss": "1.2e-07", "test/loss": "0.0382"}


def test_a_trial_of_one_step_writes_nothing(ae, tmp_path):
    assert (
        ae("fit", "--config", "overcomplete_digits", "--trainer.callbacks", "null", "--trainer.fast_dev_run", "1").code
        == 0
    )
    assert list(tmp_path.iterdir()) == []

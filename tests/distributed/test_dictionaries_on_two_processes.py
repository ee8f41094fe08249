"""Sparse dictionaries on two processes: what moves once a step is the same on both."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from ae_lightning.testing.outputs import evaluated

pytestmark = pytest.mark.slow

DIGITS = [
    *(
        "--data",
        "DigitsDataModule",
        "--data.drop_last",
        "true",
        "--trainer.max_epochs",
        "2",
        "--model.latent_dim",
        "48",
    ),
    *("--snapshots.schedule.count", "2", "--model.optimizer.lr", "0.001"),
]


def test_a_calibrated_threshold_is_one_for_all(fit: Callable[..., Any]) -> None:
    arguments = ["--model", "BatchTopKSAE", "--model.k", "4.5", *DIGITS, "--data.batch_size", "64"]
    run, weights, *_ = fit(*arguments, callbacks=("{class_path: CalibrateThreshold}",))
    first, second = weights
    assert [name for name, value in first.items() if not torch.equal(value, second[name])] == []
    assert first["dictionary.activation.calibrated"] >= 0
    run.data.setup()
    x, _ = run.data.val_set.take(len(run.data.val_set))
    model = run.model
    assert float((evaluated(model, x).z != 0).sum(-1).float().mean()) == pytest.approx(4.5, abs=0.5 / len(x) + 1e-6)


def test_p_and_its_factor_are_those_of_one_process(fit: Callable[..., Any]) -> None:
    arguments = ["--model", "PAnnealSAE", "--model.p", "{start: 1, end: 0.5}", "--model.p_steps", "3", *DIGITS]
    (first, second) = fit(*arguments, "--data.batch_size", "64", callbacks=()).weights
    (whole,) = fit(*arguments, "--data.batch_size", "128", processes=1, callbacks=()).weights
    for name, value in whole.items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], value, rtol=2e-3, atol=2e-3, msg=name)
    assert int(whole["annealing.changed"]) == 3
    assert float(whole["annealing.factor"]) != 1

"""A training that is finished stays so, whatever happens to the numbers that are measured after it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ae_lightning.cli.fit import lightning_cli
from ae_lightning.cli.fit.resume import require_unfinished
from ae_lightning.errors import ConfigError, DataError, Notice, Stopped
from ae_lightning.evaluation import device as devices
from ae_lightning.run.run import Run

RUN = "lightning_logs/overcomplete_digits/version_0"
COMMAND = f"ae-lightning evaluate {RUN}"


def failing(error: BaseException) -> Callable[..., Any]:
    def evaluate_run(*args: Any, **kwargs: Any) -> Any:
        raise error

    return evaluate_run


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError(), "there is not enough memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "there is not enough memory"),
        (DataError("the file is gone."), "the file is gone."),
        (OSError(28, "No space left on device", "metrics.json"), "metrics.json: no space left on device"),
        (ZeroDivisionError("division by zero\nand more"), "ZeroDivisionError: division by zero"),
    ],
    ids=["memory", "torch's memory", "data", "disk", "unforeseen"],
)
def test_it_is_a_notice_with_what_is_left_to_do(
    error: Exception, reason: str, ae: Any, quick: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(lightning_cli, "evaluate_run", failing(error))
        with pytest.warns(Notice, match="training is finished and saved") as told:
            assert ae("fit", *quick).code == 0
    (notice,) = [str(one.message) for one in told if issubclass(one.category, Notice)]
    assert f"({reason})" in notice
    assert notice.endswith(f"\n  {COMMAND}")
    run = Run.load(tmp_path / RUN)
    assert run.results == {}
    if reason == "the file is gone.":  # once is enough for what takes a second
        assert ae("evaluate", RUN).code == 0
        assert run.results["errors"]["test"]["autoencoder"]["mse_per_pixel"] > 0


@pytest.mark.parametrize(("stop", "code"), [(KeyboardInterrupt(), 130), (Stopped(15), 143)], ids=["Ctrl-C", "SIGTERM"])
def test_who_stops_it_is_told_what_is_left(
    stop: BaseException, code: int, ae: Any, quick: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(lightning_cli, "evaluate_run", failing(stop))
        outcome = ae("fit", *quick)
    assert outcome.code == code
    assert "The training is finished and saved; what is left is\n  " + COMMAND in outcome.err
    resumed = ae("fit", "--ckpt_path", f"{RUN}/checkpoints/last.ckpt")
    assert resumed.code == 2
    assert "measure what was trained with `ae-lightning evaluate " in resumed.err
    assert f"{RUN}`" in resumed.err


def test_nothing_is_left_to_measure_of_a_run_that_has_its_numbers(trained: Path) -> None:
    checkpoint = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)
    with pytest.raises(ConfigError) as refused:
        require_unfinished(checkpoint, 1, -1, trained)
    assert "evaluate" not in str(refused.value)


def test_samples_that_are_all_alike_are_trained_on_and_measured(ae: Any, tmp_path: Path) -> None:
    # So few latents of so many numbers that a decomposition would look for each component singly.
    np.save(tmp_path / "x.npy", np.full((600, 800), 0.3, dtype=np.float32))
    options = ["--trainer.max_epochs", "1", "--snapshots.schedule.count", "1", "--images.schedule.count", "1"]
    data = ["--data", "ArraysDataModule", "--data.train", "x.npy"]
    outcome = ae("fit", "--model", "OvercompleteAutoencoder", "--model.latent_dim", "2", *data, *options)
    assert outcome.code == 0
    run = "lightning_logs/OvercompleteAutoencoder/version_0"
    text = (tmp_path / run / "metrics.json").read_text()
    found = json.loads(text, parse_constant=pytest.fail)["errors"]["test"]["pca"]
    assert found["explained_variance"] is None
    assert "all alike" in found["explained_variance_reason"]
    assert found["mse_per_pixel"] < 1e-12
    outcome = ae("evaluate", run, "--json")
    assert json.loads(outcome.out, parse_constant=pytest.fail)["test_is_validation"] is True
    for out in (ae("evaluate", run).out, ae("latent", run, "-o", "figures").out):
        assert "Traceback" not in out


# --- where it is measured ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accelerator", "there", "expected"),
    [
        ("auto", True, "cuda"),
        ("gpu", True, "cuda"),
        ("cuda", True, "cuda"),
        ("cpu", True, "cpu"),
        ("auto", False, "cpu"),
        ("gpu", False, "cpu"),
    ],
)
def test_a_run_is_measured_where_it_was_trained(
    accelerator: str, there: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert devices.device_of({"trainer": {"accelerator": accelerator}}).type == expected


@pytest.mark.parametrize("name", ["nonsense", "cuda:99", "vulkan"])
def test_a_device_that_is_not_there_is_refused_in_a_sentence(name: str, ae: Any, trained: Path) -> None:
    outcome = ae("evaluate", trained, "--device", name)
    assert outcome.code == 2
    assert f"--device is {name}" in outcome.err


def test_fit_measures_on_the_device_of_the_trainer(ae: Any, quick: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}
    with monkeypatch.context() as patch:
        patch.setattr(lightning_cli, "evaluate_run", lambda run, **options: asked.update(options))
        assert ae("fit", *quick).code == 0
    assert asked["device"] == torch.device("cpu")

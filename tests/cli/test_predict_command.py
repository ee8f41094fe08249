"""`predict` writes what the model gives, in the order of the test set."""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from ae_lightning.callbacks.predictions import PredictionWriter
from ae_lightning.errors import ConfigError
from ae_lightning.models.checkpoint import load_autoencoder
from ae_lightning.models.overcomplete import OvercompleteAutoencoder
from ae_lightning.run import Run


def test_images(run: Run) -> torch.Tensor:
    data = run.data
    data.setup("test")
    return torch.cat([x for x, _ in data.test_set.batches(50)])


test_images.__test__ = False  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["best", "last"])
def test_arrays_are_those_of_the_model(name: str, ae: Callable[..., Any], trained: Path, tmp_path: Path) -> None:
    run = shutil.copytree(trained, tmp_path / "version_0")
    checkpoint = run / "checkpoints" / f"{name}.ckpt"
    code, out, _ = ae("predict", "--ckpt_path", checkpoint)
    assert code == 0
    folder = run / "predictions" / name
    assert str(folder) in out.replace("\n", "")
    assert {path.name for path in folder.iterdir()} == {"codes.npy", "reconstructions.npy", "errors.npy"}

    x = test_images(Run.load(run))
    with torch.no_grad():
        output = load_autoencoder(checkpoint)(x)
    codes, reconstructions, errors = (np.load(folder / f"{n}.npy") for n in ("codes", "reconstructions", "errors"))
    assert codes.dtype == reconstructions.dtype == errors.dtype == np.float32
    np.testing.assert_allclose(codes, output.z.numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(reconstructions, output.x_hat.numpy(), rtol=1e-5, atol=1e-6)
    assert errors.shape == (360,)
    for i in (0, 1, 179, 359):
        by_hand = sum((float(a) - float(b)) ** 2 for a, b in zip(x[i].flatten(), reconstructions[i].flat, strict=True))
        assert errors[i] == pytest.approx(by_hand / 64, rel=1e-5)


def test_many_batches_keep_the_order(ae: Callable[..., Any], trained: Path, tmp_path: Path) -> None:
    run = shutil.copytree(trained, tmp_path / "version_0")
    checkpoint = run / "checkpoints" / "best.ckpt"
    folder = run / "predictions" / "best"
    assert ae("predict", "--ckpt_path", checkpoint).code == 0
    whole = np.load(folder / "codes.npy")
    assert ae("predict", "--ckpt_path", checkpoint, "--data.eval_batch_size", "77").code == 0  # 360 = 4 × 77 + 52
    np.testing.assert_allclose(np.load(folder / "codes.npy"), whole, rtol=1e-5, atol=1e-6)
    assert len(list(folder.iterdir())) == 3


def test_a_bare_checkpoint_writes_beside_itself(ae: Callable[..., Any], trained: Path, tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    shutil.copy(trained / "checkpoints" / "best.ckpt", tmp_path / "bare" / "mine.ckpt")
    assert ae("predict", "--ckpt_path", "bare/mine.ckpt").code == 0
    assert np.load(tmp_path / "bare" / "predictions" / "mine" / "errors.npy").shape == (360,)


def test_instances_lead(ae: Callable[..., Any], quick: list[str], tmp_path: Path) -> None:
    assert ae("fit", *quick, "--model.instances", "3").code == 0
    run = next(tmp_path.glob("lightning_logs/*/version_0"))
    arguments = ["predict", "--ckpt_path", run / "checkpoints" / "best.ckpt", "--data.eval_batch_size", "100"]
    assert ae(*arguments).code == 0
    folder = run / "predictions" / "best"
    codes, reconstructions, errors = (np.load(folder / f"{n}.npy") for n in ("codes", "reconstructions", "errors"))
    assert (codes.shape, reconstructions.shape) == ((3, 360, 16), (3, 360, 1, 8, 8))
    x = test_images(Run.load(run)).numpy()
    np.testing.assert_allclose(errors, ((reconstructions - x) ** 2).mean((2, 3, 4)), rtol=1e-5)


def test_a_limit_leaves_no_rows_of_nothing(ae: Callable[..., Any], trained: Path, tmp_path: Path) -> None:
    run = shutil.copytree(trained, tmp_path / "version_0")
    outcome = ae(
        *("predict", "--ckpt_path", run / "checkpoints" / "best.ckpt"),
        *("--data.eval_batch_size", "100", "--trainer.limit_predict_batches", "2"),
    )
    assert outcome.code == 0
    assert np.load(run / "predictions" / "best" / "errors.npy").shape == (200,)


def test_several_processes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"one process: set --trainer.devices 1"):
        PredictionWriter(tmp_path).setup(SimpleNamespace(world_size=2), None, "predict")  # type: ignore[arg-type]


def test_a_prediction_that_fails_leaves_the_earlier_one(
    ae: Callable[..., Any], trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = shutil.copytree(trained, tmp_path / "version_0")
    arguments = ["predict", "--ckpt_path", run / "checkpoints" / "best.ckpt", "--data.eval_batch_size", "100"]
    assert ae(*arguments).code == 0
    folder = run / "predictions" / "best"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    predict = OvercompleteAutoencoder.predict_step

    def fail(self: OvercompleteAutoencoder, batch: Any, batch_idx: int) -> Any:
        if batch_idx == 2:
            raise RuntimeError("out of memory")
        return predict(self, batch, batch_idx)

    monkeypatch.setattr(OvercompleteAutoencoder, "predict_step", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        ae(*arguments)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before

"""`predict` writes what the model gives, in the order of the test set."""

import os
import resource
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file

from ae_lightning.callbacks.predictions import PredictionWriter
from ae_lightning.data.base import Sets
from ae_lightning.data.gaussian import GaussianDataModule
from ae_lightning.data.in_memory import InMemoryDataset
from ae_lightning.data.toy_activations import ToyActivationsDataModule
from ae_lightning.errors import ConfigError
from ae_lightning.models.checkpoint import load_autoencoder
from ae_lightning.models.overcomplete import OvercompleteAutoencoder
from ae_lightning.run.run import Run


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of the trained run, to write into."""
    return shutil.copytree(trained, tmp_path / "mine" / "version_0")


def test_images(run: Run) -> torch.Tensor:
    data = run.data
    data.setup("test")
    return torch.cat([x for x, _ in data.test_set.batches(50)])


test_images.__test__ = False  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["best", "last"])
def test_tensors_are_those_of_the_model(name: str, ae: Callable[..., Any], run: Path) -> None:
    checkpoint = run / "checkpoints" / f"{name}.ckpt"
    code, out, _ = ae("predict", "--ckpt_path", checkpoint)
    assert code == 0
    path = run / "predictions" / f"{name}.safetensors"
    assert str(path) in out.replace("\n", "")
    assert list(path.parent.iterdir()) == [path]
    assert [entry.name for entry in Path().iterdir()] == ["mine"]  # nothing of Lightning's own logger

    x = test_images(Run.load(run))
    with torch.no_grad():
        output = load_autoencoder(checkpoint)(x)
    found = load_file(path)
    assert {key: value.dtype for key, value in found.items()} == {
        **dict.fromkeys(["codes", "reconstructions", "errors"], np.float32),
        "labels": np.int64,
    }
    np.testing.assert_allclose(found["codes"], output.z.numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["reconstructions"], output.x_hat.numpy(), rtol=1e-5, atol=1e-6)
    assert found["errors"].shape == (360,)
    for i in (0, 1, 179, 359):
        pairs = zip(x[i].flatten(), found["reconstructions"][i].flat, strict=True)
        by_hand = sum((float(a) - float(b)) ** 2 for a, b in pairs)
        assert found["errors"][i] == pytest.approx(by_hand / 64, rel=1e-5)


def test_labels_are_those_of_the_images(ae: Callable[..., Any], run: Path) -> None:
    from sklearn.datasets import load_digits

    assert ae("predict", "--ckpt_path", run / "checkpoints" / "best.ckpt").code == 0
    labels = load_file(run / "predictions" / "best.safetensors")["labels"]
    known = {image.tobytes(): label for image, label in zip(*load_digits(return_X_y=True), strict=True)}
    pixels = (test_images(Run.load(run)).flatten(1).numpy() * 16).round().astype(np.float64)
    assert labels.tolist() == [known[image.tobytes()] for image in pixels]


def test_the_file_says_what_it_holds_and_its_data_are_aligned(ae: Callable[..., Any], run: Path) -> None:
    checkpoint = run / "checkpoints" / "best.ckpt"
    assert ae("predict", "--ckpt_path", checkpoint).code == 0
    path = run / "predictions" / "best.safetensors"
    with safe_open(path, "numpy") as file:
        assert file.metadata() == {"class": "OvercompleteAutoencoder", "checkpoint": str(checkpoint)}
    assert int.from_bytes(path.read_bytes()[:8], "little") % 8 == 0


def test_many_batches_keep_the_order(ae: Callable[..., Any], run: Path) -> None:
    checkpoint = run / "checkpoints" / "best.ckpt"
    path = run / "predictions" / "best.safetensors"
    assert ae("predict", "--ckpt_path", checkpoint).code == 0
    whole = load_file(path)
    assert ae("predict", "--ckpt_path", checkpoint, "--data.eval_batch_size", "77").code == 0  # 360 = 4 × 77 + 52
    for name, tensor in load_file(path).items():
        np.testing.assert_allclose(tensor, whole[name], rtol=1e-5, atol=1e-6)
    assert list(path.parent.iterdir()) == [path]


def test_a_bare_checkpoint_writes_beside_itself(ae: Callable[..., Any], trained: Path, tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    shutil.copy(trained / "checkpoints" / "best.ckpt", tmp_path / "bare" / "mine.ckpt")
    assert ae("predict", "--ckpt_path", "bare/mine.ckpt").code == 0
    assert load_file(tmp_path / "bare" / "predictions" / "mine.safetensors")["errors"].shape == (360,)


def test_instances_lead(ae: Callable[..., Any], quick: list[str], tmp_path: Path) -> None:
    assert ae("fit", *quick, "--model.instances", "3").code == 0
    run = next(tmp_path.glob("lightning_logs/*/version_0"))
    checkpoint = run / "checkpoints" / "best.ckpt"
    assert ae("predict", "--ckpt_path", checkpoint, "--data.eval_batch_size", "100").code == 0
    found = load_file(run / "predictions" / "best.safetensors")
    assert found["codes"].shape == (3, 360, 16)
    assert found["reconstructions"].shape == (3, 360, 1, 8, 8)
    assert found["labels"].shape == (360,)
    x = test_images(Run.load(run))
    with torch.no_grad():
        output = load_autoencoder(checkpoint)(x)
    np.testing.assert_allclose(found["codes"], output.z.numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["reconstructions"], output.x_hat.numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["errors"], ((found["reconstructions"] - x.numpy()) ** 2).mean((2, 3, 4)), 1e-5)


def test_half_precision_is_written_as_float32(ae: Callable[..., Any], run: Path) -> None:
    outcome = ae(*("predict", "--ckpt_path", run / "checkpoints" / "best.ckpt"), *("--trainer.precision", "bf16-mixed"))
    assert outcome.code == 0
    found = load_file(run / "predictions" / "best.safetensors")
    assert found["codes"].dtype == found["reconstructions"].dtype == found["errors"].dtype == np.float32
    assert np.array_equal(found["codes"].view(np.uint32) & 0xFFFF, np.zeros((360, 16)))  # they were bfloat16 before
    by_hand = ((found["reconstructions"] - test_images(Run.load(run)).numpy()) ** 2).mean((1, 2, 3))
    np.testing.assert_allclose(found["errors"], by_hand, rtol=1e-5)


def test_data_without_labels_give_no_labels(ae: Callable[..., Any], quick: list[str], tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((50, 12), dtype=np.float32))
    arrays = ["--data", "ArraysDataModule", "--data.train", str(tmp_path / "x.npy")]
    assert ae("fit", "--model", "OvercompleteAutoencoder", *arrays, *quick[2:]).code == 0
    run = next(tmp_path.glob("lightning_logs/*/version_0"))
    assert ae("predict", "--ckpt_path", run / "checkpoints" / "best.ckpt").code == 0
    found = load_file(run / "predictions" / "best.safetensors")
    assert {name: tensor.shape[1:] for name, tensor in found.items()} == {
        **{"codes": (16,), "reconstructions": (12,), "errors": ()}
    }


class Superposed(GaussianDataModule):
    """Two true features a sample."""

    def make_sets(self) -> Sets:
        features = torch.rand(40, 2, generator=torch.Generator().manual_seed(0)).double()
        one = InMemoryDataset(features @ torch.ones(2, self.dim).double(), features)
        return one, one, one


def test_vectors_of_true_features_are_labels(make_trainer: Callable[..., Any], tmp_path: Path) -> None:
    data, path = Superposed(dim=5, rank=2, eval_batch_size=12), tmp_path / "a" / "b.safetensors"
    writer = PredictionWriter(path, "none")
    make_trainer(writer).predict(OvercompleteAutoencoder((5,), 3), data, return_predictions=False)
    labels = load_file(path)["labels"]
    assert labels.dtype == np.float32
    assert labels.shape == (40, 2)
    np.testing.assert_allclose(labels.sum(1), data.test_set.take(40)[0][:, 0].numpy(), rtol=1e-6)


def test_each_instance_is_measured_on_samples_of_its_own(make_trainer: Callable[..., Any], tmp_path: Path) -> None:
    data = ToyActivationsDataModule(
        toy_steps=5, root=str(tmp_path), probability=0.4, instances=3, num_test=50, eval_batch_size=20
    )
    model = OvercompleteAutoencoder((2,), 4, instances=3)
    path = tmp_path / "a.safetensors"
    make_trainer(PredictionWriter(path, "none")).predict(model, data, return_predictions=False)
    found = load_file(path)
    assert {name: tensor.shape for name, tensor in found.items()} == {
        **{"codes": (3, 50, 4), "reconstructions": (3, 50, 2), "errors": (3, 50), "labels": (50, 3, 5)}
    }
    x, features = (part.numpy() for part in data.test_set.take(50))  # (50, 3, 2), and the features behind them
    assert np.array_equal(found["labels"], features)
    for i in range(3):
        one = OvercompleteAutoencoder((2,), 4)
        one.load_state_dict({name: value[i] for name, value in model.state_dict().items()})
        with torch.no_grad():
            output = one(torch.from_numpy(x[:, i]))
        np.testing.assert_allclose(found["codes"][i], output.z, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(found["reconstructions"][i], output.x_hat, rtol=1e-4, atol=1e-6)
        by_hand = ((found["reconstructions"][i] - x[:, i]) ** 2).mean(1)
        np.testing.assert_allclose(found["errors"][i], by_hand, rtol=1e-5, atol=1e-9)


def test_a_limit_leaves_no_rows_of_nothing(ae: Callable[..., Any], run: Path) -> None:
    outcome = ae(
        *("predict", "--ckpt_path", run / "checkpoints" / "best.ckpt"),
        *("--data.eval_batch_size", "100", "--trainer.limit_predict_batches", "2"),
    )
    assert outcome.code == 0
    found = load_file(run / "predictions" / "best.safetensors")
    assert {len(tensor) for tensor in found.values()} == {200}


def test_several_processes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"one process: set --trainer.devices 1"):
        PredictionWriter(tmp_path / "x", "x.ckpt").setup(SimpleNamespace(world_size=2), None, "predict")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("stop", "ends"), [(None, None), (signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["an error", "Ctrl-C", "SIGTERM"]
)
def test_a_prediction_that_fails_leaves_the_earlier_one(
    stop: int | None, ends: int | None, ae: Callable[..., Any], run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["predict", "--ckpt_path", run / "checkpoints" / "best.ckpt", "--data.eval_batch_size", "100"]
    assert ae(*arguments).code == 0
    folder = run / "predictions"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    predict = OvercompleteAutoencoder.predict_step
    unfinished: list[set[str]] = []

    def fail(self: OvercompleteAutoencoder, batch: Any, batch_idx: int) -> Any:
        if batch_idx == 2:
            unfinished.append({path.name for path in folder.iterdir()} - before.keys())
            if stop is None:
                raise RuntimeError("out of memory")
            os.kill(os.getpid(), stop)
        return predict(self, batch, batch_idx)

    monkeypatch.setattr(OvercompleteAutoencoder, "predict_step", fail)
    handler = signal.getsignal(signal.SIGINT)
    try:
        if stop is None:
            with pytest.raises(RuntimeError, match="out of memory"):
                ae(*arguments)
        else:
            assert ae(*arguments).code == ends
    finally:
        signal.signal(signal.SIGINT, handler)
    assert len(unfinished[0]) == 1  # it was being written beside
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_full_disk_is_one_sentence_and_leaves_nothing(ae: Callable[..., Any], run: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        code, _, err = ae("predict", "--ckpt_path", run / "checkpoints" / "best.ckpt")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    path = run / "predictions" / "best.safetensors"
    assert code == 2
    assert f"ae-lightning: error: {path}: file too large" in err
    assert not list(path.parent.iterdir())


@pytest.mark.parametrize("command", ["predict", "test", "validate"])
def test_ctrl_c_ends_with_its_own_exit_code(
    command: str, ae: Callable[..., Any], trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = shutil.copytree(trained, tmp_path / "version_0")

    def interrupt(*args: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(OvercompleteAutoencoder, "forward", interrupt)
    assert ae(command, "--ckpt_path", run / "checkpoints" / "best.ckpt").code == 130

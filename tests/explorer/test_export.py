"""The whole file: its networks, computed with numpy from its own bytes, give what PyTorch's models give."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ae_lightning.explorer.export import export
from ae_lightning.run.run import Run

SMALL = ("--trainer.limit_train_batches", "5", "--trainer.limit_val_batches", "1", "--data", "digits")
DEEP = ("--model.hidden_dims", "[40,30]", "--model.latent_dim", "8", "--model.batch_norm", "true")
MODELS = {
    "tied": ("--model", "StandardSAE", "--model.latent_dim", "90", "--model.tied", "true", *SMALL),
    "population": ("--model", "StandardSAE", "--model.latent_dim", "20", "--model.instances", "3", *SMALL),
    "deep": ("--model", "FullyConnectedAutoencoder", *DEEP, *SMALL),
    "standardized": ("--model", "StandardSAE", "--model.latent_dim", "90", *SMALL, "--data.normalize", "standard"),
}


def exported(folder, instance=0):
    run = Run.load(folder)
    return run, export(run, run.checkpoint, instance=instance)


def compare(run, text, page_file, instance=0):
    found = page_file(text)
    run.data.setup()
    x = run.data.test_set.take(2000)[0]
    np.testing.assert_array_equal(found.x, x.flatten(1))
    assert len(found.manifest["snapshots"]) > 1
    for number, snapshot in enumerate(found.manifest["snapshots"]):
        is_final = number == found.manifest["final"]
        model = run.model if is_final else run.model_at(snapshot["step"])
        with torch.no_grad():
            x_hat, z = model(x) if model.instances is None else (part[instance] for part in model(x))
        outputs = found.outputs(number, found.x)
        scale = max(1.0, float(x.std()))
        assert np.abs(outputs[-1] - x_hat.flatten(1).numpy()).max() <= (1e-3 if is_final else 2e-2) * scale
        spread = float(z.std())
        np.testing.assert_allclose(outputs[found.manifest["code"]], z, atol=(0.01 if is_final else 0.1) * spread)
    return found


def test_an_overcomplete_run(digits_run, page_file):
    found = compare(*exported(digits_run), page_file)
    (units,) = found.manifest["units"]
    z = found.outputs(found.manifest["final"], found.x)[0]
    top, activation = found.array(units["top"]), found.array(units["top_activation"])
    for unit in range(80):
        count = int((top[unit] != 65535).sum())
        np.testing.assert_allclose(z[top[unit, :count], unit], activation[unit, :count], atol=2e-3)
        assert min(16, (z[:, unit] > 2e-3).sum()) <= count <= min(16, (z[:, unit] > -2e-3).sum())
    labels = found.array(found.manifest["samples"]["labels"])
    means = np.stack([z[labels == digit].mean(axis=0) for digit in range(10)], axis=1)
    np.testing.assert_allclose(found.array(units["class_mean"]), means, atol=2e-3)
    pca = found.manifest["maps"][0]
    points = (z - found.array(pca["mean"])) @ found.array(pca["axes"]).T
    np.testing.assert_allclose(points, found.array(pca["xy"]), atol=0.02)


@pytest.mark.parametrize("name", MODELS)
def test_other_runs(name, fit, page_file):
    instance = 2 if name == "population" else 0
    compare(*exported(fit(f"export_{name}", *MODELS[name]), instance), page_file, instance)


def test_the_same_run_gives_the_same_file_wherever_it_lies(digits_run, tmp_path, monkeypatch):
    first = export(Run.load(digits_run), Run.load(digits_run).checkpoint)
    monkeypatch.chdir(digits_run.parent)
    run = Run.load(Path(digits_run.name))
    assert export(run, run.checkpoint) == first
    assert str(digits_run.parent.parent) not in first


@pytest.mark.slow
@pytest.mark.mnist
def test_mnist_keeps_to_its_size(mnist_root, explored_mnist, page_file):
    run, page = explored_mnist()
    found = compare(Run.load(run), page.read_text(encoding="utf-8"), page_file)
    assert len(found.manifest["snapshots"]) == 10
    assert len(found.text) < 25e6
    snapshots = found.manifest["snapshots"]
    earlier = [snapshot for number, snapshot in enumerate(snapshots) if number != found.manifest["final"]]
    history = {layer["weight"] for snapshot in earlier for layer in snapshot["layers"]}
    assert len(history) == 18
    assert len(found.text) - sum(map(found.size, history)) < 5e6

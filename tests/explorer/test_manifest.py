"""What the page is told of a run, read from the run itself."""

import json
import shutil

import numpy as np
import pytest
import torch

import ae_lightning
from ae_lightning.errors import ConfigError
from ae_lightning.explorer.manifest import Choice, Content, curves
from ae_lightning.run.run import Run


def content_of(folder, **choice):
    run = Run.load(folder)
    return run, Content(run, run.checkpoint, Choice(**choice), pytest.fail)


@pytest.fixture(scope="module")
def explored(digits_run):
    return content_of(digits_run)


def test_what_was_trained(explored):
    run, content = explored
    manifest = content.manifest
    assert (manifest["format"], manifest["schema"]) == ("ae_lightning.explorer", 1)
    assert manifest["version"] == ae_lightning.__version__
    assert manifest["title"] == "digits_run/version_0"
    assert manifest["variant"] == "OvercompleteAutoencoder"
    assert manifest["data"] == run.data.description
    assert (manifest["instance"], manifest["instances"]) == (None, None)
    assert {name: manifest["input"][name] for name in ("low", "high", "is_image")} == {
        "low": 0.0,
        "high": 1.0,
        "is_image": True,
    }
    assert manifest["layers"] == [
        {"name": "code", "units": 80, "activation": "relu", "threshold": None},
        {"name": "reconstruction", "units": 64, "activation": "none", "threshold": None},
    ]
    assert manifest["code"] == 0
    samples = manifest["samples"]
    assert (samples["count"], samples["of"], samples["classes"]) == (360, 360, [str(digit) for digit in range(10)])
    assert str(run.folder) not in json.dumps(manifest)


def test_moments_in_order_with_the_checkpoint_among_them(explored):
    run, content = explored
    manifest = content.manifest
    snapshots = manifest["snapshots"]
    assert [snapshot["step"] for snapshot in snapshots] == list(run.snapshots)
    assert manifest["final"] == len(snapshots) - 1
    assert snapshots[-1]["samples_seen"] == run.model.images_seen == run.snapshots.index[-1]["images_seen"]
    types = manifest["blocks"]
    for number, snapshot in enumerate(snapshots):
        is_final = number == manifest["final"]
        for place, layer in enumerate(snapshot["layers"]):
            assert types[layer["weight"]]["shape"] == [80, 64]
            assert types[layer["weight"]]["type"] == ("float16" if is_final else "int8")
            assert types[layer["bias"]] == {"type": "float32", "shape": [(80, 64)[place]]}
            if is_final:
                assert (layer["scale"], layer["relative"]) == (None, False)
            else:
                assert types[layer["scale"]] == {"type": "float32", "shape": [80]}
        assert [types[name] for name in snapshot["importance"]] == [{"type": "float32", "shape": [80]}]
    assert snapshots[-1]["importance"] == [manifest["units"][0]["importance"]]


def test_every_block_that_is_named_is_there_and_every_one_is_named(explored):
    _, content = explored
    named = {name for name in _strings(content.manifest) if name in content.blocks.texts}
    assert named == set(content.blocks.texts) == set(content.manifest["blocks"])


def _strings(value):
    if isinstance(value, dict):
        value = [part for key, part in value.items() if key != "blocks"]
    if isinstance(value, list):
        return {text for part in value for text in _strings(part)}
    return {value} if isinstance(value, str) else set()


def test_arrays_of_units_have_the_types_that_are_agreed(explored):
    _, content = explored
    (units,) = content.manifest["units"]
    described = {name: content.manifest["blocks"][block] for name, block in units.items()}
    names = ("importance", "causal", "mean", "density", "low", "high")
    vectors = {name: {"type": "float32", "shape": [80]} for name in names}
    assert described == vectors | {
        "class_mean": {"type": "float32", "shape": [80, 10]},
        "histogram": {"type": "uint16", "shape": [80, 24]},
        "top": {"type": "uint16", "shape": [80, 16]},
        "top_activation": {"type": "float32", "shape": [80, 16]},
    }
    assert content.manifest["evaluated"] == 360
    assert content.manifest["causal_samples"] == [360]
    (removal,) = content.manifest["removal"]
    assert removal["samples"] == 360
    assert (removal["counts"][0], removal["counts"][-1]) == (0, 80)
    assert len(removal["errors"]) == len(removal["counts"]) == 33


def test_the_first_error_of_the_removal_is_that_of_the_run(explored):
    run, content = explored
    x = run.data.test_set.take(1000)[0]
    with torch.no_grad():
        error = float((run.model(x).x_hat - x).square().mean())
    assert content.manifest["removal"][0]["errors"][0] == pytest.approx(error, rel=1e-5)


def test_fewer_snapshots_and_samples(digits_run):
    run, content = content_of(digits_run, snapshots=3, samples=12)
    steps = list(run.snapshots)
    assert [snapshot["step"] for snapshot in content.manifest["snapshots"]] == [steps[0], steps[2], steps[-1]]
    assert content.manifest["samples"]["count"] == 12
    assert content.manifest["evaluated"] == 360
    types = content.manifest["blocks"]
    assert types[content.manifest["samples"]["values"]] == {"type": "uint8", "shape": [12, 64]}
    assert [types[one["xy"]]["shape"] for one in content.manifest["maps"]] == [[12, 2], [12, 2]]


@pytest.mark.parametrize("choice", [{"snapshots": 0}, {"samples": 0}, {"samples": 65_536}])
def test_numbers_that_a_file_has_no_room_for(choice):
    with pytest.raises(ValueError, match="at least one snapshot and from 1 to 65,535 samples"):
        Choice(**choice)


def test_the_checkpoint_takes_the_place_of_the_snapshot_of_its_step(digits_run):
    _, content = content_of(digits_run, snapshots=1)
    assert len(content.manifest["snapshots"]) == 1
    assert content.manifest["final"] == 0


def test_an_earlier_checkpoint_stands_in_its_place(digits_run, tmp_path):
    folder = shutil.copytree(digits_run, tmp_path / "version_0")
    steps = list(Run.load(folder).snapshots)
    path = folder / "checkpoints" / "best.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["global_step"] = steps[1] + 1
    torch.save(checkpoint, path)
    _, content = content_of(folder)
    assert [snapshot["step"] for snapshot in content.manifest["snapshots"]] == sorted([*steps, steps[1] + 1])
    assert content.manifest["final"] == 2


def test_one_instance_of_a_population(fit, tmp_path):
    folder = fit(
        "population",
        *("--model", "StandardSAE", "--model.latent_dim", "9", "--model.instances", "3"),
        *("--data", "digits", "--trainer.limit_train_batches", "2"),
    )
    run, content = content_of(folder, instance=2)
    assert (content.manifest["instance"], content.manifest["instances"]) == (2, 3)
    torch.testing.assert_close(content.network.rows(0), run.model.encoder_vectors[2].detach())
    with pytest.raises(ConfigError, match="the instance asked for is 3, but the StandardSAE has 3 instances, 0 to 2"):
        content_of(folder, instance=3)


def test_tied_weights_are_kept_once(fit):
    options = ("--model.latent_dim", "9", "--model.tied", "true", "--trainer.limit_train_batches", "2")
    _, content = content_of(fit("tied", "--model", "StandardSAE", *options, "--data", "digits"))
    for snapshot in content.manifest["snapshots"]:
        encoder, decoder = snapshot["layers"]
        assert encoder["weight"] == decoder["weight"]
        assert encoder["bias"] != decoder["bias"]


def test_weights_that_are_not_finite_are_refused(digits_run, tmp_path):
    folder = shutil.copytree(digits_run, tmp_path / "version_0")
    path = folder / "checkpoints" / "best.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["state_dict"]["dictionary.b_dec"][3] = torch.inf
    torch.save(checkpoint, path)
    with pytest.raises(ConfigError, match="OvercompleteAutoencoder has weights that are not finite"):
        content_of(folder)


def test_curves_are_the_losses_and_probes_that_were_logged():
    nan = np.nan
    metrics = {
        "step": np.array([1, 2, 3, 4]),
        "val/loss": np.array([nan, 0.5, nan, 0.25]),
        "val/reconstruction": np.array([nan, 0.4, nan, 0.125]),
        "train/loss": np.array([0.9, 0.8, np.inf, 0.6]),
        "train/reconstruction": np.array([nan, nan, nan, nan]),
        "val/l1": np.array([nan, 0.1, nan, 0.125]),
        "probe/latent": np.array([nan, nan, nan, 0.7]),
        "probe/latent_se": np.array([nan, nan, nan, 0.01]),
        "speed/images_per_s": np.array([1.0, 2, 3, 4]),
    }
    assert curves(metrics) == [
        {"name": "train/loss", "group": "loss", "steps": [1, 2, 4], "values": [0.9, 0.8, 0.6]},
        {"name": "val/loss", "group": "loss", "steps": [2, 4], "values": [0.5, 0.25]},
        {"name": "val/reconstruction", "group": "loss", "steps": [2, 4], "values": [0.4, 0.125]},
        {"name": "val/l1", "group": "loss", "steps": [2, 4], "values": [0.1, 0.125]},
        {"name": "probe/latent", "group": "probe", "steps": [4], "values": [0.7]},
    ]


def test_long_curves_are_thinned_with_both_ends():
    steps = np.arange(5000)
    (curve,) = curves({"step": steps, "val/reconstruction": steps / 7})
    assert len(curve["steps"]) == 300
    assert (curve["steps"][0], curve["steps"][-1]) == (0, 4999)
    assert curve["values"] == [step / 7 for step in curve["steps"]]
    assert 16 <= min(np.diff(curve["steps"])) <= max(np.diff(curve["steps"])) <= 17


def test_a_run_without_metrics_or_snapshots(digits_run, tmp_path):
    folder = shutil.copytree(digits_run, tmp_path / "version_0")
    shutil.rmtree(folder / "snapshots")
    (folder / "metrics.csv").unlink()
    (folder / "metrics.json").unlink()
    _, content = content_of(folder)
    assert content.manifest["curves"] == []
    assert [snapshot["step"] for snapshot in content.manifest["snapshots"]] == [
        content.manifest["snapshots"][0]["step"]
    ]


def test_a_wide_input_is_looked_at_in_fewer_samples(monkeypatch, digits_run):
    monkeypatch.setattr("ae_lightning.explorer.manifest._MOST_NUMBERS", 64 * 50)
    _, content = content_of(digits_run)
    assert content.manifest["evaluated"] == 50
    assert content.manifest["removal"][0]["samples"] == 50

"""The data behind the page as JSON: networks computed from it with numpy give what PyTorch's models give."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from ae_lightning.explorer import data_file
from ae_lightning.explorer.blocks import TYPES, decode_block, encode_block
from ae_lightning.explorer.code import Gated, Threshold, TopK
from ae_lightning.explorer.export import export
from ae_lightning.explorer.network import DenseLayer
from ae_lightning.models.topk_sae import TopKSAE
from ae_lightning.run.run import Run


def largest(sums, parameters):
    """The k largest of each sample, where they are above zero."""
    places = np.argsort(-sums, axis=1)[:, : parameters["k"]]
    z = np.zeros_like(sums)
    np.put_along_axis(z, places, np.maximum(np.take_along_axis(sums, places, axis=1), 0), axis=1)
    return z


ACTIVATIONS = {
    "none": lambda sums, parameters: sums,
    "relu": lambda sums, parameters: np.maximum(sums, 0),
    "sigmoid": lambda sums, parameters: 1 / (1 + np.exp(-sums)),
    "topk": largest,
    "threshold": lambda sums, parameters: sums * (sums > np.array(parameters["threshold"])),
}
SMALL = ("--trainer.limit_train_batches", "5", "--trainer.limit_val_batches", "1", "--data", "digits")
DEEP = ("--model.hidden_dims", "[40,30]", "--model.latent_dim", "8", "--model.batch_norm", "true")
OTHERS = {
    "population": ("--model", "StandardSAE", "--model.latent_dim", "20", "--model.instances", "3", *SMALL),
    "deep": ("--model", "FullyConnectedAutoencoder", *DEEP, *SMALL),
    "topk": ("--model", "TopKSAE", "--model.latent_dim", "20", "--model.k", "{start: 12, end: 3, until: 0.9}", *SMALL),
    "jumprelu": ("--model", "JumpReLUSAE", "--model.latent_dim", "20", *SMALL),
}


def refuse(word):
    raise AssertionError(f"{word} is no JSON")


def written(run, path, **options):
    page = export(run, run.checkpoint, data=path, **options)
    return page, json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def samples_of(data):
    samples = data["samples"]
    return np.array(samples["values"], dtype=np.float64) * samples["scale"] + samples["shift"]


def outputs_of(data, snapshot):
    x, given = samples_of(data), []
    for layer, weights in zip(data["layers"], snapshot["layers"], strict=True):
        sums = x @ np.array(weights["weight"]) + np.array(weights["bias"])
        x = ACTIVATIONS[layer["activation"]](sums, weights["parameters"])
        given.append(x)
    return given


def compare(run, data, instance=0):
    """Samples, codes and reconstructions at each snapshot are those of the model as it was."""
    run.data.setup()
    x = run.data.test_set.take(len(data["samples"]["values"]))[0]
    np.testing.assert_allclose(samples_of(data), x.flatten(1), rtol=1e-5, atol=1e-6)
    steps = [snapshot["step"] for snapshot in data["snapshots"]]
    assert steps == sorted(set(steps))
    assert len(steps) > 1
    for number, snapshot in enumerate(data["snapshots"]):
        model = run.model if number == data["final"] else run.model_at(snapshot["step"])
        with torch.no_grad():
            x_hat, z = model(x) if model.instances is None else (part[instance] for part in model(x))
            if isinstance(model, TopKSAE):  # norms by which latents are compared are in the page's codes
                z = z * model.dictionary.W_dec.norm(dim=-1)
        outputs = outputs_of(data, snapshot)
        np.testing.assert_allclose(outputs[-1], x_hat.flatten(1), rtol=0, atol=1e-4)
        np.testing.assert_allclose(outputs[data["code"]], z, rtol=0, atol=1e-4 * max(1.0, float(z.abs().max())))


def test_it_holds_the_network_at_each_snapshot_and_all_that_the_page_shows(digits_run, tmp_path, page_file):
    run = Run.load(digits_run)
    page, data = written(run, tmp_path / "new" / "data.json", samples=50)
    assert (data["format"], data["schema"]) == ("ae_lightning.data", 1)
    compare(run, data)
    shown = page_file(page)
    assert set(data) == set(shown.manifest) - {"blocks"}
    assert data["samples"]["labels"] == shown.array(shown.manifest["samples"]["labels"]).tolist()
    assert np.array(data["input"]["lit"]).shape == (64,)
    assert data["curves"] == shown.manifest["curves"]
    (units,) = data["units"]
    (blocks,) = shown.manifest["units"]
    assert set(units) == set(blocks)
    for name, values in units.items():
        expected = shown.array(blocks[name])
        found = np.array([[65535 if v is None else v for v in row] for row in values] if name == "top" else values)
        np.testing.assert_allclose(found, expected, rtol=1e-5, err_msg=name)
    z = outputs_of(data, data["snapshots"][data["final"]])[0]
    strongest = np.array(units["top_activation"]).max(axis=1)
    np.testing.assert_allclose(strongest, z.max(axis=0).clip(0), atol=2e-3)  # that of the page's rounded network
    assert any(None in row for row in units["top"]) == bool((shown.array(blocks["top"]) == 65535).any())
    for snapshot, entry in zip(data["snapshots"], shown.manifest["snapshots"], strict=True):
        np.testing.assert_allclose(snapshot["importance"][0], shown.array(entry["importance"][0]), rtol=1e-5)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["data.json"]


@pytest.mark.parametrize("name", OTHERS)
def test_other_runs(name, fit, tmp_path):
    run, instance = Run.load(fit(f"export_{name}", *OTHERS[name])), 2 if name == "population" else 0
    _, data = written(run, tmp_path / "data.json", samples=20, snapshots=3, instance=instance)
    compare(run, data, instance)
    if name in ("topk", "jumprelu"):
        at_each_moment = [snapshot["layers"][0]["parameters"] for snapshot in data["snapshots"]]
        assert at_each_moment[0] != at_each_moment[-1]


def test_what_is_not_finite_is_null():
    text = "".join(data_file._numbers(np.array([[1.5, math.nan], [-math.inf, 1 / 3]], dtype=np.float32)))
    assert json.loads(text, parse_constant=refuse) == [[1.5, None], [None, 0.333333]]
    assert json.loads("".join(data_file._numbers(np.zeros((0, 3))))) == []


def test_parameters_of_an_activation_are_written_exactly():
    numbers = torch.rand(3, 7, generator=torch.Generator().manual_seed(0)) / 3
    each = [TopK(12, groups=True), Threshold(numbers[0, 0]), Threshold(numbers[0]), Gated(*numbers)]
    layers = [DenseLayer("code", torch.zeros(2, 7), torch.zeros(7), one) for one in each]
    found = [json.loads("".join(data_file._layer(layer)), parse_constant=refuse)["parameters"] for layer in layers]
    assert found[0] == {"k": 12, "groups": True}
    for one, parameters in zip(each[1:], found[1:], strict=True):
        assert parameters.keys() == one.parameters.keys()
        for name, value in one.parameters.items():
            assert (np.float32(parameters[name]) == value.numpy()).all()
            assert np.shape(parameters[name]) == value.shape


def test_a_failure_leaves_the_file_that_was_there(digits_run, tmp_path, monkeypatch):
    path = tmp_path / "data.json"
    path.write_text("before")

    def fail(*args):
        raise OSError("full")

    monkeypatch.setattr(data_file, "_layer", fail)
    run = Run.load(digits_run)
    with pytest.raises(OSError, match="full"):
        export(run, run.checkpoint, samples=5, data=path)
    assert {file.name: file.read_text() for file in Path(tmp_path).iterdir()} == {"data.json": "before"}


@pytest.mark.parametrize("dtype", TYPES)
def test_a_block_is_read_as_it_was_written(dtype):
    array = np.arange(-6, 6).reshape(3, 4).astype(dtype)
    read = decode_block(encode_block(array), dtype, (3, 4))
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array)

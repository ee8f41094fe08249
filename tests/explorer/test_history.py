"""Which moments are shown, and how near the page's networks are to those of the snapshots."""

import shutil

import numpy as np
import pytest
import safetensors.torch
import torch

from ae_lightning.explorer.chain import dense_layers
from ae_lightning.explorer.history import final_moment, history, moments_with
from ae_lightning.explorer.network import Network
from ae_lightning.explorer.quantize import EARLIER_ERROR, FINAL_ERROR
from ae_lightning.run.run import Run


@pytest.mark.parametrize(
    ("taken", "final", "count", "wanted"),
    [
        ([0, 10, 20, 30], 30, 10, [0, 10, 20, 30]),
        ([0, 10, 20, 30], 25, 10, [0, 10, 20, 25, 30]),
        ([0, 10, 20, 30], 30, 2, [0, 30]),
        ([0, 10, 20, 30], 30, 1, [30]),
        ([0, 10, 20, 30], 10, 1, [10]),
        ([], 7, 10, [7]),
        (range(101), 100, 5, [0, 25, 50, 75, 100]),
        (range(101), 60, 5, [0, 25, 60, 75, 100]),
        (range(101), 2, 3, [2, 50, 100]),
    ],
)
def test_moments_are_spread_and_the_final_one_is_among_them(taken, final, count, wanted):
    assert moments_with(list(taken), final, count) == wanted


def moments_of(run, note=None):
    run.data.setup()
    x = run.data.test_set.take(300)[0].flatten(1)
    network = Network(tuple(dense_layers(run.model)))
    final = final_moment(network, x, 10**6, 5, [torch.ones(80)])
    notes = []
    return x, final, list(history(run, run.model, 0, list(run.snapshots), final, x, notes.append)), notes


def test_each_moment_is_that_of_its_snapshot(digits_run):
    run = Run.load(digits_run)
    x, final, found, notes = moments_of(run)
    assert [moment.step for moment in found] == list(run.snapshots)
    assert [moment.samples_seen for moment in found] == [entry["images_seen"] for entry in run.snapshots.index]
    assert not notes
    for moment in found:
        model = run.model_at(moment.step)
        with torch.no_grad():
            x_hat, z = model(x.unflatten(1, (1, 8, 8)))
        outputs = moment.rounded.network.outputs(x)
        assert float((outputs[-1] - x_hat.flatten(1)).abs().max()) <= EARLIER_ERROR
        norms = [vectors.detach().norm(dim=1) for vectors in (model.encoder_vectors, model.decoder_vectors)]
        np.testing.assert_allclose(moment.importance[0], norms[0] * z.abs().mean(dim=0) * norms[1], rtol=1e-4)
    with torch.no_grad():
        x_hat = run.model(x.unflatten(1, (1, 8, 8))).x_hat
    assert float((final.rounded.network.outputs(x)[-1] - x_hat.flatten(1)).abs().max()) <= FINAL_ERROR
    assert any(weight.is_relative for weight in found[-1].rounded.weights)


def test_snapshots_that_cannot_be_shown_are_left_out_and_named(digits_run, tmp_path):
    folder = shutil.copytree(digits_run, tmp_path / "version_0")
    steps = list(Run.load(folder).snapshots)
    paths = [folder / "snapshots" / f"step_{step:08d}.safetensors" for step in steps]
    weights = safetensors.torch.load_file(paths[1])
    safetensors.torch.save_file({name: part * torch.nan for name, part in weights.items()}, paths[1])
    safetensors.torch.save_file({name: part[:1].clone() for name, part in weights.items()}, paths[2])
    paths[3].unlink()
    _, _, found, notes = moments_of(Run.load(folder))
    assert [moment.step for moment in found] == [steps[0], *steps[4:]]
    assert [note.split(":")[0] for note in notes] == [f"the snapshot of step {step} is left out" for step in steps[1:4]]
    assert notes[0].endswith("its weights are not finite")
    assert "OvercompleteAutoencoder has" in notes[1]
    assert "missing or damaged" in notes[2]

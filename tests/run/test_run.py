"""`Run` gives back what a run's folder holds."""

import csv
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import yaml

from ae_lightning import Run
from ae_lightning.cli.main import main
from ae_lightning.errors import CheckpointError, RunFolderError
from ae_lightning.models.checkpoint import load_autoencoder

# Six steps an epoch.
OPTIONS = [
    *("--config", "overcomplete_digits", "--model.latent_dim", "24", "--data.batch_size", "256"),
    *("--data.normalize", "[0.3, 0.4]", "--data.seed", "5", "--trainer.max_epochs", "2"),
    *("--trainer.log_every_n_steps", "3", "--snapshots.schedule.count", "5", "--images.schedule.count", "1"),
]


@pytest.fixture(scope="module")
def folder(made_once: Callable[..., Path]) -> Path:
    """Folder of a finished run of twelve steps; for reading only."""

    def fit(root: Path) -> None:
        with pytest.MonkeyPatch.context() as environment:  # puts back what Lightning writes its seed into
            environment.setenv("PL_GLOBAL_SEED", "0")
            assert main(["fit", *OPTIONS, "--trainer.default_root_dir", str(root)]) == 0

    return made_once("twelve_steps", fit) / "lightning_logs" / "overcomplete_digits" / "version_0"


@pytest.fixture
def run(folder: Path) -> Run:
    return Run.load(folder)


def rows_by_hand(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_config_is_what_the_run_was_started_with(run: Run, folder: Path) -> None:
    assert run.config == yaml.safe_load((folder / "config.yaml").read_text())
    assert run.config["seed_everything"] == 17
    assert run.config["model"]["init_args"]["latent_dim"] == 24
    assert run.config["ckpt_path"] is None


def test_metrics_are_the_table(run: Run, folder: Path) -> None:
    rows = rows_by_hand(folder)
    assert set(run.metrics) == set(rows[0])
    for name, column in run.metrics.items():
        assert column.dtype == np.float64
        assert len(column) == len(rows)
        for value, row in zip(column, rows, strict=True):
            if row[name] == "":
                assert math.isnan(value)
            else:
                assert value == float(row[name])


def test_series_are_the_rows_that_have_a_value(run: Run, folder: Path) -> None:
    rows = rows_by_hand(folder)
    for name in ("val/loss", "train/loss", "probe/latent", "weights/encoder_effective_rank"):
        steps, values = run.series(name)
        assert list(zip(steps.tolist(), values.tolist(), strict=True)) == [
            (int(row["step"]), float(row[name])) for row in rows if row[name]
        ]
    assert run.series("val/loss")[0].tolist() == sorted({*run.snapshots, 6, 12})  # and after each epoch
    assert run.series("train/loss")[0].tolist() == [3, 6, 9, 12]
    assert np.issubdtype(run.series("val/loss")[0].dtype, np.integer)


def test_a_metric_that_was_not_logged(run: Run) -> None:
    with pytest.raises(KeyError, match=r"'val/los' was not logged .*val/loss"):
        run.series("val/los")


def test_last_values(run: Run) -> None:
    last = run.last_values("probe")
    assert last["probe/latent"] == run.series("probe/latent")[1][-1]
    assert "probe_full/latent" in last
    assert not [name for name in last if not name.startswith("probe")]
    assert run.last_values("nothing") == {}


def test_metrics_are_read_anew_while_a_run_goes_on(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("{}")
    run = Run.load(tmp_path)
    assert [len(column) for column in run.metrics.values()] == [0]
    lines = (folder / "metrics.csv").read_text().splitlines(keepends=True)
    (tmp_path / "metrics.csv").write_text("".join(lines[:3]) + lines[3][:5])  # the last line is being written
    assert len(run.metrics["step"]) == 2
    (tmp_path / "metrics.csv").write_text("".join(lines))
    assert len(run.metrics["step"]) == len(lines) - 1


def test_snapshots_by_step(run: Run, folder: Path) -> None:
    snapshots = run.snapshots
    assert len(snapshots) == 5
    assert list(snapshots) == sorted(snapshots)
    assert (min(snapshots), max(snapshots)) == (0, 12)
    for entry in snapshots.index:
        on_disk = safetensors.torch.load_file(folder / "snapshots" / entry["file"])
        weights = snapshots[entry["step"]]
        assert weights.keys() == on_disk.keys()
        assert all(torch.equal(weights[name], on_disk[name]) for name in weights)
    assert snapshots.index[-1]["images_seen"] == 2 * 1293
    assert snapshots.index[-1]["step"] == 12


def test_the_last_snapshot_is_the_last_checkpoint(run: Run, folder: Path) -> None:
    weights = run.snapshots[12]
    state = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert weights["encoder_vectors"].shape == (24, 64)
    assert weights["decoder_vectors"].shape == (24, 64)
    assert torch.equal(weights["encoder_vectors"], state["dictionary.W_enc"].T)
    assert torch.equal(weights["decoder_vectors"], state["dictionary.W_dec"])
    assert torch.equal(weights["encoder_bias"], state["dictionary.b_enc"])
    assert torch.equal(weights["decoder_bias"], state["dictionary.b_dec"])


def test_snapshots_are_read_only_when_asked_for(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "version_0")
    for path in (copy / "snapshots").glob("*.safetensors"):
        path.unlink()
    snapshots = Run.load(copy).snapshots
    assert list(snapshots) == list(Run.load(folder).snapshots)
    with pytest.raises(RunFolderError, match=r"step_00000012.safetensors is missing or damaged"):
        snapshots[12]


def test_nearest_snapshot(run: Run) -> None:
    taken = list(run.snapshots)
    for step in range(-3, 30):
        assert abs(run.snapshots.nearest(step) - step) == min(abs(other - step) for other in taken)


def test_a_step_without_a_snapshot(run: Run) -> None:
    missing = next(step for step in range(13) if step not in run.snapshots)
    with pytest.raises(KeyError, match=rf"no snapshot was taken at step {missing} .* there are: 0, "):
        run.snapshots[missing]


def test_a_damaged_snapshot(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "version_0")
    path = copy / "snapshots" / "step_00000012.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    run = Run.load(copy)
    with pytest.raises(RunFolderError, match=r"step_00000012.safetensors is missing or damaged"):
        run.snapshots[12]
    assert run.snapshots[0]["encoder_vectors"].shape == (24, 64)


def test_a_run_without_snapshots(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "version_0")
    shutil.rmtree(copy / "snapshots")
    run = Run.load(copy)
    assert len(run.snapshots) == 0
    with pytest.raises(RunFolderError, match="there are no snapshots in"):
        run.snapshots.nearest(3)


def test_a_run_in_which_nothing_was_resampled(run: Run) -> None:
    assert list(run.resampled) == ["step", "instance", "latent"]
    assert all(column.shape == (0,) and column.dtype == np.int64 for column in run.resampled.values())


def test_what_was_resampled_up_to_now(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("{}")
    run = Run.load(tmp_path)
    (tmp_path / "resampling.csv").write_text("step,instance,latent\n2500,0,3\n2500,12,0\n5000,0,41\n50")
    assert {name: column.tolist() for name, column in run.resampled.items()} == {
        "step": [2500, 2500, 5000],
        "instance": [0, 12, 0],
        "latent": [3, 0, 41],
    }


def test_latents_are_the_table_of_the_best_checkpoint(run: Run, folder: Path) -> None:
    latents = run.latents
    assert list(latents) == ["instance", "latent", "mean_activation", "firing_density"]
    assert [column.dtype for column in latents.values()] == [np.int64, np.int64, np.float64, np.float64]
    assert latents["instance"].tolist() == [0] * 24
    assert latents["latent"].tolist() == list(range(24))
    data = run.data
    data.setup()
    with torch.no_grad():
        z = run.model.encode(data.test_set.take(10_000)[0]).double().numpy()
    np.testing.assert_allclose(latents["mean_activation"], z.mean(0), rtol=1e-5)
    np.testing.assert_allclose(latents["firing_density"], (z > 0).mean(0), rtol=1e-6)


def test_a_run_without_a_table_of_latents(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("{}")
    latents = Run.load(tmp_path).latents
    assert list(latents) == ["instance", "latent", "mean_activation", "firing_density"]
    assert [(column.shape, column.dtype) for column in latents.values()] == [
        *[((0,), np.int64)] * 2,
        *[((0,), np.float64)] * 2,
    ]


HEAD = "instance,latent,mean_activation,firing_density\n"


@pytest.mark.parametrize(
    "text",
    [
        *("", HEAD[:-1], "step,loss\n1,2\n", f"{HEAD}0,0,0.5,0.25\n0,1,0.5,0.", f"{HEAD}0,0,0.5\n"),
        *(f"{HEAD}0,0,0.5,0.25\n0,1,0.5,0.25,7\n", f"{HEAD}0,one,0.5,0.25\n", f"{HEAD}0,0,,0.25\n", f"{HEAD}\n"),
    ],
)
def test_a_damaged_table_of_latents(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.yaml").write_text("{}")
    (tmp_path / "latents.csv").write_text(text)
    with pytest.raises(RunFolderError, match=r"latents.csv is .*: write it anew with `ae-lightning evaluate`"):
        _ = Run.load(tmp_path).latents


def test_a_table_of_latents_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("{}")
    (tmp_path / "latents.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RunFolderError, match=r"latents.csv is damaged"):
        _ = Run.load(tmp_path).latents


def test_not_a_runs_folder(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="there is no run folder at"):
        Run.load(tmp_path / "nowhere")
    with pytest.raises(RunFolderError, match=r"it has no config.yaml$"):
        Run.load(tmp_path)
    with pytest.raises(RunFolderError, match=r"it holds the runs version_0$"):
        Run.load(folder.parent)


def test_data_are_built_anew(run: Run) -> None:
    data = run.data
    assert type(data).__name__ == "DigitsDataModule"
    assert (data.batch_size, data.seed) == (256, 5)
    data.setup()
    again = Run.load(str(run.folder)).data
    again.setup()
    assert data.fingerprint() == again.fingerprint() == run.results["data"]["hash"]
    for one, other in zip(data.val_dataloader(), again.val_dataloader(), strict=True):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])
    low, high = data.value_range
    assert (low, high) == (pytest.approx(-0.3 / 0.4), pytest.approx(0.7 / 0.4))


def test_the_validation_loss_can_be_computed_again(run: Run) -> None:
    data = run.data
    data.setup()
    x, _ = data.val_set.take(10_000)
    with torch.no_grad():
        error = float((run.model(x).x_hat - x).square().mean())
    assert error == pytest.approx(run.series("val/loss")[1].min(), rel=1e-5)


def test_model_is_the_best_checkpoint(run: Run, folder: Path) -> None:
    assert run.checkpoint == folder / "checkpoints" / "best.ckpt"
    state = torch.load(run.checkpoint, weights_only=True)["state_dict"]
    loaded = run.model.state_dict()
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[name], state[name]) for name in state)
    assert not run.model.training
    assert run.model is run.model


def test_without_a_best_checkpoint_the_last_is_taken(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "version_0")
    (copy / "checkpoints" / "best.ckpt").unlink()
    assert Run.load(copy).checkpoint.name == "last.ckpt"
    assert torch.equal(Run.load(copy).model.encoder_vectors, load_autoencoder(copy).encoder_vectors)
    (copy / "checkpoints" / "last.ckpt").unlink()
    with pytest.raises(CheckpointError, match="has no checkpoint"):
        _ = Run.load(copy).model


def test_results_are_the_final_numbers(run: Run, folder: Path, tmp_path: Path) -> None:
    assert run.results == json.loads((folder / "metrics.json").read_text())
    assert run.results["seed"] == 17
    (tmp_path / "config.yaml").write_text("{}")
    assert Run.load(tmp_path).results == {}


@pytest.mark.parametrize("name", ["overcomplete", "deep", "conv", "stacked"])
def test_the_model_at_a_snapshot_is_the_model_that_was_trained(name, tmp_path, monkeypatch):
    """Batch statistics are part of it: without them a deep model would encode otherwise."""
    options = ["--trainer.max_epochs", "1", "--trainer.limit_train_batches", "3", "--snapshots.schedule.count", "3"]
    monkeypatch.chdir(tmp_path)
    assert main(["fit", "--model", name, *options]) == 0
    (folder,) = tmp_path.glob("lightning_logs/*/version_*")
    run = Run.load(folder)
    trained = load_autoencoder(folder / "checkpoints" / "last.ckpt")
    run.data.setup()
    x = run.data.test_set.take(20)[0]
    with torch.no_grad():
        expected = trained.encode(x)
    assert torch.equal(run.activations(10**9, n=20), expected)
    assert not torch.equal(run.activations(0, n=20), expected)
    assert torch.equal(run.model.encode(x), Run.load(folder).model.encode(x)), "the run's own model is left alone"


def test_images_seen_are_known_for_any_step(tmp_path, monkeypatch):
    options = ["--trainer.max_epochs", "2", "--trainer.log_every_n_steps", "1", "--data.batch_size", "100"]
    monkeypatch.chdir(tmp_path)
    assert main(["fit", "--model", "OvercompleteAutoencoder", "--model.latent_dim", "4", *options]) == 0
    (folder,) = tmp_path.glob("lightning_logs/*/version_*")
    run = Run.load(folder)
    size = int(run.series("progress/images_seen")[1][0])
    assert size == 100
    assert run.images_seen([0, 1, 2.5, 3]).tolist() == [0, 100, 250, 300]
    steps, seen = run.series("progress/images_seen")
    assert run.images_seen(steps).tolist() == seen.tolist()
    assert run.images_seen([steps[-1] + 1])[0] > seen[-1]

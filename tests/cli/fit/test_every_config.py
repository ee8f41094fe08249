"""Every packaged config is read and runs; a new file is covered by being there."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from sklearn.datasets import load_digits

from ae_lightning.cli.configs import config_folder, packaged
from ae_lightning.run.run import Run

FILES = packaged()
EXPERIMENTS = [name for name in FILES if "/" not in name]
SHORT = [
    *("--trainer.max_epochs", "1", "--trainer.limit_train_batches", "2", "--trainer.limit_val_batches", "1"),
    *("--snapshots.schedule.count", "2", "--images.schedule.count", "1"),
]
# A file may give the schedule in other units.
SHORT_PLAIN = SHORT[:6]
SMALL_MODEL = ["--model", "OvercompleteAutoencoder", "--model.latent_dim", "8"]


def uses_mnist(path: Path) -> bool:
    """Whether a file, or a part it names, asks for MNIST."""
    text = path.read_text(encoding="utf-8")
    if "MNISTDataModule" in text:
        return True
    content = yaml.safe_load(text)
    parts = [path.parent / value for value in content.values() if isinstance(value, str) and value.endswith(".yaml")]
    return any(map(uses_mnist, parts))


def marked(names: list[str], quick: tuple[str, ...] = ()) -> list[Any]:
    """Parameters for tests that train: slow but for the quick ones, and marked where they need MNIST."""
    return [
        pytest.param(
            name,
            marks=[
                *([] if name in quick else [pytest.mark.slow]),
                *([pytest.mark.mnist] if uses_mnist(FILES[name]) else []),
            ],
        )
        for name in names
    ]


def of_kind(kind: str) -> list[str]:
    return [name for name in FILES if name.startswith(f"{kind}/")]


@pytest.fixture
def mnist_if_needed(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("mnist"):
        request.getfixturevalue("mnist_root")


def toy_options(name: str, folder: Path) -> list[str]:
    """What keeps a toy model that is trained as data, or a large world, small, and out of the user's own data."""
    text = FILES[name].read_text(encoding="utf-8")
    if "ToyActivationsDataModule" in text:
        return ["--data.toy_steps", "20", "--data.root", str(folder)]
    if "WorldDataModule" in text:
        sizes = ("--data.num_val", "64", "--data.num_test", "64", "--data.root", str(folder))
        return [*sizes, *(("--data.overlap", "null") if "overlap" in text else ())]
    return []


def the_only_run(folder: Path) -> Path:
    runs = list(folder.glob("lightning_logs/*/version_*"))
    assert len(runs) == 1, runs
    return runs[0]


def test_every_file_is_an_experiment_or_a_part() -> None:
    assert EXPERIMENTS
    assert {name.partition("/")[0] for name in FILES if "/" in name} == {"model", "data", "trainer"}


@pytest.mark.parametrize("name", marked(EXPERIMENTS, quick=("overcomplete_digits", "toy_model")))
@pytest.mark.usefixtures("mnist_if_needed")
def test_an_experiment_runs(name: str, ae: Callable[..., Any], tmp_path: Path) -> None:
    short = [*SHORT_PLAIN, *toy_options(name, tmp_path)]
    code, out, err = ae("fit", "--config", name, *short, "--trainer.callbacks", "null")
    assert (code, err) == (0, "")
    assert "this autoencoder" in out
    run = the_only_run(tmp_path)
    assert run.parent.name == name
    assert (run / "metrics.json").is_file()
    assert (run / "checkpoints" / "best.ckpt").is_file()


def test_the_digits_experiment_runs_with_its_callbacks(ae: Callable[..., Any], tmp_path: Path) -> None:
    code, out, _ = ae("fit", "--config", "overcomplete_digits", *SHORT)
    assert code == 0
    assert "linear probe" in out
    assert "probe/latent" in (the_only_run(tmp_path) / "metrics.csv").read_text()


@pytest.mark.parametrize("name", marked(of_kind("model")))
def test_a_model_part_runs_on_digits(name: str, ae: Callable[..., Any], tmp_path: Path) -> None:
    options = SHORT
    if "Transcoder" in FILES[name].read_text(encoding="utf-8"):  # which takes the other half of each digit for target
        digits = load_digits().data.astype("float32")
        for half, columns in (("x", slice(0, 32)), ("y", slice(32, 64))):
            np.save(tmp_path / f"{half}.npy", digits[:, columns])
        options = [*SHORT, "--data", "ArraysDataModule", "--data.train", "x.npy", "--data.target", "y.npy"]
    code, _, err = ae("fit", "--model", name.partition("/")[2], *options)
    assert (code, err) == (0, "")
    assert (the_only_run(tmp_path) / "metrics.json").is_file()


@pytest.mark.parametrize("name", marked(of_kind("data")))
@pytest.mark.usefixtures("mnist_if_needed")
def test_a_data_part_runs_with_a_model(name: str, ae: Callable[..., Any], tmp_path: Path) -> None:
    part = name.partition("/")[2]
    code, _, err = ae("fit", *SMALL_MODEL, "--data", part, *SHORT, *toy_options(name, tmp_path))
    assert (code, err) == (0, "")
    assert (the_only_run(tmp_path) / "metrics.json").is_file()


@pytest.mark.parametrize("name", marked(of_kind("trainer"), quick=("trainer/debug",)))
def test_a_trainer_part_runs_the_digits(name: str, ae: Callable[..., Any], tmp_path: Path) -> None:
    part = yaml.safe_load(FILES[name].read_text(encoding="utf-8"))
    if part.get("accelerator") in ("gpu", "cuda") and not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    arguments = ["fit", *SMALL_MODEL, "--data", "DigitsDataModule", "--trainer", name.partition("/")[2], *SHORT]
    if part.get("devices", 1) == 1:
        code, _, err = ae(*arguments)
        assert (code, err) == (0, "")
    else:  # several processes, which start themselves anew
        command = [sys.executable, "-m", "ae_lightning", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert (the_only_run(tmp_path) / "metrics.json").is_file()


def test_parts_are_combined_on_the_command_line(ae: Callable[..., Any]) -> None:
    code, out, _ = ae(
        *("fit", "--config", "overcomplete_digits", "--model", "fully_connected", "--trainer", "debug"),
        *("--data", "mnist_standardized", "--print_config"),
    )
    assert code == 0
    config = yaml.safe_load(out)
    assert config["model"]["class_path"].endswith(".FullyConnectedAutoencoder")
    assert config["trainer"]["limit_train_batches"] == 4
    assert config["data"]["init_args"]["normalize"] == [0.1307, 0.3081]


def contains(settings: Any, given: Any) -> bool:
    """Whether resolved settings hold what a file gives, with classes by their short names or their whole paths."""
    if isinstance(given, dict):
        return isinstance(settings, dict) and all(contains(settings.get(key), value) for key, value in given.items())
    if isinstance(given, list):
        return isinstance(settings, list) and all(map(contains, settings, given)) and len(settings) == len(given)
    return settings == given or (isinstance(given, str) and str(settings).endswith(f".{given}"))


@pytest.mark.parametrize("name", FILES)
def test_a_printed_config_holds_the_file_and_gives_itself_again(
    name: str, ae: Callable[..., Any], tmp_path: Path
) -> None:
    kind, _, part = name.rpartition("/")
    options = ["--config", name] if not kind else [f"--{kind}", part, *(SMALL_MODEL if kind != "model" else [])]
    code, first, err = ae("fit", *options, "--print_config")
    assert code == 0, err
    (tmp_path / "printed.yaml").write_text(first)
    code, second, _ = ae("fit", "--config", "printed.yaml", "--print_config")
    assert code == 0
    settings = yaml.safe_load(first)
    assert settings == yaml.safe_load(second)
    assert settings["model"]["class_path"]
    if kind:
        assert contains(settings[kind], yaml.safe_load(FILES[name].read_text(encoding="utf-8")))


def test_experiments_name_only_parts_that_are_there() -> None:
    for name in EXPERIMENTS:
        content = yaml.safe_load(FILES[name].read_text(encoding="utf-8"))
        for part in ("model", "data", "trainer"):
            if isinstance(content.get(part), str):
                assert (config_folder() / content[part]).is_file(), f"{name} names {content[part]}"


@pytest.mark.slow
@pytest.mark.mnist
@pytest.mark.usefixtures("mnist_if_needed")
def test_the_overcomplete_experiment_finds_what_it_is_known_for(ae: Callable[..., Any], tmp_path: Path) -> None:
    code, out, _ = ae("fit", "--config", "overcomplete_mnist")
    assert code == 0
    run = Run.load(the_only_run(tmp_path))
    steps, loss = run.series("val/loss")
    assert steps.tolist() == list(run.snapshots)
    assert loss[0] == pytest.approx(1.06, abs=0.02)
    assert loss[-1] == pytest.approx(0.0385, abs=0.003)
    assert len(run.snapshots) == 51
    assert (min(run.snapshots), max(run.snapshots)) == (0, 211)
    probes = run.last_values("probe/")
    assert probes["probe/raw"] == pytest.approx(0.898, abs=0.01)
    assert probes["probe/latent"] == pytest.approx(0.905, abs=0.015)
    assert probes["probe/pca"] == probes["probe/raw"]
    full = run.last_values("probe_full/")
    assert full["probe_full/latent"] > 0.9
    errors = run.results["errors"]["test"]
    assert errors["autoencoder"]["mse_per_pixel"] < errors["mean_image"]["mse_per_pixel"] / 10
    assert "linear probe" in out


@pytest.mark.slow
@pytest.mark.mnist
@pytest.mark.usefixtures("mnist_if_needed")
def test_one_epoch_of_the_fully_connected_experiment(ae: Callable[..., Any], tmp_path: Path) -> None:
    options = ["--trainer.callbacks", "null", "--trainer.max_epochs", "1"]
    assert ae("fit", "--config", "fully_connected_mnist", *options).code == 0
    run = Run.load(the_only_run(tmp_path))
    assert run.series("val/loss")[1][-1] < 0.02
    assert run.results["latents"]["active"] == 20


@pytest.mark.slow
@pytest.mark.mnist
@pytest.mark.usefixtures("mnist_if_needed")
@pytest.mark.parametrize(
    ("name", "options", "bound"),
    [
        ("conv_mnist", [], 0.0040),
        ("deep_conv_mnist", ["--trainer.max_epochs", "1"], 0.0075),
        ("deep_mnist", ["--trainer.max_epochs", "3"], 0.035),
        ("simple_mnist", [], 0.012),
        # PCA of 32 components has 0.0168.
        ("stacked_mnist", ["--model.pretrain_epochs", "1", "--trainer.max_epochs", "7"], 0.0168),
    ],
)
def test_an_architecture_learns_mnist_as_it_is_known_to(
    name: str, options: list[str], bound: float, ae: Callable[..., Any], tmp_path: Path
) -> None:
    assert ae("fit", "--config", name, *options).code == 0
    results = Run.load(the_only_run(tmp_path)).results
    assert results["errors"]["test"]["autoencoder"]["mse_per_pixel"] <= bound

"""`ae-lightning compare`: its table, its files, and what it refuses."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ae_lightning.cli.compare import find_runs
from ae_lightning.cli.main import main

SMALL = [
    *("--model", "OvercompleteAutoencoder", "--data", "digits", "--trainer.max_epochs", "1"),
    *("--snapshots.schedule.count", "2", "--images.schedule.count", "1"),
]


@pytest.fixture(scope="module")
def four(made_once: Callable[..., Path]) -> Path:
    """A sweep's folder with runs of 8 and 16 latents and seeds 0 and 1."""

    def fit_all(root: Path) -> None:
        for width in (8, 16):
            for seed in (0, 1):
                place = root / "lightning_logs" / "sweep" / f"latent_dim={width},seed={seed}"
                with pytest.MonkeyPatch.context() as environment:
                    environment.setenv("PL_GLOBAL_SEED", "0")  # puts back what Lightning writes its seed into
                    environment.setenv("AE_LIGHTNING_RUN_PARENT", str(place))
                    options = ["--model.latent_dim", str(width), "--seed_everything", str(seed)]
                    assert main(["fit", *SMALL, *options]) == 0

    return made_once("four", fit_all) / "lightning_logs" / "sweep"


@pytest.fixture
def sweep(four: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, to write into, where the command runs."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(four, tmp_path / "lightning_logs" / "sweep")
    return Path("lightning_logs/sweep")


def run_in(sweep: Path, width: int, seed: int) -> Path:
    return sweep / f"latent_dim={width},seed={seed}" / "version_0"


def error_of(folder: Path) -> dict[str, float]:
    return json.loads((folder / "metrics.json").read_text())["errors"]["test"]["autoencoder"]


def plain(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ")


def test_a_sweeps_folder_is_a_table_of_means_a_csv_and_a_figure(ae: Callable[..., Any], sweep: Path) -> None:
    code, out, err = ae("compare", sweep)
    assert (code, err) == (0, "")
    out = plain(out)
    for width in (8, 16):
        errors = [error_of(run_in(sweep, width, seed))["mse_per_pixel"] for seed in (0, 1)]
        (line,) = [line for line in out.splitlines() if f"latent_dim={width} " in line]
        assert f" {np.mean(errors):.5f} ± {np.std(errors, ddof=1):.5f} " in line
        assert "│     2 │" in line
    assert "test error per pixel; ± is the standard deviation over seeds" in out
    assert "the same for all: class OvercompleteAutoencoder; mean image 0.07404" in out
    assert max(map(len, out.splitlines())) <= 100
    assert out.endswith("lightning_logs/sweep/compare/compare.csv\nlightning_logs/sweep/compare/compare.png\n")
    with (sweep / "compare" / "compare.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["run"] for line in lines] == [str(run_in(sweep, width, seed)) for width in (8, 16) for seed in (0, 1)]
    assert [line["group"] for line in lines] == ["latent_dim=8"] * 2 + ["latent_dim=16"] * 2
    with Image.open(sweep / "compare" / "compare.png") as picture:
        assert picture.size[0] > 1000


def test_single_runs_have_their_standard_errors(ae: Callable[..., Any], sweep: Path) -> None:
    runs = [run_in(sweep, width, 0) for width in (8, 16)]
    code, out, err = ae("compare", *runs, "--labels", "small, large", "-o", "elsewhere/here")
    assert (code, err) == (0, "")
    for name, folder in zip(("small", "large"), runs, strict=True):
        error = error_of(folder)
        wanted = f" {error['mse_per_pixel']:.5f} ± {error['mse_per_pixel_std'] / 360**0.5:.5f} "
        (line,) = [line for line in plain(out).splitlines() if f"│ {name} " in line]
        assert wanted in line
    assert "± is the standard error over test samples" in plain(out)
    assert "seeds" not in out
    assert {path.name for path in Path("elsewhere/here").iterdir()} == {"compare.csv", "compare.png"}


def test_what_was_there_is_said_to_be_replaced(ae: Callable[..., Any], sweep: Path) -> None:
    assert "replaced" not in ae("compare", sweep).out
    lines = ae("compare", sweep).out.splitlines()
    assert [line.endswith(" (replaced)") for line in lines[-2:]] == [True, True]


def test_an_unfinished_run_stands_with_its_validation_loss(ae: Callable[..., Any], sweep: Path) -> None:
    (run_in(sweep, 8, 0) / "metrics.json").unlink()
    (run_in(sweep, 16, 0) / "metrics.json").unlink()
    code, out, _ = ae("compare", run_in(sweep, 8, 0), run_in(sweep, 16, 1), run_in(sweep, 16, 0))
    out = plain(out)
    assert code == 0
    assert "(val/loss 0." in out
    assert "1 of 2" in out
    assert "latent_dim=8,seed=0 has no metrics.json, since it still trains or was interrupted: its last val/loss" in out
    assert f" {error_of(run_in(sweep, 16, 1))['mse_per_pixel']:.5f} " in out
    for width in (8, 16):
        (run_in(sweep, width, 0) / "metrics.csv").unlink()
    out = ae("compare", run_in(sweep, 8, 0), run_in(sweep, 16, 0)).out
    assert "(none yet)" in plain(out)
    assert "no figure: none of the runs has logged anything" in out


def test_different_data_are_warned_of(ae: Callable[..., Any], sweep: Path) -> None:
    path = run_in(sweep, 8, 0) / "metrics.json"
    results = json.loads(path.read_text())
    path.write_text(json.dumps({**results, "data": {**results["data"], "hash": "other"}}))
    assert "measured on different data: their errors may not be in the same units" in ae("compare", sweep).out


def test_the_table_fits_whatever_the_names_and_numbers(ae: Callable[..., Any], sweep: Path) -> None:
    labels = ",".join(f"a long name of a run that nobody can read {i}" for i in range(4))
    runs = find_runs([sweep])
    for i, run in enumerate(runs):
        results = json.loads((run.folder / "metrics.json").read_text())
        recovered = {"fraction_recovered": 0.5, "mcc": 0.7, "fully_recovered_instances": 3.0, "f1": 0.625}
        probes = {"probe_full/latent": 0.5 + i / 100, "probe_full/latent_se": 0.01}
        (run.folder / "metrics.json").write_text(json.dumps({**results, "recovery": recovered, "probes": probes}))
    out = plain(ae("compare", sweep, "--labels", labels).out)
    assert max(map(len, out.splitlines())) <= 100
    assert "0.505 ± 0.007" in out
    left = next(line for line in out.splitlines() if line.startswith("only in compare.csv: "))
    assert "Hoyer" in left
    assert "F1;" in out
    assert "probe" not in left


def test_where_the_files_go(ae: Callable[..., Any], sweep: Path, tmp_path: Path) -> None:
    one, two = run_in(sweep, 8, 0), run_in(sweep, 16, 0)
    for name in ("a/lightning_logs/x", "b/lightning_logs/x"):
        shutil.copytree(one.parent, tmp_path / name)
    assert "\nlightning_logs/sweep/compare/compare.csv\n" in ae("compare", one, two).out
    assert "\nlightning_logs/compare/compare.csv\n" in ae("compare", "a/lightning_logs/x", "b/lightning_logs/x").out
    shutil.copytree(one.parent, tmp_path / "lightning_logs" / "y")
    assert "\nlightning_logs/compare/compare.csv (replaced)\n" in ae("compare", one, "lightning_logs/y").out


def test_runs_are_found_in_folders_and_sorted_by_number(sweep: Path) -> None:
    assert [run.folder for run in find_runs([Path("lightning_logs")])] == [
        run_in(sweep, width, seed) for width in (8, 16) for seed in (0, 1)
    ]
    assert len(find_runs([run_in(sweep, 8, 0).parent, run_in(sweep, 8, 1)])) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{0}"], "there must be two runs at least to compare, but {0} is the only one"),
        ([], "RUN must be given (`ae-lightning compare --help` tells more)"),
        (["{0}", "nowhere"], "there is no run folder at nowhere"),
        (["{0}", "empty"], "empty is not a run's folder: it has no config.yaml"),
        (["{0}", "{1}", "{0}/"], "the run {0} is named twice"),
        (["lightning_logs/sweep", "{1}"], "the run {1} is named twice"),
        (["{0}", "{1}", "--labels", "a,b,c"], "--labels has 3 names, but there are 2 runs"),
        (["{0}", "{1}", "--labels", "a,,b"], "--labels has an empty name: separate the names by single commas"),
        (["{0}", "{1}", "--labels", "a,a"], "--labels calls different runs a"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_sentence_and_leaves_no_file(
    arguments: list[str], message: str, ae: Callable[..., Any], sweep: Path
) -> None:
    Path("empty").mkdir()
    names = [run_in(sweep, 8, 0), run_in(sweep, 16, 0)]
    code, out, err = ae("compare", *(argument.format(*names) for argument in arguments))
    assert (code, out, err) == (2, "", f"ae-lightning: error: {message.format(*names)}\n")
    assert not list(Path().rglob("compare*"))


def test_the_help_has_examples(ae: Callable[..., Any]) -> None:
    code, out, _ = ae("compare", "--help")
    assert code == 0
    for words in ("ae-lightning compare lightning_logs/", "-o DIR", "--labels A,B,…", "RUN"):
        assert words in out

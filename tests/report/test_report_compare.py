"""Runs side by side: the numbers of each, how they are named and grouped, what is said of them."""

import csv
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from ae_lightning.analysis.factor_score_names import SCORES
from ae_lightning.cli.compare import _columns
from ae_lightning.errors import ConfigError, RunFolderError
from ae_lightning.report.compare import MEASURED, Comparison, measured
from ae_lightning.report.run_labels import names_of
from ae_lightning.run.results import CODEBOOK, TRUTH
from ae_lightning.run.run import Run


@pytest.fixture(scope="module")
def runs(fit: Callable[..., Path]) -> list[Path]:
    """Overcomplete autoencoders of 8 latents with seeds 0 and 1, and one of 4."""
    model = ("--model", "OvercompleteAutoencoder", "--data", "digits")
    return [
        fit(f"width_{width}_{seed}", *model, "--model.latent_dim", str(width), "--seed_everything", str(seed))
        for width, seed in ((8, 0), (8, 1), (4, 0))
    ]


@pytest.fixture
def copy(runs: list[Path], tmp_path: Path) -> Callable[[int, str], Path]:
    """Copy a run to a name below the test's folder, to write into."""
    return lambda number, name: shutil.copytree(runs[number], tmp_path / name)


def results_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "metrics.json").read_text())


def change(folder: Path, *keys: str, value: Any) -> None:
    results = part = results_of(folder)
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = value
    (folder / "metrics.json").write_text(json.dumps(results))


def test_numbers_of_a_run_are_those_of_its_metrics(runs: list[Path]) -> None:
    row, results = measured(Run.load(runs[0]))[0], results_of(runs[0])
    test = results["errors"]["test"]
    with (runs[0] / "metrics.csv").open() as file:
        logged = [line for line in csv.DictReader(file) if line["val/loss"]]
    expected = {
        "class": "OvercompleteAutoencoder",
        "seed": 0,
        "finished": True,
        "latent_size": 8,
        "compression_ratio": 8.0,
        "parameters": 2 * 64 * 8 + 8 + 64,
        "test_mse_per_pixel": test["autoencoder"]["mse_per_pixel"],
        "test_mse_per_pixel_se": test["autoencoder"]["mse_per_pixel_std"] / math.sqrt(360),
        "pca_test_mse_per_pixel": test["pca"]["mse_per_pixel"],
        "mean_image_test_mse_per_pixel": test["mean_image"]["mse_per_pixel"],
        "test_is_validation": None,
        **{name: test["autoencoder"][name] for name in ("explained_variance", "fvu")},
        "val_loss": float(logged[-1]["val/loss"]),
        "val_loss_step": int(logged[-1]["step"]),
        **dict.fromkeys(["probe_accuracy", "probe_accuracy_se", "probe_kind"]),
        "encoder_effective_rank": results["weights"]["weights/encoder_effective_rank"],
        "decoder_effective_rank": results["weights"]["weights/decoder_effective_rank"],
        "active_latents": results["latents"]["active"],
        "dead_latents": results["latents"]["dead"],
        "l0": results["latents"]["l0"],
        "hoyer": results["latents"]["hoyer"],
        **dict.fromkeys(["fraction_recovered", "fully_recovered_instances", "mcc"]),
        **dict.fromkeys([*TRUTH, *SCORES, *CODEBOOK]),
        "seconds": results["seconds"],
        "data": results["data"]["description"],
        "data_hash": results["data"]["hash"],
        "run": str(runs[0]),
        **{"instance": None, "settings": {}, "shares_samples": False, "is_penalized": False, "has_targets": None},
    }
    assert row == expected
    assert set(MEASURED) <= set(row)


def test_the_probe_of_all_images_comes_first(copy: Callable[..., Path]) -> None:
    folder = copy(0, "a/version_0")
    quick = {"probe/latent": 0.5, "probe/latent_se": 0.1}
    change(folder, "probes", value=quick)
    row = measured(Run.load(folder))[0]
    assert (row["probe_accuracy"], row["probe_accuracy_se"], row["probe_kind"]) == (0.5, 0.1, "quick")
    change(folder, "probes", value=quick | {"probe_full/latent": 0.7, "probe_full/latent_se": 0.2})
    row = measured(Run.load(folder))[0]
    assert (row["probe_accuracy"], row["probe_accuracy_se"], row["probe_kind"]) == (0.7, 0.2, "all images")


def test_recovery_and_the_number_of_generated_samples(toy_sae: Path) -> None:
    rows, listed = measured(Run.load(toy_sae)), results_of(toy_sae)["instances"]
    for row, own in zip(rows, listed, strict=True):
        assert row["fraction_recovered"] == own["recovery"]["fraction_recovered"]
        assert row["mcc"] == own["recovery"]["mcc"]
        assert row["truth_f1"] == own["recovery"]["truth_f1"]
        assert row["test_mse_per_pixel_se"] == own["errors"]["test"]["autoencoder"]["mse_per_pixel_std"] / 600**0.5


def test_without_the_number_of_samples_there_is_no_standard_error(copy: Callable[..., Path]) -> None:
    folder = copy(0, "a/version_0")
    change(folder, "data", "description", value="something else")
    assert measured(Run.load(folder))[0]["test_mse_per_pixel_se"] is None


def test_seeds_are_grouped_and_widths_are_not(runs: list[Path]) -> None:
    comparison = Comparison([Run.load(runs[i]) for i in (0, 2, 1)])
    assert [[row["run"] for row in group.rows] for group in comparison.groups] == [
        [str(runs[0]), str(runs[1])],
        [str(runs[2])],
    ]
    assert [row["name"] for row in comparison.rows] == ["width_8_0", "width_4_0", "width_8_1"]
    assert [group.label for group in comparison.groups] == ["width_8_0, width_8_1", "width_4_0"]
    assert [row["group"] for row in comparison.rows] == ["width_8_0, width_8_1", "width_4_0", "width_8_0, width_8_1"]
    assert comparison.remarks() == []


def test_a_seed_that_is_there_twice_is_no_other_seed(runs: list[Path], copy: Callable[..., Path]) -> None:
    again = copy(0, "again/version_0")
    groups = Comparison([Run.load(folder) for folder in (runs[0], again, runs[1])]).groups
    assert [len(group.rows) for group in groups] == [2, 1]
    assert groups[1].rows[0]["run"] == str(again)


@pytest.mark.parametrize(
    ("key", "value", "groups"),
    [("experiment", "other", 1), ("trainer.default_root_dir", "x", 1), ("trainer.max_epochs", 9, 2)],
)
def test_what_makes_another_group(
    key: str, value: Any, groups: int, runs: list[Path], copy: Callable[..., Path]
) -> None:
    folder = copy(1, "a/version_0")
    config = part = yaml.safe_load((folder / "config.yaml").read_text())
    *above, last = key.split(".")
    for name in above:
        part = part[name]
    part[last] = value
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    assert len(Comparison([Run.load(runs[0]), Run.load(folder)]).groups) == groups


def test_labels(runs: list[Path]) -> None:
    three = [Run.load(folder) for folder in runs]
    named = Comparison(three, ["one", "two", "three"])
    assert [row["name"] for row in named.rows] == ["one", "two", "three"]
    assert [group.label for group in named.groups] == ["one, two", "three"]
    assert [group.label for group in Comparison(three, ["wide", "wide", "narrow"]).groups] == ["wide", "narrow"]
    grouped = Comparison(three, ["wide", "narrow"])
    assert [group.label for group in grouped.groups] == ["wide", "narrow"]
    assert [row["name"] for row in grouped.rows] == ["width_8_0", "width_8_1", "width_4_0"]
    for wrong in (["a"], ["a", "b", "c", "d"]):
        with pytest.raises(ConfigError, match=f"{len(wrong)} names, but there are 3 runs in 2 groups that differ by"):
            Comparison(three, wrong)
    with pytest.raises(ConfigError, match=r"--labels has 1 names, but there are 2 runs$"):
        Comparison(three[1:], ["a"])
    with pytest.raises(ConfigError, match=r"--labels calls different runs a$"):
        Comparison(three, ["a", "a", "a"])


@pytest.mark.parametrize(
    ("folders", "names"),
    [
        (["logs/a/version_0", "logs/b/version_0"], ["a", "b"]),
        (["logs/a/version_0", "logs/b/version_1"], ["a", "b"]),
        (["logs/a/version_0", "logs/a/version_1"], ["version_0", "version_1"]),
        (
            ["logs/a/version_0", "logs/a/version_1", "logs/b/version_0"],
            ["a/version_0", "a/version_1", "b/version_0"],
        ),
        (["logs/s/x=1,seed=0/version_0", "logs/b/version_0"], ["x=1,seed=0", "b"]),
        (["one/logs/a/version_0", "two/logs/a/version_0"], ["one", "two"]),
        (["here/mine", "there/yours"], ["mine", "yours"]),
        (["a/version_0", "x/a/version_0"], None),
    ],
    ids=str,
)
def test_names_are_the_shortest_parts_that_differ(folders: list[str], names: list[str] | None, tmp_path: Path) -> None:
    found = names_of([tmp_path / folder for folder in folders])
    assert names is None or found == names
    assert len(set(found)) == len(folders)


def test_groups_are_called_by_what_their_runs_share(copy: Callable[..., Path]) -> None:
    def labels(*where: str) -> list[str]:
        folders = [copy(number, name) for number, name in zip((0, 1, 2), where, strict=True)]
        return [group.label for group in Comparison([Run.load(folder) for folder in folders]).groups]

    sweep = [f"sweep/latent_dim={width},seed={seed}/version_0" for width, seed in ((8, 0), (8, 1), (4, 0))]
    assert labels(*sweep) == ["latent_dim=8", "latent_dim=4,seed=0"]
    assert labels("a/version_0", "a/version_1", "b/version_0") == ["a", "b/version_0"]
    assert labels("c/version_0", "c/version_1", "c/version_2") == ["version_0, version_1", "version_2"]
    assert labels("s/seed=0/version_0", "s/seed=1/version_0", "s/seed=2/version_0") == ["seed=0, seed=1", "seed=2"]


def test_an_unfinished_run_has_its_last_loss_and_says_so(runs: list[Path], copy: Callable[..., Path]) -> None:
    folder = copy(2, "a/version_0")
    (folder / "metrics.json").unlink()
    comparison = Comparison([Run.load(runs[0]), Run.load(folder)])
    row = comparison.rows[1]
    steps, losses = Run.load(folder).series("val/loss")
    assert (row["finished"], row["class"], row["seed"]) == (False, "OvercompleteAutoencoder", 0)
    assert (row["val_loss"], row["val_loss_step"]) == (losses[-1], steps[-1])
    assert row["test_mse_per_pixel"] is row["parameters"] is None
    (remark,) = comparison.remarks()
    assert remark.startswith("a has no metrics.json, since it still trains or was interrupted: its last val/loss is ")
    assert remark.endswith(f" {losses[-1]:.5f} at step {steps[-1]}.")
    (folder / "metrics.csv").unlink()
    row = measured(Run.load(folder))[0]
    assert row["val_loss"] is row["val_loss_step"] is None
    assert Comparison([Run.load(runs[0]), Run.load(folder)]).remarks()[0].endswith("and no val/loss yet.")


def test_different_data_and_different_probes_are_remarked_on(runs: list[Path], copy: Callable[..., Path]) -> None:
    folder = copy(2, "a/version_0")
    change(folder, "data", "hash", value="other")
    change(folder, "probes", value={"probe_full/latent": 0.5})
    other = copy(1, "b/version_0")
    change(other, "probes", value={"probe/latent": 0.5})
    data, probes = Comparison([Run.load(path) for path in (runs[0], folder, other)]).remarks()
    assert data.startswith("The runs were measured on different data: their errors may not be in the same units")
    assert probes.startswith("Some probes were fitted on all images")


def test_curves_are_what_was_logged(runs: list[Path], toy_sae: Path) -> None:
    curves, groups = Comparison([Run.load(folder) for folder in [*runs, toy_sae]]).curves()
    assert set(curves["validation loss"]) == set(map(str, [*runs, toy_sae]))
    steps, losses = curves["validation loss"][str(runs[1])]
    expected = Run.load(runs[1]).series("val/loss")
    assert np.array_equal(steps, expected[0])
    assert np.array_equal(losses, expected[1])
    assert "linear probe, accuracy" not in curves  # nobody has it
    assert groups[str(runs[0])] == groups[str(runs[1])] != groups[str(runs[2])]


def test_the_table_has_a_line_for_each_run_without_columns_that_none_has(runs: list[Path], tmp_path: Path) -> None:
    comparison = Comparison([Run.load(folder) for folder in runs])
    comparison.write(tmp_path / "compare.csv")
    with (tmp_path / "compare.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert list(lines[0]) == comparison.columns
    assert list(lines[0])[:5] == ["name", "group", "class", "seed", "finished"]
    assert list(lines[0])[-1] == "run"
    assert not {"probe_accuracy", "fraction_recovered", "mcc"} & set(lines[0])
    for line, folder in zip(lines, runs, strict=True):
        assert float(line["test_mse_per_pixel"]) == results_of(folder)["errors"]["test"]["autoencoder"]["mse_per_pixel"]
        assert line["run"] == str(folder)


@pytest.mark.parametrize("file", ["metrics.json", "config.yaml"])
@pytest.mark.parametrize("text", ["{half", "[1, 2]"])
def test_damaged_files_are_named(file: str, text: str, copy: Callable[..., Path]) -> None:
    folder = copy(0, "a/version_0")
    (folder / file).write_text(text)
    with pytest.raises(RunFolderError, match=rf"{file} is damaged|are damaged: \S+{file}"):
        measured(Run.load(folder))[0]


def test_a_test_set_that_is_the_validation_set_is_remarked_on(runs: list[Path], copy: Callable[..., Path]) -> None:
    other = copy(2, "other")
    change(other, "test_is_validation", value=True)
    comparison = Comparison([Run.load(runs[0]), Run.load(other)])
    assert [row["test_is_validation"] for row in comparison.rows] == [None, True]
    assert "test_is_validation" in comparison.columns
    assert any("the test set is the validation set" in remark for remark in comparison.remarks())
    (cell,) = [column.cells for column in _columns(comparison.groups, several=False) if column.heading == "test error"]
    assert [entry.endswith(" *") for entry in cell] == [False, True]


def test_null_in_place_of_a_number_is_an_empty_cell(runs: list[Path], copy: Callable[..., Path]) -> None:
    other = copy(2, "other")
    for name in ("mse_per_pixel", "mse_per_pixel_std", "explained_variance"):
        change(other, "errors", "test", "autoencoder", name, value=None)
    comparison = Comparison([Run.load(runs[0]), Run.load(other)])
    (cell,) = [
        column.cells for column in _columns(comparison.groups, several=False) if column.heading == "variance\nexplained"
    ]
    assert cell[0]
    assert not cell[1]

"""`metrics.json`: written, read back, and flattened for the tables of `sweep` and `compare` alike."""

import json
import shutil
from pathlib import Path

import pytest

from ae_lightning.cli.sweep.results import MEASURED as OF_A_SWEEP
from ae_lightning.cli.sweep.results import measured as row_of_a_sweep
from ae_lightning.cli.sweep.results import write_rows
from ae_lightning.errors import RunFolderError
from ae_lightning.report.compare import MEASURED as OF_A_COMPARISON
from ae_lightning.report.compare import Comparison
from ae_lightning.report.compare import measured as row_of_a_comparison
from ae_lightning.run.results import as_row, pca_is_exact, read_results, row_with_exact_pca, write_results
from ae_lightning.run.run import Run


@pytest.fixture
def run(fit_once) -> Path:
    return fit_once(
        *("--config", "overcomplete_digits", "--model.latent_dim", "8", "--trainer.callbacks", "null"),
        *("--trainer.max_epochs", "1", "--trainer.limit_train_batches", "2", "--snapshots.schedule.count", "2"),
        *("--images.schedule.count", "1"),
    )


def test_what_is_written_is_read(tmp_path):
    assert read_results(tmp_path) == {}
    write_results(tmp_path, {"seconds": 1.5, "probes": {}})
    write_results(tmp_path, {"seconds": None}, "last")
    assert read_results(tmp_path) == {"seconds": 1.5, "probes": {}}
    assert json.loads((tmp_path / "metrics.last.json").read_text()) == {"seconds": None}
    (tmp_path / "metrics.json").write_text("{half")
    with pytest.raises(RunFolderError, match=r"metrics\.json is damaged .*ae-lightning evaluate"):
        read_results(tmp_path)


INSTANCE = {
    "instance": 0,
    "settings": {"k": 8},
    "model": {},
    "errors": {},
    "latents": {},
    "recovery": {},
    "weights": {},
}


@pytest.mark.parametrize(
    ("instances", "where"),
    [
        ({"0": INSTANCE}, "instances"),
        ([INSTANCE, 3], r"instances\.1"),
        ([{**INSTANCE, "settings": {"k": [8]}}], r"instances\.0\.settings\.k"),
        ([{**INSTANCE, "settings": {"k": None}}], r"instances\.0\.settings\.k"),
        ([{**INSTANCE, "latents": {"l0": "x"}}], r"instances\.0\.latents\.l0"),
        ([{name: value for name, value in INSTANCE.items() if name != "errors"}], r"instances\.0\.errors"),
        ([INSTANCE, INSTANCE], r"instances\.1\.instance"),
    ],
)
def test_instances_that_fit_would_not_write_are_refused(tmp_path, instances, where):
    write_results(tmp_path, {"instances": [INSTANCE, {**INSTANCE, "instance": 1}]})
    assert len(read_results(tmp_path)["instances"]) == 2
    write_results(tmp_path, {"instances": instances})
    with pytest.raises(RunFolderError, match=f"damaged \\('{where}' is of another kind"):
        read_results(tmp_path)


def test_without_results_no_number_is_known():
    known = as_row({})
    assert known.pop("is_penalized") is False
    assert set(known.values()) == {None}


def test_numbers_of_a_row_are_those_of_the_sections(run):
    results = json.loads((run / "metrics.json").read_text())
    row, test = as_row(results), results["errors"]["test"]
    assert row["class"] == "OvercompleteAutoencoder"
    assert row["latent_size"] == 8
    assert row["parameters"] == 2 * 64 * 8 + 8 + 64
    assert row["test_mse_per_image"] == pytest.approx(64 * row["test_mse_per_pixel"])
    assert row["test_mse_per_pixel"] == test["autoencoder"]["mse_per_pixel"]
    assert row["pca_test_mse_per_pixel"] == test["pca"]["mse_per_pixel"]
    assert row["mean_image_test_mse_per_pixel"] == test["mean_image"]["mse_per_pixel"]
    assert row["val_mse_per_pixel"] == results["errors"]["validation"]["autoencoder"]["mse_per_pixel"]
    assert row["active_latents"] + row["dead_latents"] == 8
    assert row["encoder_effective_rank"] == results["weights"]["weights/encoder_effective_rank"]
    assert row["median_mean_activation"] == results["latents"]["mean_activation"]["median"]
    assert row["data_hash"] == results["data"]["hash"]


def test_a_sweep_and_a_comparison_say_the_same_of_a_run(run):
    one, other = row_of_a_sweep(run)[0], row_of_a_comparison(Run.load(run))[0]
    shared = set(OF_A_SWEEP) & set(OF_A_COMPARISON)
    assert len(shared) >= 12
    assert {name: one[name] for name in shared} == {name: other[name] for name in shared}


def test_their_tables_have_the_line_ends_of_csv(run, tmp_path):
    again = Run(shutil.copytree(run, tmp_path / "again" / "version_0"))
    Comparison([Run.load(run), again]).write(tmp_path / "compare.csv")
    row = {"latent_dim": 8, "seed": 0, "status": "finished", "run": "a", **row_of_a_sweep(run)[0]}
    write_rows(
        tmp_path / "sweep.csv", [row, {"latent_dim": [9], "seed": 1, "status": "failed", "run": ""}], ["latent_dim"]
    )
    for name in ("compare.csv", "sweep.csv"):
        content = (tmp_path / name).read_bytes()
        assert content.count(b"\r\n") == content.count(b"\n") == 3
    last = (tmp_path / "sweep.csv").read_bytes().splitlines()[-1]
    assert last.startswith(b"[9],1,failed,,")
    assert last.endswith(b",,")


@pytest.mark.parametrize(
    ("error", "mean_error", "components", "size", "exact"),
    [
        (4e-15, 0.07, 61, 64, True),
        (0.0, 0.07, 61, 64, True),
        (1e-7, 0.07, 61, 64, False),
        (3e-9, 1.0, 64, 64, True),  # far from zero rounding is larger, but no direction is left
        (3e-9, 1.0, 63, 64, False),
        (0.02, 0.07, 8, 64, False),
        (None, 0.07, 64, 64, True),
        (None, 0.07, 8, 64, False),
        (1e-15, None, None, None, False),
        (1e-15, 0.07, None, None, True),
    ],
)
def test_pca_is_exact_where_it_leaves_rounding_or_has_as_many_components_as_entries(
    error, mean_error, components, size, exact
):
    assert pca_is_exact(error, mean_error, components, size) is exact


def test_a_row_of_an_overcomplete_code_says_that_pca_is_exact(run):
    row = as_row(read_results(run))
    assert not row_with_exact_pca(row)
    assert row_with_exact_pca(row | {"pca_components": 64, "compression_ratio": 64 / 100, "latent_size": 100})
    # Fewer training samples than entries give fewer components, which leave something.
    assert not row_with_exact_pca(row | {"pca_components": 30, "compression_ratio": 64 / 100, "latent_size": 100})
    assert not row_with_exact_pca({})

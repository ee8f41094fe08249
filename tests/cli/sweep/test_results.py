"""The table of a sweep: what is read from the runs, written, averaged and said."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from ae_lightning.analysis.factor_score_names import SCORES
from ae_lightning.cli.sweep.results import (
    compared_by,
    measured,
    points_of,
    print_points,
    read_statuses,
    settings_of,
    verdict,
    write_rows,
)
from ae_lightning.evaluation.frontier import frontier_lines
from ae_lightning.evaluation.instance_table import SHARED_ORDER
from ae_lightning.plots.sweep import mean_and_spread, sweep_figure
from ae_lightning.run.results import CODEBOOK, TRUTH


def row(error: float, *, seed: int = 0, status: str = "finished", **values: Any) -> dict[str, Any]:
    return {
        "latent_dim": 2,
        "seed": seed,
        "status": status,
        "test_mse_per_pixel": error,
        "pca_test_mse_per_pixel": 0.05,
        "mean_image_test_mse_per_pixel": 0.07,
        "parameters": 322,
        "compression_ratio": 32.0,
        "seconds": 10.0,
        "run": f"latent_dim=2,seed={seed}/version_0",
        "data_hash": "a",
        **values,
    }


def printed(rows: list[dict[str, Any]], keys: list[str]) -> str:
    console = Console(file=io.StringIO(), width=100, highlight=False)
    print_points(console, rows, keys)
    return console.file.getvalue().replace("\N{NO-BREAK SPACE}", " ")  # type: ignore[attr-defined]


def test_numbers_of_a_run_come_from_its_metrics(tmp_path: Path) -> None:
    results = {
        "model": {"parameters": 10, "latent_shape": [2, 3, 4], "compression_ratio": 0.5},
        "data": {"hash": "abc"},
        "errors": {
            "validation": {"autoencoder": {"mse_per_pixel": 1, "mse_per_image": 2}},
            "test": {
                "autoencoder": {"mse_per_pixel": 3, "mse_per_image": 4},
                "mean_image": {"mse_per_pixel": 5, "mse_per_image": 6},
                "pca": {"mse_per_pixel": 7, "mse_per_image": 8},
            },
        },
        "pca_components": 9,
        "latents": {"active": 11.0, "dead": 1.0, "l0": 12.0},
        "probes": {"probe/latent": 0.1, "probe/latent_se": 0.2, "probe/raw": 0.3, "probe_full/latent": 0.4},
    }
    (tmp_path / "metrics.json").write_text(json.dumps(results))
    expected = {
        "test_mse_per_pixel": 3,
        "test_mse_per_image": 4,
        "val_mse_per_pixel": 1,
        "pca_test_mse_per_pixel": 7,
        "pca_components": 9,
        "mean_image_test_mse_per_pixel": 5,
        "test_is_validation": None,
        "parameters": 10,
        "latent_size": 24,
        "compression_ratio": 0.5,
        "active_latents": 11.0,
        "l0": 12.0,
        **dict.fromkeys(["l1", "hoyer", "near_zero", "median_mean_activation"]),  # an older run
        **dict.fromkeys(["fraction_recovered", "fully_recovered_instances", "mcc"]),
        **dict.fromkeys([*TRUTH, *SCORES, *CODEBOOK]),
        "is_penalized": False,
        "has_targets": None,
        "probe_latent": 0.1,
        "probe_raw": 0.3,
        "probe_full_latent": 0.4,
        "probe_full_raw": None,
        "seconds": None,  # an older run
        "data_hash": "abc",
        **dict.fromkeys(["fvu", "class", "instance"]),
        **{"settings": {}, "shares_samples": False},
    }
    assert measured(tmp_path) == [expected]
    (tmp_path / "metrics.json").write_text(json.dumps({**results, "seconds": 2.5}))
    assert measured(tmp_path)[0]["seconds"] == 2.5
    sparse = {
        **results,
        "model": {**results["model"], "penalties": {"kl": 1.0}},
        "latents": {**results["latents"], "hoyer": 0.25, "mean_activation": {"median": 0.05, "min": 0, "max": 1}},
        "recovery": {
            "mcc": 0.9,
            "fraction_recovered": 0.8,
            "fully_recovered_instances": 3.0,
            "f1": 0.7,
            "hedging": 0.1,
        },
    }
    (tmp_path / "metrics.json").write_text(json.dumps(sparse))
    (found,) = measured(tmp_path)
    assert (found["is_penalized"], found["hoyer"], found["median_mean_activation"]) == (True, 0.25, 0.05)
    assert (found["fraction_recovered"], found["fully_recovered_instances"], found["mcc"]) == (0.8, 3.0, 0.9)
    assert (found["f1"], found["hedging"], found["absorption"]) == (0.7, 0.1, None)


def test_the_table_says_how_sparse_codes_are_where_a_penalty_asked_for_it(tmp_path: Path) -> None:
    code = {"l0": 3.0, "hoyer": 0.5}
    plain = [row(0.1, **code), row(0.2, latent_dim=4, **code)]
    assert "Hoyer" not in printed(plain, ["latent_dim"])
    penalized = [row(0.1, is_penalized=True, **code), row(0.1, seed=1, is_penalized=True, l0=5.0, hoyer=0.7)]
    assert " 4 " in printed(penalized, ["latent_dim"])
    assert " 0.600 " in printed(penalized, ["latent_dim"])
    recovered = [row(0.1, fraction_recovered=0.75, fully_recovered_instances=2.0, truth_f1=0.625)]
    assert "0.750" in printed(recovered, ["latent_dim"])
    path = tmp_path / "sweep.csv"
    write_rows(path, plain, ["latent_dim"])
    assert "fraction_recovered" not in path.read_text()
    assert "fvu" not in path.read_text()
    write_rows(path, penalized, ["latent_dim"])
    assert "fvu" in path.read_text()
    write_rows(path, recovered, ["latent_dim"])
    assert "fraction_recovered,fully_recovered_instances,truth_f1," in path.read_text()
    assert ",0.75,2.0,0.625," in path.read_text()


def instances(*of: tuple[dict[str, float], float, float], **values: Any) -> list[dict[str, Any]]:
    """Rows of a population of which each instance has its settings, its L0 and its FVU."""
    known = {"shares_samples": True, "class": "TopKSAE", "latent_size": 64, "is_penalized": True, **values}
    return [
        row(fvu / 10, instance=i, settings=own, l0=l0, fvu=fvu, **{f"instance_{n}": v for n, v in own.items()}, **known)
        for i, (own, l0, fvu) in enumerate(of)
    ]


POPULATION = instances(
    ({"k": 8, "seed": 0}, 8.0, 0.3), ({"k": 8, "seed": 1}, 7.0, 0.5), ({"k": 16, "seed": 0}, 16.0, 0.2)
)


def test_each_instance_is_a_line_of_the_csv_and_the_status_of_its_run_is_found_again(tmp_path: Path) -> None:
    path = tmp_path / "sweep.csv"
    write_rows(path, [*POPULATION, row(0.4, latent_dim=4, instance=None)], ["latent_dim"])
    with path.open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert list(lines[0])[:6] == ["latent_dim", "seed", "status", "instance", "instance_k", "instance_seed"]
    assert [(line["instance"], line["instance_k"], line["instance_seed"]) for line in lines] == [
        ("0", "8", "0"),
        ("1", "8", "1"),
        ("2", "16", "0"),
        ("", "", ""),
    ]
    assert read_statuses(path) == {("2", "0"): "finished", ("4", "0"): "finished"}


def test_instances_are_points_by_their_settings_and_a_seed_of_theirs_is_none(tmp_path: Path) -> None:
    keys = compared_by(POPULATION, ["latent_dim"])
    assert keys == ["latent_dim", "instance_k"]
    points = {point.values: list(point.errors) for point in points_of(POPULATION, keys)}
    assert points == {(2, 8): [0.03, 0.05], (2, 16): [0.02]}
    text = printed(POPULATION, keys)
    assert "0.04000 ± 0.01414" in text
    assert " ".join(SHARED_ORDER.split()[:6]) in text
    assert SHARED_ORDER[:20] not in printed(POPULATION[1:], keys)
    assert SHARED_ORDER[:20] not in printed([row(0.1), row(0.2, seed=1)], ["latent_dim"])


def test_a_run_without_such_settings_has_a_place_beside_instances(tmp_path: Path) -> None:
    keys = compared_by(POPULATION, ["latent_dim"])
    points = points_of([*POPULATION, row(0.4, latent_dim=4)], keys)
    assert [point.values for point in points] == [(2, 8), (2, 16), (4, "")]
    sweep_figure(points, keys).savefig(io.BytesIO())


def test_the_frontier_of_a_sweep_has_a_point_for_each_setting() -> None:
    lines = frontier_lines(settings_of(POPULATION, compared_by(POPULATION, ["latent_dim"])))
    assert {kind: [tuple(point) for point in points] for kind, points in lines.items()} == {
        "TopKSAE": [([8.0, 7.0], [0.3, 0.5]), ([16.0], [0.2])]
    }
    wider = instances(({"k": 8}, 8.0, 0.25), ({"k": 16}, 16.0, 0.15), latent_size=1024)
    rows = [*POPULATION, *({**each, "latent_dim": 1024} for each in wider)]
    lines = frontier_lines(settings_of(rows, compared_by(rows, ["latent_dim"])))
    assert list(lines) == ["TopKSAE, 64 latents", "TopKSAE, 1,024 latents"]


def test_the_csv_has_a_line_for_each_run_and_empty_cells_for_what_is_not_known(tmp_path: Path) -> None:
    path = tmp_path / "sweep.csv"
    failed = {"hidden_dims": [], "seed": 1, "status": "failed", "run": ""}
    rows = [row(0.1, hidden_dims=[512, 256], probe_latent=0.9), failed]
    write_rows(path, rows, ["hidden_dims"])
    with path.open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert list(lines[0])[:4] == ["hidden_dims", "seed", "status", "test_mse_per_pixel"]
    assert list(lines[0])[-2:] == ["seconds", "run"]
    assert "data_hash" not in lines[0]
    assert [line["hidden_dims"] for line in lines] == ["[512,256]", "[]"]
    assert [line["probe_latent"] for line in lines] == ["0.9", ""]
    assert "probe_raw" not in lines[0]  # no run logged it
    assert lines[1]["test_mse_per_pixel"] == lines[1]["run"] == ""
    assert read_statuses(path) == {("[512,256]", "0"): "finished", ("[]", "1"): "failed"}


@pytest.mark.parametrize("text", ["", "other,table\n1,2\n", "key,seed,status\n1\n"])
def test_a_csv_that_is_cut_short_or_another_tells_no_status(text: str, tmp_path: Path) -> None:
    (tmp_path / "sweep.csv").write_text(text)
    assert read_statuses(tmp_path / "sweep.csv") == {}
    assert read_statuses(tmp_path / "none.csv") == {}


def test_means_and_spreads_by_hand() -> None:
    assert mean_and_spread([1.0, 2.0, 4.0]) == pytest.approx((7 / 3, np.sqrt((16 / 9 + 1 / 9 + 25 / 9) / 2)))
    mean, spread = mean_and_spread([5.0])
    assert mean == 5.0
    assert np.isnan(spread)
    assert np.isnan(mean_and_spread([])).all()


def test_points_gather_the_finished_seeds_of_each_value() -> None:
    rows = [
        row(0.4, latent_dim=16, seed=0, seconds=None),
        row(0.1, latent_dim=2, seed=0, seconds=3.0),
        row(0.2, latent_dim=16, seed=1),
        row(9.9, latent_dim=2, seed=1, status="failed"),
        row(9.9, latent_dim=4, seed=1, status="interrupted"),
    ]
    two, sixteen = points_of(rows, ["latent_dim"])
    assert (two.values, sixteen.values) == ((2,), (16,))
    assert (two.errors, sixteen.errors) == ([0.1], [0.4, 0.2])
    assert (two.seconds, sixteen.seconds) == ([3.0], [10.0])
    assert not two.pca_is_exact
    assert (two.pca, two.mean_image, two.parameters) == (0.05, 0.07, 322)


def test_values_that_are_no_numbers_keep_their_order_and_their_text() -> None:
    rows = [
        row(0.1, a=[2], b=True),
        row(0.1, a=[2], b=False),
        row(0.1, a=None, b=True),
        row(0.3, a=[2], b=True, seed=1),
    ]
    points = points_of(rows, ["a", "b"])
    assert [point.values for point in points] == [("[2]", "true"), ("[2]", "false"), ("null", "true")]
    assert points[0].errors == [0.1, 0.3]


def test_the_table_has_means_and_deviations_and_says_what_is_missing() -> None:
    errors = [0.0301, 0.0322, 0.0289]
    rows = [row(error, seed=seed, probe_full_latent=0.8 + seed / 100) for seed, error in enumerate(errors)]
    rows += [row(0.01, latent_dim=64, pca_test_mse_per_pixel=1e-15, parameters=8320)]
    rows += [row(0.0, latent_dim=64, seed=1, status="failed")]
    text = printed(rows, ["latent_dim"])
    assert f"{np.mean(errors):.5f} ± {np.std(errors, ddof=1):.5f}" in text
    assert "0.8100 ± 0.0100" in text
    for words in ("exact", "1 of 2", "8,320", "0.05000", "10.0", "mean image 0.07000 at every point"):
        assert words in text
    assert max(map(len, text.splitlines())) <= 100
    assert "different data" not in text


def test_columns_of_nothing_are_left_out() -> None:
    text = printed([row(0.1, seconds=None)], ["latent_dim"])
    assert "seconds" not in text
    assert "probe" not in text
    assert "±" not in text
    assert "0.07000" in text  # the mean image, beside a single point


def test_errors_on_different_data_are_remarked_on() -> None:
    assert "different data" in printed([row(0.1), row(0.1, latent_dim=3, data_hash="b")], ["latent_dim"])


def test_the_verdict_on_pca() -> None:
    rows = [
        row(0.04, latent_dim=2, seed=0),
        row(0.058, latent_dim=2, seed=1),  # 0.049 on average
        row(0.04, latent_dim=16),
        row(0.0512, latent_dim=32),
        row(0.05004, latent_dim=48),
        row(0.001, latent_dim=64, pca_test_mse_per_pixel=1e-15),
    ]
    assert verdict(points_of(rows, ["latent_dim"]), ["latent_dim"]) == (
        "beats PCA of the same width: latent_dim 2, 16; "
        "does not: latent_dim 32 (0.051 against 0.05), 48 (0.05004 against 0.05)\n"
        "where PCA of the same width is exact, so no baseline: latent_dim 64"
    )


def test_the_verdict_where_none_or_all_beat_it() -> None:
    rows = [row(0.06, lr=0.1, act="relu"), row(0.07, lr=0.1, act="none")]
    assert verdict(points_of(rows, ["lr", "act"]), ["lr", "act"]) == (
        "does not beat PCA of the same width: lr=0.1 act=relu (0.06 against 0.05), "
        "lr=0.1 act=none (0.07 against 0.05)\n"
        "no better than the mean image: lr=0.1 act=none"
    )
    assert verdict(points_of([row(0.01), row(0.02, seed=1)], []), []) == "beats PCA of the same width: this model"


def test_the_baseline_of_samples_with_targets_is_a_linear_regression() -> None:
    rows = [row(0.1, has_targets=True, pca_components=None)]
    text = printed(rows, ["latent_dim"])
    assert "linear" in text
    assert "PCA" not in text
    points = points_of(rows, ["latent_dim"])
    assert verdict(points, ["latent_dim"]).startswith("does not beat linear regression of the same width: latent_dim ")
    both = points_of([*rows, row(0.1, latent_dim=3)], ["latent_dim"])
    assert verdict(both, ["latent_dim"]).startswith("does not beat PCA or linear regression of the same width: ")
    figure = sweep_figure(both, ["latent_dim"])
    drawn = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "PCA or linear regression of the same width" in drawn


def test_errors_that_are_those_of_the_validation_set_are_marked(tmp_path: Path) -> None:
    rows = [row(0.1, test_is_validation=True), row(0.2, seed=1, test_is_validation=True)]
    out = printed(rows, ["latent_dim"])
    assert "test error per pixel *," in out
    assert "* the test set is the validation set" in out
    write_rows(tmp_path / "sweep.csv", rows, ["latent_dim"])
    with (tmp_path / "sweep.csv").open(newline="") as file:
        assert [line["test_is_validation"] for line in csv.DictReader(file)] == ["True", "True"]
    assert "*" not in printed([row(0.1)], ["latent_dim"])


def test_a_run_whose_error_is_not_finite_has_a_place_in_the_table() -> None:
    rows = [row(0.1), row(None, latent_dim=4)]  # type: ignore[arg-type]
    assert "not finite" in printed(rows, ["latent_dim"])
    assert "beats" not in verdict(points_of(rows[1:], ["latent_dim"]), ["latent_dim"])

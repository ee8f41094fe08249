"""Populations beside runs: a row for each instance, a line for each setting, a point of the frontier for each."""

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from ae_lightning.evaluation.instance_table import SHARED_ORDER
from ae_lightning.report.compare import Comparison
from ae_lightning.run.run import Run

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write a run's folder of hand-made numbers."""

    def write(name: str, kind: str, instances: Sequence[tuple[dict[str, Any], float, float]], **config: Any) -> Path:
        """Instances are settings, L0 and FVU; one without settings whose run has no other is a run by itself."""
        folder = tmp_path / name
        folder.mkdir(parents=True)
        arguments = config.pop("arguments", {})
        settings = {"model": {"class_path": f"my.{kind}", "init_args": arguments}, "seed_everything": 0, **config}
        (folder / "config.yaml").write_text(json.dumps(settings))
        listed = [_entry(i, *of) for i, of in enumerate(instances)]
        results = {
            "seed": settings["seed_everything"],
            "model": {"class": kind, "latent_shape": [64], "asked_l0": {"k": 9}, "parameters": 100 * len(listed)},
            "errors": listed[0]["errors"],
            "latents": listed[0]["latents"],
            "data": {"hash": "d", "description": "400 test images"},
        }
        if len(listed) > 1:
            results["instances"] = listed
        (folder / "metrics.json").write_text(json.dumps(results))
        return folder

    return write


def _entry(number: int, settings: dict[str, Any], l0: float, fvu: float | None) -> dict[str, Any]:
    error = None if fvu is None else fvu / 10
    return {
        "instance": number,
        "settings": settings,
        "model": {"penalties": {}, "asked_l0": {"k": settings.get("k", 9)}},
        "errors": {"test": {"autoencoder": {"mse_per_pixel": error, "mse_per_pixel_std": 0.2, "fvu": fvu}}},
        "latents": {"l0": l0, "dead": number},
        "recovery": {},
        "weights": {},
    }


def compared(*folders: Path) -> Comparison:
    return Comparison([Run.load(folder) for folder in folders])


MIXED = [({"k": 8, "seed": 0}, 8.0, 0.3), ({"k": 16, "seed": 0}, 16.0, 0.2), ({"k": 8, "seed": 1}, 7.8, 0.34)]


ALONE = [({}, 9.0, 0.4)]


def test_each_instance_is_a_row_of_the_table(make: Make, tmp_path: Path) -> None:
    comparison = compared(make("topk/version_0", "TopKSAE", MIXED), make("gated/version_0", "GatedSAE", ALONE))
    comparison.write(tmp_path / "compare.csv")
    with (tmp_path / "compare.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["topk"] * 3 + ["gated"]
    assert [row["instance"] for row in rows] == ["0", "1", "2", ""]
    assert [row["instance_k"] for row in rows] == ["8", "16", "8", ""]
    assert [row["instance_seed"] for row in rows] == ["0", "0", "1", ""]
    assert [float(row["fvu"]) for row in rows] == [0.3, 0.2, 0.34, 0.4]
    assert [float(row["test_mse_per_pixel_se"]) for row in rows] == [0.01] * 4
    assert [row["parameters"] for row in rows] == ["100"] * 4


def test_instances_that_differ_by_their_seed_alone_are_one_line(make: Make) -> None:
    comparison = compared(make("topk/version_0", "TopKSAE", MIXED), make("gated/version_0", "GatedSAE", ALONE))
    found = {group.label: [row["instance"] for row in group.rows] for group in comparison.groups}
    assert found == {"topk, k 8": [0, 2], "topk, k 16": [1], "gated": [None]}
    assert SHARED_ORDER in comparison.remarks()


def test_starts_and_seeds_of_fits_join_where_all_else_is_the_same(make: Make) -> None:
    again = [({"k": 8, "seed": 2}, 8.2, 0.32), ({"k": 16, "seed": 2}, 16.0, 0.22)]
    comparison = compared(
        make("a/version_0", "TopKSAE", MIXED, arguments={"seed": [0, 0, 1], "latent_dim": 64}),
        make("a/version_1", "TopKSAE", again, arguments={"seed": [2, 2], "latent_dim": 64}),
        make("b/version_0", "TopKSAE", ALONE, arguments={"seed": 2, "latent_dim": 32}),
    )
    assert [len(group.rows) for group in comparison.groups] == [3, 2, 1]


def test_a_lone_instance_of_each_setting_shares_nothing_to_speak_of(make: Make) -> None:
    comparison = compared(make("a/version_0", "TopKSAE", MIXED[:2]), make("b/version_0", "GatedSAE", ALONE))
    assert SHARED_ORDER not in comparison.remarks()


def test_the_frontier_has_a_line_for_each_architecture_and_a_point_for_each_setting(make: Make) -> None:
    lines = compared(
        make("topk/version_0", "TopKSAE", MIXED),
        make("gated/version_0", "GatedSAE", ALONE),
    ).frontier()
    assert list(lines) == ["TopKSAE", "GatedSAE"]
    assert [(point.l0, point.fvu) for point in lines["TopKSAE"]] == [([8.0, 7.8], [0.3, 0.34]), ([16.0], [0.2])]
    assert [(point.l0, point.fvu) for point in lines["GatedSAE"]] == [([9.0], [0.4])]


def test_models_that_have_no_place_on_the_frontier_are_left_out(make: Make) -> None:
    broken = [({"k": 8}, 8.0, 0.3), ({"k": 16}, 0.0, 1.0), ({"k": 32}, 30.0, None), ({"k": 64}, 60.0, 0.05)]
    lines = compared(
        make("topk/version_0", "TopKSAE", broken), make("other/version_0", "TopKSAE", ALONE, extra=1)
    ).frontier()
    assert [point.l0 for point in lines["TopKSAE"]] == [[8.0], [60.0], [9.0]]
    alone = compared(
        make("one/version_0", "TopKSAE", [({}, 8.0, 0.3)]), make("two/version_0", "GatedSAE", [({}, 0.0, 1.0)])
    )
    assert alone.frontier() == {}

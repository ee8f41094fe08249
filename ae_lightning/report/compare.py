"""Runs side by side: the final numbers of each, those that differ only by their seed, and their curves."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ae_lightning.analysis.factor_score_names import SCORES
from ae_lightning.errors import ConfigError
from ae_lightning.evaluation.frontier import frontier_lines
from ae_lightning.evaluation.instance_table import SHARED_ORDER
from ae_lightning.files import as_json, write_table
from ae_lightning.numerals import numeral
from ae_lightning.plots.compare import VALIDATION_LOSS
from ae_lightning.plots.frontier import FrontierPoint
from ae_lightning.report.run_labels import check_number, group_labels, names_of
from ae_lightning.run.instances import are_of_one_fit, by_setting, column_of, name_of_settings, rows_of, setting_names
from ae_lightning.run.results import CODEBOOK, RECOVERY, TEST_IS_VALIDATION, TRUTH
from ae_lightning.run.run import Run

Row = dict[str, Any]

ALWAYS = ("name", "group", "class", "seed", "finished", "run")
MEASURED = (
    *("latent_size", "compression_ratio", "parameters"),
    *("test_mse_per_pixel", "test_mse_per_pixel_se", "pca_test_mse_per_pixel", "mean_image_test_mse_per_pixel"),
    *("explained_variance", "fvu", "test_is_validation", "val_loss", "val_loss_step"),
    *("probe_accuracy", "probe_accuracy_se", "probe_kind"),
    *("encoder_effective_rank", "decoder_effective_rank", "active_latents", "dead_latents", "l0", "hoyer"),
    *(*RECOVERY, *TRUTH, *SCORES, *CODEBOOK, "seconds", "data", "data_hash"),
)
"""Columns of numbers, left out of the table where no run has them."""

PANELS = {
    VALIDATION_LOSS: "val/loss",
    "linear probe, accuracy": "probe/latent",
    "encoder, effective rank": "weights/encoder_effective_rank",
    "decoder, effective rank": "weights/decoder_effective_rank",
    "L0 on the validation set": "sparsity/l0",
    "dead on the validation set, fraction": "sparsity/dead_fraction",
}
"""Titles of the panels of curves, and the metric that each shows."""

_OF_INSTANCES = ("instance", "settings", "shares_samples", "is_penalized", "has_targets")
_PROBES = {"probe_full": "all images", "probe": "quick"}


class Group(NamedTuple):
    """Models that differ only by their seed, or one that has no other like it."""

    label: str
    rows: list[Row]


class Comparison:
    """Several runs, finished or not, read once.

    Args:
        runs: The runs, each another one.
        labels: A name for each run, or for each group; the shortest parts of paths that tell them apart by default.

    Attributes:
        rows: For each run, and of a population for each instance, the values of `ALWAYS` and `MEASURED`; None where
            there is no such number. Errors are means over samples and pixels in the units of the normalized data,
            `…_se` standard errors over test samples.
        groups: The rows of models with the same settings but for their seed, in the order of their first runs. A seed
            that is there twice begins another group, since a repeated run tells nothing of how much seeds differ.

    Raises:
        ConfigError: There are neither as many labels as runs nor as many as groups, or two groups have the same.
        RunFolderError: A file of a run is damaged.
    """

    def __init__(self, runs: Sequence[Run], labels: Sequence[str] | None = None) -> None:
        self.runs = list(runs)
        each = [measured(run) for run in self.runs]
        self.rows = [row for rows in each for row in rows]
        members = _by_settings(self.runs, each)
        names = labels if labels and len(labels) == len(runs) else names_of([run.folder for run in runs])
        for rows, name in zip(each, names, strict=True):
            for row in rows:
                row["name"] = name
        titles = group_labels([[names[i] for i in of] for of in members], given=names is labels)
        if labels is not None and names is not labels:
            titles = list(labels)
            check_number(labels, len(runs), len(members))
        if again := [title for title in titles if titles.count(title) > 1]:
            raise ConfigError(f"--labels calls different runs {again[0]}")
        self._titles = {str(runs[i].folder): title for title, of in zip(titles, members, strict=True) for i in of}
        self.groups = [
            group
            for title, of in zip(titles, members, strict=True)
            for group in _by_instance_settings(title, [row for i in of for row in each[i]])
        ]
        for group in self.groups:
            for row in group.rows:
                row["group"] = group.label

    @property
    def columns(self) -> list[str]:
        """Names of the columns that some row has a value in; an instance's own settings are `instance_<name>`."""
        *first, last = ALWAYS
        of_instances = ["instance"] if any(row["instance"] is not None for row in self.rows) else []
        of_instances += map(column_of, setting_names(self.rows))
        known = (name for name in MEASURED if any(row[name] is not None for row in self.rows))
        return [*first, *of_instances, *known, last]

    def curves(self) -> tuple[dict[str, dict[str, tuple[np.ndarray, np.ndarray]]], dict[str, str]]:
        """Curves by panel and run, none where nothing was logged, and each run's group, for `comparison_curves`.

        Curves of a population are means over its instances, and it is in one group with runs that differ by a seed.
        """
        curves: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {}
        tables = [run.metrics for run in self.runs]
        keys = list(map(str, (run.folder for run in self.runs)))
        for title, metric in PANELS.items():
            found = {key: _series(table, metric) for key, table in zip(keys, tables, strict=True) if metric in table}
            if found := {key: curve for key, curve in found.items() if len(curve[0])}:
                curves[title] = found
        return curves, self._titles

    def frontier(self) -> dict[str, list[FrontierPoint]]:
        """What sparsity costs, a line for each architecture; empty where there are fewer than two points."""
        return frontier_lines(group.rows for group in self.groups)

    def remarks(self) -> list[str]:
        """Sentences on what the numbers do not say: unfinished runs, different data, different probes."""
        found = [_unfinished(row) for row in self.rows if not row["finished"]]
        if any(row["test_is_validation"] for row in self.rows):
            found.append(f"* {TEST_IS_VALIDATION}.")
        if any(are_of_one_fit(group.rows) for group in self.groups):
            found.append(SHARED_ORDER)
        if len({row["data_hash"] for row in self.rows} - {None}) > 1:
            found.append("The runs were measured on different data: their errors may not be in the same units.")
        if len({row["probe_kind"] for row in self.rows} - {None}) > 1:
            found.append(
                "Some probes were fitted on all images, others on a part of them: their accuracies do not compare."
            )
        return found

    def write(self, path: Path) -> None:
        """Write a line for each row in one piece, empty cells where it has no such number."""
        columns = self.columns
        write_table(path, columns, ([row.get(name) for name in columns] for row in self.rows))


def measured(run: Run) -> list[Row]:
    """The numbers of a run: the final ones, and the last logged ones where it has not finished.

    Returns:
        A row for each instance of a population, else one.

    Raises:
        RunFolderError: `config.yaml` or `metrics.json` is damaged.
    """
    results, config = run.results, run.config
    steps, losses = _series(run.metrics, "val/loss")
    of_run = {
        "seed": results.get("seed", config.get("seed_everything")),
        "finished": bool(results),
        "run": str(run.folder),
    }
    logged = {
        "val_loss": float(losses[-1]) if len(losses) else None,
        "val_loss_step": int(steps[-1]) if len(steps) else None,
    }
    kind = str(config.get("model", {}).get("class_path", "")).rpartition(".")[2]
    known = rows_of({**results, "weights": results.get("weights") or run.last_values("weights")})
    probes = _probe(results.get("probes") or run.last_values("probe"))
    if len(known) > 1:  # what was logged and probed is a mean over instances
        logged, probes = dict.fromkeys(logged), dict.fromkeys(probes)
    return [
        {
            **{name: row.get(name) for name in (*ALWAYS[2:], *MEASURED, *_OF_INSTANCES)},
            **of_run,
            **logged,
            **probes,
            "class": row["class"] or kind,
            "test_mse_per_pixel_se": _standard_error(row["test_mse_per_pixel_std"], row["data"] or ""),
            **{column_of(name): value for name, value in row["settings"].items()},
        }
        for row in known
    ]


def _standard_error(spread: float | None, description: str) -> float | None:
    """Standard error of a mean over test samples, whose number is known from the line on the data."""
    number = re.search(r"([\d,]+) test (?:images|samples)", description)
    count = int(number[1].replace(",", "")) if number else 0
    return spread / math.sqrt(count) if spread is not None and count else None


def _probe(probes: dict[str, float]) -> Row:
    kind = next((kind for kind in _PROBES if f"{kind}/latent" in probes), "")
    accuracy, error = (probes.get(f"{kind}/latent{end}") for end in ("", "_se"))
    return {"probe_accuracy": accuracy, "probe_accuracy_se": error, "probe_kind": _kind_of(kind, probes)}


def _kind_of(kind: str, probes: dict[str, float]) -> str | None:
    part = probes.get(f"{kind}/fitted_on")
    return _PROBES.get(kind) if part is None else f"{part:,.0f} images"


def _series(table: dict[str, np.ndarray], name: str) -> tuple[np.ndarray, np.ndarray]:
    if name not in table:
        return np.empty(0), np.empty(0)
    there = ~np.isnan(table[name])
    return table["step"][there], table[name][there]


def _by_settings(runs: Sequence[Run], rows: Sequence[Sequence[Row]]) -> list[list[int]]:
    """Numbers of the runs of each group."""
    groups: dict[tuple[str, int], list[int]] = {}
    seen: dict[tuple[str, str], int] = {}
    for i, (run, (row, *_)) in enumerate(zip(runs, rows, strict=True)):
        settings = _settings(run.config)
        seeds = as_json([row["seed"], _arguments(run.config).get("seed")], default=str)
        again = seen.get((settings, seeds), 0)
        seen[settings, seeds] = again + 1
        groups.setdefault((settings, again), []).append(i)
    return list(groups.values())


def _settings(config: dict[str, Any]) -> str:
    """What was trained and how, as text: all settings but the seeds, and where the run lies."""
    trainer = {name: value for name, value in (config.get("trainer") or {}).items() if name != "default_root_dir"}
    rest = {name: value for name, value in config.items() if name not in ("seed_everything", "experiment")}
    arguments = {name: value for name, value in _arguments(config).items() if name != "seed"}
    if arguments:
        rest["model"] = {**rest["model"], "init_args": arguments}
    return as_json({**rest, "trainer": trainer}, sort_keys=True, default=str)


def _arguments(config: dict[str, Any]) -> dict[str, Any]:
    """Options of the model."""
    model = config.get("model")
    arguments = model.get("init_args") if isinstance(model, dict) else None
    return arguments if isinstance(arguments, dict) else {}


def _by_instance_settings(title: str, rows: Sequence[Row]) -> list[Group]:
    """Rows of runs that differ by a seed, apart where their instances differ by more."""
    groups = by_setting(rows)
    names = [name_of_settings(of[0]) for of in groups]
    return [Group(f"{title}, {name}" if name else title, of) for name, of in zip(names, groups, strict=True)]


def _unfinished(row: Row) -> str:
    why = f"{row['name']} has no metrics.json, since it still trains or was interrupted"
    if row["val_loss"] is None:
        return f"{why}, and no val/loss yet."
    return f"{why}: its last val/loss is {numeral(row['val_loss'])} at step {row['val_loss_step']:,}."

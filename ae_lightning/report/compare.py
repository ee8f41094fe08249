"""Runs side by side: the final numbers of each, those that differ only by their seed, and their curves."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ae_lightning.errors import ConfigError
from ae_lightning.files import as_json, write_table
from ae_lightning.numerals import numeral
from ae_lightning.plots.compare import VALIDATION_LOSS
from ae_lightning.run.results import TEST_IS_VALIDATION, as_row
from ae_lightning.run.run import Run

Row = dict[str, Any]

ALWAYS = ("name", "group", "class", "seed", "finished", "run")
MEASURED = (
    *("latent_size", "compression_ratio", "parameters"),
    *("test_mse_per_pixel", "test_mse_per_pixel_se", "pca_test_mse_per_pixel", "mean_image_test_mse_per_pixel"),
    *("explained_variance", "test_is_validation", "val_loss", "val_loss_step"),
    *("probe_accuracy", "probe_accuracy_se", "probe_kind"),
    *("encoder_effective_rank", "decoder_effective_rank", "active_latents", "dead_latents", "l0", "hoyer"),
    *("fraction_recovered", "fully_recovered_instances", "mcc", "seconds", "data", "data_hash"),
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

_PROBES = {"probe_full": "all images", "probe": "quick"}
_SEED = re.compile(r"(?:^|,)seed=[^,/]*|(?<=/)seed=[^,/]*,?")


class Group(NamedTuple):
    """Runs that differ only by their seed, or one that has no other like it."""

    label: str
    rows: list[Row]


class Comparison:
    """Several runs, finished or not, read once.

    Args:
        runs: The runs, each another one.
        labels: A name for each run, or for each group; the shortest parts of paths that tell them apart by default.

    Attributes:
        rows: For each run the values of `ALWAYS` and `MEASURED`; None where a run has no such number. Errors are means
            over samples and pixels in the units of the normalized data, `…_se` standard errors over test samples.
        groups: The rows of runs with the same settings but for their seed, in the order of their first runs. A seed
            that is there twice begins another group, since a repeated run tells nothing of how much seeds differ.

    Raises:
        ConfigError: There are neither as many labels as runs nor as many as groups, or two groups have the same.
        RunFolderError: A file of a run is damaged.
    """

    def __init__(self, runs: Sequence[Run], labels: Sequence[str] | None = None) -> None:
        self.runs = list(runs)
        self.rows = [measured(run) for run in self.runs]
        members = _by_settings(self.runs, self.rows)
        names = labels if labels and len(labels) == len(runs) else names_of([run.folder for run in runs])
        for row, name in zip(self.rows, names, strict=True):
            row["name"] = name
        titles = _group_labels([[names[i] for i in of] for of in members], given=names is labels)
        if labels is not None and names is not labels:
            titles = list(labels)
            _check_number(labels, len(runs), len(members))
        if again := [title for title in titles if titles.count(title) > 1]:
            raise ConfigError(f"--labels calls different runs {again[0]}")
        self.groups = [Group(title, [self.rows[i] for i in of]) for title, of in zip(titles, members, strict=True)]
        for group in self.groups:
            for row in group.rows:
                row["group"] = group.label

    @property
    def columns(self) -> list[str]:
        """Names of the columns that some run has a value in."""
        *first, last = ALWAYS
        return [*first, *(name for name in MEASURED if any(row[name] is not None for row in self.rows)), last]

    def curves(self) -> tuple[dict[str, dict[str, tuple[np.ndarray, np.ndarray]]], dict[str, str]]:
        """Curves by panel and run, none where nothing was logged, and each run's group, for `comparison_curves`."""
        curves: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {}
        tables = [run.metrics for run in self.runs]
        keys = [str(row["run"]) for row in self.rows]
        for title, metric in PANELS.items():
            found = {key: _series(table, metric) for key, table in zip(keys, tables, strict=True) if metric in table}
            if found := {key: curve for key, curve in found.items() if len(curve[0])}:
                curves[title] = found
        return curves, {key: row["group"] for key, row in zip(keys, self.rows, strict=True)}

    def remarks(self) -> list[str]:
        """Sentences on what the numbers do not say: unfinished runs, different data, different probes."""
        found = [_unfinished(row) for row in self.rows if not row["finished"]]
        if any(row["test_is_validation"] for row in self.rows):
            found.append(f"* {TEST_IS_VALIDATION}.")
        if len({row["data_hash"] for row in self.rows} - {None}) > 1:
            found.append("The runs were measured on different data: their errors may not be in the same units.")
        if len({row["probe_kind"] for row in self.rows} - {None}) > 1:
            found.append(
                "Some probes were fitted on all images, others on a part of them: their accuracies do not compare."
            )
        return found

    def write(self, path: Path) -> None:
        """Write a line for each run in one piece, empty cells where a run has no such number."""
        columns = self.columns
        write_table(path, columns, ([row[name] for name in columns] for row in self.rows))


def measured(run: Run) -> Row:
    """The numbers of a run: the final ones, and the last logged ones where it has not finished.

    Raises:
        RunFolderError: `config.yaml` or `metrics.json` is damaged.
    """
    results, config = run.results, run.config
    probes = results.get("probes") or run.last_values("probe")
    known = as_row({**results, "weights": results.get("weights") or run.last_values("weights")})
    steps, losses = _series(run.metrics, "val/loss")
    found = {
        **known,
        "class": known["class"] or str(config.get("model", {}).get("class_path", "")).rpartition(".")[2],
        "seed": results.get("seed", config.get("seed_everything")),
        "finished": bool(results),
        "test_mse_per_pixel_se": _standard_error(known["test_mse_per_pixel_std"], known["data"] or ""),
        "val_loss": float(losses[-1]) if len(losses) else None,
        "val_loss_step": int(steps[-1]) if len(steps) else None,
        **_probe(probes),
        "run": str(run.folder),
    }
    return {name: found[name] for name in (*ALWAYS[2:], *MEASURED)}


def names_of(folders: Sequence[Path]) -> list[str]:
    """The shortest parts of paths that tell folders apart: one part, or several that follow each other.

    Names such as `version_0` are only taken where those of the folders above them do not do.
    """
    parts = [folder.resolve().parts for folder in folders]
    numbered = all(re.fullmatch(r"version_\d+", part[-1]) for part in parts)
    deepest = max(map(len, parts), default=0)
    for width in range(1, deepest + 1):
        places = range(deepest - width + 1)
        for above in sorted(places, key=lambda above: (above != 1, above)) if numbered else places:
            names = ["/".join(part[max(len(part) - above - width, 0) : len(part) - above]) for part in parts]
            if len(set(names)) == len(names) and all(names):
                return names
    return [str(folder) for folder in folders]


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


def _by_settings(runs: Sequence[Run], rows: Sequence[Row]) -> list[list[int]]:
    """Numbers of the runs of each group."""
    groups: dict[tuple[str, int], list[int]] = {}
    seen: dict[tuple[str, str], int] = {}
    for i, (run, row) in enumerate(zip(runs, rows, strict=True)):
        settings = _settings(run.config)
        again = seen.get((settings, str(row["seed"])), 0)
        seen[settings, str(row["seed"])] = again + 1
        groups.setdefault((settings, again), []).append(i)
    return list(groups.values())


def _settings(config: dict[str, Any]) -> str:
    """What was trained and how, as text: all settings but the seed, and where the run lies."""
    trainer = {name: value for name, value in (config.get("trainer") or {}).items() if name != "default_root_dir"}
    rest = {name: value for name, value in config.items() if name not in ("seed_everything", "experiment")}
    return as_json({**rest, "trainer": trainer}, sort_keys=True, default=str)


def _group_labels(names: Sequence[Sequence[str]], given: bool) -> list[str]:
    """What the names of a group have in common where that tells groups apart, else all of its names."""
    common = [of[0] if len(of) == 1 else "" if given and len(set(of)) > 1 else _common(of) for of in names]

    def is_clear(i: int) -> bool:
        others = [name for j, of in enumerate(names) if j != i for name in (common[j], *of)]
        return bool(common[i]) and not any(name == common[i] or name.startswith(f"{common[i]}/") for name in others)

    return [common[i] if is_clear(i) else ", ".join(dict.fromkeys(of)) for i, of in enumerate(names)]


def _common(names: Sequence[str]) -> str:
    without_seed = {_SEED.sub("", name).strip(",/") for name in names}
    if len(without_seed) == 1:
        return without_seed.pop()
    alike = takewhile(lambda parts: len(set(parts)) == 1, zip(*(name.split("/") for name in names), strict=False))
    return "/".join(parts[0] for parts in alike)


def _check_number(labels: Sequence[str], runs: int, groups: int) -> None:
    if len(labels) != groups:
        several = f" in {groups} groups that differ by more than a seed" if groups != runs else ""
        raise ConfigError(f"--labels has {len(labels)} names, but there are {runs} runs{several}")


def _unfinished(row: Row) -> str:
    why = f"{row['name']} has no metrics.json, since it still trains or was interrupted"
    if row["val_loss"] is None:
        return f"{why}, and no val/loss yet."
    return f"{why}: its last val/loss is {numeral(row['val_loss'])} at step {row['val_loss_step']:,}."

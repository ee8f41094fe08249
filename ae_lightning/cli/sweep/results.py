"""What came out of a sweep: a row for each run, and for people a table of its points and a sentence on PCA."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ae_lightning.analysis.factor_score_names import SCORES
from ae_lightning.cli.sweep.grid import text_of
from ae_lightning.cli.tables import unbroken
from ae_lightning.errors import RunFolderError
from ae_lightning.evaluation.instance_table import SHARED_ORDER
from ae_lightning.evaluation.judgment import LITTLE, how_little_better
from ae_lightning.files import from_cell, write_table
from ae_lightning.numerals import numeral, with_error
from ae_lightning.plots.sweep import SweepPoint, mean_and_spread
from ae_lightning.run.instances import are_of_one_fit, column_of, rows_of, setting_names
from ae_lightning.run.results import (
    CODEBOOK,
    RECOVERY,
    RESULTS_NAME,
    TEST_IS_VALIDATION,
    TRUTH,
    known,
    linear_baseline,
    read_results,
    row_with_exact_pca,
)

TABLE = "sweep.csv"

PROBES = ("probe_latent", "probe_raw", "probe_full_latent", "probe_full_raw")
MEASURED = (
    *("test_mse_per_pixel", "test_mse_per_image", "fvu", "val_mse_per_pixel"),
    *("pca_test_mse_per_pixel", "pca_components", "mean_image_test_mse_per_pixel", "test_is_validation"),
    *("parameters", "latent_size", "compression_ratio"),
    *("active_latents", "l0", "l1", "hoyer", "near_zero", "median_mean_activation"),
    *(*RECOVERY, *TRUTH, *SCORES, *CODEBOOK, *PROBES, "seconds"),
)
COLUMNS = ("seed", "status", "instance", *MEASURED, "run")
"""Columns of `sweep.csv` behind those of the swept keys; instance, recovery, scores of factors, codebooks and probes
where there are any.

`fvu` is there where codes are made sparse: with `l0` it is a point of the frontier.
"""

_BESIDE = ("class", "settings", "shares_samples", "is_penalized", "has_targets", "data_hash")
TAKEN = (*COLUMNS, *_BESIDE)
"""What a row has other names for than swept keys."""

Row = dict[str, Any]


def measured(version: Path) -> list[Row]:
    """The numbers of a finished run, from its `metrics.json`: a row for each instance of a population, else one.

    Raises:
        RunFolderError: The file is damaged, or lacks what the runs of a sweep are compared by.
    """
    rows = rows_of(read_results(version))
    lacking = [name for row in rows for name in ("parameters", "latent_size", "compression_ratio") if row[name] is None]
    if lacking:
        raise RunFolderError(
            f"{version / RESULTS_NAME} is damaged (it has no {lacking[0]}): write it anew with `ae-lightning evaluate`"
        )
    return [
        {
            **{name: row[name] for name in ("instance", *MEASURED, *_BESIDE)},
            **{column_of(name): value for name, value in row["settings"].items()},
        }
        for row in rows
    ]


def compared_by(rows: Sequence[Row], keys: Sequence[str]) -> list[str]:
    """By what points are told apart: the swept keys, and the settings by which instances differ but for their seed."""
    return [*keys, *(column_of(name) for name in setting_names(rows) if name != "seed")]


def write_rows(path: Path, rows: Sequence[Row], keys: Sequence[str]) -> None:
    """Write `sweep.csv` in one piece: the swept keys and `COLUMNS`, empty where a row has no such number.

    The settings of an instance follow its number as `instance_<name>`.
    """
    optional = {*PROBES, *RECOVERY, *TRUTH, *SCORES, *CODEBOOK, "test_is_validation", "instance"}
    present = {name for row in rows for name, value in row.items() if value is not None}
    if not any(row.get("is_penalized") for row in rows):
        optional.add("fvu")
        present.discard("fvu")
    columns = [*keys, *(name for name in COLUMNS if name not in optional or name in present)]
    if "instance" in columns:
        place = columns.index("instance") + 1
        columns[place:place] = map(column_of, setting_names(rows))
    cells = ({**row, **{key: text_of(row[key]) for key in keys}} for row in rows)
    write_table(path, columns, ([row.get(name) for name in columns] for row in cells))


def read_statuses(path: Path) -> dict[tuple[str, ...], str]:
    """Status of each run in an earlier `sweep.csv`, by the texts of its keys and seed.

    Raises:
        RunFolderError: The file is damaged.
    """
    if not path.is_file():
        return {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [list(map(from_cell, row)) for row in csv.reader(file)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise RunFolderError(f"{path} is damaged ({error}): remove it, and it is written anew") from error
    if not rows or "status" not in rows[0]:
        return {}
    place = rows[0].index("status")
    return {tuple(row[:place]): row[place] for row in rows[1:] if len(row) > place}


def points_of(rows: Sequence[Row], keys: Sequence[str]) -> list[SweepPoint]:
    """The points of the grid that have a finished run, sorted where they are numbers, else as they first come.

    Args:
        rows: What is known of the runs.
        keys: By what points are told apart, see `compared_by`.
    """
    points = [_point(members, keys) for members in settings_of(rows, keys)]
    return sorted(points) if all(_is_number(value) for point in points for value in point.values) else points


def settings_of(rows: Sequence[Row], keys: Sequence[str]) -> list[list[Row]]:
    """The rows of each point of the grid: finished runs that differ by their seed, and instances that do."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        if row["status"] == "finished":
            groups.setdefault(_values(row, keys), []).append(row)
    return list(groups.values())


def _point(rows: Sequence[Row], keys: Sequence[str]) -> SweepPoint:
    def mean(name: str) -> float:
        return mean_and_spread([known(row, name) for row in rows])[0]

    return SweepPoint(
        values=_values(rows[0], keys),
        errors=[known(row, "test_mse_per_pixel") for row in rows],
        pca=mean("pca_test_mse_per_pixel"),
        pca_is_exact=row_with_exact_pca(rows[0]),
        mean_image=mean("mean_image_test_mse_per_pixel"),
        parameters=rows[0]["parameters"],
        seconds=[row["seconds"] for row in rows if row["seconds"] is not None],
        linear=linear_baseline(rows),
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def print_points(console: Console, rows: Sequence[Row], keys: Sequence[str]) -> None:
    """Print a row for each point of the grid, and in a line below it what is the same at all of them."""
    points = points_of(rows, keys)
    runs = {point.values: [row for row in rows if _values(row, keys) == point.values] for point in points}
    probe = next((name for name in ("probe_full_latent", "probe_latent") if any(row.get(name) for row in rows)), "")
    probes = {values: [row[probe] for row in of if row.get(probe) is not None] for values, of in runs.items()}
    of = "instances" if any(row.get("instance") is not None for row in rows) else "runs"
    known = {
        of: [_share(len(point.errors), len(runs[point.values])) for point in points],
        "autoencoder": [_with_spread(point.errors, ".5f") for point in points],
        f"{_linear(points)}, same width": ["exact" if point.pca_is_exact else numeral(point.pca) for point in points],
        "mean image": [numeral(point.mean_image) for point in points],
        "parameters": [f"{point.parameters:,}" for point in points],
        "seconds": [_with_spread(point.seconds, ".1f").partition(" ")[0] for point in points],
        "probe, all images" if "full" in probe else "probe": [_with_spread(of, ".4f") for of in probes.values()],
        **_of_the_code(list(runs.values())),
    }
    constant = {name for name in ("mean image", "parameters") if len(points) > 1 and len(set(known[name])) == 1}
    columns = {name: cells for name, cells in known.items() if name not in constant and any(cells)}
    several = any(len(point.errors) > 1 for point in points)
    marked = any(row.get("test_is_validation") for row in rows)
    title = f"test error per pixel{' *' if marked else ''}"
    title += ", mean ± standard deviation over seeds" if several else ""
    table = Table(title=title, title_justify="left")
    for key in keys:
        table.add_column(key, overflow="fold")
    for name in columns:
        table.add_column(
            name.replace(" ", "\n") if name == "mean image" else name.replace(", ", ",\n"),
            justify="right",
            overflow="fold",
        )
    for point, *cells in zip(points, *columns.values(), strict=True):
        table.add_row(*map(text_of, point.values), *(unbroken(cell) for cell in cells))
    console.print(table)
    if marked:
        console.print(f"* {TEST_IS_VALIDATION}.")
    if any(map(are_of_one_fit, settings_of(rows, keys))):
        console.print(SHARED_ORDER)
    if constant:
        console.print("; ".join(f"{name} {known[name][0]}" for name in known if name in constant) + " at every point")
    if len({row["data_hash"] for row in rows if row["status"] == "finished"}) > 1:
        console.print("The runs were measured on different data: their errors may not be in the same units.")


def _of_the_code(points: Sequence[Sequence[Row]]) -> dict[str, list[str]]:
    """Columns of means: how sparse codes are, where a penalty asked for it, and how many features are recovered."""
    wanted = {"fraction_recovered": ("recovered", ".3f"), "fully_recovered_instances": ("all found", ".1f")}
    wanted |= {"mig": ("MIG", ".3f"), "dci_disentanglement": ("disentangled", ".3f")}
    if any(row.get("is_penalized") for rows in points for row in rows):
        wanted = {"l0": ("L0", ".3g"), "hoyer": ("Hoyer", ".3f")} | wanted

    def mean(rows: Sequence[Row], name: str, form: str) -> str:
        return _with_spread([row[name] for row in rows if row.get(name) is not None], form).partition(" ")[0]

    return {heading: [mean(rows, name, form) for rows in points] for name, (heading, form) in wanted.items()}


def _share(finished: int, all_runs: int) -> str:
    return str(finished) if finished == all_runs else f"{finished} of {all_runs}"


def _values(row: Row, keys: Sequence[str]) -> tuple[Any, ...]:
    """Values of the keys as a point has them: numbers, and text for all else."""
    found = (row.get(key, "") for key in keys)  # a setting of instances is not one of all models
    return tuple(value if _is_number(value) else text_of(value) for value in found)


def _with_spread(values: Sequence[float], form: str) -> str:
    mean, spread = mean_and_spread(values)
    if math.isnan(mean):
        return "not finite" if values else ""
    return with_error(mean, spread, form)


def verdict(points: Sequence[SweepPoint], keys: Sequence[str]) -> str:
    """Say of each point whether its mean error beats PCA (or a linear regression) of the same width, or the mean."""
    linear = _linear(points)
    better, worse, exact = [], [], []
    for point in points:
        mean = mean_and_spread(point.errors)[0]
        if point.pca_is_exact:
            exact.append(_name(point, keys))
        elif mean < point.pca:
            better.append(_name(point, keys))
        else:
            worse.append(f"{_name(point, keys)} ({_against(mean, point.pca)})")
    head = f"{keys[0]} " if len(keys) == 1 else ""
    parts = []
    if better:
        parts.append(f"beats {linear} of the same width: {head}{', '.join(better)}")
    if worse:
        parts.append(f"does not{'' if better else f' beat {linear} of the same width'}: {head}{', '.join(worse)}")
    sentences = ["; ".join(parts)] if parts else []
    if exact:
        sentences.append(f"where {linear} of the same width is exact, so no baseline: {head}{', '.join(exact)}")
    useless = {little: [_name(point, keys) for point in points if _beside_mean(point) == little] for little in LITTLE}
    sentences += [
        f"{little} than the mean image: {head}{', '.join(names)}" for little, names in useless.items() if names
    ]
    return "\n".join(sentences)


def _linear(points: Sequence[SweepPoint]) -> str:
    """What the points' linear baseline is called."""
    return " or ".join(sorted({point.linear for point in points}))


def _beside_mean(point: SweepPoint) -> str:
    return how_little_better(mean_and_spread(point.errors)[0], point.mean_image)


def _name(point: SweepPoint, keys: Sequence[str]) -> str:
    if not keys:
        return "this model"
    if len(keys) == 1:
        return text_of(point.values[0])
    return " ".join(f"{key}={text_of(value)}" for key, value in zip(keys, point.values, strict=True))


def _against(mean: float, pca: float) -> str:
    """Two numbers with as many digits as it takes to tell them apart."""
    digits = next((n for n in range(2, 8) if f"{mean:.{n}g}" != f"{pca:.{n}g}"), 8)
    return f"{mean:.{digits}g} against {pca:.{digits}g}"

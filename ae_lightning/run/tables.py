"""The tables in a run's folder: logged metrics, what was resampled, and the latents of the best checkpoint."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ae_lightning.errors import RunFolderError
from ae_lightning.files import as_cell, from_cell, naming, write_table

_WHOLE = re.compile(r"[0-9]{1,15}")
_LONGEST_LINE = 200  # signs in a table of four numbers

METRICS_NAME = "metrics.csv"

_RESAMPLED_NAME = "resampling.csv"
_RESAMPLED_COLUMNS = ("step", "instance", "latent")
_LATENT_COLUMNS = {
    "instance": np.int64,
    "latent": np.int64,
    "mean_activation": np.float64,
    "firing_density": np.float64,
}


def read_metrics(folder: Path) -> dict[str, np.ndarray]:
    """Columns of a run's `metrics.csv`, NaN where a row has no such value; only an empty `step` where there is none.

    Raises:
        RunFolderError: The table is damaged.
    """
    path = folder / METRICS_NAME
    rows = read_rows(path)
    names = list(rows[0]) if rows else ["step"]
    try:
        return {name: np.array([float(row[name] or "nan") for row in rows]) for name in names}
    except ValueError as error:
        raise RunFolderError(f"{path} is damaged ({error})") from error


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a `metrics.csv` as text; empty where there is none yet. A last line cut short is left out.

    Raises:
        RunFolderError: The file is not a table of metrics.
    """
    if not path.is_file():
        return []
    try:
        text = path.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]
        reader = csv.DictReader(io.StringIO(whole, newline=""), strict=True)
        reader.fieldnames = [from_cell(name) for name in reader.fieldnames or []]
        rows = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise RunFolderError(
            f"{path} is damaged: it is not a text file with values between commas ({error})"
        ) from error
    if rows and "step" not in rows[0]:
        raise RunFolderError(f"{path} is not a table of metrics: it has no column `step`")
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values() or not _WHOLE.fullmatch(row["step"]):
            raise RunFolderError(
                f"{path}, line {number}: it is damaged, since the line lacks some columns, or a step that is a whole "
                "number"
            )
    return rows


def write_rows(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a `metrics.csv` in one piece; a row has no value in the columns that it does not name."""
    write_table(path, columns, ([row.get(name) for name in columns] for row in rows))


def append_row(path: Path, columns: Sequence[str], row: Mapping[str, Any]) -> None:
    """Add a row to a `metrics.csv` of these columns."""
    with naming(path), path.open("a", newline="", encoding="utf-8") as file:
        csv.writer(file).writerow([as_cell(row.get(name)) for name in columns])


def read_resampled(folder: Path) -> dict[str, np.ndarray]:
    """Columns step, instance and latent of a run's `resampling.csv`, whole numbers; empty where nothing was resampled.

    The instance of a model without instances is 0.

    Raises:
        RunFolderError: The table is damaged.
    """
    path = folder / _RESAMPLED_NAME
    try:
        rows = read_rows(path)
        if wrong := [row for row in rows if not all(_WHOLE.fullmatch(row[name]) for name in _RESAMPLED_COLUMNS)]:
            raise ValueError(f"a line holds something else than whole numbers: {str(list(wrong[0].values()))[:100]}")
        return {name: np.array([int(row[name]) for row in rows], dtype=np.int64) for name in _RESAMPLED_COLUMNS}
    except (KeyError, ValueError) as error:
        raise RunFolderError(f"{path} is damaged ({error})") from error


def append_resampled(folder: Path, step: int, dead: Tensor) -> None:
    """Add a row for each latent that was resampled at a step; dead (…, latent) says which were."""
    places = dead.reshape(-1, dead.shape[-1]).nonzero().tolist()
    old = np.stack(list(read_resampled(folder).values()), axis=1).tolist()
    _write_resampled(folder, [*old, *([step, *place] for place in places)])


def drop_resampled_later_than(folder: Path, step: int) -> None:
    """Remove the rows of steps that a resumed run walks through again."""
    rows = np.stack(list(read_resampled(folder).values()), axis=1)
    if (rows[:, 0] > step).any():
        _write_resampled(folder, rows[rows[:, 0] <= step].tolist())


def _write_resampled(folder: Path, rows: list[list[int]]) -> None:
    write_table(folder / _RESAMPLED_NAME, _RESAMPLED_COLUMNS, rows, line_end="\n")


def latents_file(folder: Path, checkpoint: str | None = None) -> Path:
    """The table of the latents of a run's best checkpoint, `latents.csv`, or of another, by the stem of its name."""
    return folder / ("latents.csv" if checkpoint is None else f"latents.{checkpoint}.csv")


def write_latents(path: Path, mean_activation: Tensor, firing_density: Tensor) -> None:
    """Write a row for each latent of each instance; both (…, latent), with instances or without.

    The instance of a model without instances is 0.
    """
    means, rates = (value.reshape(-1, value.shape[-1]) for value in (mean_activation, firing_density))
    cells = zip(np.ndindex(*means.shape), means.flatten().tolist(), rates.flatten().tolist(), strict=True)
    rows = ([*place, f"{mean:.9g}", f"{rate:.9g}"] for place, mean, rate in cells)
    write_table(path, _LATENT_COLUMNS, rows, line_end="\n")


def read_latents(path: Path) -> dict[str, np.ndarray]:
    """Columns of a `latents.csv`; empty where there is none.

    Raises:
        RunFolderError: The table is damaged.
    """
    head = ",".join(_LATENT_COLUMNS)
    try:
        text = path.read_text(encoding="utf-8") if path.is_file() else f"{head}\n"
        first, *lines, end = text.split("\n")
        if first != head or end:
            raise ValueError("it is cut short, or has other columns")
        if any(len(line) > _LONGEST_LINE for line in lines):  # each cell would get as much room as the longest one
            raise ValueError("a line is too long")
        rows = np.array([line.split(",") for line in lines], dtype=str).reshape(len(lines), len(_LATENT_COLUMNS))
        return {name: rows[:, i].astype(kind) for i, (name, kind) in enumerate(_LATENT_COLUMNS.items())}
    except (ValueError, OverflowError) as error:
        raise RunFolderError(f"{path} is damaged ({error}): write it anew with `ae-lightning evaluate`") from error

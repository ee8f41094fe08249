"""The tables in a run's folder: logged metrics, what was resampled, and the latents of the best checkpoint."""

import csv
import io
from pathlib import Path

import numpy as np
from torch import Tensor

from ae_lightning.errors import RunFolderError
from ae_lightning.files import write_text

TABLE_NAME = "resampling.csv"

_RESAMPLED_COLUMNS = ("step", "instance", "latent")

LATENT_COLUMNS = {"instance": np.int64, "latent": np.int64, "mean_activation": np.float64, "firing_density": np.float64}
"""Columns of `latents.csv`, and their types."""


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
        rows = list(csv.DictReader(io.StringIO(whole, newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise RunFolderError(
            f"{path} is damaged: it is not a text file with values between commas ({error})"
        ) from error
    if rows and "step" not in rows[0]:
        raise RunFolderError(f"{path} is not a table of metrics: it has no column `step`")
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values() or not row["step"]:
            raise RunFolderError(f"{path}, line {number}: it is damaged, since the line lacks its step or some columns")
    return rows


def read_resampled(folder: Path) -> dict[str, np.ndarray]:
    """Columns step, instance and latent of a run's `resampling.csv`, whole numbers; empty where nothing was resampled.

    The instance of a model without instances is 0.

    Raises:
        RunFolderError: The table is damaged.
    """
    path = folder / TABLE_NAME
    try:
        rows = read_rows(path)
        return {name: np.array([int(row[name]) for row in rows], dtype=np.int64) for name in _RESAMPLED_COLUMNS}
    except (KeyError, ValueError, OverflowError) as error:
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
    lines = (",".join(map(str, row)) for row in rows)
    write_text(folder / TABLE_NAME, "\n".join([",".join(_RESAMPLED_COLUMNS), *lines]) + "\n")


def read_latents(path: Path) -> dict[str, np.ndarray]:
    """Columns of a `latents.csv`; empty where there is none.

    Raises:
        RunFolderError: The table is damaged.
    """
    head = ",".join(LATENT_COLUMNS)
    try:
        text = path.read_text(encoding="utf-8") if path.is_file() else f"{head}\n"
        first, *lines, end = text.split("\n")
        if first != head or end:
            raise ValueError("it is cut short, or has other columns")
        rows = np.array([line.split(",") for line in lines], dtype=str).reshape(len(lines), len(LATENT_COLUMNS))
        return {name: rows[:, i].astype(kind) for i, (name, kind) in enumerate(LATENT_COLUMNS.items())}
    except ValueError as error:
        raise RunFolderError(f"{path} is damaged ({error}): write it anew with `ae-lightning evaluate`") from error

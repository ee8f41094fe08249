"""Writing a store: rows come in order, and shards are written behind them by a few threads."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from ae_lightning.data.store.failures import telling_failures
from ae_lightning.data.store.filling import Filling, Shapes, shapes_of
from ae_lightning.data.store.index import StoreIndex
from ae_lightning.data.store.names import (
    INDEX,
    MERGED,
    SCHEMA,
    default_shard_rows,
    dtype_named,
    statistics_file,
)
from ae_lightning.data.store.samples import SampleWriter
from ae_lightning.data.store.settings import agree_on_settings, alone_in
from ae_lightning.data.store.shards import ShardPool, whole_shards
from ae_lightning.data.store.statistics import WIDEST_COVARIANCE, write_statistics
from ae_lightning.errors import DataError
from ae_lightning.files import remove_leftovers, write_json


class StoreWriter:
    """Writes a store in a `with` block, and goes on with one that was broken off, which ends with the same bytes.

    What is in which shard follows from the numbers of the rows alone. Rows that are there already are left out as they
    come, so that a harvest may begin again at the first row; `wanted` and `skip` save it the work.

    Args:
        folder: The store; it is made.
        settings: What the harvest was asked for, as JSON has it. A harvest goes on only where they are the same.
        arrays: Name and width of each array.
        dtype: Type of their numbers, one of `float32`, `float16`, `bfloat16`.
        shard_rows: Rows of each shard but the last; None makes shards of about 128 MB.
        extras: What is kept of each row beside them: `sample` and `position`, and `y`, its class, where that is known.
        covariance: Whether to keep covariances; None keeps those of arrays up to 4,096 wide.
        command: The command that goes on with the harvest, for messages.

    Raises:
        DataError: The folder holds another harvest or something else.
    """

    def __init__(
        self,
        folder: str | Path,
        settings: Mapping[str, Any],
        arrays: Mapping[str, int],
        dtype: str | torch.dtype = "float32",
        shard_rows: int | None = None,
        extras: Sequence[str] = ("sample", "position"),
        covariance: bool | None = None,
        command: str = "",
    ) -> None:
        self.folder = Path(folder).expanduser()
        self.dtype = dtype_named(dtype)
        self.arrays = dict(arrays)
        self.shard_rows = shard_rows or default_shard_rows(sum(arrays.values()) * self.dtype.itemsize)
        self.extras = tuple(extras)
        self.command = command
        self.row = 0
        self._kinds = {
            name: (width, width <= WIDEST_COVARIANCE if covariance is None else covariance)
            for name, width in arrays.items()
        }
        self._settings = {
            "schema": SCHEMA,
            "arrays": self.arrays,
            "dtype": str(self.dtype).removeprefix("torch."),
            "shard_rows": self.shard_rows,
            "extras": list(self.extras),
            "covariance": {name: kept for name, (_, kept) in self._kinds.items()},
            "settings": dict(settings),
        }
        self._present: dict[int, int] = {}
        self._open: contextlib.ExitStack
        self._filling: Filling | None = None
        self._pool: ShardPool
        self._samples = SampleWriter(self.folder)
        self.finished = False
        """Whether the store is whole: there is nothing to write."""

    def __enter__(self) -> StoreWriter:
        self.command = agree_on_settings(self.folder, self._settings, self.command)
        with contextlib.ExitStack() as opened:
            opened.enter_context(alone_in(self.folder))
            remove_leftovers(self.folder)
            self.finished = self._is_finished()
            if self.finished:
                (self.folder / MERGED).unlink(missing_ok=True)  # of a process that was killed at the very end
            else:
                (self.folder / INDEX).unlink(missing_ok=True)
                self._remove_shuffled()
            self._present = whole_shards(self.folder, self._shapes_of(self.shard_rows))
            self._pool = ShardPool(self.folder, self._kinds, () if self.finished else self._present)
            self._open = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._open:
            if not self.finished:
                with contextlib.suppress(OSError):  # of the record; what was wrong before is to be told
                    self._pool.break_off()

    def wanted(self, count: int, row: int | None = None) -> bool:
        """Whether any of `count` rows, from the next one on or from `row` on, is not there yet."""
        first = self.row if row is None else row
        numbers = range(first // self.shard_rows, -(-(first + count) // self.shard_rows))
        return any(number not in self._present for number in numbers)

    def skip(self, count: int) -> None:
        """Pass over the next rows, all of which are there.

        Raises:
            ValueError: They are not.
        """
        if self.wanted(count):
            raise ValueError(f"of the rows {self.row} to {self.row + count} some are not in {self.folder}")
        self.row += count

    def add(
        self,
        arrays: Mapping[str, Tensor],
        sample: Tensor,
        position: Tensor,
        y: Tensor | None = None,
        dropped: Mapping[str, int] | None = None,
    ) -> None:
        """Add the next rows; those that are there already are left out.

        Args:
            arrays: Rows (n, width) of each array, on any device.
            sample: Number of the sample of each row, (n,), counted from 0.
            position: Position of each row in its sample, (n,).
            y: Class of each row, (n,), of a store that keeps it.
            dropped: Rows that were left out beside these, by reason, for the index.

        Raises:
            DataError: A value is NaN, or infinite in the store's type; or an earlier shard cannot be written.
            ValueError: These are no rows of this store.
        """
        rows = {**arrays, "sample": sample, "position": position, **({} if y is None else {"y": y})}
        count = len(sample)
        self._require_shapes(rows, count)
        self._count_dropped(count, dropped or {})
        done = 0
        while done < count:
            number, place = divmod(self.row, self.shard_rows)
            taken = min(count - done, self.shard_rows - place)
            if number not in self._present:
                self._filled(number).put({name: part[done : done + taken] for name, part in rows.items()}, self.row)
            self.row += taken
            done += taken

    def add_samples(self, tokens: Iterable[Tensor]) -> None:
        """Add the token ids (length,) of the next samples, from the first one on at each run.

        Raises:
            DataError: They cannot be written.
        """
        with self._telling():
            self._samples.add(tokens)

    def finish(
        self,
        *,
        model: Mapping[str, Any],
        data: Mapping[str, Any],
        samples: int,
        mask: Mapping[str, Any] | None = None,
        shape: Sequence[int] | None = None,
        num_classes: int | None = None,
        sides: Mapping[str, tuple[str, str]] | None = None,
    ) -> StoreIndex:
        """Write what is left, the statistics, and at last the index.

        Args:
            model: What the activations are of: `name`, `class`, `weights_sha256`.
            data: What the model was shown.
            samples: Number of samples.
            mask: What was left out; rows that were dropped are added, by reason, as `dropped`.
            shape: Spatial shape that positions count through by rows.
            num_classes: Number of classes of `y`.
            sides: Layer and side (`input` or `output`) of each array; without it they follow from the name.

        Returns:
            The index.

        Raises:
            DataError: There are no rows, or other ones than an earlier harvest wrote; or a shard cannot be written.
        """
        self._write()
        with self._telling():
            self._pool.finish()
            entries = self._with_first_rows(self._pool.entries)
            rows = sum(entry["rows"] for entry in entries)
            if rows == 0:
                raise DataError(f"The harvest into {self.folder} gave no rows; give it data with at least one.")
            if rows != self.row:
                raise DataError(
                    f"The harvest into {self.folder} gave {self.row:,} rows, and there are {rows:,} of an earlier one; "
                    "name another folder, or remove this one."
                )
            content = {
                **{"schema": SCHEMA, "rows": rows, "samples": samples, "shard_rows": self.shard_rows},
                **{"arrays": self._described(sides or {}), "extras": list(self.extras), "shards": entries},
                "sample_files": self._samples.finish(),
                **{"model": dict(model), "data": dict(data), "mask": {**(mask or {}), "dropped": self._pool.dropped}},
                **{"shape": None if shape is None else list(shape), "shuffled": None, "num_classes": num_classes},
                "command": self.command,
            }
            write_json(self.folder / INDEX, content)
            (self.folder / MERGED).unlink(missing_ok=True)
        self.finished = True
        return StoreIndex.read(self.folder)

    def _is_finished(self) -> bool:
        if not (self.folder / INDEX).is_file():
            return False
        try:
            StoreIndex.read(self.folder)
        except DataError:  # what is missing is about to be made
            return False
        return True

    def _remove_shuffled(self) -> None:
        """Remove shuffled rows that no index speaks of: they are shuffled anew once all are there."""
        for path in self.folder.glob("shuffled-*.safetensors"):
            path.unlink()

    def _shapes_of(self, rows: int) -> Shapes:
        return shapes_of(self.arrays, self.dtype, self.extras, rows)

    def _require_shapes(self, rows: Mapping[str, Tensor], count: int) -> None:
        expected = {name: shape for name, (shape, _) in self._shapes_of(count).items()}
        there = {name: tuple(part.shape) for name, part in rows.items()}
        if there != expected:
            raise ValueError(f"rows of {there} are none of a store of {expected}")

    def _count_dropped(self, count: int, dropped: Mapping[str, int]) -> None:
        """Let a shard tell of rows that were left out beside the next ones: that of the first, or of the row before."""
        number = max(0, self.row - (count == 0)) // self.shard_rows
        if dropped and number not in self._present:
            self._filled(number).count_dropped(dropped)

    def _filled(self, number: int) -> Filling:
        """The shard of a number, which is filled from now on; the one before is written."""
        if self._filling is None or self._filling.number != number:
            self._write()
            self._filling = Filling(number, self._shapes_of(self.shard_rows))
        return self._filling

    def _write(self) -> None:
        """Let the shard that was filled be written."""
        filling, self._filling = self._filling, None
        if filling is not None and filling.rows:
            with self._telling():
                self._pool.write(filling.number, filling.tensors(), filling.dropped, filling.from_cpu)

    def _with_first_rows(self, entries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        firsts = itertools.accumulate((entry["rows"] for entry in entries), initial=0)
        return [{**entry, "first_row": first} for entry, first in zip(entries, firsts, strict=False)]

    def _described(self, sides: Mapping[str, tuple[str, str]]) -> dict[str, dict[str, Any]]:
        """What the index says of each array; writes the files of their statistics."""
        described = {}
        for number, (name, width) in enumerate(self.arrays.items()):
            layer, _, side = name.partition(":")
            layer, side = sides.get(name, (layer, side or "output"))
            described[name] = {
                **{"width": width, "dtype": self._settings["dtype"], "layer": layer, "side": side},
                "statistics": write_statistics(self.folder / statistics_file(number), self._pool.sums[name]),
            }
        return described

    def _telling(self) -> contextlib.AbstractContextManager[None]:
        return telling_failures(self.folder, self._shapes_of(self.shard_rows), self.command)

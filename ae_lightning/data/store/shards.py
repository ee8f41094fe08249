"""Shards of a store, written and measured by a few threads, and their statistics, merged in the order of the shards."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import time
from collections.abc import Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from ae_lightning.data.store.filling import Shapes
from ae_lightning.data.store.names import MERGED, rows_file
from ae_lightning.data.store.shard_file import Damaged, Head, read_tensors
from ae_lightning.data.store.statistics import RowSums, read_vectors
from ae_lightning.files import as_json, replacing, sha256_of
from ae_lightning.safetensors_writer import pieces, write_tensors

# Seconds between two records of what is merged: a harvest that was killed reads no more than it wrote in these.
_RECORD_EVERY = 30.0
# Threads that write, and so shards in memory beside the one that is filled.
_WORKERS = 2


class ShardPool:
    """Writes shards in a few threads, and merges what is measured of them in the order of the shards.

    What is merged follows from the shards alone, not from who wrote them or when: a shard that an earlier process has
    written is read and measured when its turn comes, unless the record of merged statistics covers it.

    Shards are measured in the calling thread, or in the threads that write them. A second thread that computes takes
    cores from the first, and each loop of the first on several cores waits for all of them: a convolution on two cores
    took 1.5 times as long. So where the network runs on the CPU too, nothing is to compute beside it.

    Args:
        folder: The store.
        kinds: Names of the arrays, their widths, and whether the covariance of each is kept.
        present: Numbers of the shards that are there.
    """

    def __init__(
        self,
        folder: Path,
        kinds: Mapping[str, tuple[int, bool]],
        present: Collection[int],
    ) -> None:
        self.folder = folder
        self.entries: list[dict[str, Any]] = []
        self.dropped: dict[str, int] = {}
        self.sums = {name: RowSums(width, wanted) for name, (width, wanted) in kinds.items()}
        self._kinds = kinds
        self._present = set(present)
        # Of shards that wait for their turn, and of each what is known of it already.
        self._files: dict[int, dict[str, Any]] = {}
        self._own_sums: dict[int, dict[str, RowSums]] = {}
        self._merging = threading.Lock()
        self._half_merged = False
        self._stopping = threading.Event()
        self._room = threading.BoundedSemaphore(_WORKERS)
        self._read_record()
        self._recorded = time.monotonic()
        self._threads = ThreadPoolExecutor(_WORKERS, thread_name_prefix="store")
        self._jobs: list[Future[None]] = []

    def write(
        self, number: int, tensors: Mapping[str, Tensor], dropped: Mapping[str, int], measure_here: bool = True
    ) -> None:
        """Let a shard be written; waits while all threads are busy.

        Args:
            number: Which one it is.
            tensors: All that it holds.
            dropped: Rows that were left out beside it, by reason.
            measure_here: Whether to measure it in this thread, and not in the one that writes it.

        Raises:
            Exception: What an earlier shard could not be written for.
        """
        self._raise_failures()
        if measure_here:
            self._own_sums[number] = self._sums_of(tensors)
        self._room.acquire()
        self._jobs.append(self._threads.submit(self._write, number, tensors, dict(dropped), not measure_here))
        if measure_here:
            self._advance()

    def finish(self) -> None:
        """Wait until all shards are written and merged.

        Raises:
            Exception: What one could not be written for.
        """
        self._threads.shutdown()
        self._raise_failures()
        self._advance()

    def break_off(self) -> None:
        """Wait for what is being written, and record what is merged."""
        self._stopping.set()
        self._threads.shutdown()
        self._advance()
        self._record()

    def _raise_failures(self) -> None:
        done = [job for job in self._jobs if job.done()]
        self._jobs = [job for job in self._jobs if not job.done()]
        for job in done:
            job.result()

    def _write(self, number: int, tensors: Mapping[str, Tensor], dropped: dict[str, int], measure: bool) -> None:
        try:
            path, digest = self._path(number), hashlib.sha256()
            with replacing(path) as temporary, temporary.open("wb") as file:
                for piece in pieces(tensors, {"dropped": as_json(dropped, sort_keys=True)}):
                    digest.update(piece)
                    file.write(piece)
            self._files[number] = self._described(number, tensors, dropped, digest.hexdigest())
            if measure:
                self._own_sums[number] = self._sums_of(tensors)
                self._advance()
        finally:
            self._room.release()

    def _advance(self) -> None:
        """Merge all shards whose turn it is."""
        with self._merging:
            while not self._half_merged and (found := self._next()) is not None:
                self._half_merged = True  # which Ctrl-C leaves so
                entry, own = found
                self.entries.append({**entry, "statistics": {name: sums.scalars() for name, sums in own.items()}})
                for reason, count in entry["dropped"].items():
                    self.dropped[reason] = self.dropped.get(reason, 0) + count
                for name, sums in own.items():
                    self.sums[name].merge(sums)
                self._half_merged = False
                if time.monotonic() > self._recorded + _RECORD_EVERY:
                    self._record()
                    self._recorded = time.monotonic()

    def _next(self) -> tuple[dict[str, Any], dict[str, RowSums]] | None:
        """What the index says of the next shard, and its sums; None where it is not there yet."""
        number = len(self.entries)
        if number in self._files and number in self._own_sums:
            return self._files.pop(number), self._own_sums.pop(number)
        if number not in self._present or self._stopping.is_set():
            return None
        dropped = json.loads(Head.read(self._path(number)).metadata["dropped"])
        tensors = read_tensors(self._path(number))
        return self._described(number, tensors, dropped, sha256_of(self._path(number))), self._sums_of(tensors)

    def _described(
        self, number: int, tensors: Mapping[str, Tensor], dropped: dict[str, int], digest: str
    ) -> dict[str, Any]:
        """What the index says of a shard, but for its statistics."""
        path, rows = self._path(number), len(next(iter(tensors.values())))
        return {
            **{"file": path.name, "rows": rows, "sha256": digest, "bytes": path.stat().st_size},
            "dropped": dropped,
        }

    def _sums_of(self, tensors: Mapping[str, Tensor]) -> dict[str, RowSums]:
        sums = {name: RowSums(*kind) for name, kind in self._kinds.items()}
        for name, own in sums.items():
            own.add(tensors[name])
        return sums

    def _path(self, number: int) -> Path:
        return self.folder / rows_file(number)

    def _record(self) -> None:
        """Write down what is merged, so that it need not be read again."""
        if not self.entries or self._half_merged:  # an earlier record stays, which covers less
            return
        tensors = {f"{name}/{key}": part for name in self.sums for key, part in self.sums[name].tensors().items()}
        write_tensors(
            self.folder / MERGED, tensors, {"shards": as_json(self.entries), "dropped": as_json(self.dropped)}
        )

    def _read_record(self) -> None:
        """Take up what an earlier process has merged, if its shards are all there."""
        path = self.folder / MERGED
        if not path.is_file():
            return
        try:
            with safe_open(path, "pt") as file:
                metadata = file.metadata()
            tensors = read_vectors(path)
            entries, dropped = json.loads(metadata["shards"]), json.loads(metadata["dropped"])
            sums = {
                name: RowSums.restored({key: tensors[f"{name}/{key}"] for key in ("numbers", "mean", "scatter")})
                for name in self.sums
            }
            sizes = [self._path(number).stat().st_size for number in range(len(entries))]
        except (SafetensorError, ValueError, KeyError, TypeError, OSError):
            return  # all of it is in the shards, which are read instead
        if sizes == [entry["bytes"] for entry in entries]:
            self.entries, self.dropped, self.sums = entries, dropped, sums


def whole_shards(folder: Path, shapes: Shapes) -> dict[int, int]:
    """Numbers and rows of the shards that are there; only the last one may be short.

    Args:
        folder: The store.
        shapes: Shape and type of each tensor of a shard.
    """
    expected = {name: (dtype, shape[1:]) for name, (shape, dtype) in shapes.items()}
    found: dict[int, int] = {}
    for path in sorted(folder.glob("rows-*.safetensors")):
        number = path.stem.removeprefix("rows-")
        with contextlib.suppress(Damaged):  # it is written anew
            head = Head.read(path)
            there = {name: (place.dtype, place.shape[1:]) for name, place in head.places.items()}
            if there == expected and number.isdecimal() and "dropped" in head.metadata:
                found[int(number)] = head.rows
    last, shard_rows = max(found, default=-1), next(iter(shapes.values()))[0][0]
    return {number: rows for number, rows in found.items() if rows == shard_rows or number == last}

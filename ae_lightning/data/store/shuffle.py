"""Shuffling the rows of a store that is larger than memory, in two passes over the disk.

Each row draws a bucket. The first pass sorts the rows of each shard by bucket; the second reads one bucket after the
other, a part of it from each shard, permutes it in memory, and writes it. The buckets, one behind the other, are then
in a uniformly random order, since independent draws say nothing of the order within a bucket.

Source: Sandelius (1962), "A Simple Randomization Procedure"; Rao (1961), "Generation of Random Permutations of Given
Number of Elements Using Random Sampling Numbers".
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ae_lightning.data.loader import seeded_generator
from ae_lightning.data.store.index import Shard, StoreIndex, said
from ae_lightning.data.store.names import INDEX, rows_file
from ae_lightning.data.store.shard_file import Damaged, Head, bytes_of, opened, read_into, read_tensors
from ae_lightning.data.store.writer import StoreWriter
from ae_lightning.errors import DataError
from ae_lightning.files import read_json, remove_leftovers, write_json
from ae_lightning.safetensors_writer import write_tensors

# Rows of a bucket, on average: of 4,096 numbers of float32 they take 512 MB.
_BUCKET_ROWS = 2**15
# Rows that draw their buckets together, whatever the shards are.
_DRAWN_AT_ONCE = 2**16
# Streams of random numbers.
_BUCKETS, _ORDERS = 1, 2

Progress = Callable[[int, int], None]


def shuffle_store(folder: str | Path, seed: int, option: str = "STORE", progress: Progress | None = None) -> StoreIndex:
    """Put the rows of a store into a uniformly random order, which follows from the seed and their number alone.

    All that is kept of a row goes with it. One that was broken off goes on where it was, and until it has ended the
    store can be read as it was before. On the disk it takes twice the store's size for a while.

    Args:
        folder: The store.
        seed: Seed of the order, non-negative.
        option: What named the store, for messages.
        progress: Called with the rows that are done and their number, of both passes together.

    Returns:
        The index of the shuffled store.

    Raises:
        DataError: There is no store, it is shuffled from another seed, or the disk has no room.
    """
    index = StoreIndex.read(folder, option)
    work = index.folder / f"shuffling-{seed}-{index.fingerprint}"
    if index.shuffled is not None:
        if index.shuffled.get("seed") != seed:
            raise DataError(
                f"{index.folder} ({option}) is shuffled already, from the seed {index.shuffled.get('seed')}; leave it "
                "as it is, or harvest into another folder."
            )
        _remove_what_was_before(index.folder)
        return index
    for other in set(index.folder.glob("shuffling-*")) - {work}:
        shutil.rmtree(other)
    try:
        if not (work / "rows" / INDEX).is_file():
            _require_room(index, work)
            _Shuffle(index, seed, work, progress or (lambda done, of: None)).run()
        _adopt(index, work / "rows", seed)
    except OSError as error:
        raise DataError(
            f"{error.filename or work}: {(error.strerror or str(error)).lower()}; the store is as it was, and "
            f"{said(index.command, index.folder)} goes on with shuffling it."
        ) from error
    return StoreIndex.read(index.folder, option)


class _Shuffle:
    """The two passes.

    Args:
        index: What is shuffled.
        seed: Seed of the order.
        work: Folder for what is in between, and for the rows in their new order.
        progress: Called with the rows that are done and their number.
    """

    def __init__(self, index: StoreIndex, seed: int, work: Path, progress: Progress) -> None:
        self.index = index
        self.seed = seed
        self.work = work
        self.progress = progress
        self.buckets = -(-index.rows // _BUCKET_ROWS)

    def run(self) -> None:
        """Write the rows in their new order into the folder `rows`.

        Raises:
            DataError: A shard is missing or cut short.
            OSError: The disk is full.
        """
        # Where the rows of each bucket begin in each sorted shard, and end: (shards, buckets + 1).
        borders = torch.stack([self._sort(shard) for shard in self.index.shards])
        heads = [Head.read(self._sorted(shard)) for shard in self.index.shards]
        settings = {"seed": self.seed, "store": self.index.fingerprint}
        widths = {name: self.index.width(name) for name in self.index.arrays}
        dtype = self.index.dtype(next(iter(widths)))
        (self.work / "rows").mkdir(exist_ok=True)
        with StoreWriter(
            *(self.work / "rows", settings, widths, dtype, self.index.shard_rows, self.index.extras),
            covariance=False,
            command=self.index.command,
        ) as writer:
            for bucket, size in enumerate(borders.diff().sum(0).tolist()):
                if writer.wanted(size):
                    rows = self._bucket(bucket, heads, borders[:, bucket : bucket + 2])
                    arrays = {name: rows[name] for name in widths}
                    writer.add(arrays, rows["sample"], rows["position"], rows.get("y"))
                else:
                    writer.skip(size)
                self.progress(self.index.rows + writer.row, 2 * self.index.rows)
            writer.finish(model={}, data={}, samples=self.index.samples)

    def _sort(self, shard: Shard) -> Tensor:
        """Write a shard's rows in the order of their buckets, unless it is there; answers where each bucket begins."""
        drawn = buckets_of(self.seed, shard.first_row, shard.first_row + shard.rows, self.buckets)
        path = self._sorted(shard)
        if not path.is_file():
            try:
                tensors = read_tensors(self.index.folder / shard.file)
            except Damaged as error:
                raise self.index.damaged(self.index.folder / shard.file, str(error)) from error
            order = drawn.argsort(stable=True)
            write_tensors(path, {name: rows.index_select(0, order) for name, rows in tensors.items()})
        self.progress(shard.first_row + shard.rows, 2 * self.index.rows)
        return torch.nn.functional.pad(drawn.bincount(minlength=self.buckets).cumsum(0), (1, 0))

    def _sorted(self, shard: Shard) -> Path:
        """Where the rows of a shard lie in the order of their buckets."""
        return self.work / "sorted" / shard.file

    def _bucket(self, bucket: int, heads: Sequence[Head], borders: Tensor) -> Mapping[str, Tensor]:
        """The rows of a bucket, which lie within these borders (shards, 2) of the sorted shards, permuted."""
        size, places = int(borders.diff().sum()), heads[0].places
        rows = {name: torch.empty((size, *place.shape[1:]), dtype=place.dtype) for name, place in places.items()}
        done = 0
        for shard, head, (start, stop) in zip(self.index.shards, heads, borders.tolist(), strict=True):
            with opened(self._sorted(shard)) as file:
                for name, place in head.places.items():
                    part = rows[name][done : done + stop - start]
                    read_into(file, bytes_of(part), place.start + start * place.row_bytes)
            done += stop - start
        order = torch.randperm(size, generator=seeded_generator(self.seed, bucket + 1, _ORDERS))
        return {name: part.index_select(0, order) for name, part in rows.items()}


def buckets_of(seed: int, start: int, stop: int, buckets: int) -> Tensor:
    """The bucket (stop - start,) int64 that each row from `start` to before `stop` draws, whatever shard it is in."""
    first, end = start // _DRAWN_AT_ONCE, -(-stop // _DRAWN_AT_ONCE)
    drawn = [
        torch.randint(buckets, (_DRAWN_AT_ONCE,), generator=seeded_generator(seed, chunk + 1, _BUCKETS))
        for chunk in range(first, end)
    ]
    return torch.cat(drawn)[start - first * _DRAWN_AT_ONCE : stop - first * _DRAWN_AT_ONCE]


def _adopt(index: StoreIndex, rows: Path, seed: int) -> None:
    """Put shards in their new order into the store, then the index that names them, and remove the others.

    Broken off anywhere, it can be done again: until the new index is there the old one and its shards are.
    """
    shards: list[dict[str, Any]] = read_json(rows / INDEX, dict)["shards"]
    for number, entry in enumerate(shards):
        entry["file"] = rows_file(number, shuffled=True)
        if (rows / rows_file(number)).is_file():
            (rows / rows_file(number)).replace(index.folder / entry["file"])
    content = read_json(index.folder / INDEX, dict)
    write_json(index.folder / INDEX, {**content, "shards": shards, "shuffled": {"seed": seed}})
    _remove_what_was_before(index.folder)


def _remove_what_was_before(folder: Path) -> None:
    """Remove rows in their old order, and what lay between, once the index names those in the new one."""
    for path in folder.glob("rows-*.safetensors"):
        path.unlink()
    for path in folder.glob("shuffling-*"):
        shutil.rmtree(path)
    remove_leftovers(folder)


def _require_room(index: StoreIndex, work: Path) -> None:
    """Raise DataError where the disk has no room for twice the store."""
    there = sum(path.stat().st_size for path in work.rglob("*.safetensors"))
    needed = 2 * sum(shard.bytes for shard in index.shards) - there
    free = shutil.disk_usage(index.folder).free
    if needed > free:
        raise DataError(
            f"Shuffling {index.folder} takes {needed / 2**30:,.1f} GiB beside it for a while, and "
            f"{free / 2**30:,.1f} GiB are free; make room, or leave out the shuffle."
        )

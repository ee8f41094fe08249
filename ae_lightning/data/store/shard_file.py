"""One shard of a store: where its tensors lie in the file, and reading rows of them into memory that is there."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

_DTYPES = {
    **{"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16},
    **{"I64": torch.int64, "I32": torch.int32},
}
# A header names a few tensors. What claims more is none.
_LONGEST_HEADER = 2**20


class Damaged(Exception):
    """A shard is not what it should be; the message goes on after its name."""


class Place(NamedTuple):
    """Where a tensor of a shard lies: its type, its shape, and its first byte in the file."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize


class Head(NamedTuple):
    """What a file of tensors says of itself: where each lies, and its texts."""

    places: dict[str, Place]
    metadata: dict[str, str]

    @classmethod
    def read(cls, path: Path) -> Head:
        """Read the head of a file, whose size must fit it.

        Raises:
            Damaged: The file is missing or cut short, or of another kind.
        """
        with opened(path) as file:
            size = os.fstat(file).st_size
            length = int.from_bytes(os.pread(file, 8, 0), "little")
            if length > min(size, _LONGEST_HEADER):
                raise Damaged(f"is no shard, or cut short after {size:,} bytes")
            text = os.pread(file, length, 8)
        try:
            found = json.loads(text)
            metadata = found.pop("__metadata__", {})
            places = {name: _place(entry, 8 + length) for name, entry in found.items()}
            end = max(8 + length + entry["data_offsets"][1] for entry in found.values())
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
            raise Damaged("is no shard, or its head is damaged") from error
        if size != end:
            raise Damaged(f"has {size:,} bytes, and not {end:,}")
        return cls(places, metadata)

    @property
    def rows(self) -> int:
        """Rows of the tensors, of which all have the same number.

        Raises:
            Damaged: They have not.
        """
        rows = {place.shape[0] for place in self.places.values()}
        if len(rows) != 1:
            raise Damaged("holds tensors of different numbers of rows")
        return rows.pop()


def _place(entry: Mapping[str, list[int]], data: int) -> Place:
    place = Place(_DTYPES[str(entry["dtype"])], tuple(entry["shape"]), data + entry["data_offsets"][0])
    if min(place.shape) < 0 or place.row_bytes * place.shape[0] != entry["data_offsets"][1] - entry["data_offsets"][0]:
        raise ValueError("its places do not fit its shapes")
    return place


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a shard, in memory.

    Raises:
        Damaged: The file is missing or cut short, or no shard.
    """
    head = Head.read(path)
    tensors = {name: torch.empty(place.shape, dtype=place.dtype) for name, place in head.places.items()}
    with opened(path) as file:
        for name, place in head.places.items():
            read_into(file, bytes_of(tensors[name]), place.start)
    return tensors


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """A descriptor of a file, for reading at any place of it.

    Raises:
        Damaged: There is no such file, or it may not be read.
    """
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise Damaged("is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error})") from error
    try:
        yield file
    finally:
        os.close(file)


def read_into(file: int, buffer: memoryview, offset: int) -> None:
    """Fill a buffer with a file's bytes from an offset on.

    Raises:
        Damaged: The file ends before, or the disk fails.
    """
    done = 0
    while done < len(buffer):
        try:
            count = os.preadv(file, [buffer[done:]], offset + done)
        except OSError as error:
            raise Damaged(f"cannot be read ({error.strerror})") from error
        if count == 0:
            raise Damaged(f"is cut short after {os.fstat(file).st_size:,} bytes")
        done += count


def read_ahead(file: int, size: int, offset: int) -> None:
    """Let the system begin to read so many bytes of a file from an offset on, where it can; nobody waits for them."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file, offset, size, os.POSIX_FADV_WILLNEED)


def bytes_of(tensor: Tensor) -> memoryview:
    """The memory of a contiguous tensor, of any type, as bytes that may be written to."""
    return tensor.view(-1).view(torch.uint8).numpy().data

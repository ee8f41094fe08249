"""Safetensors files written a few rows at a time, for arrays larger than memory, or from tensors without copies.

The format is an 8-byte length, a JSON header that names each tensor's type, shape and place, and the data. All
places follow from the first rows and the number of rows, so that rows can be written where they belong as they come.
"""

import contextlib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ae_lightning.files import as_json, naming, replacing

Array = np.ndarray[Any, Any]

_DTYPES = {
    **{"f8": "F64", "f4": "F32", "f2": "F16", "i8": "I64", "i4": "I32", "i2": "I16", "i1": "I8"},
    **{"u1": "U8", "b1": "BOOL"},
}
_TORCH_DTYPES = {
    **{torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"},
    **{torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.bool: "BOOL"},
    **{torch.uint64: "U64", torch.uint32: "U32", torch.uint16: "U16", torch.uint8: "U8"},
    **{torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2", torch.complex64: "C64"},
}
_ALIGNMENT = 8


class _Place(NamedTuple):
    """Where one tensor lies: its type, its whole shape, its axis of rows, and its first byte in the file."""

    dtype: "np.dtype[Any]"
    shape: tuple[int, ...]
    axis: int
    start: int


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write a file in one piece from where the tensors lie in memory, creating its folder if needed.

    The file is that of `safetensors.torch.save`, which copies all tensors twice before it answers.

    Args:
        path: The file.
        tensors: Tensors by name; those on another device or not contiguous are copied one by one.
        metadata: Text by name, for the file's header.

    Raises:
        OSError: The disk is full, with the name of the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, temporary.open("wb") as file:
        for piece in pieces(tensors, metadata):
            file.write(piece)


def pieces(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> Iterator[bytes | memoryview]:
    """The bytes of a file, the header first and then each tensor's, as `write_tensors` writes them."""
    # The widest types first, so that each tensor begins at a multiple of its own type's width.
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0]))
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": dict(metadata)}
    end = 0
    for name, tensor in ordered:
        start, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _TORCH_DTYPES[tensor.dtype], "shape": [*tensor.shape], "data_offsets": [start, end]}
    yield _head(header)
    for _, tensor in ordered:
        yield tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data


def _head(header: Mapping[str, Any]) -> bytes:
    """The first bytes of a file: the length of what follows, and the places of all tensors."""
    text = as_json(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


class SafetensorsWriter:
    """Writes one file of tensors that grow along an axis, in a `with` block; the file appears when the block ends well.

    Until then, and after a block that fails, whatever had the name before is there unchanged.

    Args:
        path: The file. Its folder is created.
        rows: How many rows each tensor will have.
        axes: The names of the tensors, and which axis of each counts the rows.
        metadata: Text by name, for the file's header.
    """

    def __init__(self, path: Path, rows: int, axes: Mapping[str, int], metadata: Mapping[str, str]) -> None:
        self.path = path
        self.rows = rows
        self.written = 0
        self._axes = axes
        self._metadata = dict(metadata)
        self._places: dict[str, _Place] = {}
        self._file: IO[bytes]
        self._open = contextlib.ExitStack()

    def __enter__(self) -> "SafetensorsWriter":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._open.enter_context(replacing(self.path))
        self._file = self._open.enter_context(temporary.open("wb"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and self.written != self.rows:
            error = ValueError(f"{self.path} was to have {self.rows} rows, but {self.written} were written")
            self._open.__exit__(ValueError, error, None)
            raise error
        self._open.__exit__(kind, error, trace)

    def append(self, parts: Mapping[str, Array]) -> None:
        """Write the next rows, the same number of each tensor.

        Raises:
            OSError: The disk is full, with the name of the file.
            ValueError: There are more rows than was said, or they do not go together with the earlier ones.
        """
        count = {part.shape[self._axes[name]] for name, part in parts.items()}
        if parts.keys() != self._axes.keys() or len(count) != 1 or self.written + max(count) > self.rows:
            shapes = {name: part.shape for name, part in parts.items()}
            raise ValueError(f"{shapes} cannot follow {self.written} of {self.rows} rows of {list(self._axes)}")
        with naming(self.path):
            if not self._places:
                self._write_header(parts)
            for name, part in parts.items():
                self._write_rows(self._places[name], part)
        self.written += count.pop()

    def _write_header(self, parts: Mapping[str, Array]) -> None:
        header: dict[str, Any] = {"__metadata__": self._metadata}
        places: dict[str, _Place] = {}
        end = 0
        # The widest types first, so that each tensor begins at a multiple of its own type's width.
        for name in sorted(parts, key=lambda name: -parts[name].dtype.itemsize):
            dtype, axis = parts[name].dtype.newbyteorder("<"), self._axes[name]
            shape = tuple(self.rows if i == axis else size for i, size in enumerate(parts[name].shape))
            start, end = end, end + math.prod(shape) * dtype.itemsize
            header[name] = {"dtype": _DTYPES[dtype.str[1:]], "shape": shape, "data_offsets": [start, end]}
            places[name] = _Place(dtype, shape, axis, start)
        head = _head(header)
        self._file.write(head)
        self._file.truncate(len(head) + end)
        self._places = {name: place._replace(start=len(head) + place.start) for name, place in places.items()}

    def _write_rows(self, place: _Place, part: Array) -> None:
        expected = (*place.shape[: place.axis], part.shape[place.axis], *place.shape[place.axis + 1 :])
        if part.shape != expected:
            raise ValueError(f"rows of shape {part.shape} cannot follow those of a tensor of shape {place.shape}")
        blocks = part.astype(place.dtype, copy=False).reshape(math.prod(place.shape[: place.axis]), -1)
        row_bytes = math.prod(place.shape[place.axis + 1 :]) * place.dtype.itemsize
        for number, block in enumerate(blocks):
            self._file.seek(place.start + (number * self.rows + self.written) * row_bytes)
            self._file.write(np.ascontiguousarray(block).data)
        self._file.flush()

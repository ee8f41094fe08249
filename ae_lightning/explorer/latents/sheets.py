"""Small pictures of many samples, packed into a few picture files."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate

Array = np.ndarray[Any, Any]

Pictures = Callable[[Array], Array]
"""Pictures of samples by their numbers (n,): uint8 (n, height, width, planes), of one plane or three."""

PER_SHEET = 256
"""Pictures of a sheet."""

SMALL = 32
"""Pictures that are no larger keep each pixel as it is."""

SIDES = (96, 64, 48, 32)
"""To what size others are shrunk, the first with which all take no more than `MOST_BYTES`."""

MOST_BYTES = 12_000_000

_COLUMNS = 16
# Blocks of pixels that JPEG encodes by themselves.
_BLOCK = 8
_TRIED = 64
_LOSSLESS = {"format": "PNG", "optimize": True}
_SMALL_FILES = {"format": "JPEG", "quality": 80, "subsampling": 0}


@dataclass(frozen=True)
class Sheets:
    """Picture files of cells, row by row, 16 to a row.

    Args:
        width: Width of a picture in pixels.
        height: Its height.
        cell: Width and height of a cell, whose first pixels are the picture's.
        files: The files, each of 256 pictures but the last.
        media_type: What they are.
    """

    width: int
    height: int
    cell: tuple[int, int]
    files: list[bytes]
    media_type: str


def sheets_of(pictures: Pictures, samples: Array) -> Sheets:
    """Pack pictures: small ones without loss as PNG, others shrunk and as JPEG.

    Args:
        pictures: Gives them.
        samples: Numbers of the samples, (n,), of at least one.
    """
    height, width = pictures(samples[:1]).shape[1:3]
    if max(height, width) <= SMALL:
        return _packed(_parts(pictures, samples), (height, width), _LOSSLESS)
    size = _size_that_fits(pictures, samples, height, width)
    return _packed((shrunk(part, *size) for part in _parts(pictures, samples)), size, _SMALL_FILES)


def shrunk(pictures: Array, height: int, width: int) -> Array:
    """Pictures uint8 (n, …, …, planes) of another size, each pixel the mean of those that it covers."""
    if pictures.shape[1:3] == (height, width):
        return pictures
    planes_first = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float()
    small = interpolate(planes_first, (height, width), mode="area").round().byte()
    return small.permute(0, 2, 3, 1).numpy()


def _size_that_fits(pictures: Pictures, samples: Array, height: int, width: int) -> tuple[int, int]:
    """Height and width of the largest size with which all pictures fit, by the bytes that a few of them take."""
    tried = samples[np.linspace(0, len(samples) - 1, min(_TRIED, len(samples))).astype(int)]
    found = pictures(tried)
    for side in SIDES:
        scale = min(1.0, side / max(height, width))
        size = max(1, round(height * scale)), max(1, round(width * scale))
        (file,) = _packed([shrunk(found, *size)], size, _SMALL_FILES).files
        if len(file) / len(tried) * len(samples) <= MOST_BYTES:
            break
    return size


def _parts(pictures: Pictures, samples: Array) -> Iterator[Array]:
    """The pictures of each sheet."""
    for start in range(0, len(samples), PER_SHEET):
        yield pictures(samples[start : start + PER_SHEET])


def _packed(parts: Iterable[Array], size: tuple[int, int], options: Mapping[str, Any]) -> Sheets:
    block = _BLOCK if options is _SMALL_FILES else 1
    height, width = (-(-side // block) * block for side in size)
    files = [_file(_sheet(part, height, width), options) for part in parts]
    return Sheets(size[1], size[0], (width, height), files, f"image/{options['format'].lower()}")


def _sheet(part: Array, height: int, width: int) -> Array:
    """Pictures in cells, uint8 (height, width, planes); what is left of a cell repeats the picture's edge."""
    rows = -(-len(part) // _COLUMNS)
    pads = (0, rows * _COLUMNS - len(part)), (0, height - part.shape[1]), (0, width - part.shape[2]), (0, 0)
    cells = np.pad(part, pads, mode="edge").reshape(rows, _COLUMNS, height, width, -1)
    return cells.swapaxes(1, 2).reshape(rows * height, _COLUMNS * width, -1)


def _file(sheet: Array, options: Mapping[str, Any]) -> bytes:
    content = io.BytesIO()
    Image.fromarray(sheet[..., 0] if sheet.shape[-1] == 1 else sheet).save(content, **options)
    return content.getvalue()

"""The idx format of the MNIST family: big-endian sizes, then bytes, mostly inside a gzip file."""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
import zlib
from pathlib import Path

import torch
from torch import Tensor

from ae_lightning.errors import DataError

UINT8 = 0x08


def read_idx(path: Path, md5: str | None = None) -> Tensor:
    """Read an idx file of bytes, in memory if it is packed, so that a read-only folder will do.

    Args:
        path: The file; one that ends in ``.gz`` is unpacked.
        md5: Checksum of the file as it is, in hexadecimal, or None to go by its header alone.

    Returns:
        uint8 tensor with the dimensions that the header states.

    Raises:
        DataError: If the file cannot be read, or is damaged or truncated.

    Source: the description of the format at http://yann.lecun.com/exdb/mnist/
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path.name} in {path.parent} cannot be read ({error.strerror}).") from error
    if md5 is not None and (found := hashlib.md5(content, usedforsecurity=False).hexdigest()) != md5:
        raise _damaged(path, f"md5 {found}, expected {md5}")
    if path.suffix == ".gz":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise _damaged(path, str(error)) from error
    return _parse(path, content)


def _parse(path: Path, content: bytes) -> Tensor:
    if len(content) < 4 or content[:2] != b"\x00\x00" or content[2] != UINT8:
        raise _damaged(path, "its header is not that of an idx file of bytes")
    start = 4 + 4 * content[3]
    if len(content) < start:
        raise _damaged(path, "it ends within its header")
    shape = struct.unpack(f">{content[3]}I", content[4:start])
    if len(content) - start != math.prod(shape):
        raise _damaged(path, f"{len(content) - start:,} bytes of data, expected {math.prod(shape):,} by its header")
    # Only a bytearray is writable, as torch wants it.
    return torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=start).reshape(shape)


def _damaged(path: Path, how: str) -> DataError:
    return DataError(
        f"{path.name} in {path.parent} is damaged ({how}); replace it, or delete it to have it downloaded again."
    )

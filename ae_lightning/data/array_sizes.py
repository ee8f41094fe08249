"""What a file of arrays will take in memory, found out before it is read."""

from __future__ import annotations

import math
import os
import zipfile
from pathlib import Path
from typing import IO

from numpy.lib import format as npy

from ae_lightning.errors import DataError


def require_room(path: Path, source: str) -> None:
    """Refuse a file whose arrays must be in memory as a whole, and are larger than it, or than the file says.

    Args:
        path: A .npz, .pt, .pth or .safetensors file; a .npy file is read as needed, and passes.
        source: The file and the option that named it, for messages.

    Raises:
        DataError: It is refused.
    """
    if path.suffix == ".npy":
        return
    needed = path.stat().st_size
    if path.suffix != ".safetensors" and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            needed = sum(_size_of(member, archive, path.suffix == ".npz", source) for member in archive.infolist())
    if needed > _memory():
        raise DataError(
            f"{source} takes {needed / 2**30:,.1f} GiB when it is read, and this machine has {_memory() / 2**30:,.1f} "
            "GiB of memory; save a .npy file, of which only what is needed is read."
        )


def _size_of(member: zipfile.ZipInfo, archive: zipfile.ZipFile, is_npz: bool, source: str) -> int:
    """Bytes that a member takes in memory: those that its header claims, which must be there."""
    if not is_npz:
        if member.compress_type != zipfile.ZIP_STORED:
            raise DataError(f"{source} is compressed, as torch.save leaves no file; write it again.")
        return member.file_size
    with archive.open(member) as file:
        claimed = _claimed_by(file)
    if claimed > member.file_size:
        raise DataError(
            f"{source} is damaged: {member.filename} claims an array of {claimed:,} bytes, and there are "
            f"{member.file_size:,}; write it again."
        )
    return member.file_size


def _claimed_by(file: IO[bytes]) -> int:
    """Bytes of the array that a .npy header describes; 0 where it is no such header, which the reader then tells."""
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    try:
        shape, _, dtype = readers[npy.read_magic(file)](file)
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile):
        return 0
    return 0 if dtype.hasobject else math.prod(shape) * dtype.itemsize


def _memory() -> int:
    """Bytes of memory that this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

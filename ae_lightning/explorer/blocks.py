"""Arrays as text: base64 of gzip of their bytes, those of the same rank beside each other."""

from __future__ import annotations

import base64
import gzip
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

TYPES = ("float16", "float32", "int8", "uint8", "int16", "uint16", "uint32")
"""Types that a block can have."""

_LEVEL = 9


def encode_block(array: Array) -> str:
    """Base64 of gzip of an array, in C order, little-endian, as byte planes.

    The bytes that hold signs and exponents are alike, and compress well beside each other: of a type of k bytes all
    first bytes come first, then all second ones, and so on. The same array gives the same text.
    """
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    planes = little.reshape(-1).view(np.uint8).reshape(-1, array.dtype.itemsize).T
    return base64.b64encode(gzip.compress(planes.tobytes(), _LEVEL, mtime=0)).decode("ascii")


def decode_block(text: str, dtype: str, shape: Sequence[int]) -> Array:
    """The array of a block, from its text and from what is said of it."""
    kind = np.dtype(dtype).newbyteorder("<")
    planes = np.frombuffer(gzip.decompress(base64.b64decode(text)), np.uint8).reshape(kind.itemsize, -1)
    return np.ascontiguousarray(planes.T).view(kind).reshape(shape).astype(dtype)


class Blocks:
    """The arrays of a file by name; equal ones, such as tied weights, are kept once."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.described: dict[str, dict[str, Any]] = {}
        self._known: dict[bytes, str] = {}

    def add(self, name: str, array: Array) -> str:
        """Keep an array, and answer the name under which it is to be found.

        Raises:
            ValueError: There is another array of this name, or the file has no such type.
        """
        if array.dtype.name not in TYPES:
            raise ValueError(f"a block is one of {', '.join(TYPES)}, not {array.dtype.name}")
        description = {"type": array.dtype.name, "shape": list(array.shape)}
        key = hashlib.sha256(f"{description}".encode() + np.ascontiguousarray(array).tobytes()).digest()
        if key in self._known:
            return self._known[key]
        if name in self.texts:
            raise ValueError(f"there are two blocks called {name}")
        self._known[key] = name
        self.described[name] = description
        self.texts[name] = encode_block(array)
        return name

    def array(self, name: str) -> Array:
        """The array that is to be found under a name."""
        described = self.described[name]
        return decode_block(self.texts[name], described["type"], described["shape"])

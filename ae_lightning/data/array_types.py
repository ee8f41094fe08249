"""Types of numbers that arrays in files have: which are taken as they are, which lose digits, which are refused.

| type of numpy, torch or safetensors | what becomes of it |
| --- | --- |
| bool, uint8, int8, uint16, int16 | exact |
| float16, bfloat16, float32, float8 of all kinds | exact |
| int32, uint32, int64, uint64 below 2⁶³, float64 | normalized in float64 where far from 0, then rounded to float32 |
| longdouble | rounded to float64, which is told; then as float64 |
| complex, quantized, of less than 8 bits, dates, text, bytes, structured, Python objects | refused |

What is rounded away is told where it is more than a thousandth of what samples differ by, or where whole numbers are
beyond 2⁵³. Labels and true features are taken from the same types.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor

from ae_lightning.data.in_memory import as_tensor
from ae_lightning.errors import DataError, Notice

Array = Tensor | np.ndarray

EXACT = ("bool", "uint8", "int8", "uint16", "int16", "float16", "bfloat16", "float32")
ROUNDED = ("int32", "uint32", "int64", "uint64", "float64")
_FLOAT8 = "float8_"
# torch can store these, but can hardly do anything with them.
_SIGNED = {"uint16": torch.int32, "uint32": torch.int64, "uint64": torch.int64}


def readable(array: Array, source: str) -> Array:
    """An array of real numbers in a type that all of torch works with; a memory map stays one.

    Args:
        array: What a file held.
        source: The file and the option that named it, for messages.

    Raises:
        DataError: It holds something else than real numbers, or whole numbers of 2⁶³ and more.
    """
    if isinstance(array, np.ndarray):
        return _of_numpy(array, source)
    name = str(array.dtype).removeprefix("torch.")
    if name not in (*EXACT, *ROUNDED) and not name.startswith(_FLOAT8):
        raise not_real(name, source)
    if name == "uint64" and array.numel() and int(array.view(torch.int64).min()) < 0:
        raise _too_large(source)
    if name.startswith(_FLOAT8):
        return array.to(torch.float32)
    return array.to(_SIGNED.get(name, array.dtype))


def not_real(found: str, source: str) -> DataError:
    """The error about values of a type that is refused."""
    return DataError(f"{source} holds values of type {found}; save an array of real numbers.")


def _of_numpy(array: np.ndarray, source: str) -> Array:
    kind, bits = array.dtype.kind, 8 * array.dtype.itemsize
    if kind not in "biuf":
        hint = "" if kind != "V" else " (numpy has no bfloat16 of its own: save float32, or a .safetensors file)"
        raise not_real(f"{array.dtype}{hint}", source)
    # They are read as signed ones, in which the largest would be below zero.
    if kind == "u" and bits == 64 and array.size and int(array.max()) >= 1 << 63:
        raise _too_large(source)
    if kind == "f" and bits > 64:
        said = f"{source} holds numbers of type {array.dtype.name}, which are read as float64 with its 53 bits"
        warnings.warn(said, Notice, stacklevel=2)
    # What is in memory already becomes a tensor, in this machine's byte order.
    return array if isinstance(array, np.memmap) else as_tensor(array)


def _too_large(source: str) -> DataError:
    return DataError(f"{source} holds whole numbers of 2^63 and more; save them as float32.")

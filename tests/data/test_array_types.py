"""Every type of number that numpy, torch and safetensors have: taken as it is, rounded with a word, or refused."""

import json
import struct
import warnings

import numpy as np
import pytest
import torch

from ae_lightning.data import ArraysDataModule, array_types
from ae_lightning.data.array_file import ArrayFile
from ae_lightning.errors import DataError, Notice

TORCH = {str(one).removeprefix("torch."): one for one in vars(torch).values() if isinstance(one, torch.dtype)}
NUMPY = {np.dtype(code).name: np.dtype(code) for code in np.typecodes["All"] + "T" * hasattr(np.dtypes, "StringDType")}
# Bits of a number. The format is a header and bytes, so that all of its types can be written.
SAFETENSORS = {
    **{"BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "U64": 64, "I64": 64},
    **{"F16": 16, "BF16": 16, "F32": 32, "F64": 64, "C64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6},
    **{"F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E5M2FNUZ": 8, "F8_E4M3FNUZ": 8},
}
TAKEN = {*array_types.EXACT, *array_types.ROUNDED}
TAKEN_OF_SAFETENSORS = {name for name in SAFETENSORS if name not in ("C64", "F4", "F6_E2M3", "F6_E3M2")}


def samples_of(path):
    data = ArraysDataModule(str(path), val=str(path))
    data.setup()
    return data.train_set.take(100)[0]


def refused(path, *names):
    with pytest.raises(DataError) as caught:
        samples_of(path)
    message = str(caught.value)
    assert any(word in message for word in ("save an array of real numbers", "Python objects", "save a dense"))
    assert "\n" not in message
    assert any(name in message for name in names), message


@pytest.mark.parametrize("name", TORCH)
def test_every_type_of_torch(tmp_path, name):
    path = tmp_path / "x.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what torch itself calls experimental
        wide = torch.tensor([[0.0, 1.0], [2.0, 0.5]])
        if name in TAKEN or name.startswith("float8"):
            stored = (wide + 1 if "e8m0" in name else wide).to(TORCH[name])
            torch.save(stored, path)
            assert torch.equal(samples_of(path), stored.float())
            return
        try:
            torch.save(torch.empty(2, 2, dtype=TORCH[name]), path)
        except Exception:  # torch cannot write it, and so there are no such files
            return
        refused(path, name)


@pytest.mark.parametrize("name", NUMPY)
@pytest.mark.parametrize("ending", [".npy", ".npz"])
def test_every_type_of_numpy(tmp_path, name, ending):
    dtype, path = NUMPY[name], tmp_path / f"x{ending}"
    long = name == np.dtype(np.longdouble).name and dtype.itemsize > 8
    if name in TAKEN or long:
        stored = np.array([[0, 1], [2, 3]]).astype(dtype)
        np.save(path, stored) if ending == ".npy" else np.savez(path, x=stored)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            np.testing.assert_array_equal(samples_of(path).numpy(), stored.astype(np.float32))
        told = [str(one.message) for one in said if one.category is Notice]
        assert bool(told) == long
        assert all(f"of type {name}, which are read as float64" in one for one in told)
        return
    empty = np.zeros((2, 2), dtype) if dtype.kind not in "OT" else np.full((2, 2), "a", dtype)
    np.save(path, empty) if ending == ".npy" else np.savez(path, x=empty)
    refused(path, str(empty.dtype), "Python objects")


def test_structured_arrays_are_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((2, 2), [("a", "f4"), ("b", "i4")]))
    refused(tmp_path / "x.npy", "'a'")


@pytest.mark.parametrize("name", SAFETENSORS)
def test_every_type_of_safetensors(tmp_path, name):
    path = tmp_path / "x.safetensors"
    size = 4 * 8 * SAFETENSORS[name] // 8
    header = json.dumps({"x": {"dtype": name, "shape": [4, 8], "data_offsets": [0, size]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(size))
    if name in TAKEN_OF_SAFETENSORS:
        assert torch.equal(samples_of(path), torch.full((4, 8), 2.0**-127 if name == "F8_E8M0" else 0.0))
    else:
        refused(path, name, "complex64", "float4")


def test_every_eighth_of_a_word_is_exact(tmp_path):
    """All 256 numbers of float8: what the format's own exponent, fraction and bias make of them."""
    codes = np.arange(256)
    sign, exponent, fraction = np.where(codes & 128, -1.0, 1.0), (codes >> 3) & 15, codes & 7
    normal = (1 + fraction / 8) * 2.0 ** (exponent - 7.0)
    truth = sign * np.where(exponent == 0, fraction / 8 * 2.0**-6, normal)
    bits = torch.arange(256, dtype=torch.int16).to(torch.uint8).view(torch.float8_e4m3fn)[:, None]
    finite = codes & 127 != 127
    torch.save(bits[torch.from_numpy(finite)], tmp_path / "x.pt")
    data = ArraysDataModule(str(tmp_path / "x.pt"), val=str(tmp_path / "x.pt"))
    data.setup()
    np.testing.assert_array_equal(data.train_set.take(256)[0][:, 0].numpy(), truth[finite])


@pytest.mark.parametrize("dtype", [torch.uint16, torch.uint32, torch.uint64])
def test_unsigned_tensors_keep_their_largest_numbers(tmp_path, dtype):
    largest = {torch.uint16: 2**16 - 1, torch.uint32: 2**32 - 1, torch.uint64: 2**63 - 1}[dtype]
    torch.save(torch.tensor([[largest, 0]], dtype=dtype), tmp_path / "x.pt")
    assert ArrayFile(str(tmp_path / "x.pt"), "--data.train").get(None, "x", "").tolist() == [[largest, 0]]
    torch.save(torch.tensor([[2**63, 0]], dtype=torch.uint64), tmp_path / "y.pt")
    with pytest.raises(DataError, match=r"2\^63"):
        ArrayFile(str(tmp_path / "y.pt"), "--data.train").get(None, "x", "")


def test_labels_of_any_whole_type(tmp_path):
    for name in ("bool", "uint8", "int8", "uint16", "int16", "int32", "uint32", "int64", "uint64"):
        torch.save({"x": torch.zeros(4, 2), "y": torch.tensor([0, 1, 1, 0]).to(TORCH[name])}, tmp_path / "x.pt")
        assert ArraysDataModule(str(tmp_path / "x.pt"), val=str(tmp_path / "x.pt")).num_classes == 2


def test_the_table_names_every_type_that_is_taken():
    table = array_types.__doc__ or ""
    assert all(name in table for name in TAKEN)
    for word in ("float8", "longdouble", "complex", "quantized", "dates", "text", "structured", "Python objects"):
        assert word in table

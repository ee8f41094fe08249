"""Arrays come out of files as they were put in, or are refused; whatever is in a file, nothing else happens."""

import io
import tempfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from ae_lightning.data.array_file import ENDINGS, ArrayFile
from ae_lightning.data.arrays import ArraysDataModule
from ae_lightning.errors import DataError

TYPES = st.sampled_from(
    ["?", "u1", "i1", "<i2", ">i2", "<u2", ">u2", "<i4", ">u4", "<i8", "<f2", "<f4", ">f4", "<f8", ">f8"]
)
ARRAYS = TYPES.flatmap(lambda kind: arrays(np.dtype(kind), array_shapes(min_dims=1, max_dims=3, max_side=4)))


def as_bytes(array, ending):
    file = io.BytesIO()
    native = array.astype(array.dtype.newbyteorder("="))
    if ending == ".npy":
        np.save(file, array)
    elif ending == ".npz":
        np.savez(file, x=array)
    elif ending == ".safetensors":
        return safetensors.torch.save({"x": torch.from_numpy(native)})
    else:
        torch.save({"x": torch.from_numpy(native)}, file)
    return file.getvalue()


def read(content, ending):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a{ending}"
        path.write_bytes(content)
        found = ArrayFile(str(path), "--data.train").get(None, "x", "--data.key")
        return found.numpy() if isinstance(found, torch.Tensor) else np.array(found)


@given(ARRAYS, st.sampled_from(ENDINGS))
def test_an_array_comes_out_as_it_was_put_in(array, ending):
    if ending not in (".npy", ".npz") and array.dtype.kind == "u" and array.dtype.itemsize > 1:
        array = array.astype(np.int64)  # torch has such types, but can hardly do anything with them
    found = read(as_bytes(array, ending), ending)
    assert found.shape == array.shape
    np.testing.assert_array_equal(found, array)


@given(ARRAYS, st.sampled_from(ENDINGS), st.data())
def test_a_file_cut_short_anywhere_is_refused(array, ending, data):
    content = as_bytes(array, ending)
    short = content[: data.draw(st.integers(0, len(content) - 1))]
    with pytest.raises(DataError, match=r"damaged|Python objects"):
        read(short, ending)


@given(st.binary(max_size=300), st.sampled_from(ENDINGS))
def test_any_other_bytes_are_refused(content, ending):
    with pytest.raises(DataError, match=r"a\."):
        read(content, ending)


@given(ARRAYS, st.sampled_from(ENDINGS), st.data())
def test_a_changed_byte_is_refused_or_changes_numbers_only(array, ending, data):
    content = bytearray(as_bytes(array, ending))
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    try:
        found = read(bytes(content), ending)
    except DataError:
        return
    assert found.dtype.kind in "biuf"


@given(st.integers(2, 40), st.floats(0.01, 0.99), st.integers(0, 5))
def test_a_split_loses_nothing_and_doubles_nothing(n, fraction, seed):
    samples = np.arange(n, dtype=np.float32)[:, None]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.npy"
        np.save(path, samples)
        data = ArraysDataModule(str(path), val_fraction=fraction, seed=seed)
        if round(n * fraction) in (0, n):
            with pytest.raises(DataError, match="val_fraction"):
                data.setup()
            return
        data.setup()
        parts = [one.take(n)[0][:, 0].tolist() for one in (data.train_set, data.val_set)]
    assert sorted(parts[0] + parts[1]) == list(range(n))
    assert len(parts[1]) == round(n * fraction)


@given(
    arrays(np.float32, st.tuples(st.integers(4, 12), st.integers(1, 4)), elements=st.floats(-1e6, 1e6, width=32)),
    st.sampled_from(["unit", "standard"]),
)
def test_normalized_samples_are_where_they_should_be(array, how):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.npy"
        np.save(path, array)
        data = ArraysDataModule(str(path), val=str(path), normalize=how)
        if np.ptp(array) == 0:
            with pytest.raises(DataError, match="not possible"):
                data.setup()
            return
        if np.ptp(array) < 1e-30:
            return  # refused, or not, as float32 has it
        data.setup()
        x = data.train_set.take(len(array))[0].double().numpy()
    spread = np.abs(array).max() / (np.ptp(array) if how == "unit" else max(array.astype(np.float64).std(), 1e-30))
    slack = 1e-5 * max(1.0, spread)  # float32 keeps seven digits of the numbers before their middle is taken away
    if how == "unit":
        assert -slack <= x.min() <= x.max() <= 1 + slack
    elif slack < 0.1:
        assert abs(x.mean()) <= 10 * slack
        assert abs(x.std() - 1) <= 10 * slack

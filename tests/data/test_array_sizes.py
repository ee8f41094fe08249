"""Small files that would take all memory are refused before they do."""

import io
import zipfile

import numpy as np
import pytest
import torch

from ae_lightning.data import array_sizes
from ae_lightning.data.array_file import ArrayFile
from ae_lightning.errors import DataError


def refused(path, words):
    with pytest.raises(DataError, match=words):
        ArrayFile(str(path), "--data.train").get(None, "x", "")


def test_an_expanded_tensor(tmp_path):
    path = tmp_path / "x.pt"
    torch.save({"x": torch.zeros(1).expand(10**5, 10**6)}, path)
    assert path.stat().st_size < 2000
    refused(path, r"x\.pt \(--data\.train\) holds an expanded tensor of shape \(100000, 1000000\)")
    torch.save(torch.arange(12.0).reshape(3, 4).mT, path)  # a view of numbers that are all there
    assert ArrayFile(str(path), "--data.train").get(None, "x", "").shape == (4, 3)


def test_a_tensor_that_was_compressed(tmp_path):
    torch.save({"x": torch.zeros(10, 2)}, tmp_path / "x.pt")
    small = tmp_path / "y.pt"
    with zipfile.ZipFile(tmp_path / "x.pt") as whole, zipfile.ZipFile(small, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in whole.namelist():
            packed.writestr(name, bytes(10**7) if name.endswith("data/0") else whole.read(name))
    refused(small, "is compressed")


def npz_that_claims(path, shape):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", header.getvalue() + bytes(16))


@pytest.mark.parametrize("shape", [(3, 1), (10**8, 4), (10**7, 10**7)])
def test_an_archive_whose_header_claims_more_than_there_is(tmp_path, shape):
    npz_that_claims(tmp_path / "x.npz", shape)
    if shape == (3, 1):  # no more than the whole member, header and all: the reader tells
        refused(tmp_path / "x.npz", "damaged")
    else:
        refused(tmp_path / "x.npz", r"x\.npy claims an array of [\d,]+ bytes, and there are 144")


@pytest.mark.parametrize("ending", [".npz", ".safetensors", ".pt"])
def test_a_file_larger_than_the_memory(tmp_path, monkeypatch, ending):
    monkeypatch.setattr(array_sizes, "_memory", lambda: 2**20)
    path = tmp_path / f"x{ending}"
    if ending == ".npz":
        np.savez_compressed(path, x=np.zeros((1000, 200)))
        assert path.stat().st_size < 10_000
    elif ending == ".pt":
        torch.save(torch.zeros(1000, 400), path)
    else:
        path.write_bytes(bytes(2**20 + 1))
    refused(path, r"takes 0\.0 GiB when it is read, and this machine has 0\.0 GiB of memory; save a \.npy file")


def test_a_map_may_be_larger_than_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(array_sizes, "_memory", lambda: 0)
    np.save(tmp_path / "x.npy", np.zeros((10, 2)))
    assert isinstance(ArrayFile(str(tmp_path / "x.npy"), "--data.train").get(None, "x", ""), np.memmap)

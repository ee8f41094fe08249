from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file
from safetensors.torch import load_file as load_torch_file
from safetensors.torch import save

from ae_lightning.safetensors_writer import SafetensorsWriter, write_tensors

DTYPES = [np.float64, np.float32, np.float16, np.int64, np.int32, np.int16, np.int8, np.uint8, np.bool_]


@pytest.mark.parametrize("batch", [1, 4, 13])
def test_what_is_written_by_parts_is_read_back_whole(batch: int, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    truth = {np.dtype(kind).name: (100 * random.random((13, 3))).astype(kind) for kind in DTYPES}
    truth["scalars"] = random.random(13)
    truth["inner"] = random.random((2, 3, 13, 5))
    axes = {name: 2 if name == "inner" else 0 for name in truth}
    path = tmp_path / "new" / "a.safetensors"
    with SafetensorsWriter(path, 13, axes, {"title": "größer „1“"}) as writer:
        for start in range(0, 13, batch):
            rows = slice(start, start + batch)
            writer.append({k: v[:, :, rows] if k == "inner" else v[rows] for k, v in truth.items()})
            assert not path.exists()
    found = load_file(path)
    assert found.keys() == truth.keys()
    for name, tensor in truth.items():
        assert found[name].dtype == tensor.dtype
        np.testing.assert_array_equal(found[name], tensor)
    with safe_open(path, "numpy") as file:
        assert file.metadata() == {"title": "größer „1“"}
    assert list(path.parent.iterdir()) == [path]


def test_tensors_are_written_as_the_library_writes_them(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tensors = {
        **{"turned": torch.randn(5, 7).mT, "part": torch.randn(9, 4)[::2, 1:3], "bias": torch.randn(7)},
        **{"name „1“": torch.randn(3, 2, 2), "scalar": torch.tensor(2.5), "empty": torch.empty(0, 4)},
        "parameter": torch.nn.Parameter(torch.randn(4)),
    }
    path = tmp_path / "new" / "a.safetensors"
    write_tensors(path, tensors)
    assert path.read_bytes() == save({name: value.detach().contiguous() for name, value in tensors.items()})
    assert list(path.parent.iterdir()) == [path]


def test_tensors_of_every_type_are_written(tmp_path: Path) -> None:
    kinds = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2]
    kinds += [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool]
    kinds += [torch.uint16, torch.uint32, torch.uint64]
    tensors = {str(kind): torch.tensor([0.0, 1.0, 3.0]).to(kind) for kind in kinds}
    write_tensors(tmp_path / "a.safetensors", tensors)
    found = load_torch_file(tmp_path / "a.safetensors")
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name].view(torch.uint8), tensor.view(torch.uint8))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"a": np.zeros((2, 4)), "b": np.zeros(2)}, r"rows of shape \(2, 4\) cannot follow"),
        ({"a": np.zeros((2, 3)), "b": np.zeros(1)}, "cannot follow 2 of 5 rows"),
        ({"a": np.zeros((2, 3))}, "cannot follow 2 of 5 rows"),
        ({"a": np.zeros((4, 3)), "b": np.zeros(4)}, "cannot follow 2 of 5 rows"),
        (None, "was to have 5 rows, but 2 were written"),
    ],
    ids=["another width", "unequal rows", "a tensor missing", "too many rows", "too few rows"],
)
def test_rows_that_do_not_fit_are_refused_and_the_earlier_file_stays(parts, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_text("earlier")

    def write() -> None:
        with SafetensorsWriter(path, 5, {"a": 0, "b": 0}, {}) as writer:
            writer.append({"a": np.zeros((2, 3)), "b": np.zeros(2)})
            if parts is not None:
                writer.append(parts)

    with pytest.raises(ValueError, match=message):
        write()
    assert path.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [path]

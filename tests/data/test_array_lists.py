"""Samples in lists of files, in memory and in windows."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ae_lightning.data import ArraysDataModule
from ae_lightning.errors import ConfigError, DataError, Notice

ROWS = 5000
# Each row says its number, which all types here hold exactly.
X = np.stack([np.arange(ROWS), np.arange(ROWS) % 11], axis=1).astype(np.float32)
Y = np.arange(ROWS) % 7
LITTLE = {"memory": 30_000, "window": 256}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Samples, labels and targets of four files each, of unequal sizes."""
    folder = tmp_path_factory.mktemp("files")
    made: dict[str, list[str]] = {"x": [], "y": [], "target": []}
    for number, rows in enumerate(np.split(np.arange(ROWS), [700, 701, 3000])):
        for name, values in (("x", X[rows]), ("y", Y[rows]), ("target", -X[rows].astype(np.float64))):
            path = folder / f"{name}-{number}.npy"
            np.save(path, values)
            made[name].append(str(path))
    return made


@pytest.mark.parametrize("memory", [{}, LITTLE])
def test_an_epoch_has_each_row_of_all_files_once(files, memory):
    data = ArraysDataModule(files["x"], train_labels=files["y"], target=files["target"], batch_size=300, **memory)
    data.setup()
    assert ("read whole" if not memory else "read in windows of 256 rows") in data.description
    rows = []
    for x, y, target in data.train_dataloader():
        rows.append(x[:, 0].long())
        assert torch.equal(x, torch.from_numpy(X)[rows[-1]])
        assert torch.equal(y, torch.from_numpy(Y)[rows[-1]])
        assert torch.equal(target, -x)
    held_out = data.val_set.take(ROWS)[0][:, 0].long()
    assert len(held_out) == 500
    assert torch.equal(torch.cat([*rows, held_out]).sort().values, torch.arange(ROWS))
    assert not torch.equal(torch.cat(rows)[:300], torch.cat(rows)[:300].sort().values)


def test_windows_give_the_same_as_rows_in_memory_however_they_are_normalized(files):
    for normalize in ("none", "unit", "standard"):
        options = ({"window": 256}, LITTLE)
        kinds = [ArraysDataModule(files["x"], normalize=normalize, **option) for option in options]
        for data in kinds:
            data.setup()
        for (ours, _), (theirs, _) in zip(*(data.train_dataloader() for data in kinds), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
        assert kinds[0].value_range == kinds[1].value_range


def test_a_list_holds_the_same_rows_as_one_file(files, tmp_path):
    np.save(tmp_path / "whole.npy", X)
    one, several = ArraysDataModule(str(tmp_path / "whole.npy")), ArraysDataModule(files["x"], **LITTLE)
    for data in (one, several):
        data.setup()
    assert one.fingerprint() == several.fingerprint()
    assert torch.equal(one.val_set.take(50)[0], several.val_set.take(50)[0])


def test_files_of_several_arrays_and_lists_for_validation(files, tmp_path):
    paths = []
    for number in range(3):
        rows = slice(1000 * number, 1000 * (number + 1))
        paths.append(str(tmp_path / f"{number}.safetensors"))
        save_file({"x": torch.from_numpy(X[rows]).bfloat16(), "y": torch.from_numpy(Y[rows])}, paths[-1])
    data = ArraysDataModule(paths[:2], val=paths[1:], memory=12_000, window=64, batch_size=100)
    data.setup()
    assert (len(data.train_set), len(data.val_set)) == (2000, 2000)
    assert data.num_classes == 7
    x, y = (torch.cat(parts) for parts in zip(*data.train_dataloader(), strict=True))
    found = zip(x[:, 1].tolist(), y.tolist(), strict=True)
    assert sorted(found) == sorted(zip(X[:2000, 1].tolist(), Y[:2000].tolist(), strict=True))


def test_a_fit_says_what_is_read(files):
    data = ArraysDataModule(files["x"], **LITTLE)
    with pytest.warns(Notice, match=r"^Arrays: read in windows of 256 rows, which takes \d+\.\d KiB of memory\.$"):
        data.setup("fit")


def test_mistakes(files, tmp_path: Path):
    np.save(tmp_path / "wide.npy", np.zeros((5, 3), dtype=np.float32))
    np.save(tmp_path / "double.npy", np.zeros((5, 2)))
    for name, said in (
        ("wide", r"holds float32 of the shape \(3,\) for each row, and .*x-0\.npy float32 of \(2,\)"),
        ("double", r"holds float64 of the shape \(2,\) for each row, and .*x-0\.npy float32 of \(2,\)"),
    ):
        with pytest.raises(DataError, match=said):
            ArraysDataModule([files["x"][0], str(tmp_path / f"{name}.npy")]).setup()
    with pytest.raises(DataError, match=r"--data\.train names .*none\.npy, which does not exist"):
        ArraysDataModule([files["x"][0], str(tmp_path / "none.npy")]).setup()
    with pytest.raises(ConfigError, match=r"^--data\.train names no file; give it one or more\.$"):
        ArraysDataModule([]).setup()
    with pytest.raises(ConfigError, match=r"^--data\.window is for lists of files; write --data\.train \[x\.npy\]\.$"):
        ArraysDataModule("x.npy", window=5)
    with pytest.raises(DataError, match=r"y-1\.npy and 2 more holds 4,300 labels for the 5,000 samples"):
        ArraysDataModule(files["x"], train_labels=files["y"][1:]).setup()
    bad = X[:10].copy()
    bad[3, 1] = np.nan
    np.save(tmp_path / "bad.npy", bad)
    with pytest.raises(DataError, match=r"and 1 more holds 1 NaN or infinite values, the first in row 703 "):
        ArraysDataModule([files["x"][0], str(tmp_path / "bad.npy")], val=files["x"][1]).setup()

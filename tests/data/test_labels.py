"""Labels in each form that people keep them in."""

import numpy as np
import pytest
import torch

from ae_lightning.data import ArraysDataModule
from ae_lightning.errors import ConfigError, DataError

CLASSES = np.arange(20) % 4
ROWS = np.eye(4, dtype=np.int64)[CLASSES]
X = np.arange(40, dtype=np.float32).reshape(20, 2)


def labels_of(folder, y, **options):
    np.savez(folder / "a.npz", x=X, y=y)
    data = ArraysDataModule(str(folder / "a.npz"), **options)
    data.setup()
    x, y = data.train_set.take(20)
    return (x[:, 0] / 2).long().numpy(), y, data.num_classes


FORMS = {
    "numbers": (CLASSES, "auto"),
    "truth values": (CLASSES > 1, "auto"),
    "a column": (CLASSES[:, None], "auto"),
    "a column of bytes": (CLASSES[:, None].astype(np.uint8), "auto"),
    "rows with a single one": (ROWS, "auto"),
    "rows of truth values": (ROWS > 0, "auto"),
    "rows with a single one, in floating point": (ROWS.astype(np.float32), "classes"),
    "numbers in floating point": (CLASSES.astype(np.float64), "classes"),
    "a column in floating point": (CLASSES[:, None].astype(np.float16), "classes"),
}


@pytest.mark.parametrize("form", FORMS)
def test_class_numbers_in_every_form(tmp_path, form):
    y, kind = FORMS[form]
    rows, found, num_classes = labels_of(tmp_path, y, label_kind=kind)
    truth = CLASSES > 1 if form == "truth values" else CLASSES
    assert found.dtype == torch.int64
    assert found.tolist() == truth[rows].tolist()
    assert num_classes == truth.max() + 1


FEATURES = {
    "rows with a single one that are said to be features": (ROWS, "features"),
    "a column that is said to be a feature": (CLASSES[:, None], "features"),
    "numbers that are said to be a feature": (CLASSES, "features"),
    "rows with several ones": (np.where(np.arange(20)[:, None] == 7, 1, ROWS), "auto"),
    "a row without a one": (np.where(np.arange(20)[:, None] == 7, 0, ROWS), "auto"),
    "a two among them": (np.where(np.arange(20)[:, None] == 7, 2 * ROWS, ROWS), "auto"),
    "rows in floating point": (ROWS.astype(np.float32), "auto"),
    "a column in floating point": (CLASSES[:, None] / 3, "auto"),
}


@pytest.mark.parametrize("form", FEATURES)
def test_true_features_in_every_form(tmp_path, form):
    y, kind = FEATURES[form]
    rows, found, num_classes = labels_of(tmp_path, y, label_kind=kind)
    assert found.dtype == torch.float32
    np.testing.assert_array_equal(found.numpy(), y.reshape(20, -1)[rows].astype(np.float32))
    assert num_classes is None


def test_rows_are_features_in_all_sets_where_they_are_in_one(tmp_path):
    np.savez(tmp_path / "a.npz", x=X, y=ROWS)
    np.savez(tmp_path / "b.npz", x=X, y=ROWS + 1)
    data = ArraysDataModule(str(tmp_path / "a.npz"), val=str(tmp_path / "b.npz"))
    data.setup()
    assert data.num_classes is None
    assert data.train_set.y.shape == data.val_set.y.shape == (20, 4)


@pytest.mark.parametrize(
    ("y", "kind", "words"),
    [
        (CLASSES[:, None] - 1, "auto", "go down to -1; class numbers start from 0"),
        (ROWS + 1, "classes", "not every row is a single 1 .* --data.label_kind features"),
        (CLASSES / 3, "classes", "no whole numbers"),
        (np.where(CLASSES > 1, np.nan, 0), "classes", "no whole numbers"),
        (np.where(CLASSES > 1, np.nan, 0), "features", "NaN or infinite"),
        (CLASSES / 1.0, "auto", r"float64 of shape \(20,\); they must be integers .* --data.label_kind classes"),
    ],
)
def test_labels_that_are_not_what_they_should_be(tmp_path, y, kind, words):
    with pytest.raises(DataError, match=words):
        labels_of(tmp_path, y, label_kind=kind)


def test_an_unknown_kind():
    with pytest.raises(ConfigError, match=r"--data\.label_kind is 'class'; it can be auto, classes or features"):
        ArraysDataModule("a.npy", label_kind="class")

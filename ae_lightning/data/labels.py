"""Labels as people keep them: class numbers, rows with a single 1, or true features."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from ae_lightning.errors import DataError

LabelKind = Literal["auto", "classes", "features"]


class Labels(NamedTuple):
    """Labels (n, …) as they were read, and the file that they are from."""

    y: Tensor
    path: str | Path


def rows_are_classes(labels: Iterable[Labels], kind: LabelKind) -> bool:
    """Tell whether labels of two dimensions are class numbers: as they are meant to be, or by what all of them hold."""
    if kind != "auto":
        return kind == "classes"
    rows = [y for y, _ in labels if y.ndim == 2]
    return all(not y.is_floating_point() and (y.shape[1] == 1 or _is_one_hot(y)) for y in rows)


def as_classes(labels: Labels) -> Tensor:
    """Class numbers (n,) int64 of labels (n,), (n, 1), or (n, k) with a single 1 in each row.

    Raises:
        DataError: They are something else.
    """
    y, path = labels
    if y.ndim == 2 and y.shape[1] > 1:
        if not _is_one_hot(y):
            raise DataError(
                f"The labels in {path} of shape {tuple(y.shape)} are no class numbers, since not every row is a single "
                "1 and else zeros; set --data.label_kind features for true features."
            )
        return y.to(torch.uint8).argmax(dim=1)
    y = y.flatten()
    if not bool((y == y.long()).all()):
        raise DataError(f"The labels in {path} are no whole numbers; class numbers are integers from 0.")
    if int(y.min()) < 0:
        raise DataError(f"The labels in {path} go down to {int(y.min())}; class numbers start from 0.")
    return y.long()


def as_features(labels: Labels) -> Tensor:
    """True features (n, k) float32 of labels (n, k), or (n,) for a single feature.

    Raises:
        DataError: Some are NaN, or infinite in float32.
    """
    y = labels.y.float().reshape(len(labels.y), -1)
    if not bool(torch.isfinite(y).all()):
        raise DataError(f"The true features in {labels.path} hold NaN or infinite values; remove or replace them.")
    return y


def settled(labels: Labels, kind: LabelKind, classes: bool) -> Tensor:
    """Class numbers (n,) int64, or true features (n, k) float32.

    Args:
        labels: What was read.
        kind: What they are said to be.
        classes: Whether labels of two dimensions are class numbers.

    Raises:
        DataError: They are neither, or not what they are said to be.
    """
    y, path = labels
    if y.ndim > 2 or (kind == "auto" and y.ndim == 1 and y.is_floating_point()):
        raise DataError(
            f"The labels in {path} are {str(y.dtype).removeprefix('torch.')} of shape {tuple(y.shape)}; they must be "
            "integers of shape (n,) or (n, 1), rows (n, k) with a single 1, or vectors of true features (n, k); of "
            "other kinds of class numbers say --data.label_kind classes."
        )
    if y.ndim == 1:
        classes = kind != "features"
    return as_classes(labels) if classes else as_features(labels)


def _is_one_hot(y: Tensor) -> bool:
    ones = y == 1
    return bool((ones | (y == 0)).all()) and bool((ones.sum(dim=1) == 1).all())

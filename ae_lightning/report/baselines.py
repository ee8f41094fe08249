"""The baseline that takes seconds: computed once for each data set and width, and kept beside the runs."""

from __future__ import annotations

import contextlib
from pathlib import Path

import torch

from ae_lightning.analysis.random_encoder import random_encoder_error
from ae_lightning.data.in_memory import InMemoryDataset
from ae_lightning.errors import RunFolderError
from ae_lightning.files import read_json, write_json
from ae_lightning.models.base import Autoencoder
from ae_lightning.models.shallow import ShallowAutoencoder
from ae_lightning.run.run import Run

FILE_NAME = "baselines.json"

# A wider code takes minutes, and more memory than a report should.
_WIDEST = 4096


def random_encoder(run: Run, model: Autoencoder, data_hash: str) -> float | None:
    """Error per pixel on the test set of a random encoder of the model's width, its decoder fitted by least squares.

    Its code is rectified where the model's is. It is kept in `baselines.json` beside the experiments' folders.

    Args:
        run: A run on the data, which are set up.
        model: Its model.
        data_hash: Hash of its training set.

    Returns:
        The error; None where each instance has samples of its own, or the code is wider than 4,096.
    """
    if run.data.instances is not None or model.latent_size > _WIDEST:
        return None
    rectified = isinstance(model, ShallowAutoencoder) and model.fires_above_zero
    key = f"random_encoder {data_hash} {model.latent_size} {'relu' if rectified else 'none'}"
    path = run.folder.absolute().parent.parent / FILE_NAME
    known = _read(path)
    if key not in known:
        train, test = _samples(run.data.train_set), _samples(run.data.test_set)
        known[key] = random_encoder_error(train, test, model.latent_size, activation="relu" if rectified else "none")
        with contextlib.suppress(OSError):  # a folder that cannot be written to: it is computed again next time
            write_json(path, {**_read(path), **known})
    return known[key]


def _read(path: Path) -> dict[str, float]:
    if not path.is_file():
        return {}
    with contextlib.suppress(OSError, RunFolderError):  # damaged: it is computed again
        return {name: value for name, value in read_json(path, dict).items() if isinstance(value, float)}
    return {}


def _samples(dataset: InMemoryDataset) -> torch.Tensor:
    return torch.cat([x.cpu() for x, _ in dataset.batches(4096)])

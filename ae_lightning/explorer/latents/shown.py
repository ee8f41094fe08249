"""What can be shown of the samples of a store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ae_lightning.data.base import AutoencoderDataModule
from ae_lightning.data.in_memory import InMemoryDataset
from ae_lightning.data.store import StoreIndex
from ae_lightning.data.store.names import INDEX, TOKENS
from ae_lightning.errors import RunFolderError, UserError
from ae_lightning.explorer.latents.samples import Images, Shown, Texts
from ae_lightning.explorer.latents.stored import StoredTokens
from ae_lightning.explorer.latents.vocabulary import readable
from ae_lightning.explorer.samples import drawn_range
from ae_lightning.files import read_json
from ae_lightning.run.run import data_of

Array = np.ndarray[Any, Any]

# Samples whose values say what is black and white where the data have no bounds.
_RANGED = 1000


def shown_of(index: StoreIndex, note: Callable[[str], None]) -> tuple[Shown, list[str] | None]:
    """How the samples of a store are shown, and the names of their classes.

    Samples of which nothing is to be had stand by their numbers: a sentence says why.

    Args:
        index: The store's index.
        note: Called with that sentence.
    """
    names = None if index.num_classes is None else [str(number) for number in range(index.num_classes)]
    try:
        if index.data.get("kind") == "text":
            return _texts(index), names
        if index.data.get("kind") == "images":
            data = _data_of(index)
            known = [str(name) for name in getattr(data, "class_names", None) or ()]
            return _images(index, data), known if names is not None and len(known) >= len(names) else names
    except UserError as error:
        note(f"samples are shown by their numbers alone: {error}")
    return None, names


def _texts(index: StoreIndex) -> Texts:
    path = index.folder / TOKENS
    if not index.sample_files or not path.is_file():
        raise RunFolderError(f"{index.folder} holds no {TOKENS if index.sample_files else 'token ids'}")
    vocabulary = readable([str(token) for token in read_json(path, list)])
    return Texts(StoredTokens(index, len(vocabulary)).of, vocabulary)


def _data_of(index: StoreIndex) -> AutoencoderDataModule:
    if not index.data.get("settings"):
        raise RunFolderError(f"{index.folder} does not say how its data module can be made again")
    data = data_of(index.data["settings"], index.folder / INDEX)
    data.setup()
    return data


def _images(index: StoreIndex, data: AutoencoderDataModule) -> Images:
    samples = data.test_set if index.data.get("split") == "test" else data.development_set
    if samples.fingerprint() != index.data.get("fingerprint"):
        raise RunFolderError(f"{data.title} has other images now than those that {index.folder} was made of")
    low, high = drawn_range(data, samples.take(_RANGED)[0])
    places = None if index.shape is None else tuple(index.shape)
    height, width = places if places is not None and len(places) == 2 else (1, 1)
    return Images(pictures_of(samples, low, high), (height, width) if height * width > 1 else None)


def pictures_of(samples: InMemoryDataset, low: float, high: float) -> Callable[[Array], Array]:
    """Pictures of images (planes, height, width): black at one value, white at another; of other planes the mean."""

    def pictures(numbers: Array) -> Array:
        x, *_ = samples.__getitems__(torch.from_numpy(numbers))
        bytes_of = ((x - low) * (255 / (high - low))).round().clamp(0, 255)
        if x.shape[1] not in (1, 3):
            bytes_of = bytes_of.mean(dim=1, keepdim=True).round()
        return bytes_of.byte().permute(0, 2, 3, 1).numpy()

    return pictures

"""What a network is shown, by what a user names, or by what a store says of itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ae_lightning.data.base import AutoencoderDataModule
from ae_lightning.data.store import StoreIndex
from ae_lightning.errors import ConfigError, DataError
from ae_lightning.harvesting.inputs import SPLITS, DataModuleInputs, IterableInputs, Source
from ae_lightning.harvesting.sources import LoadedModel
from ae_lightning.harvesting.text import TextInputs
from ae_lightning.run.run import data_of

_SEQUENCES = 32
_SAMPLES = 256

Data = AutoencoderDataModule | Mapping[str, Any] | Iterable[Any]
"""A data module, its settings (`class_path` and `init_args`), or batches as `IterableInputs` takes them."""


def source_for(
    model: LoadedModel,
    data: Data | None,
    text: Sequence[str | Path] = (),
    batch_size: int | None = None,
    context: int | None = None,
    split: str = SPLITS[0],
) -> Source:
    """What a network is shown; see `harvest` for the arguments.

    Raises:
        ConfigError: There are no data, or both data and text, or the model has no tokenizer for a text.
    """
    if bool(text) == (data is not None):
        raise ConfigError("name what the model is shown: a data module with --data, or files with --text")
    if batch_size is not None and batch_size < 1:
        raise ConfigError(f"--batch-size is {batch_size}; it must be at least 1")
    if text:
        if model.tokenizer is None:
            raise ConfigError(
                f"--text needs a tokenizer, and {model.name} has none: name a folder of transformers with its "
                "tokenizer, or a function that gives the pair of a module and its tokenizer"
            )
        return TextInputs(text, model.tokenizer, model.module, batch_size or _SEQUENCES, context)
    if isinstance(data, Mapping):
        return DataModuleInputs(data_of(data, Path("--data")), batch_size or _SAMPLES, split, data)
    if isinstance(data, AutoencoderDataModule):
        return DataModuleInputs(data, batch_size or _SAMPLES, split)
    assert data is not None
    return IterableInputs(data, model.tokenizer)


def source_of(index: StoreIndex, model: LoadedModel, batch_size: int | None = None) -> Source:
    """What the network of a store was shown, once more and in the same order.

    Args:
        index: The store's.
        model: The network, with the tokenizer that the store was made with.
        batch_size: Samples a batch; by default those of a harvest.

    Raises:
        DataError: The store does not tell, or the data are no longer the same.
        ConfigError: The data are missing, or the model has no tokenizer.
    """
    told = index.data
    if told.get("texts"):
        files = [text["path"] for text in told["texts"]]
        source = source_for(model, None, files, batch_size, told["context"])
    elif told.get("settings"):
        source = source_for(model, told["settings"], (), batch_size, split=told["split"])
    else:
        raise DataError(f"{index.folder} does not tell what its model was shown: name it with --data or --text")
    now = source.about()
    if changed := [name for name in ("fingerprint", "texts", "tokenizer") if _of(now, name) != _of(told, name)]:
        raise DataError(f"the data of {index.folder} are no longer the same: their {changed[0]} has changed")
    return source


def _of(about: Mapping[str, Any], name: str) -> Any:
    """What is said of samples by a name; of texts only their hashes."""
    value = about.get(name)
    return [text["sha256"] for text in value] if name == "texts" and value else value

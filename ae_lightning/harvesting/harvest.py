"""`harvest`: activations of a network's layers, over data, into a store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn

from ae_lightning.data.store import StoreIndex
from ae_lightning.data.store.names import DTYPES
from ae_lightning.errors import ConfigError
from ae_lightning.harvesting.capture import points_of
from ae_lightning.harvesting.collect import Collection, Reached
from ae_lightning.harvesting.inputs import SPLITS
from ae_lightning.harvesting.layout import Channels
from ae_lightning.harvesting.processes import Work
from ae_lightning.harvesting.shown import Data, source_for
from ae_lightning.harvesting.sources import LoadedModel, load_model


def harvest(
    model: str | Path | nn.Module | LoadedModel,
    layers: str | Sequence[str],
    output: str | Path,
    data: Data | None = None,
    *,
    text: str | Path | Sequence[str | Path] = (),
    side: str = "output",
    channels: Channels | None = None,
    dtype: str = "float32",
    rows: int | None = None,
    batch_size: int | None = None,
    context: int | None = None,
    split: str = SPLITS[0],
    device: str | torch.device | None = None,
    processes: int = 1,
    shard_rows: int | None = None,
    covariance: bool | None = None,
    command: str = "",
    tell: Callable[[Reached], None] | None = None,
) -> StoreIndex:
    """Write the activations of some layers of a network into a store.

    A sample gives one row where a layer gives a vector, a row for each position of a map, and a row for each token that
    is neither padding nor special. Rows come in the order of the samples. A harvest that was broken off goes on at the
    first shard that is missing, and ends with the same bytes; what is there already is not computed again.

    Args:
        model: A network, which is put into evaluation mode, or its name as `load_model` takes it.
        layers: A layer or several, as `named_modules` has them; all of them must give rows at the same positions.
        output: Folder of the store.
        data: What the network is shown: a data module, its settings, or batches (see `IterableInputs`).
        text: A text file or several in its place, which the model's tokenizer cuts into sequences.
        side: What is taken of a layer: its `output`, its `input`, or `both`.
        channels: Where the width of a row is, `first` or `last` in a sample. By default it is first in the maps of
            convolutional networks, and last in tokens.
        dtype: Type of the numbers in the store: float32, float16 or bfloat16.
        rows: Most rows.
        batch_size: Samples that the network is shown at a time (default: 256, or 32 sequences of text).
        context: Most tokens of a sequence of text (default: 128, or as many as the model takes).
        split: Part of a data module: `development`, its training and validation samples, or `test`.
        device: Where the network runs (default: a GPU if there is one).
        processes: How many processes run the network; see `computed_by`.
        shard_rows: Rows of a shard (default: 128 MB of them).
        covariance: Whether to keep covariances (default: of layers up to 4,096 wide).
        command: The command that goes on with the harvest, for messages.
        tell: Is called after each batch.

    Returns:
        The index of the store.

    Raises:
        ConfigError: There is no such network, layer or data, or they do not go together.
        DataError: The folder holds something else, the numbers are not finite in the type, or the disk is full.

    Example:
        >>> from torch import nn
        >>> from ae_lightning import DigitsDataModule, harvest
        >>> network = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU())
        >>> store = harvest(network, ["2"], "stores/relu", DigitsDataModule())
        >>> store.rows, store.width("2")
        (1437, 32)
    """
    if dtype not in DTYPES:
        raise ConfigError(f"--dtype is {dtype}; it can be {', '.join(DTYPES)}")
    loaded = model if isinstance(model, LoadedModel) else load_model(model)
    layers = [layers] if isinstance(layers, str) else layers
    text = [text] if isinstance(text, (str, Path)) else text
    source = source_for(loaded, data, text, batch_size, context, split)
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    work = Work(loaded, points_of(loaded.module, layers, side), channels, where)
    return Collection(work, source, rows, processes).into(
        Path(output), dtype, shard_rows, covariance, command, tell or (lambda reached: None)
    )

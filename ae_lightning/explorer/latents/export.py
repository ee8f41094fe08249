"""A run whose dictionary was trained on activations, as pages on its latents."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from torch import Tensor

from ae_lightning.analysis.nearest import nearest_few
from ae_lightning.data.activations import ActivationsDataModule
from ae_lightning.errors import ConfigError
from ae_lightning.evaluation.device import device_of
from ae_lightning.explorer.latents.contents import About, Array, Contents
from ae_lightning.explorer.latents.findings import find
from ae_lightning.explorer.latents.pages import pages_of
from ae_lightning.explorer.latents.rows import Batches, Rows
from ae_lightning.explorer.latents.samples import Texts
from ae_lightning.explorer.latents.shown import shown_of
from ae_lightning.explorer.latents.stored import StoredRows, StoredTokens
from ae_lightning.metrics.codes import Codes
from ae_lightning.models.base import Autoencoder
from ae_lightning.models.checkpoint import load_autoencoder
from ae_lightning.models.shallow import ShallowAutoencoder
from ae_lightning.models.sparse_dictionary import SparseDictionary
from ae_lightning.nn.modes import evaluation_mode
from ae_lightning.nn.precision import like_weights
from ae_lightning.nn.sparse_code import SparseCode
from ae_lightning.run.run import Run
from ae_lightning.training.population import require_instance

NEAREST = 8
"""Nearest latents that are named of each."""

# Activations that codes of a batch hold: 64 MB.
_MOST_CODES = 1 << 24


def export_latents(
    run: Run,
    checkpoint: Path,
    rows: int,
    in_folder: bool,
    instance: int = 0,
    note: Callable[[str], None] = lambda sentence: None,
    tell: Callable[[int, int], None] = lambda done, of: None,
) -> Iterator[tuple[str, str]]:
    """Pages on the latents of a dictionary that was trained on activations.

    Args:
        run: The run, whose data are an `ActivationsDataModule`.
        checkpoint: Which weights.
        rows: Rows of the store that are looked at, at most.
        in_folder: Whether there are to be several pages, see `needs_folder`.
        instance: Which instance of a model that has several.
        note: Called with a sentence on what cannot be shown.
        tell: Called after each batch with the rows done and all rows, each of which is read twice.

    Returns:
        Names of files and their texts, as `pages_of` gives them.

    Raises:
        ConfigError: The model has no such instance, or codes that are no vectors.
        DataError: The store is missing or damaged.
    """
    model = load_autoencoder(checkpoint).float().to(device_of(run.config))
    require_instance(model, instance)
    if len(model.latent_shape) > 1:
        raise ConfigError(f"the codes of a {type(model).__name__} are maps, and the page shows latents of vectors")
    data = run.data
    assert isinstance(data, ActivationsDataModule)
    shown, names = shown_of(data.index, note)
    vocabulary = len(shown.vocabulary) if isinstance(shown, Texts) else None
    tokens = None if vocabulary is None else StoredTokens(data.index, vocabulary)
    width = model.latent_size * (model.instances or 1)
    stored = StoredRows(data, rows, max(1, min(4096, _MOST_CODES // width)), tokens)
    with evaluation_mode(model):
        found = find(
            partial(codes_of, model, instance),
            _counted(stored, tell),
            model.latent_size,
            data.num_classes,
            vocabulary,
        )
        near = _near(model, instance)
    about = About(
        title=f"{run.title}{f', instance {instance}' if model.instances else ''}",
        variant=type(model).__name__,
        data=_data(data, found.rows),
        samples=data.index.samples,
        stored_rows=data.index.rows,
        classes=names,
    )
    return pages_of(Contents(about, found, near, shown), in_folder)


def codes_of(model: Autoencoder, instance: int, x: Tensor) -> Codes:
    """Codes (n, latent) of one instance, of rows (n, …)."""
    x = like_weights(model, x)
    codes = model.code(x) if isinstance(model, SparseDictionary) and model.is_sparse else model.encode(x)
    if model.instances is None:
        return codes
    return codes.instance(instance) if isinstance(codes, SparseCode) else codes[instance]


def _near(model: Autoencoder, instance: int) -> tuple[Array, Array] | None:
    """The latents whose decoder rows are nearest; None where a latent has no such row."""
    if not isinstance(model, ShallowAutoencoder) or model.latent_size < 2:
        return None
    written = model.decoder_vectors if model.instances is None else model.decoder_vectors[instance]
    numbers, cosines = nearest_few(written.detach(), NEAREST)
    return numbers.numpy(), cosines.numpy()


def _counted(stored: StoredRows, tell: Callable[[int, int], None]) -> Batches:
    """The batches, each told of when it is done."""
    done, of = 0, 2 * stored.rows

    def batches() -> Iterator[Rows]:
        nonlocal done
        for rows in stored.batches():
            yield rows
            done += len(rows)
            tell(done, of)

    return batches


def _data(data: ActivationsDataModule, rows: int) -> str:
    """A line on the rows that were looked at."""
    index = data.index
    source = index.data.get("title")
    some = f"{rows:,} rows" if rows == index.rows else f"{rows:,} of {index.rows:,} rows"
    return f"{data.title}{f' over {source}' if source else ''} · {some}"

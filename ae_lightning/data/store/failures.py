"""What ends a harvest, in a sentence that says what is kept and what goes on from there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from ae_lightning.data.store.filling import Shapes
from ae_lightning.data.store.index import said
from ae_lightning.data.store.shard_file import Damaged
from ae_lightning.data.store.shards import whole_shards
from ae_lightning.errors import DataError


@contextlib.contextmanager
def telling_failures(folder: Path, shapes: Shapes, command: str) -> Iterator[None]:
    """Let a disk that fails, or a shard that is damaged, within the block be told as a user's error.

    Args:
        folder: The store that is written.
        shapes: Shape and type of each tensor of a shard.
        command: The command that goes on with the harvest.

    Raises:
        DataError: In place of what was raised within the block.
    """
    going_on = f"{said(command, folder)} goes on from there"
    try:
        yield
    except Damaged as error:
        raise DataError(f"A shard of {folder} {error}; {going_on}.") from error
    except OSError as error:
        kept, reason = len(whole_shards(folder, shapes)), (error.strerror or str(error)).lower()
        raise DataError(
            f"{error.filename or folder}: {reason}; {kept:,} whole shards are kept, and {going_on}."
        ) from error

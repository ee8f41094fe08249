"""Looking through a store: whether each of its files is the one that the index speaks of."""

from __future__ import annotations

from pathlib import Path

from ae_lightning.data.store.index import StoreIndex, said
from ae_lightning.errors import DataError
from ae_lightning.files import sha256_of


def verify(folder: str | Path, option: str = "STORE") -> StoreIndex:
    """Read all files of a store, and compare their hashes with the index.

    Args:
        folder: The store.
        option: What named it, for messages.

    Returns:
        The index.

    Raises:
        DataError: There is no store, or files of it are missing or damaged; the message names them and what mends it.
    """
    index = StoreIndex.read(folder, option)
    bad = [name for name, (_, digest) in index.files.items() if sha256_of(index.folder / name) != digest]
    if bad:
        raise DataError(
            f"{', '.join(bad[:10])} in {index.folder} {'holds' if len(bad) == 1 else 'hold'} other bytes than were "
            f"written ({len(bad):,} of {len(index.files):,} files); remove {'it' if len(bad) == 1 else 'them'} and run "
            f"{said(index.command, index.folder)} again, which makes anew what is missing."
        )
    return index

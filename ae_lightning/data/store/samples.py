"""Token ids of the sequences that a store's rows were made of."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ae_lightning.data.store.index import StoreIndex
from ae_lightning.data.store.names import samples_file
from ae_lightning.data.store.shard_file import Damaged, Head
from ae_lightning.files import sha256_of
from ae_lightning.safetensors_writer import write_tensors

SAMPLES = 2**16
"""Samples of each file but the last."""


class SampleWriter:
    """Writes the token ids of samples, which come in order, all of them at each run; full files that are there stay.

    Args:
        folder: The store.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0
        self._tokens: list[Tensor] = []

    def add(self, tokens: Iterable[Tensor]) -> None:
        """Add the token ids (length,) of the next samples.

        Raises:
            OSError: A file cannot be written.
        """
        for one in tokens:
            self._tokens.append(one.to("cpu", torch.int32))
            self.count += 1
            if len(self._tokens) == SAMPLES:
                self._write()

    def finish(self) -> list[dict[str, Any]]:
        """Write what is left, and answer what an index says of the files.

        Raises:
            OSError: A file cannot be written.
        """
        if self._tokens:
            self._write()
        files = []
        for number, first in enumerate(range(0, self.count, SAMPLES)):
            path = self.folder / samples_file(number)
            samples = min(SAMPLES, self.count - first)
            files.append(
                {"file": path.name, "samples": samples, "sha256": sha256_of(path), "bytes": path.stat().st_size}
            )
        return files

    def _write(self) -> None:
        path = self.folder / samples_file((self.count - 1) // SAMPLES)
        if len(self._tokens) < SAMPLES or not _is_full(path):
            lengths = torch.tensor([0, *map(len, self._tokens)])
            write_tensors(path, {"tokens": torch.cat(self._tokens), "offsets": lengths.cumsum(0)})
        self._tokens = []


def _is_full(path: Path) -> bool:
    try:
        return Head.read(path).places["offsets"].shape == (SAMPLES + 1,)
    except (Damaged, KeyError):
        return False


class StoredSamples:
    """Token ids of each sample of a store, read when they are asked for.

    Args:
        index: The store's index. That of images has no token ids: there are no samples here.
    """

    def __init__(self, index: StoreIndex) -> None:
        self.index = index
        self._offsets: dict[int, Tensor] = {}

    def __len__(self) -> int:
        return sum(file.samples for file in self.index.sample_files)

    def __getitem__(self, sample: int) -> Tensor:
        """Token ids (length,) int64 of a sample.

        Raises:
            IndexError: There is no such sample.
            DataError: Its file is missing or damaged.
        """
        if not 0 <= sample < len(self):
            raise IndexError(f"sample {sample} of {len(self)}")
        number, place = divmod(sample, SAMPLES)
        path = self.index.folder / self.index.sample_files[number].file
        try:
            with safe_open(path, "pt") as file:
                if number not in self._offsets:
                    self._offsets[number] = file.get_tensor("offsets").clone()
                start, stop = self._offsets[number][place : place + 2].tolist()
                tokens = file.get_slice("tokens")
                if not 0 <= start <= stop <= tokens.get_shape()[0]:
                    raise ValueError(f"{path} has no tokens {start} to {stop}")
                return tokens[start:stop].long()
        except (OSError, SafetensorError, ValueError) as error:
            raise self.index.damaged(path, "is missing or damaged") from error

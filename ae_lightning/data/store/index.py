"""A store's index: what it holds, in which files, made from which model and data, and what its numbers are."""

from __future__ import annotations

import difflib
import hashlib
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from ae_lightning.data.store.names import (
    DTYPES,
    EXTRAS,
    INDEX,
    SCHEMA,
    SETTINGS,
    rows_file,
    samples_file,
    statistics_file,
)
from ae_lightning.data.store.statistics import RowStatistics, statistics_of
from ae_lightning.errors import DataError, RunFolderError
from ae_lightning.files import read_json


@dataclass(frozen=True)
class Shard:
    """One file of rows: its name in the store's folder, its rows, the first of them, its hash and its size."""

    file: str
    rows: int
    first_row: int
    sha256: str
    bytes: int


@dataclass(frozen=True)
class SampleFile:
    """One file of token ids: its name in the store's folder, its samples, its hash and its size."""

    file: str
    samples: int
    sha256: str
    bytes: int


@dataclass(frozen=True)
class StoreIndex:
    """What a finished store says of itself.

    Args:
        folder: The store.
        rows: Rows of each array.
        samples: Samples that the rows were made of: sequences, images, vectors.
        shard_rows: Rows of each shard but the last.
        arrays: What is said of each array by its name: `width`, `dtype`, `layer`, `side` (`input` or `output`), and
            single numbers of its statistics.
        extras: What is kept of each row beside them: `sample`, `position`, and `y` where classes are known.
        shards: The files, in the order of their rows.
        sample_files: Files of the token ids of the samples, in their order; none for images and vectors.
        model: The model that the activations are of: `name`, `class`, `weights_sha256`.
        data: What it was shown: `kind` (`text`, `images`, `vectors`), and all that is needed to show a sample.
        mask: What was left out: rows by reason under `dropped`.
        shape: Spatial shape that positions count through by rows, or None.
        shuffled: `{"seed": …}` of a store whose rows were shuffled, or None.
        num_classes: Number of classes of `y`, or None.
        command: The command that made the store, or goes on with it; empty where that is not known.
        fingerprint: 16 hexadecimal digits of a hash of the index, and so of all that it holds hashes of.
    """

    folder: Path
    rows: int
    samples: int
    shard_rows: int
    arrays: Mapping[str, Mapping[str, Any]]
    extras: tuple[str, ...]
    shards: tuple[Shard, ...]
    sample_files: tuple[SampleFile, ...]
    model: Mapping[str, Any]
    data: Mapping[str, Any]
    mask: Mapping[str, Any]
    shape: tuple[int, ...] | None
    shuffled: Mapping[str, Any] | None
    num_classes: int | None
    command: str
    fingerprint: str

    @classmethod
    def read(cls, folder: str | Path, option: str = "--data.root") -> StoreIndex:
        """Read a store's index, and look whether its shards are there in their sizes.

        Args:
            folder: The store.
            option: The option that named it, for messages.

        Raises:
            DataError: There is no store, it is unfinished or of another schema, or a shard is missing or of another
                size; the message names the command that mends it.
        """
        folder = Path(folder).expanduser()
        content = _content(folder, option)
        if content.get("schema") != SCHEMA:
            raise DataError(
                f"{folder} ({option}) is a store of schema {content.get('schema')}, and this version reads schema "
                f"{SCHEMA}; harvest it again into another folder, or use the version that made it."
            )
        try:
            index = cls._of(folder, content)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{folder / INDEX} ({option}) is damaged; harvest the store again.") from error
        index.require_files()
        return index

    @classmethod
    def _of(cls, folder: Path, content: Mapping[str, Any]) -> StoreIndex:
        arrays, shuffled = content["arrays"], content["shuffled"]
        index = cls(
            folder=folder,
            rows=int(content["rows"]),
            samples=int(content["samples"]),
            shard_rows=int(content["shard_rows"]),
            arrays={name: {**arrays[name], "width": int(arrays[name]["width"])} for name in arrays},
            extras=tuple(content["extras"]),
            shards=tuple(_as(Shard, entry) for entry in content["shards"]),
            sample_files=tuple(_as(SampleFile, entry) for entry in content["sample_files"]),
            model=dict(content["model"]),
            data=dict(content["data"]),
            mask=dict(content["mask"]),
            shape=None if content["shape"] is None else tuple(map(int, content["shape"])),
            shuffled=None if shuffled is None else dict(shuffled),
            num_classes=None if content["num_classes"] is None else int(content["num_classes"]),
            command=str(content["command"]),
            fingerprint=hashlib.sha256((folder / INDEX).read_bytes()).hexdigest()[:16],
        )
        index._require_sense()
        return index

    def _require_sense(self) -> None:
        """Raise ValueError where the parts contradict each other."""
        first = 0
        for number, shard in enumerate(self.shards):
            rows = min(self.shard_rows, self.rows - first)
            # The names follow from the numbers: a file elsewhere is nobody's shard.
            if (shard.file, shard.rows, shard.first_row) != (rows_file(number, bool(self.shuffled)), rows, first):
                raise ValueError(f"shard {number}")
            first += rows
        if first != self.rows or self.rows < 1 or not self.arrays or not set(self.extras) <= set(EXTRAS):
            raise ValueError("rows or arrays")
        for number, kind in enumerate(self.arrays.values()):
            if (
                kind["dtype"] not in DTYPES
                or kind["width"] < 1
                or kind["statistics"]["file"] != statistics_file(number)
            ):
                raise ValueError("a type, a width or a file")
        if any(entry.file != samples_file(number) for number, entry in enumerate(self.sample_files)):
            raise ValueError("files of samples")
        if not all(isinstance(size, int) and isinstance(digest, str) for size, digest in self.files.values()):
            raise ValueError("a size or a hash")

    def width(self, name: str) -> int:
        """Numbers of a row of an array."""
        return int(self.arrays[name]["width"])

    def dtype(self, name: str) -> torch.dtype:
        """Type of an array's numbers."""
        return DTYPES[self.arrays[name]["dtype"]]

    def statistics(self, name: str) -> RowStatistics:
        """Statistics of an array's values as they are stored.

        Raises:
            DataError: Their file is missing or damaged.
        """
        found = self.arrays[name]["statistics"]
        file = self.folder / found["file"]
        try:
            return statistics_of(found, self.width(name), self.rows, file)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise self.damaged(file, "is missing" if not file.exists() else "is damaged") from error

    def array_named(self, name: str | None, option: str = "--data.layer") -> str:
        """Name of an array: the one asked for, or the only one.

        Args:
            name: The name, or None.
            option: The option that it came from, for messages.

        Raises:
            DataError: There is no such array, or there are several to choose from.
        """
        names = list(self.arrays)
        if name is None and len(names) == 1:
            return names[0]
        if name in names:
            return str(name)
        there = f"there are {', '.join(names)}" if len(names) > 1 else f"there is {names[0]}"
        if name is None:
            raise DataError(f"{self.folder} holds {len(names)} arrays; choose one with {option}: {there}.")
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"{there}."
        raise DataError(f"{self.folder} holds no array {name} ({option}); {hint}")

    @property
    def files(self) -> dict[str, tuple[int, str]]:
        """Size and hash of each file, by its name."""
        found = {entry.file: (entry.bytes, entry.sha256) for entry in self.shards}
        found |= {entry.file: (entry.bytes, entry.sha256) for entry in self.sample_files}
        statistics = (kind["statistics"] for kind in self.arrays.values())
        return found | {entry["file"]: (entry["bytes"], entry["sha256"]) for entry in statistics}

    def require_files(self) -> None:
        """Raise DataError for the first file that is missing or has another size than it should."""
        for name, (size, _) in self.files.items():
            path = self.folder / name
            found = path.stat().st_size if path.is_file() else -1
            if found != size:
                raise self.damaged(path, f"has {found:,} bytes, and not {size:,}" if found >= 0 else "is missing")

    def damaged(self, path: Path, reason: str) -> DataError:
        """The error about one of the store's files, with the command that mends it."""
        return damaged(path, reason, self.command)


def damaged(path: Path, reason: str, command: str) -> DataError:
    """The error about a file of a store, with the command that mends it."""
    mend = f"run {said(command, path.parent)} again, which makes anew what is missing or cut short"
    return DataError(f"{path} {reason}; {mend}.")


def said(command: str, folder: Path) -> str:
    """A command that makes a store, as a sentence has it: into the folder where the store is now."""
    if not command:
        return f"`ae-lightning harvest … -o {folder}`"
    before, output, after = command.rpartition(" -o ")
    words = shlex.split(after)
    if not output or not words or Path(words[0]).resolve() == folder.resolve():
        return f"`{command}`"
    return f"`{before} -o {shlex.join([str(folder), *words[1:]])}`"


def _as(kind: type[Any], entry: Mapping[str, Any]) -> Any:
    """An entry of an index as a dataclass, which takes what it has fields for."""
    return kind(**{field.name: entry[field.name] for field in fields(kind)})


def _content(folder: Path, option: str) -> dict[str, Any]:
    """What stands in a store's index."""
    path = folder / INDEX
    if not folder.is_dir():
        raise DataError(f"{option} names {folder}, and there is no such folder; `ae-lightning harvest` makes a store.")
    if not path.is_file():
        if (folder / SETTINGS).is_file():
            raise DataError(
                f"The harvest into {folder} ({option}) is unfinished; "
                f"{said(_command_of(folder), folder)} goes on with it."
            )
        raise DataError(f"{folder} ({option}) holds no store: it has no {INDEX}; `ae-lightning harvest` makes one.")
    try:
        return dict(read_json(path, dict))
    except RunFolderError as error:
        raise DataError(f"{error}: harvest the store again.") from error


def _command_of(folder: Path) -> str:
    """The command that an unfinished harvest was started with; empty where that is not known."""
    try:
        return str(read_json(folder / SETTINGS, dict).get("command", ""))
    except RunFolderError:
        return ""

"""Texts as sequences of tokens: files are cut into sequences of one length, none of which spans two files."""

import hashlib
import inspect
import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from ae_lightning.errors import ConfigError, DataError
from ae_lightning.files import sha256_of
from ae_lightning.harvesting.inputs import Inputs, Source, token_inputs

CONTEXT = 128
"""Tokens of a sequence, special ones included, where nothing else is said and the model takes so many."""

_PIECE = 1 << 16  # characters that are tokenized at a time, up to the end of a line


class _Frame(NamedTuple):
    """Special tokens that a tokenizer puts around a text."""

    before: list[int]
    after: list[int]


class TextInputs(Source):
    """Sequences of the tokens of text files, in the order of the files.

    Each file is tokenized and cut into sequences of `context` tokens, of which those that the tokenizer puts around a
    text are a part; the last sequence of a file may be shorter. A batch is padded at its end to its longest sequence.

    Args:
        files: Text files, in UTF-8.
        tokenizer: One of transformers, or what is called as such a one is.
        module: The network, which is given `input_ids` and `attention_mask` if it takes them by these names, and else
            the ids alone.
        batch_size: Sequences a batch.
        context: Most tokens of a sequence (default: 128, or as many as the model takes).

    Raises:
        ConfigError: There are no files, or the sequences are too short or longer than the network takes.
        DataError: A file is missing.
    """

    def __init__(
        self,
        files: Sequence[str | Path],
        tokenizer: Any,
        module: nn.Module,
        batch_size: int,
        context: int | None = None,
    ) -> None:
        self.files = [Path(file) for file in files]
        longest = getattr(tokenizer, "model_max_length", CONTEXT)
        self.tokenizer, self.batch_size = tokenizer, batch_size
        self.context = min(CONTEXT, longest) if context is None else context
        if not self.files:
            raise ConfigError("--text names no file")
        if missing := next((file for file in self.files if not file.is_file()), None):
            raise DataError(f"--text {missing}: there is no such file")
        self._frame = _frame_of(tokenizer)
        self._room = self.context - len(self._frame.before) - len(self._frame.after)
        if self._room < 1:
            raise ConfigError(
                f"--context is {self.context}, but {self.context - self._room} special tokens stand around each "
                f"sequence: choose at least {self.context - self._room + 1}"
            )
        if self.context > longest:
            raise ConfigError(f"--context is {self.context}, and the model takes sequences of at most {longest} tokens")
        self._padding = getattr(tokenizer, "pad_token_id", None) or 0  # no row is made of it, whatever it is
        self._takes = set(inspect.signature(module.forward).parameters)
        self._bytes = [file.stat().st_size for file in self.files]

    def batches(self) -> Iterator[Inputs]:
        """All sequences, a batch at a time."""
        batch: list[list[int]] = []
        done = 0.0
        for ids, done in self.sequences():
            batch.append(ids)
            if len(batch) == self.batch_size:
                yield self._padded(batch, done)
                batch = []
        if batch:
            yield self._padded(batch, done)

    def sequences(self) -> Iterator[tuple[list[int], float]]:
        """Token ids of each sequence, and what part of all bytes had been read before it ended."""
        before, total = 0, max(1, sum(self._bytes))
        for file, size in zip(self.files, self._bytes, strict=True):
            waiting: list[int] = []
            for text, read in _pieces(file):
                waiting += self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
                whole = len(waiting) - len(waiting) % self._room
                for start in range(0, whole, self._room):
                    yield self._framed(waiting[start : start + self._room]), (before + read) / total
                waiting = waiting[whole:]
            before += size
            if waiting:
                yield self._framed(waiting), before / total

    def about(self) -> dict[str, Any]:
        """The files with their hashes, and how they are cut into sequences."""
        return {
            "kind": "text",
            "title": f"{len(self.files)} text file{'s' * (len(self.files) > 1)}",
            "texts": [
                {"path": str(file.absolute()), "bytes": size, "sha256": sha256}
                for file, size, sha256 in zip(self.files, self._bytes, self._hashes, strict=True)
            ],
            **self._cut,
        }

    def identity(self) -> dict[str, Any]:
        """Hashes of the files, and how they are cut."""
        return {"texts": self._hashes, **self._cut}

    @cached_property
    def _hashes(self) -> list[str]:
        return [sha256_of(file) for file in self.files]

    @cached_property
    def _cut(self) -> dict[str, Any]:
        """How texts become sequences; hashing a vocabulary takes as long as a batch of a small network."""
        vocabulary = json.dumps(sorted(self.tokenizer.get_vocab().items())).encode()
        tokenizer = {"class": type(self.tokenizer).__name__, "sha256": hashlib.sha256(vocabulary).hexdigest()}
        return {"context": self.context, "tokenizer": tokenizer}

    def _framed(self, ids: list[int]) -> list[int]:
        return [*self._frame.before, *ids, *self._frame.after]

    def _padded(self, batch: list[list[int]], done: float) -> Inputs:
        length = max(map(len, batch))
        ids = torch.tensor([[*sequence, *[self._padding] * (length - len(sequence))] for sequence in batch])
        mask = (torch.arange(length) < torch.tensor([[len(sequence)] for sequence in batch])).long()
        named = {"input_ids": ids, "attention_mask": mask} if "input_ids" in self._takes else {}
        taken = {name: value for name, value in named.items() if name in self._takes}
        return token_inputs(ids, mask, self.tokenizer, taken)._replace(done=done)


def _frame_of(tokenizer: Any) -> _Frame:
    bare, whole = (tokenizer("a", add_special_tokens=special)["input_ids"] for special in (False, True))
    for place in range(len(whole) - len(bare) + 1):
        if whole[place : place + len(bare)] == bare:
            return _Frame(whole[:place], whole[place + len(bare) :])
    return _Frame([], [])


def _pieces(path: Path) -> Iterator[tuple[str, int]]:
    """A file's text in pieces that end with a line, each with the bytes that had been read by its end.

    Raises:
        DataError: It is not UTF-8.
    """
    read = 0
    try:
        with path.open(encoding="utf-8") as file:
            while piece := file.read(_PIECE):
                piece += file.readline()
                read += len(piece.encode())
                yield piece, read
    except UnicodeDecodeError as error:
        raise DataError(f"--text {path} is no text in UTF-8 ({error.reason} near byte {error.start:,})") from error

"""Tokens as a reader knows them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


def readable(vocabulary: Sequence[str]) -> list[str]:
    """Tokens as pieces of text that follow each other without anything between.

    Three ways of writing a vocabulary are known by their marks: bytes as letters, where Ġ is a space (GPT-2 and those
    after it); ▁ for a space, and <0x0A> for a byte (SentencePiece); and ## for a piece that goes on (BERT), where all
    others get a space. Of other vocabularies tokens stay as they are. A part of a letter becomes a replacement sign.

    Args:
        vocabulary: Tokens as the tokenizer writes them, by their number.
    """
    for mark, read in (("Ġ", _of_letters), ("▁", _of_sentence_piece), ("##", _of_word_piece)):
        if any(token.startswith(mark) for token in vocabulary):
            return [read(token) for token in vocabulary]
    return list(vocabulary)


def _of_letters(token: str) -> str:
    """The text of a token that is written with a letter for each byte; as it is if other letters are in it."""
    letters = byte_letters()
    if any(letter not in letters for letter in token):
        return token
    return bytes(letters[letter] for letter in token).decode("utf-8", errors="replace")


def _of_sentence_piece(token: str) -> str:
    if byte := _BYTE.fullmatch(token):
        return bytes.fromhex(byte[1]).decode("utf-8", errors="replace")
    return token.replace("▁", " ")


def _of_word_piece(token: str) -> str:
    return token[2:] if token.startswith("##") and len(token) > 2 else f" {token}"


@cache
def byte_letters() -> dict[str, int]:
    """The byte that each letter stands for where a vocabulary writes bytes as letters.

    Printable letters of Latin-1 stand for themselves, and those from U+0100 on for the other bytes in their order.

    Source: `bytes_to_unicode` of GPT-2, Radford et al. (2019).
    """
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + place): byte for place, byte in enumerate(others)}

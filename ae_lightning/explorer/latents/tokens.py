"""The tokens that a latent fires hardest on."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ae_lightning.explorer.latents.rows import Firings, Rows

Array = np.ndarray[Any, Any]

STRONG = 0.5
"""Part of a latent's largest activation from which on it fires hard."""

NO_TOKEN = 0xFFFFFFFF
"""Stands in place of the number of a token where there is none."""

# Pairs of a latent and a token that wait to be added up.
_PENDING = 1 << 20


class StrongTokens:
    """On which tokens each latent has at least half of its largest activation, and how often.

    Memory grows with the number of such pairs of a latent and a token.

    Args:
        high: The largest activation of each latent, (latents,).
        vocabulary: How many tokens there are.
    """

    def __init__(self, high: Tensor, vocabulary: int) -> None:
        self._least = STRONG * high
        self._vocabulary = vocabulary
        self._keys, self._counts = torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64)
        self._pending: list[Tensor] = []

    def add(self, rows: Rows, fired: Firings) -> None:
        """Look at a batch."""
        if rows.token is None:
            return
        hard = (fired.value >= self._least[fired.latent]) & (fired.value > 0)
        self._pending.append(fired.latent[hard] * self._vocabulary + rows.token[fired.row[hard]])
        if sum(map(len, self._pending)) > _PENDING:
            self._add_up()

    def most(self, count: int) -> tuple[Array, Array]:
        """The most frequent tokens of each latent.

        Args:
            count: How many at most.

        Returns:
            Their numbers, uint32 (latents, count), `NO_TOKEN` where there are fewer, of equally frequent ones the
            smaller number first; and how often, uint32 (latents, count).
        """
        self._add_up()
        latent, token = (self._keys // self._vocabulary).numpy(), (self._keys % self._vocabulary).numpy()
        often = self._counts.numpy()
        order = np.lexsort((token, -often, latent))
        latent, token, often = latent[order], token[order], often[order]
        rank = np.arange(len(latent)) - np.searchsorted(latent, latent)
        tokens = np.full((len(self._least), count), NO_TOKEN, dtype=np.uint32)
        counts = np.zeros(tokens.shape, dtype=np.uint32)
        kept = rank < count
        tokens[latent[kept], rank[kept]], counts[latent[kept], rank[kept]] = token[kept], often[kept]
        return tokens, counts

    def _add_up(self) -> None:
        keys = torch.cat([self._keys, *self._pending])
        ones = torch.ones(len(keys) - len(self._keys), dtype=torch.int64)
        self._keys, place = torch.unique(keys, return_inverse=True)
        counts = torch.zeros(len(self._keys), dtype=torch.int64)
        self._counts = counts.index_add_(0, place, torch.cat([self._counts, ones]))
        self._pending = []

"""Rows in which everything is known: what fires where, on which samples, on which tokens."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from ae_lightning.explorer.latents.contents import About, Contents
from ae_lightning.explorer.latents.findings import find
from ae_lightning.explorer.latents.rows import Rows
from ae_lightning.explorer.latents.samples import Images, Shown, Texts

WORDS = [
    *("the", " cat", " sat", " on", " a", " mat", " and", "ran", " fast", ".", "\n", " dog", " big", " red", " hat"),
    *("</script><b>", " &amp;", "{{manifest}}", "🦉", " \u202e", "é", " x", " y", " zebra"),
]


@dataclass
class World:
    """Codes (rows, latents) that are known, and where each row is from.

    Args:
        codes: float32.
        sample: int64 (rows,), and
        position: int64 (rows,).
        label: int64 (rows,), or None.
        tokens: Token ids of each sample, (samples, length), or None.
    """

    codes: np.ndarray
    sample: np.ndarray
    position: np.ndarray
    label: np.ndarray | None = None
    tokens: np.ndarray | None = None

    def batches(self, size: int = 7, order: np.ndarray | None = None) -> Iterator[Rows]:
        """The rows, in their order or another one; x is the code itself."""
        order = np.arange(len(self.codes)) if order is None else order
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            sample, position = self.sample[rows], self.position[rows]
            yield Rows(
                torch.from_numpy(self.codes[rows]),
                torch.from_numpy(sample),
                torch.from_numpy(position),
                None if self.label is None else torch.from_numpy(self.label[rows]),
                None if self.tokens is None else torch.from_numpy(self.tokens[sample, position]),
            )

    def contents(self, shown: Shown, classes: list[str] | None = None, near: int = 3) -> Contents:
        """What pages are made of."""
        latents = self.codes.shape[1]
        vocabulary = len(WORDS) if self.tokens is not None else None
        found = find(lambda x: x, self.batches, latents, None if classes is None else len(classes), vocabulary)
        numbers = (np.arange(latents)[:, None] + np.arange(1, near + 1)) % latents
        cosines = np.linspace(0.9, 0.1, near)[None].repeat(latents, 0)
        about = About(
            "mine/version_0", "TopKSAE", "layer 3 of a network", int(self.sample.max()) + 1, len(self.codes), classes
        )
        return Contents(about, found, (numbers, cosines), shown)


def sparse_codes(random: np.random.Generator, rows: int, latents: int) -> np.ndarray:
    """About one in eight is not zero, of few different values, so that there are ties; latent 2 never fires."""
    codes = random.integers(1, 9, (rows, latents)) / 4 * (random.random((rows, latents)) < 0.12)
    codes[:, 2] = 0
    return codes.astype(np.float32)


def text_world() -> World:
    """20 texts of 150 tokens, of which the first and the last are special and no rows; 12 latents."""
    random = np.random.default_rng(0)
    tokens = random.integers(0, len(WORDS), (20, 150))
    sample, position = (part.reshape(-1) for part in np.mgrid[:20, 1:149])
    return World(sparse_codes(random, len(sample), 12), sample, position, tokens=tokens)


def text_contents(world: World) -> Contents:
    """What pages are made of."""
    return world.contents(Texts(lambda sample: world.tokens[sample], WORDS))


def gray_pictures() -> np.ndarray:
    """40 gray pictures of 8 × 6 pixels, uint8 (40, 8, 6, 1), of which no two are the same."""
    return np.random.default_rng(1).integers(0, 256, (40, 8, 6, 1)).astype(np.uint8)


def image_world() -> World:
    """The same 40 pictures with a map of 4 × 3 places, of three classes, of which a few are not known; 12 latents."""
    random = np.random.default_rng(2)
    sample, position = (part.reshape(-1) for part in np.mgrid[:40, :12])
    return World(sparse_codes(random, len(sample), 12), sample, position, random.integers(-1, 3, 40)[sample])


def image_contents(world: World, pictures: np.ndarray) -> Contents:
    """What pages are made of."""
    return world.contents(Images(lambda samples: pictures[samples], (4, 3)), ["cat", "red fox", "dog"])

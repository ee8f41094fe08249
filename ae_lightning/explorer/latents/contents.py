"""What pages are told of latents: numbers in a manifest, arrays in blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ae_lightning.explorer.blocks import Blocks
from ae_lightning.explorer.latents.findings import AFTER, BEFORE, Findings
from ae_lightning.explorer.latents.samples import Images, Shown, Texts
from ae_lightning.explorer.latents.sheets import PER_SHEET, sheets_of
from ae_lightning.explorer.latents.tokens import NO_TOKEN
from ae_lightning.version import __version__

FORMAT = "ae_lightning.latents"
SCHEMA = 1

NONE = 0xFFFFFFFF
"""Stands in place of the number of a sample, picture or token where there is none."""

# Classes that are told of each latent.
_CLASSES = 16

Array = np.ndarray[Any, Any]
Manifest = dict[str, Any]


@dataclass(frozen=True)
class About:
    """What all pages say of where their latents are from.

    Args:
        title: Name of the run.
        variant: Name of the model's class.
        data: A line on the activations.
        samples: How many samples the rows are from.
        stored_rows: How many rows there are, those included that were not looked at.
        classes: Names of the classes; None without classes.
    """

    title: str
    variant: str
    data: str
    samples: int
    stored_rows: int
    classes: list[str] | None


@dataclass(frozen=True)
class Contents:
    """What any page is made of.

    Args:
        about: Where the latents are from.
        findings: Numbers on all latents.
        near: For each latent the numbers of the nearest others, (latents, few), and their cosines; None where
            directions are not known.
        shown: How samples are shown.
    """

    about: About
    findings: Findings
    near: tuple[Array, Array] | None
    shown: Shown

    def page(self, first: int, count: int, pages: list[Manifest] | None) -> tuple[Manifest, Blocks]:
        """Manifest and blocks of a page with some latents in full, and all of them in short.

        Args:
            first: The first latent that is shown in full.
            count: How many are.
            pages: Where the others are shown, if not on this page: file, first latent and number of each page.
        """
        blocks, own = Blocks(), slice(first, first + count)
        samples, arrays = self._samples(blocks, own) if count else ({}, {})
        arrays = {**self._all(), **(self._own(own) if count else {}), **arrays}
        texts = self._number_tokens(arrays)
        about, findings = self.about, self.findings
        manifest = {
            "format": FORMAT,
            "schema": SCHEMA,
            "version": __version__,
            "title": about.title,
            "variant": about.variant,
            "data": about.data,
            "kind": {Texts: "texts", Images: "images"}.get(type(self.shown), "vectors"),
            "latents": findings.latents,
            "first": first,
            "count": count,
            "pages": pages,
            "rows": findings.rows,
            "stored_rows": about.stored_rows,
            "samples": about.samples,
            "classes": None if findings.class_mean is None else about.classes,
            "tokens": texts,
            "picture": None,
            "places": None,
            **samples,
            "arrays": {name: blocks.add(name, array) for name, array in arrays.items()},
        }
        return manifest | {"blocks": blocks.described}, blocks

    def _all(self) -> dict[str, Array]:
        """Numbers on all latents, which lists and searches need."""
        found = self.findings
        arrays: dict[str, Array] = {
            name: array.astype(np.float32)
            for name, array in (("density", found.density), ("mean", found.mean), ("high", found.high))
        }
        if found.class_mean is not None:
            best = found.class_mean.argmax(axis=1)
            arrays["preferred"] = np.where(found.density > 0, best, -1).astype(np.int16)
        if found.tokens is not None:
            arrays["strong"] = found.tokens[0]
        return arrays

    def _own(self, own: slice) -> dict[str, Array]:
        """Numbers on the latents that are shown in full."""
        found, top = self.findings, self.findings.top
        arrays = {
            "low": found.low[own].astype(np.float32),
            "histogram": found.histogram[own].astype(np.uint32),
            "top": np.where(top.found[own], top.sample[own], NONE).astype(np.uint32),
            "top_value": np.where(top.found[own], top.value[own], 0).astype(np.float32),
            "top_position": top.position[own].astype(np.uint32),
        }
        if self.near is not None:
            arrays |= {"near": self.near[0][own].astype(np.uint32), "cosine": self.near[1][own].astype(np.float32)}
        if found.class_mean is not None and found.class_density is not None:
            arrays["top_class"] = top.label[own].astype(np.int16)
            arrays |= _classes(found.class_mean[own], found.class_density[own])
        if found.tokens is not None:
            arrays["strong_count"] = found.tokens[1][own]
        return arrays

    def _samples(self, blocks: Blocks, own: slice) -> tuple[Manifest, dict[str, Array]]:
        """What is shown of the samples of some latents."""
        if isinstance(self.shown, Texts):
            return {}, self._windows(self.shown, own)
        if isinstance(self.shown, Images):
            return self._pictures(self.shown, blocks, own)
        return {}, {}

    def _windows(self, texts: Texts, own: slice) -> dict[str, Array]:
        """Tokens around each sample's strongest one, and how strongly the latent fires on them."""
        top = self.findings.top
        found = top.found[own]
        sample, peak, pairs = top.sample[own][found], top.position[own][found], np.flatnonzero(found)
        windows: list[Array] = [np.zeros(0, np.int64)] * found.size
        start, length = np.zeros(len(windows), np.uint32), np.zeros(len(windows), np.uint32)
        for number in np.argsort(sample, kind="stable"):  # samples that lie beside each other are read together
            tokens, pair = texts.tokens(int(sample[number])), int(pairs[number])
            start[pair], length[pair] = max(0, peak[number] - BEFORE), len(tokens)
            windows[pair] = tokens[start[pair] : peak[number] + AFTER + 1]
        offsets = np.cumsum([0, *map(len, windows)])
        return {
            "window": np.concatenate(windows).astype(np.uint32),
            "window_offsets": offsets.astype(np.uint32),
            "window_start": start,
            "sample_length": length,
            **self._shades(own, start),
        }

    def _pictures(self, images: Images, blocks: Blocks, own: slice) -> tuple[Manifest, dict[str, Array]]:
        """A picture of each sample, and how strongly the latent fires at its places."""
        top = self.findings.top
        found = top.found[own]
        samples, first, place = np.unique(top.sample[own][found], return_index=True, return_inverse=True)
        if len(samples) == 0:
            return {"picture": None, "places": None}, {}
        by_latent = np.argsort(first)  # pictures of a latent lie beside each other
        number = np.empty(len(samples), np.int64)
        number[by_latent] = np.arange(len(samples))
        picture = np.full(found.shape, NONE, np.uint32)
        picture[found] = number[place.reshape(-1)]
        sheets = sheets_of(images.pictures, samples[by_latent])
        about = {
            "width": sheets.width,
            "height": sheets.height,
            "cell": list(sheets.cell),
            "per_sheet": PER_SHEET,
            "type": sheets.media_type,
            "sheets": [
                blocks.add(f"sheet.{number}", np.frombuffer(file, np.uint8)) for number, file in enumerate(sheets.files)
            ],
        }
        places = None if images.places is None else list(images.places)
        arrays: dict[str, Array] = {"top_picture": picture}
        if places is not None:
            arrays |= self._shades(own, np.zeros(found.size, np.int64))
        return {"picture": about, "places": places}, arrays

    def _shades(self, own: slice, start: Array) -> dict[str, Array]:
        """Activations along samples, in parts of 255 of the latent's largest; positions are counted from a start."""
        offsets, position, value = self.findings.shades
        count = self.findings.top.value.shape[1]
        pairs = slice(own.start * count, own.start * count + len(start) + 1)
        offsets = offsets[pairs]
        entries = slice(int(offsets[0]), int(offsets[-1]))
        pair = np.repeat(np.arange(len(start)), np.diff(offsets))
        high = np.maximum(self.findings.high[own], np.finfo(np.float32).tiny)[pair // count]
        part = (255 * value[entries].astype(np.float64) / high).round().clip(0, 255)
        return {
            "shade_offsets": (offsets - offsets[0]).astype(np.uint32),
            "shade_position": smallest(position[entries] - start[pair]),
            "shade_value": part.astype(np.uint8),
        }

    def _number_tokens(self, arrays: dict[str, Array]) -> list[str] | None:
        """The texts of the page's tokens, the most frequent first; in the arrays tokens get their numbers there."""
        if not isinstance(self.shown, Texts):
            return None
        named = {name: arrays[name] for name in ("strong", "window") if name in arrays}
        tokens, counts = np.unique(np.concatenate([part.reshape(-1) for part in named.values()]), return_counts=True)
        known = tokens != NO_TOKEN
        order = np.argsort(-np.where(known, counts, 0), kind="stable")
        number = np.empty(len(tokens), np.int64)
        number[order] = np.arange(len(tokens))
        number[~known] = NONE
        for name, part in named.items():
            numbered = number[np.searchsorted(tokens, part)]
            arrays[name] = smallest(numbered) if name == "window" else numbered.astype(np.uint32)
        return [self.shown.vocabulary[token] for token in tokens[order] if token != NO_TOKEN]


def _classes(mean: Array, density: Array) -> dict[str, Array]:
    """Numbers on each latent's classes: on all of a few in their order, or on those of many that it prefers.

    Args:
        mean: Mean activation by class, (latents, classes).
        density: Fraction of each class's rows on which a latent fires, (latents, classes).
    """
    latents, classes = mean.shape
    if classes <= _CLASSES:
        chosen = np.broadcast_to(np.arange(classes), mean.shape)
    else:
        chosen = np.argsort(-mean, axis=1, kind="stable")[:, :_CLASSES]
    best = mean.argmax(axis=1)
    return {
        "class": chosen.astype(np.uint16),
        "class_mean": np.take_along_axis(mean, chosen, axis=1).astype(np.float32),
        "preferred_density": density[np.arange(latents), best].astype(np.float32),
    }


def smallest(numbers: Array) -> Array:
    """The same whole numbers, of which none is negative, in the fewest bytes."""
    largest = int(numbers.max(initial=0))
    return numbers.astype(next(kind for kind in (np.uint8, np.uint16, np.uint32) if largest <= np.iinfo(kind).max))

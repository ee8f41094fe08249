"""What lies between and around the codes of samples: lines, sums, random draws, and a plane of codes, decoded.

Samples have the shape ``input_shape``, codes of n samples the shape ``(n, *latent_shape)``. Every function runs
the model in evaluation mode and without gradients, on the device of its parameters, and leaves it as it was. The
answers are tensors on the CPU, float32 but for indices. A model with instances is refused with a ValueError: see
`coder.OneInstance`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from ae_lightning.analysis.coder import Coder
from ae_lightning.analysis.pca import Array, Pca, as_rows, fit_pca
from ae_lightning.analysis.samplers import Sampler, code_rows
from ae_lightning.nn.modes import evaluation_mode
from ae_lightning.nn.precision import like_weights

# Codes decoded at once: enough to keep a device busy, and little memory.
_BATCH = 512
_PERCENTILES = (1, 99)


def encode_dataset(model: Coder, batches: Iterable[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Codes of many samples, of which one batch is in memory at a time.

    Args:
        model: What encodes and decodes.
        batches: Pairs (x, y): samples (batch, *input_shape), and labels (batch, …) or an empty (batch, 0).

    Returns:
        Codes (n, *latent_shape) in float32, or indices as they are, and labels (n, …) of their own type, all on the
        CPU.

    Raises:
        ValueError: If there are no batches.
    """
    module = _module(model)
    codes: list[Tensor] = []
    labels: list[Tensor] = []
    with evaluation_mode(module):
        for x, y in batches:
            z = model.encode(like_weights(module, x))
            codes.append((z.float() if z.is_floating_point() else z).cpu())
            labels.append(y.detach().cpu())
            del x, y  # before the next batch is made
    if not codes:
        raise ValueError("there are no samples to encode")
    return torch.cat(codes), torch.cat(labels)


def interpolate(model: Coder, x1: Tensor, x2: Tensor, steps: int) -> Tensor:
    """Decode the straight line from the code of one sample to that of another, both ends included.

    Args:
        model: What encodes and decodes.
        x1: A sample of shape input_shape.
        x2: Another one.
        steps: Number of codes on the line, at least 2, at equal distances.

    Returns:
        Images of shape (steps, *input_shape): first the reconstruction of ``x1``, last that of ``x2``.

    Raises:
        ValueError: If ``steps`` is less than 2, or the shapes differ or are not input_shape.
    """
    if steps < 2:
        raise ValueError(f"an interpolation has at least 2 steps, its two ends, but steps is {steps}")
    start, end = _codes_of(model, "x1 and x2", [x1, x2])
    position = torch.linspace(0, 1, steps).reshape(-1, *[1] * start.ndim)
    return _decode(model, torch.lerp(start[None], end[None], position))


def arithmetic(model: Coder, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Decode the code of a, plus that of b, minus that of c (Mikolov et al. 2013; Radford et al. 2016 for images).

    Args:
        model: What encodes and decodes.
        a: A sample of shape input_shape.
        b: The sample whose code is added.
        c: The sample whose code is subtracted.

    Returns:
        Shape input_shape.

    Raises:
        ValueError: If the samples or their codes differ in shape, or a sample does not have input_shape.
    """
    z_a, z_b, z_c = _codes_of(model, "a, b and c", [a, b, c])
    return _decode(model, (z_a + z_b - z_c)[None])[0]


def sample(model: Coder, n: int, sampler: Sampler, seed: int = 0) -> Tensor:
    """Decode random codes.

    Args:
        model: What encodes and decodes.
        n: Number of draws, at least 1.
        sampler: Where the codes come from.
        seed: Seed of the draws.

    Returns:
        Shape (n, *input_shape).

    Raises:
        ValueError: If ``n`` is less than 1.
    """
    return torch.cat(list(sample_batches(model, n, sampler, seed)))


def sample_batches(model: Coder, n: int, sampler: Sampler, seed: int = 0) -> Iterator[Tensor]:
    """The same in batches (batch, *input_shape), of which one is made at a time."""
    module = _module(model)
    for part in sampler.draw(n, seed).split(_BATCH):
        with evaluation_mode(module):
            z = like_weights(module, part) if part.is_floating_point() else part
            decoded = model.decode(z).float().cpu()
        yield decoded


@dataclass(frozen=True)
class Plane:
    """Two coordinates of codes (or one, for codes of width 1), and the way back from them to a code.

    Attributes:
        axis_labels: What each coordinate is, such as "latent 0" or "PC 1 (31 % of variance)".
        width: Numbers in one code.
        pca: The components that span the plane; None where the coordinates are the code itself.
    """

    axis_labels: tuple[str, ...]
    width: int
    pca: Pca | None = None

    @property
    def is_projection(self) -> bool:
        """Whether codes have more coordinates than these, so that the plane shows only a part of them."""
        return self.pca is not None

    def coordinates(self, codes: Any) -> Array:
        """Coordinates of codes (n, *latent_shape): float32 of shape (n, 2), or (n, 1) for codes of width 1."""
        rows = as_rows(codes).astype(np.float32, copy=False)
        if rows.shape[1] != self.width:
            raise ValueError(f"the plane is one of codes of width {self.width}, but these have width {rows.shape[1]}")
        return rows if self.pca is None else self.pca.encode(rows)

    def codes(self, coordinates: Any) -> Array:
        """Codes at coordinates (n, 2 or 1) in the plane: float32 of shape (n, width)."""
        places = as_rows(coordinates).astype(np.float32, copy=False)
        return places if self.pca is None else self.pca.decode(places)


def code_plane(codes: Any) -> Plane:
    """The plane in which codes are shown: their own two coordinates, or else their first principal components.

    Args:
        codes: Codes (n, *latent_shape) with n at least 2; codes that are images are flattened.

    Returns:
        The plane, with a single coordinate for codes of width 1.

    Raises:
        ValueError: If there are fewer than 2 codes, or a code is not finite.
    """
    rows = code_rows(codes)
    width = rows.shape[1]
    if width <= 2:
        return Plane(tuple(f"latent {i}" for i in range(width)), width)
    pca = fit_pca(rows, 2)
    total = float(rows.var(axis=0, dtype=np.float64).sum())
    parts = pca.encode(rows).var(axis=0, dtype=np.float64) / (total or 1.0)
    labels = tuple(f"PC {i} ({100 * part:.0f} % of variance)" for i, part in enumerate(parts, start=1))
    return Plane(labels, width, pca)


def grid(model: Coder, codes: Tensor, size: int, plane: Plane | None = None) -> tuple[Tensor, tuple[Array, ...]]:
    """Decode codes on a regular grid in the plane of given codes.

    The grid spans the 1st to the 99th percentile of each coordinate. Where the plane is a projection, the codes
    on it lie in the plane through the mean code, and need not be codes that the encoder could give.

    Args:
        model: What encodes and decodes.
        codes: Codes of samples, (m, *latent_shape) with m at least 2.
        size: Number of rows and of columns, at least 2.
        plane: The plane of these codes where it is known already; None fits it.

    Returns:
        Images (rows, columns, *input_shape), and the coordinates of the columns, ascending, and of the rows,
        descending as in a plot. For codes of width 1 there is one row, and the coordinates of the columns alone.

    Raises:
        ValueError: If ``size`` is less than 2, there are fewer than 2 codes, or a code is not finite.
    """
    _module(model)
    if size < 2:
        raise ValueError(f"the size of a grid must be at least 2, but is {size}")
    plane = plane or code_plane(codes)
    low, high = np.percentile(plane.coordinates(code_rows(codes)), _PERCENTILES, axis=0)
    columns, *rows = (np.linspace(*ends, size) for ends in zip(low, high, strict=True))
    axes = (columns, *(row[::-1].copy() for row in rows))
    places = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, len(axes))
    z = torch.from_numpy(plane.codes(places)).reshape(-1, *codes.shape[1:])
    return _decode(model, z).unflatten(0, (-1, size)), axes


def _module(model: Coder) -> nn.Module:
    if model.instances is not None:
        raise ValueError(
            f"the model has {model.instances} instances; wrap it by OneInstance(model, index) to choose one of them"
        )
    return cast(nn.Module, model)


def _codes_of(model: Coder, names: str, samples: list[Tensor]) -> list[Tensor]:
    """Codes (*latent_shape) of single samples, which must be of one shape."""
    module = _module(model)
    shapes = [tuple(x.shape) for x in samples]
    if len(set(shapes)) > 1:
        raise ValueError(f"{names} must be samples of one shape, but theirs are {', '.join(map(str, shapes))}")
    if shapes[0] != tuple(model.input_shape):
        raise ValueError(f"a sample must have the shape {tuple(model.input_shape)}, but these have {shapes[0]}")
    with evaluation_mode(module):
        codes = [model.encode(like_weights(module, x[None]))[0].float().cpu() for x in samples]
    if len({z.shape for z in codes}) > 1:
        raise ValueError(
            f"{names} must have codes of one shape, but theirs are {', '.join(str(tuple(z.shape)) for z in codes)}"
        )
    return codes


def _decode(model: Coder, z: Tensor) -> Tensor:
    """Decode codes (n, *latent_shape) in batches."""
    module = _module(model)
    with evaluation_mode(module):
        return torch.cat([model.decode(like_weights(module, part)).float().cpu() for part in z.split(_BATCH)])

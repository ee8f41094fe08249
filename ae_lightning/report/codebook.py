"""What the codes of a codebook stand for, as pictures."""

from __future__ import annotations

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ae_lightning.models.vqvae import VQVAE
from ae_lightning.nn.modes import evaluation_mode
from ae_lightning.nn.precision import like_weights
from ae_lightning.plots import codebook as plots

_ROWS = 16
_IN_A_ROW = 12
_OF_ONE_ROW = 60


def code_pictures(model: VQVAE, counts: Tensor, value_range: tuple[float, float] | None) -> Figure:
    """Draw the most frequent codes of each index of a place, decoded beside the mean of all other indices' codes.

    A code stands at all places of a grid. Where a place has a single index, there is no other: the picture is the
    code's own.

    Args:
        model: The model, whose reconstructions are pictures.
        counts: How often each code was chosen, (index, code).
        value_range: The values shown as black and as white.
    """
    rows = range(min(len(counts), _ROWS))
    most = _OF_ONE_ROW if len(counts) == 1 else _IN_A_ROW
    # Rows are of one length: as many as are in use in all that are shown.
    length = min(most, int((counts[: len(rows)] > 0).sum(1).min()))
    codes = [counts[row].argsort(descending=True, stable=True)[:length] for row in rows]
    pictures = torch.cat([decoded_codes(model, counts, row, chosen) for row, chosen in zip(rows, codes, strict=True)])
    names = [_name(model, row) for row in rows] if len(counts) > 1 else [""]
    return plots.code_pictures(pictures, model.output_shape, [row.tolist() for row in codes], names, value_range)


def decoded_codes(model: VQVAE, counts: Tensor, row: int, codes: Tensor) -> Tensor:
    """What codes (n,) decode to in the place of one index: (n, *input_shape).

    Args:
        model: The model.
        counts: How often each code was chosen, (index, code); the others are means by them.
        row: The index.
        codes: Which codes.
    """
    book = model.codebook
    choices = book.by_index().detach().cpu().double()
    shares = counts.double() / counts.sum(1, keepdim=True)
    means = torch.einsum("ik,ikw->iw", shares, choices)
    parts = means.expand(len(codes), *means.shape).clone()
    parts[:, row] = choices[row][codes]
    vectors = parts.unflatten(1, (book.depth, book.groups)).sum(1).flatten(1)
    grid = (1,) * (len(book.code_shape) - 1)
    with evaluation_mode(model):
        z = vectors.unflatten(1, (-1, *grid)) if grid else vectors
        return model.decode(like_weights(model, z.expand(len(codes), *book.code_shape))).float().cpu()


def _name(model: VQVAE, row: int) -> str:
    depth, group = divmod(row, model.codebook.groups)
    named = [f"depth {depth}"] if model.codebook.depth > 1 else []
    return ", ".join([*named, *([f"group {group}"] if model.codebook.groups > 1 else [])])

"""Passes over wide codes, by operations that torch does with vector instructions.

On a CPU `where`, `masked_fill`, counts and sums of booleans take a number at a time, ten times as long as a product of
floats. And an array that is larger than the cache is slow to make: see `in_blocks`.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

# Of 4 bytes: half a megabyte, so that a few temporaries fit a core's cache.
_NUMBERS_OF_BLOCK = 2**17


def where_positive(values: Tensor, gate: Tensor, out: Tensor) -> Tensor:
    """Write into `out` the values where the gate is above zero or NaN, else 0, as the slope of a ReLU does.

    All three have one shape; the format of `out` may be narrower.
    """
    return torch.ops.aten.threshold_backward.grad_input(values, gate, 0, grad_input=out)


@torch.no_grad()
def mean_l0(z: Tensor) -> Tensor:
    """Entries of a sample that are not zero, as a mean (…) over codes (…, batch, latent), in float32 or wider."""
    wide = torch.promote_types(z.dtype, torch.float32)
    return torch.cat([_fires(*block).sum(-1, dtype=wide) for block in in_blocks(z, spare=[z.dtype])], -1).mean(-1)


@torch.no_grad()
def any_fires(z: Tensor) -> Tensor:
    """Which latents (…, latent) are not zero on some sample of codes (…, batch, latent)."""
    return torch.stack([_fires(*block).amax(-2) for block in in_blocks(z, spare=[z.dtype])]).amax(0) > 0


def in_blocks(*arrays: Tensor, spare: Sequence[torch.dtype] = ()) -> Iterator[tuple[Tensor, ...]]:
    """Views of arrays (…, batch, latent), all of the same few samples at a time, on a CPU.

    What is computed of a block stays in the cache. Memory for a whole array the system hands out anew, a page at a
    time, which takes as long as three passes over it. Elsewhere there is one block, and where a graph is traced, which
    fuses such passes itself.

    Args:
        arrays: Of one shape.
        spare: Formats of arrays of a block's shape to write into, which follow; their memory is that of each block.
    """
    batch = rows = arrays[0].shape[-2]
    if arrays[0].device.type == "cpu" and not torch.compiler.is_compiling():
        rows = max(1, _NUMBERS_OF_BLOCK * batch // max(1, arrays[0].numel()))
    first = arrays[0][..., :rows, :]
    spares = [torch.empty_like(first, dtype=dtype) for dtype in spare]
    for start in range(0, max(1, batch), max(1, rows)):
        views = [array[..., start : start + rows, :] for array in arrays]
        yield (*views, *(array[..., : views[0].shape[-2], :] for array in spares))


def _fires(z: Tensor, out: Tensor) -> Tensor:
    """1 where an entry is not zero, else 0, as numbers: NaN is not zero."""
    return torch.ne(z, 0, out=out)

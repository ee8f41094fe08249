"""What a single latent writes: a code is decoded again and again while one of its latents moves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from ae_lightning.analysis.coder import Coder
from ae_lightning.analysis.pca import Array
from ae_lightning.nn.modes import evaluation_mode
from ae_lightning.nn.precision import like_weights

_PERCENTILES = (1, 99)


def traverse(model: Coder, x: Tensor, codes: Array, latents: Sequence[int], steps: int) -> Tensor:
    """Decode the code of a sample with one latent at a time moved through the values that it takes.

    Args:
        model: What encodes and decodes, without instances.
        x: The sample, of shape input_shape.
        codes: Codes of samples (n, latents), which say how far latents go: from their 1st to their 99th percentile.
        latents: Numbers of the latents that move, in a code that is flattened.
        steps: Values of a latent, at equal distances, at least 2.

    Returns:
        Images (moved latents, steps, *input_shape), float32 on the CPU.
    """
    module = cast(nn.Module, model)
    ends = torch.from_numpy(np.percentile(codes[:, list(latents)], _PERCENTILES, axis=0)).float()
    with evaluation_mode(module):
        z = model.encode(like_weights(module, x[None]))
        moved = z.flatten().repeat(len(latents), steps, 1)
        for row, latent in enumerate(latents):
            moved[row, :, latent] = torch.linspace(float(ends[0, row]), float(ends[1, row]), steps).to(moved)
        decoded = model.decode(moved.reshape(-1, *z.shape[1:])).float().cpu()
    return decoded.reshape(len(latents), steps, *decoded.shape[1:])

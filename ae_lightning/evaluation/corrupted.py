"""Errors of models that mend corrupted samples, on these."""

from typing import Any

import torch

from ae_lightning.data.in_memory import InMemoryDataset
from ae_lightning.evaluation.errors import ErrorMeter
from ae_lightning.models.base import Autoencoder
from ae_lightning.nn.precision import like_weights


@torch.no_grad()
def corrupted_errors(model: Autoencoder, dataset: InMemoryDataset, batch_size: int) -> dict[str, Any]:
    """What a model makes of corrupted samples, and what they are without it, both beside the clean ones.

    Args:
        model: The model, in evaluation mode.
        dataset: Clean samples.
        batch_size: Samples that are computed at a time.

    Returns:
        `corrupted`, with `autoencoder` and `samples`: what `ErrorMeter.compute` says. Empty of models that read samples
        as they are.
    """
    if not model.reads_corrupted:
        return {}
    mended, corrupted = ErrorMeter(device=model.device), ErrorMeter(device=model.device)
    for batch in dataset.batches(batch_size):
        x, target = (like_weights(model, part) for part in model.pair(batch))
        read = model.as_read(x)
        mended.update(target, model(read).x_hat)
        corrupted.update(x, read)
    return {"corrupted": {"autoencoder": mended.compute(), "samples": corrupted.compute()}}

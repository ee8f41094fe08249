"""How much of a codebook is in use on a whole set."""

import math
from typing import Any

import torch
from torch import Tensor

from ae_lightning.data.in_memory import InMemoryDataset
from ae_lightning.metrics.codebook import perplexity, usage
from ae_lightning.models.vqvae import VQVAE
from ae_lightning.nn.modes import evaluation_mode
from ae_lightning.nn.precision import like_weights


def code_counts(model: VQVAE, dataset: InMemoryDataset, batch_size: int) -> Tensor:
    """How often each code is chosen by the samples of a set.

    Args:
        model: The model.
        dataset: Its samples are read in batches.
        batch_size: Samples of a batch.

    Returns:
        (index, code), int64, on the CPU: a row for each index of a place, and all places of a grid together.
    """
    rows = model.index_shape[0]
    counts = torch.zeros(rows * model.codes, dtype=torch.int64)
    first = torch.arange(rows)[:, None] * model.codes
    with evaluation_mode(model):
        for x, *_ in dataset.batches(batch_size):
            indices = model.indices_of(like_weights(model, x)).cpu().transpose(0, 1).flatten(1)
            counts += torch.bincount((indices + first).flatten(), minlength=len(counts))
    return counts.view(rows, model.codes)


def codebook_numbers(model: VQVAE, counts: Tensor) -> dict[str, Any]:
    """The codebooks in a few numbers.

    Args:
        model: The model.
        counts: What `code_counts` answers of a set.

    Returns:
        `codes`: how many each codebook has. `codebooks`: how many there are. `codes_per_sample`: indices that stand for
        one sample, and `bits_per_sample` what they take, log2(codes) each. `usage`: part of all codes that is chosen at
        least once. `perplexity`: that of each codebook, a mean over them.
    """
    of_books, indices = model.codebook.of_books(counts), math.prod(model.index_shape)
    return {
        "codes": model.codes,
        "codebooks": len(of_books),
        "codes_per_sample": indices,
        "bits_per_sample": indices * math.log2(model.codes),
        "usage": float(usage(of_books)),
        "perplexity": float(perplexity(of_books.double()).mean()),
    }

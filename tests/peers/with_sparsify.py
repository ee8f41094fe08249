"""Training steps of sparsify, computed by its own class in its own environment."""

import os
from typing import Any

# The kernels of its decoder need a GPU.
os.environ["SPARSIFY_DISABLE_TRITON"] = "1"

import torch
from exchange import Tensors, answer, copy, dead_among, outcome
from sparsify import SparseCoder, SparseCoderConfig


def training_step(settings: dict[str, Any], given: Tensors) -> Tensors:
    x = given["x"]
    latents, dimensions = given["W_dec"].shape
    alpha, dead = settings.pop("auxk_alpha", 0.0), dead_among(latents, settings)
    coder = SparseCoder(dimensions, SparseCoderConfig(num_latents=latents, **settings), dtype=x.dtype)
    parameters = {
        "W_enc": coder.encoder.weight,
        "b_enc": coder.encoder.bias,
        "W_dec": coder.W_dec,
        "b_dec": coder.b_dec,
    }
    copy(parameters, given, transposed=("W_enc",))
    out = coder(x, dead_mask=dead)
    terms = {"reconstruction": out.fvu} | ({"auxk": alpha * out.auxk_loss} if dead.any() else {})
    loss = out.fvu + alpha * out.auxk_loss  # as its trainer adds them
    code = torch.zeros(len(x), latents, dtype=x.dtype).scatter(1, out.latent_indices, out.latent_acts)
    return outcome(code, out.sae_out, loss, terms, parameters, transposed=("W_enc",))


answer({"topk": training_step})

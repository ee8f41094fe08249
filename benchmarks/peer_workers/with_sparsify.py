"""sparsify: `SparseCoder` in a loop of ours, since its trainer runs a language model in the same breath.

The loop does of its trainer's step what concerns one coder: rows of the decoder to norm 1 before it, the part of its
gradient along them taken off, and the samples since each latent fired. AuxK has the paper's coefficient, 1/32, where
its trainer has none unless asked. Adam is fused, as its trainer's is not. The decoder and the gradients of the encoder
are sparse, by `embedding_bag` and `index_add_`; its faster kernels need a GPU.
"""

import os
from collections.abc import Iterable

os.environ["SPARSIFY_DISABLE_TRITON"] = "1"

import torch
from sparsify import SparseCoder, SparseCoderConfig
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from worker import Setup, Worker, serve

AUXK_ALPHA = 1 / 32


class Sparsify:
    def __init__(self, setup: Setup) -> None:
        self.coder = SparseCoder(
            setup.inputs, SparseCoderConfig(num_latents=setup.latents, k=setup.k), dtype=torch.float32
        )
        self.optimizer = torch.optim.Adam(self.coder.parameters(), lr=setup.rate, fused=True)
        self.schedule = LambdaLR(self.optimizer, setup.rate_factor)
        self.dead_after = setup.dead_after
        self.silent = torch.zeros(setup.latents, dtype=torch.long)

    def parameters(self) -> Iterable[nn.Parameter]:
        return self.coder.parameters()

    def step(self, x: Tensor) -> None:
        self.coder.set_decoder_norm_to_unit_norm()
        out = self.coder(x, dead_mask=self.silent > self.dead_after)
        (out.fvu + AUXK_ALPHA * out.auxk_loss).backward()
        self.coder.remove_gradient_parallel_to_decoder_directions()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.schedule.step()
        self.silent += len(x)
        self.silent[out.latent_indices.flatten()] = 0

    def answer(self, x: Tensor) -> tuple[Tensor, Tensor]:
        out = self.coder(x)
        return out.sae_out, out.latent_acts


serve(Worker(Sparsify))

"""overcomplete: its models and `train_sae`, called with one batch at a time, silent, with fused Adam.

Of each step's time beside the products: rows of the dictionary brought to norm 1 in each forward pass, and again for
the loss; norms of all gradients for clipping; which latents fired, from the dense code. There is no AuxK in its plain
loss. JumpReLU has no loss of its own: the penalty is the number of active latents by its step function.
"""

from collections.abc import Iterable
from typing import Any

import torch
from overcomplete.sae import SAE, BatchTopKSAE, JumpSAE, TopKSAE, train_sae
from overcomplete.sae.jump_sae import heaviside
from overcomplete.sae.losses import mse_l1
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from worker import Setup, Worker, serve


class Overcomplete:
    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.sae: Any = model(setup)
        self.optimizer = torch.optim.Adam(self.sae.parameters(), lr=setup.rate, fused=True)
        self.schedule = LambdaLR(self.optimizer, setup.rate_factor)
        self.done = 0

    def parameters(self) -> Iterable[nn.Parameter]:
        return self.sae.parameters()

    def step(self, x: Tensor) -> None:
        train_sae(self.sae, [x], self._loss, self.optimizer, self.schedule, nb_epochs=1, monitoring=0)
        self.done += 1

    def answer(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.sae.train()  # where a batch is selected from as in training
        _, z, x_hat = self.sae(x)
        return x_hat, z

    def _loss(self, x: Tensor, x_hat: Tensor, pre: Tensor, z: Tensor, dictionary: Tensor) -> Tensor:
        penalty = self.setup.coefficient * self.setup.penalty_factor(self.done)
        if self.setup.kind == "standard":
            return mse_l1(x, x_hat, pre, z, dictionary, penalty=penalty / x.numel())  # which sums over the batch
        error = (x - x_hat).square().mean()
        if self.setup.kind == "jumprelu":
            active = heaviside(pre, self.sae.thresholds.exp(), self.sae.kernel_fn, self.sae.bandwidth)
            return error + penalty / x.shape[1] * active.sum(-1).mean()
        return error


def model(setup: Setup) -> nn.Module:
    if setup.kind == "topk":
        return TopKSAE(setup.inputs, setup.latents, top_k=setup.k)
    if setup.kind == "batch_topk":
        return BatchTopKSAE(setup.inputs, setup.latents, top_k=setup.k * setup.batch)
    if setup.kind == "jumprelu":
        # The window of 0.001 by default would hold no pre-activation of a batch.
        return JumpSAE(setup.inputs, setup.latents, bandwidth=1.0)
    return SAE(setup.inputs, setup.latents)


serve(Worker(Overcomplete))

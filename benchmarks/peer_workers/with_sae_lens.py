"""SAELens: `SAETrainer`, which its runners use, step by step, without Weights & Biases.

Of each step's time beside the products: norms of all gradients for clipping; firing counts of the dense code; Adam as
torch has it by default on a processor, not fused; the number of the dead, for which the processor is asked each step.
Codes are dense: `use_sparse_activations` of TopK has no gradient on a processor ("Could not run 'aten::view' with
arguments from the 'SparseCPU' backend", torch 2.15).
"""

from collections.abc import Iterable
from typing import Any

from sae_lens import (
    BatchTopKTrainingSAE,
    BatchTopKTrainingSAEConfig,
    GatedTrainingSAE,
    GatedTrainingSAEConfig,
    JumpReLUTrainingSAE,
    JumpReLUTrainingSAEConfig,
    LoggingConfig,
    MatryoshkaBatchTopKTrainingSAE,
    MatryoshkaBatchTopKTrainingSAEConfig,
    StandardTrainingSAE,
    StandardTrainingSAEConfig,
    TopKTrainingSAE,
    TopKTrainingSAEConfig,
)
from sae_lens.config import SAETrainerConfig
from sae_lens.training.sae_trainer import SAETrainer
from torch import Tensor, nn
from worker import Setup, Worker, serve

CLASSES: dict[str, tuple[type, type]] = {
    "standard": (StandardTrainingSAE, StandardTrainingSAEConfig),
    "jumprelu": (JumpReLUTrainingSAE, JumpReLUTrainingSAEConfig),
    "gated": (GatedTrainingSAE, GatedTrainingSAEConfig),
    "topk": (TopKTrainingSAE, TopKTrainingSAEConfig),
    "batch_topk": (BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig),
    "matryoshka": (MatryoshkaBatchTopKTrainingSAE, MatryoshkaBatchTopKTrainingSAEConfig),
}


class SaeLens:
    def __init__(self, setup: Setup) -> None:
        sae_class, config_class = CLASSES[setup.kind]
        self.sae = sae_class(config_class(d_in=setup.inputs, d_sae=setup.latents, **options(setup)))
        config = SAETrainerConfig(
            total_training_samples=setup.steps * setup.batch,
            train_batch_size_samples=setup.batch,
            lr=setup.rate,
            lr_warm_up_steps=setup.rise,
            lr_decay_steps=setup.fall,
            lr_end=0.0,  # reached where it decays
            dead_feature_window=setup.dead_after // setup.batch,
            logger=LoggingConfig(log_to_wandb=False),
        )
        self.trainer: Any = SAETrainer(config, self.sae, data_provider=iter(()))

    def parameters(self) -> Iterable[nn.Parameter]:
        return self.sae.parameters()

    def step(self, x: Tensor) -> None:
        self.trainer.step(x)
        self.trainer.n_training_steps += 1  # as its loop does

    def answer(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = self.sae.encode(x)
        return self.sae.decode(z), z


def options(setup: Setup) -> dict[str, Any]:
    if setup.kind in ("standard", "gated"):
        return {"l1_coefficient": setup.coefficient, "l1_warm_up_steps": setup.penalty_rise}
    if setup.kind == "jumprelu":
        # Where weights and thresholds start and the width of their window are ours: less error at the same L0 than with
        # its own, which belong to longer runs, in which a threshold of 0.01 has time to rise.
        return {
            "l0_coefficient": setup.coefficient,
            "l0_warm_up_steps": setup.penalty_rise,
            "jumprelu_init_threshold": 1.0,
            "jumprelu_bandwidth": 1.0,
            "decoder_init_norm": 1.0,
        }
    if setup.kind == "matryoshka":
        return {"k": setup.k, "matryoshka_widths": [setup.latents // part for part in (16, 8, 4, 2, 1)]}
    return {"k": setup.k}


serve(Worker(SaeLens))

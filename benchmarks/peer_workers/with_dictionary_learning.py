"""dictionary_learning: `update` of its trainers, which its own loop calls for each batch.

Of each step's time beside the products: the part of the decoder's gradient along its rows is taken off and rows are
brought back to norm 1, norms of all gradients for clipping, Adam that is not fused, `loss.item()`. TopK and its like
start the decoder's bias at a geometric median of the first batch, which is no part of the timed steps.
"""

from collections.abc import Iterable
from typing import Any

from dictionary_learning.trainers.batch_top_k import BatchTopKTrainer
from dictionary_learning.trainers.gdm import GatedSAETrainer
from dictionary_learning.trainers.jumprelu import JumpReluTrainer
from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKTrainer
from dictionary_learning.trainers.standard import StandardTrainer
from dictionary_learning.trainers.top_k import TopKTrainer
from torch import Tensor, nn
from worker import Setup, Worker, serve

CLASSES: dict[str, type] = {
    "standard": StandardTrainer,
    "jumprelu": JumpReluTrainer,
    "gated": GatedSAETrainer,
    "topk": TopKTrainer,
    "batch_topk": BatchTopKTrainer,
    "matryoshka": MatryoshkaBatchTopKTrainer,
}


class DictionaryLearning:
    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.trainer: Any = CLASSES[setup.kind](
            steps=setup.steps,
            activation_dim=setup.inputs,
            dict_size=setup.latents,
            layer=0,
            lm_name="none",
            device="cpu",
            lr=setup.rate,
            warmup_steps=setup.rise,
            decay_start=setup.steps - setup.fall if setup.fall else None,
            **options(setup),
        )
        self.trainer.dead_feature_threshold = setup.dead_after  # the constant ten million, in its constructor
        self.done = 0

    def parameters(self) -> Iterable[nn.Parameter]:
        return self.trainer.ae.parameters()

    def step(self, x: Tensor) -> None:
        self.trainer.update(self.done, x)
        self.done += 1

    def answer(self, x: Tensor) -> tuple[Tensor, Tensor]:
        ae = self.trainer.ae
        if self.setup.kind in ("topk", "batch_topk", "matryoshka"):
            z = ae.encode(x, use_threshold=False)
            return ae.decode(z), z
        return ae(x, output_features=True)


def options(setup: Setup) -> dict[str, Any]:
    if setup.kind in ("standard", "gated"):
        return {"l1_penalty": setup.coefficient, "sparsity_warmup_steps": setup.penalty_rise}
    if setup.kind == "jumprelu":
        # It holds L0 at a number in place of paying for it.
        return {"target_l0": setup.coefficient, "sparsity_warmup_steps": setup.penalty_rise}
    if setup.kind == "matryoshka":
        return {"k": setup.k, "group_fractions": [1 / 16, 1 / 16, 1 / 8, 1 / 4, 1 / 2]}
    return {"k": setup.k}


serve(Worker(DictionaryLearning))

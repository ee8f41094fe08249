"""Training steps of dictionary_learning, computed by its own trainers in its own environment."""

from copy import deepcopy
from typing import Any

import torch
from dictionary_learning.trainers.batch_top_k import BatchTopKTrainer
from dictionary_learning.trainers.gdm import GatedSAETrainer
from dictionary_learning.trainers.jumprelu import JumpReluTrainer
from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKTrainer
from dictionary_learning.trainers.p_anneal import PAnnealTrainer
from dictionary_learning.trainers.standard import StandardTrainer, StandardTrainerAprilUpdate
from dictionary_learning.trainers.top_k import TopKTrainer
from exchange import Compute, Tensors, answer, copy, dead_among, outcome

#: Our names of their parameters; those of torch's linear layers are (out, in).
PARAMETERS = {
    "encoder.weight": "W_enc",
    "encoder.bias": "b_enc",
    "decoder.weight": "W_dec",
    "bias": "b_dec",
    "decoder_bias": "b_dec",
    "gate_bias": "b_gate",
    "mag_bias": "b_mag",
}

#: After all warm-ups, and after the step from which thresholds are tracked.
STEP = 5000


def training_step(trainer_class: type, terms: dict[str, tuple[str, str | None]]) -> Compute:
    """A trainer's loss. `terms`: for a term of its log our name, and the trainer's attribute that multiplies it."""

    def compute(settings: dict[str, Any], given: Tensors) -> Tensors:
        x = given["x"]
        latents, width = given["W_dec"].shape
        dead = dead_among(latents, settings)
        trainer = trainer_class(
            steps=100_000, activation_dim=width, dict_size=latents, layer=0, lm_name="none", device="cpu", **settings
        )
        trainer.ae.to(x.dtype)
        if dead.any():
            trainer.num_tokens_since_fired[dead] = trainer.dead_feature_threshold
        parameters = {PARAMETERS.get(name, name): parameter for name, parameter in trainer.ae.named_parameters()}
        transposed = ("W_enc", "W_dec") if hasattr(trainer.ae, "encoder") else ()
        copy(parameters, given, transposed)

        _, reconstruction, code, log = deepcopy(trainer).loss(x, step=STEP, logging=True)
        found = {
            ours: torch.tensor(log[theirs] * (getattr(trainer, factor) if factor else 1), dtype=x.dtype)
            for theirs, (ours, factor) in terms.items()
        }
        loss = trainer.loss(x, step=STEP)
        answered = outcome(code, reconstruction, loss, found, parameters, transposed)
        if hasattr(trainer.ae, "threshold"):
            answered["running_threshold"] = torch.as_tensor(trainer.ae.threshold)
        return answered

    return compute


ERROR = {"mse_loss": ("reconstruction", None)}
TOPK_ERROR, AUXK = {"l2_loss": ("reconstruction", None)}, {"auxk_loss": ("auxk", "auxk_alpha")}
L1 = {"sparsity_loss": ("l1", "l1_penalty")}

answer(
    {
        "standard": training_step(StandardTrainer, ERROR | L1),
        "standard_april": training_step(StandardTrainerAprilUpdate, ERROR | L1),
        "p_anneal": training_step(PAnnealTrainer, {"scaled_lp_loss": ("lp", None)}),
        "gated": training_step(GatedSAETrainer, ERROR | L1 | {"aux_loss": ("auxiliary", None)}),
        "topk": training_step(TopKTrainer, TOPK_ERROR | AUXK),
        "batch_topk": training_step(BatchTopKTrainer, TOPK_ERROR | AUXK),
        "matryoshka": training_step(MatryoshkaBatchTopKTrainer, AUXK),
        "jumprelu": training_step(JumpReluTrainer, TOPK_ERROR),
    }
)

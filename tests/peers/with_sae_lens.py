"""Training steps of SAELens, computed by its own classes in its own environment."""

from typing import Any

from exchange import Compute, Tensors, answer, copy, dead_among, outcome
from sae_lens import (
    BatchTopKTrainingSAE,
    BatchTopKTrainingSAEConfig,
    GatedTrainingSAE,
    GatedTrainingSAEConfig,
    JumpReLUTrainingSAE,
    JumpReLUTrainingSAEConfig,
    MatryoshkaBatchTopKTrainingSAE,
    MatryoshkaBatchTopKTrainingSAEConfig,
    StandardTrainingSAE,
    StandardTrainingSAEConfig,
    TopKTrainingSAE,
    TopKTrainingSAEConfig,
)
from sae_lens.saes.sae import TrainStepInput

#: Their names of the terms, by ours.
TERMS = {"mse_loss": "reconstruction", "l1_loss": "l1", "l0_loss": "sparsity", "pre_act_loss": "pre_act"}


def training_step(sae_class: type, config_class: type, auxiliary: str) -> Compute:
    def compute(settings: dict[str, Any], given: Tensors) -> Tensors:
        x = given["x"]
        latents, dimensions = given["W_dec"].shape
        dead = dead_among(latents, settings)
        sae = sae_class(config_class(d_in=dimensions, d_sae=latents, dtype="float64", **settings))
        parameters = dict(sae.named_parameters())
        copy(parameters, given)
        coefficients = {name: float(getattr(value, "value", value)) for name, value in sae.get_coefficients().items()}
        out = sae.training_forward_pass(
            TrainStepInput(
                sae_in=x, coefficients=coefficients, dead_neuron_mask=dead, n_training_steps=0, is_logging_step=False
            )
        )
        names = {**TERMS, "auxiliary_reconstruction_loss": auxiliary}
        terms = {names.get(name, name.replace("inner_mse_loss", "prefix")): term for name, term in out.losses.items()}
        found = outcome(out.feature_acts, out.sae_out, out.loss, terms, parameters)
        if hasattr(sae, "topk_threshold"):
            found["running_threshold"] = sae.topk_threshold
        return found

    return compute


answer(
    {
        "standard": training_step(StandardTrainingSAE, StandardTrainingSAEConfig, "auxiliary"),
        "gated": training_step(GatedTrainingSAE, GatedTrainingSAEConfig, "auxiliary"),
        "topk": training_step(TopKTrainingSAE, TopKTrainingSAEConfig, "auxk"),
        "batch_topk": training_step(BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig, "auxk"),
        "matryoshka": training_step(MatryoshkaBatchTopKTrainingSAE, MatryoshkaBatchTopKTrainingSAEConfig, "auxk"),
        "jumprelu": training_step(JumpReLUTrainingSAE, JumpReLUTrainingSAEConfig, "auxiliary"),
    }
)

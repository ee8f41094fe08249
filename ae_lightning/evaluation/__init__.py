"""The final numbers of a trained autoencoder, beside the baselines that make them mean something."""

from ae_lightning.evaluation.evaluate import describe, evaluate, evaluate_run, versions

__all__ = ["describe", "evaluate", "evaluate_run", "versions"]

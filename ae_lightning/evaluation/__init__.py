"""The final numbers of a trained autoencoder, beside the baselines that make them mean something."""

from ae_lightning.evaluation.evaluate import describe, evaluate, evaluate_run, versions
from ae_lightning.evaluation.truth import measure_truth, truth_scores

__all__ = ["describe", "evaluate", "evaluate_run", "measure_truth", "truth_scores", "versions"]

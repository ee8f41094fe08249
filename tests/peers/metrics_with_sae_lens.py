"""SAELens' own metrics of known features, computed in its environment on weights and codes that it is given."""

import sys
from dataclasses import asdict
from pathlib import Path

import torch
from sae_lens.evals import ExplainedVarianceCalculator
from sae_lens.synthetic import evals
from safetensors.torch import load_file, save_file


def measured(given: dict[str, torch.Tensor]) -> dict[str, float]:
    rows, directions = given["rows"], given["directions"]
    l0, dead, norms = evals.L0Calculator(), evals.DeadLatentsCalculator(len(rows)), evals.ShrinkageCalculator()
    variance = ExplainedVarianceCalculator()
    l0.add_batch(given["z"])
    dead.add_batch(given["z"])
    norms.add_batch(given["x_hat"], given["x"])
    variance.add_batch(given["x_hat"], given["x"])
    return {
        "mcc_matched": evals.mean_correlation_coefficient(rows, directions),
        "uniqueness": evals.feature_uniqueness(rows, directions),
        "l0": l0.compute(),
        "dead": dead.compute(),
        "norm_ratio": norms.compute(),
        "explained_variance": variance.compute(),
        **asdict(evals.compute_classification_metrics(given["z"], given["y"], rows, directions)),
    }


for path in sorted(Path(sys.argv[1]).glob("given_*.safetensors")):
    found = measured(load_file(path))
    tensors = {name: torch.tensor(float(value), dtype=torch.float64) for name, value in found.items()}
    save_file(tensors, path.with_name(path.name.replace("given", "found")))

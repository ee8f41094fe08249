"""Samples of worlds by SAELens' own generator, and a world that it makes and saves.

For each world in the folder that the command line names, `<world>.safetensors` gets means over samples: how often each
two features are together (features, features), values and their squares (features,), and x (dim,); in `theirs` is a
world of SAELens.
"""

import sys
from pathlib import Path

import torch
from sae_lens.synthetic import HierarchyConfig, SyntheticModel, SyntheticModelConfig
from sae_lens.synthetic.firing_magnitudes import FoldedNormalMagnitudeConfig, LinearMagnitudeConfig
from sae_lens.synthetic.firing_probabilities import ZipfianFiringProbabilityConfig
from sae_lens.synthetic.synthetic_model import LowRankCorrelationConfig
from safetensors.torch import save_file

BATCHES, SIZE = 40, 5000


def main() -> None:
    folder = Path(sys.argv[1])
    torch.manual_seed(0)
    settings = SyntheticModelConfig(
        40,
        16,
        ZipfianFiringProbabilityConfig(0.5, 0.4, 0.01),
        HierarchyConfig(3, 2, 2, 1.0, compensate_probabilities=True, scale_children_by_parent=True),
        correlation=LowRankCorrelationConfig(3, 0.1),
        std_firing_magnitudes=FoldedNormalMagnitudeConfig(0.5, 0.5),
        mean_firing_magnitudes=LinearMagnitudeConfig(5, 4),
        bias=0.5,
        seed=7,
    )
    SyntheticModel(settings).save(folder / "theirs")
    for world in [path for path in folder.iterdir() if path.is_dir()]:
        model = SyntheticModel.load_from_disk(world)
        together, sums, squares, x_mean = 0, 0, 0, 0
        for _ in range(BATCHES):
            x, features = model.sample_with_features(SIZE)
            present = (features > 0).double()
            together = together + present.T @ present
            sums, squares = sums + features.double().sum(0), squares + features.double().square().sum(0)
            x_mean = x_mean + x.double().sum(0)
        found = {"together": together, "sums": sums, "squares": squares, "x": x_mean}
        samples = BATCHES * SIZE
        save_file({name: value / samples for name, value in found.items()}, folder / f"{world.name}.safetensors")


main()

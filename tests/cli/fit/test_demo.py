"""`make demo`: the experiment that it trains does what its first line asks."""

import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.decomposition import PCA

from ae_lightning.cli.configs import packaged
from ae_lightning.run.run import Run
from ae_lightning.yaml_file import first_comment

ROOT = Path(__file__).parents[3]


def test_the_demo_trains_a_packaged_experiment_that_asks_something() -> None:
    recipe = re.search(r"^demo:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert recipe
    assert re.findall(r"--config (\w+)", recipe[1]) == ["bottleneck_digits"]
    assert "?" in first_comment(packaged()["bottleneck_digits"])


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_eight_numbers_leave_little_more_than_half_of_what_eight_components_do(seed: int, fit_once) -> None:
    run = Run.load(fit_once("--config", "bottleneck_digits", "--seed_everything", str(seed)))
    run.data.setup()
    train, test = (part.take(len(part))[0].flatten(1).numpy() for part in (run.data.train_set, run.data.test_set))
    pca = PCA(8).fit(train)
    assert run.results["model"]["latent_shape"] == [8]
    error = run.results["errors"]["test"]["autoencoder"]["mse_per_pixel"]
    assert error < 0.6 * np.square(pca.inverse_transform(pca.transform(test)) - test).mean()

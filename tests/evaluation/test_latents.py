"""Numbers on codes, and the table of latents, against numpy."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ae_lightning.data import InMemoryDataset
from ae_lightning.evaluation.latents import LatentMeter
from ae_lightning.models.base import Autoencoder
from ae_lightning.models.convolutional import ConvAutoencoder
from ae_lightning.models.overcomplete import OvercompleteAutoencoder
from ae_lightning.models.sparse import SparseAutoencoder

SHAPE = (1, 8, 8)
MODELS = {
    "relu": lambda: OvercompleteAutoencoder(SHAPE, 12),
    "instances": lambda: OvercompleteAutoencoder(SHAPE, 12, instances=3),
    "sigmoid": lambda: OvercompleteAutoencoder(SHAPE, 12, "sigmoid"),
    "linear": lambda: SparseAutoencoder(SHAPE, 9),
    "convolutional": lambda: ConvAutoencoder(SHAPE),
    "kl": lambda: SparseAutoencoder(SHAPE, 9, latent_activation="relu", penalty="kl", target=0.1),
    "linear kl": lambda: SparseAutoencoder(SHAPE, 9, penalty="kl", target=0.1),
}


@pytest.fixture(params=MODELS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def model(kind: str) -> Autoencoder:
    torch.manual_seed(0)
    return MODELS[kind]().eval()


@pytest.fixture
def x() -> Tensor:
    return torch.rand(70, *SHAPE, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def codes(model: Autoencoder, x: Tensor) -> np.ndarray:
    """(instances, n, latents), one instance where there are none."""
    with torch.no_grad():
        return model.encode(x).double().numpy().reshape(model.instances or 1, len(x), -1)


def measured(model: Autoencoder, x: Tensor) -> LatentMeter:
    meter = LatentMeter(model)
    meter.measure(InMemoryDataset(x), 32)  # batches of 32, 32 and 6
    return meter


def fires(kind: str, codes: np.ndarray) -> np.ndarray:
    return codes > 0 if kind in ("relu", "instances") else codes != 0


def test_statistics(kind: str, model: Autoencoder, x: Tensor, codes: np.ndarray) -> None:
    statistics = measured(model, x).statistics()
    n = codes.shape[-1]
    length = np.sqrt((codes**2).sum(-1))
    hoyer = (np.sqrt(n) - np.abs(codes).sum(-1) / length) / (np.sqrt(n) - 1)
    assert statistics["l0"] == pytest.approx(fires(kind, codes).sum(-1).mean(), rel=1e-6)
    assert statistics["l1"] == pytest.approx(np.abs(codes).sum(-1).mean(), rel=1e-5)
    assert statistics["hoyer"] == pytest.approx(hoyer[length > 0].mean(), rel=1e-4)
    assert statistics["near_zero"] == pytest.approx((np.abs(codes) <= 1e-3).mean(), abs=1e-6)
    assert statistics["negative"] == pytest.approx((codes < 0).mean(), rel=1e-6)
    assert (statistics["negative"] > 0) == kind.startswith("linear")


def test_mean_activation_is_rectified(model: Autoencoder, x: Tensor, codes: np.ndarray) -> None:
    each = np.maximum(codes, 0).mean(1)
    assert measured(model, x).statistics()["mean_activation"] == {
        "median": pytest.approx(np.median(each), rel=1e-5),
        "min": pytest.approx(each.min(), rel=1e-5),
        "max": pytest.approx(each.max(), rel=1e-5),
    }


def test_nearness_to_a_target(kind: str, model: Autoencoder, x: Tensor, codes: np.ndarray) -> None:
    statistics = measured(model, x).statistics()
    if "kl" not in kind:
        assert "target" not in statistics
        assert "within_factor_two" not in statistics
        return
    each = np.maximum(codes[0], 0).mean(0)
    near = [0.05 <= mean <= 0.2 for mean in each]
    assert statistics["target"] == 0.1
    assert statistics["within_factor_two"] == pytest.approx(np.mean(near))
    assert 0 < np.mean(near) < 1


def rows_of(path: Path) -> list[dict[str, Any]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_table(kind: str, model: Autoencoder, x: Tensor, codes: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "latents.csv"
    measured(model, x).write_table(path)
    rows = rows_of(path)
    latents = codes.shape[-1]
    assert list(rows[0]) == ["instance", "latent", "mean_activation", "firing_density"]
    assert [(int(r["instance"]), int(r["latent"])) for r in rows] == [
        (instance, latent) for instance in range(len(codes)) for latent in range(latents)
    ]
    means = np.array([float(row["mean_activation"]) for row in rows]).reshape(-1, latents)
    np.testing.assert_allclose(means, np.maximum(codes, 0).mean(1), rtol=1e-5)
    densities = np.array([float(row["firing_density"]) for row in rows]).reshape(-1, latents)
    np.testing.assert_allclose(densities, fires(kind, codes).mean(1), rtol=1e-8)
    assert [file.name for file in tmp_path.iterdir()] == ["latents.csv"]


def test_maps_of_very_many_values_get_no_table(tmp_path: Path) -> None:
    path = tmp_path / "latents.csv"
    large = ConvAutoencoder((1, 52, 52)).eval()
    assert large.latent_size == 16 * 26 * 26 > 10_000
    measured(large, torch.rand(3, 1, 52, 52)).write_table(path)
    assert not path.exists()
    # A wide dictionary does: its latents are what it is looked at for.
    measured(OvercompleteAutoencoder((4,), 10_001).eval(), torch.rand(3, 4)).write_table(path)
    assert len(rows_of(path)) == 10_001

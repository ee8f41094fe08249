"""Baselines of sets that are read in pieces, beside scikit-learn; and of data that leave nothing to explain."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from ae_lightning import ArraysDataModule, DigitsDataModule
from ae_lightning.data.in_memory import InMemoryDataset
from ae_lightning.evaluation import baselines as module
from ae_lightning.evaluation import evaluate
from ae_lightning.evaluation.baselines import Baselines
from ae_lightning.evaluation.errors import NO_VARIANCE
from ae_lightning.models.overcomplete import OvercompleteAutoencoder

RNG = np.random.default_rng(0)
# A hundred directions whose strengths fall off, so that few components do not explain all.
X = (RNG.standard_normal((3000, 40)) * 0.9 ** np.arange(40)).astype(np.float32)


def pca_error(train: np.ndarray, x: np.ndarray, components: int) -> float:
    pca = PCA(components, svd_solver="full").fit(train.astype(np.float64))
    return float(np.square(x - pca.inverse_transform(pca.transform(x))).mean())


def test_however_small_the_pieces_the_numbers_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK_NUMBERS", 40 * 7)
    train, test = InMemoryDataset(X[:2000]), InMemoryDataset(X[2000:])
    baselines = Baselines(train, 6)
    found = baselines.errors(test)
    assert found["pca"]["mse_per_pixel"] == pytest.approx(pca_error(X[:2000], X[2000:], 6), rel=1e-5)
    mean_image = np.square(X[2000:] - X[:2000].mean(0, dtype=np.float64)).mean()
    assert found["mean_image"]["mse_per_pixel"] == pytest.approx(mean_image, rel=1e-6)
    assert (baselines.samples, baselines.are_drawn) == (2000, False)


def test_no_piece_is_larger_than_it_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK_NUMBERS", 40 * 100)
    read = InMemoryDataset.__getitems__
    sizes = []

    def counting(self: InMemoryDataset, indices: Any) -> Any:
        sizes.append(len(indices))
        return read(self, indices)

    monkeypatch.setattr(InMemoryDataset, "__getitems__", counting)
    Baselines(InMemoryDataset(X), 6).errors(InMemoryDataset(X))
    assert max(sizes) == 100


def test_samples_too_wide_for_a_covariance_are_drawn_at_random(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LARGEST_COVARIANCE", 39**2)
    monkeypatch.setattr(module, "_MOST_DRAWN", 1500)
    # Sorted by what matters most: the first samples would not do for all.
    rows = X[np.argsort(X[:, 0])]
    baselines = Baselines(InMemoryDataset(rows), 6)
    assert (baselines.samples, baselines.are_drawn, baselines.components) == (1500, True, 6)
    found = baselines.errors(InMemoryDataset(rows))
    assert found["pca"]["mse_per_pixel"] == pytest.approx(pca_error(X, X, 6), rel=0.02)
    assert found["mean_image"]["mse_per_pixel"] == pytest.approx(np.square(X - X.mean(0)).mean(), rel=0.02)
    assert Baselines(InMemoryDataset(rows), 6).errors(InMemoryDataset(rows)) == found


def test_how_many_were_drawn_is_in_the_record(monkeypatch: pytest.MonkeyPatch, digits: DigitsDataModule) -> None:
    model = OvercompleteAutoencoder((1, 8, 8), 5).eval()
    whole = evaluate(model, digits)
    assert whole["baseline_samples"] == {"count": 1293, "drawn": False}
    monkeypatch.setattr(module, "_LARGEST_COVARIANCE", 63**2)
    monkeypatch.setattr(module, "_MOST_DRAWN_NUMBERS", 64 * 900)
    part = evaluate(model, digits)
    assert part["baseline_samples"] == {"count": 900, "drawn": True}
    ours, exact = (found["errors"]["test"]["pca"]["mse_per_pixel"] for found in (part, whole))
    assert ours == pytest.approx(exact, rel=0.05)
    assert ours != exact


def test_a_model_in_float64_is_compared_with_baselines_in_float64(digits: DigitsDataModule) -> None:
    def of_pca(model: OvercompleteAutoencoder) -> float:
        return evaluate(model, digits)["errors"]["test"]["pca"]["mse_per_pixel"]

    single = of_pca(OvercompleteAutoencoder((1, 8, 8), 64).eval())
    double = of_pca(OvercompleteAutoencoder((1, 8, 8), 64).double().eval())
    assert 1e-18 < single < 1e-10  # PCA as wide as the input is exact: what is left is rounding
    assert double < 1e-24


@pytest.mark.parametrize("rows", [np.full((40, 300), 0.25), np.zeros((40, 300)), np.full((40, 3, 4), 7.0)])
def test_samples_that_are_all_alike_leave_nothing_to_explain(rows: np.ndarray, tmp_path: Any) -> None:
    np.save(tmp_path / "x.npy", rows.astype(np.float32))
    data = ArraysDataModule(str(tmp_path / "x.npy"))
    results = evaluate(OvercompleteAutoencoder(rows.shape[1:], 1).eval(), data)
    for split in ("validation", "test"):
        for name in ("autoencoder", "mean_image", "pca"):
            found = results["errors"][split][name]
            assert (found["fvu"], found["fvu_reason"]) == (None, NO_VARIANCE)
            assert (found["explained_variance"], found["explained_variance_reason"]) == (None, NO_VARIANCE)
        assert results["errors"][split]["pca"]["mse_per_pixel"] < 1e-12
        assert results["errors"][split]["mean_image"]["mse_per_pixel"] < 1e-12
    assert results["pca_components"] == 1
    json.dumps(results, allow_nan=False)


def test_a_model_whose_reconstructions_overflow_has_no_error(digits: DigitsDataModule) -> None:
    model = OvercompleteAutoencoder((1, 8, 8), 4).eval()
    with torch.no_grad():
        model.dictionary.b_dec.fill_(3e38)
    found = evaluate(model, digits)["errors"]["test"]
    assert found["autoencoder"]["mse_per_pixel"] is None
    assert "not finite" in found["autoencoder"]["mse_per_pixel_reason"]
    assert found["pca"]["mse_per_pixel"] > 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_numbers_of_a_gpu_are_those_of_the_cpu(digits: DigitsDataModule) -> None:
    model = OvercompleteAutoencoder((1, 8, 8), 16).eval()
    ours, expected = evaluate(model.cuda(), digits)["errors"], evaluate(model.cpu(), digits)["errors"]
    for split, methods in expected.items():
        for name, numbers in methods.items():
            assert ours[split][name] == pytest.approx(numbers, rel=1e-3)

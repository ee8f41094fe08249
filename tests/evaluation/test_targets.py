"""What a model of targets must beat: the mean target, linear regression of its rank, a random encoder."""

from typing import Any

import numpy as np
import pytest
import torch
from known_targets import KnownMap
from sklearn.linear_model import LinearRegression

from ae_lightning.cli.evaluation_printing import print_numbers
from ae_lightning.data.in_memory import InMemoryDataset
from ae_lightning.errors import ConfigError
from ae_lightning.evaluation import baselines as module
from ae_lightning.evaluation import evaluate
from ae_lightning.evaluation.baselines import Baselines
from ae_lightning.evaluation.verdict import components_of_active, numbers_beside, verdict
from ae_lightning.gallery import Gallery
from ae_lightning.models.transcoder import Transcoder
from ae_lightning.report.baselines import error_of_sets
from ae_lightning.report.overview import error_table
from ae_lightning.run.results import as_row, linear_baseline, row_with_exact_pca
from ae_lightning.run.results_form import misplaced


def sets(n: int = 900) -> tuple[InMemoryDataset, InMemoryDataset]:
    """Training and test samples (n, 2, 3) whose targets (n, 1, 4) are stored a tenth as large."""
    g = torch.Generator().manual_seed(0)
    weight = torch.randn(6, 4, generator=g)

    def drawn(n: int) -> InMemoryDataset:
        x = torch.randn(n, 6, generator=g) + 3
        y = (x @ weight).relu() + torch.randn(n, 4, generator=g)
        target = InMemoryDataset(y.unsqueeze(1) / 10, scale=10.0)
        return InMemoryDataset(x.unflatten(1, (2, 3)), target=target)

    return drawn(n), drawn(200)


def arrays(dataset: InMemoryDataset) -> tuple[np.ndarray, np.ndarray]:
    x, _, y = dataset.take(len(dataset))
    return x.flatten(1).double().numpy(), y.flatten(1).double().numpy()


def test_baselines_are_the_mean_target_and_regression() -> None:
    train, test = sets()
    (x, y), (test_x, test_y) = arrays(train), arrays(test)
    found = Baselines(train, 50)
    assert found.components == 4
    errors = found.errors(test)
    predicted = LinearRegression().fit(x, y).predict(test_x)
    assert errors["pca"]["mse_per_pixel"] == pytest.approx(np.square(test_y - predicted).mean(), rel=1e-4)
    assert errors["mean_image"]["mse_per_pixel"] == pytest.approx(np.square(test_y - y.mean(0)).mean(), rel=1e-4)
    assert errors["pca"]["mse_per_image"] == pytest.approx(np.square(test_y - predicted).sum(1).mean(), rel=1e-4)


def test_wide_samples_are_regressed_on_their_leading_components(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all components of a sample are read it is the regression on the samples that were drawn."""
    train, test = sets(3000)
    monkeypatch.setattr(module, "_LARGEST_COVARIANCE", 25)
    monkeypatch.setattr(module, "_MOST_DRAWN", 2500)
    found = Baselines(train, 3)
    assert (found.samples, found.are_drawn, found.components) == (2500, True, 3)
    monkeypatch.setattr(module, "_LARGEST_COVARIANCE", 1 << 20)
    error = Baselines(train, 3).errors(test)["pca"]["mse_per_pixel"]
    assert found.errors(test)["pca"]["mse_per_pixel"] == pytest.approx(error, rel=0.02)
    monkeypatch.setattr(module, "_LARGEST_COVARIANCE", 25)
    monkeypatch.setattr(module, "_REGRESSORS", 2)
    assert Baselines(train, 3).components == 2


def test_a_random_encoder_is_fitted_to_the_targets() -> None:
    """By numpy, of the same random code."""
    train, test = sets()
    (x, y), (test_x, test_y) = arrays(train), arrays(test)
    generator = torch.Generator().manual_seed(0)
    weight = torch.empty(5, 6, dtype=torch.float64).uniform_(-1, 1, generator=generator).numpy() / np.sqrt(6)
    center = x.mean(0)

    def code(rows: np.ndarray) -> np.ndarray:
        return np.hstack([np.maximum((rows - center) @ weight.T, 0), np.ones((len(rows), 1))])

    solution = np.linalg.lstsq(code(x), y, rcond=None)[0]
    truth = np.square(test_y - code(test_x) @ solution).mean()
    assert error_of_sets(train, test, 5, "relu") == pytest.approx(truth, rel=1e-5)


@pytest.fixture(scope="module")
def measured() -> tuple[Transcoder, KnownMap, dict[str, Any]]:
    """A transcoder that was not trained, but for a bias in the targets' mean, and what is measured of it."""
    data = KnownMap(3000)
    data.setup()
    torch.manual_seed(0)
    model = Transcoder((16,), 24, k=4, target_shape=(12,))
    model.start_from(*[data.train_set.take(3000)[0], torch.Generator(), data.train_set.take(3000)[2]])
    with torch.no_grad():
        model.dictionary.W_dec.mul_(0.01)
    return model, data, evaluate(model, data)


def test_what_is_said_names_targets_and_regression(
    measured: tuple[Transcoder, KnownMap, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    _, _, results = measured
    assert misplaced(results) == ""
    print_numbers(results | {"probes": {}})
    out = " ".join(capsys.readouterr().out.split())
    for words in ("mean target", "regression, rank 12", "this model"):
        assert words in out
    assert "PCA" not in out
    told = verdict(results).sentence
    assert "always answering the mean of the training targets" in told or "linear regression" in told
    beside = {each.name: each.baseline for each in numbers_beside(results, count=9)}
    assert beside["variance left"].startswith("linear regression of the same width: 0.")
    assert beside["parameters"] == f"linear regression of the same width: {24 * 16 + 12 * 25:,}"
    names = [row[0] for row in error_table(results, 5000, 0.5).rows]
    assert names == ["this model", "mean of the training targets", "linear regression, rank 12", names[-1]]
    assert components_of_active(results) == 4
    assert components_of_active({**results, "model": {**results["model"], "has_skip": True}}) is None


def test_a_regression_is_not_taken_for_exact_components(
    measured: tuple[Transcoder, KnownMap, dict[str, Any]],
) -> None:
    """16 entries and 24 latents: PCA of so many would be exact."""
    row = as_row(measured[2])
    assert row["pca_test_mse_per_pixel"] > 1
    assert not row_with_exact_pca(row)
    assert linear_baseline([row]) == "linear regression"
    assert linear_baseline([row, {}]) == "PCA or linear regression"


def test_the_strip_shows_targets(measured: tuple[Transcoder, KnownMap, dict[str, Any]]) -> None:
    model, data, _ = measured
    axes = Gallery(model, data).reconstructions().axes[0]
    points = np.concatenate([np.asarray(part.get_offsets()) for part in axes.collections]) if axes.collections else None
    drawn = points if points is not None else np.column_stack(axes.lines[0].get_data())
    x = data.test_set.take(1000)[2].flatten().numpy()
    assert set(np.round(drawn[:50, 0], 3)) <= set(np.round(x, 3))
    assert "interpolation" not in Gallery(model, data).fitting()


def test_a_transcoder_is_refused_without_targets() -> None:
    train, _ = sets()
    with pytest.raises(ConfigError, match=r"--data\.target"):
        Transcoder((2, 3), 8, k=2, target_shape=(1, 4)).pair(InMemoryDataset(train.x).take(3))

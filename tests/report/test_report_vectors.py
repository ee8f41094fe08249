"""Figures of units whose samples are vectors, against weights and samples that were made by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.metrics.pairwise import cosine_similarity

from ae_lightning.data.arrays import ArraysDataModule
from ae_lightning.models.overcomplete import OvercompleteAutoencoder
from ae_lightning.report.reading import TITLES_AND_READINGS
from ae_lightning.report.sparsity import SparsityFigures
from ae_lightning.report.weights import WeightFigures
from ae_lightning.run.run import Run

# Latents of three directions; the first two are near to each other.
DECODER = torch.tensor([[1.0, 0, 0], [0.9, 0.1, 0], [0, 0, 2]])


def cells(figure):
    (table,) = figure.axes[0].tables
    size = max(row for row, _ in table.get_celld()) + 1, max(column for _, column in table.get_celld()) + 1
    return [[table[row, column].get_text().get_text() for column in range(size[1])] for row in range(size[0])]


@pytest.fixture
def data(tmp_path):
    """Test samples of classes 0 and 1: a ramp along the first entry, then one along the last."""
    x = np.zeros((40, 3), dtype=np.float32)
    x[:20, 0] = np.arange(20) / 10
    x[20:, 2] = np.arange(20) / 5
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", np.repeat([0, 1], 20))
    paths = {name: str(tmp_path / "x.npy") for name in ("train", "test")}
    module = ArraysDataModule(**paths, train_labels=str(tmp_path / "y.npy"), test_labels=str(tmp_path / "y.npy"))
    module.setup()
    return module


@pytest.fixture
def model():
    """Each latent's code is a sample's part along its direction, above a threshold."""
    made = OvercompleteAutoencoder((3,), 3).eval()
    weights = {name: torch.zeros_like(part) for name, part in made.snapshot().items()}
    weights |= {"encoder_vectors": DECODER, "decoder_vectors": DECODER, "encoder_bias": torch.tensor([0.0, 0, -1.0])}
    made.restore(weights)
    return made


@pytest.fixture
def figures(model, data):
    return WeightFigures(SimpleNamespace(model=model, data=data, snapshots={}, metrics={}))


def test_vectors_are_no_images(figures, toy_sae):
    for made in (figures, WeightFigures(Run.load(toy_sae))):
        names = set(made.fitting())
        assert names <= set(TITLES_AND_READINGS)
        assert {"exciting_samples", "decoder_cosines"} <= names
        assert not {"units", "structure", "units_through_training"} & names
        assert not made.has_animation


def test_the_samples_that_excite_a_latent_most_are_listed(figures):
    heading, *rows = cells(figures.fitting()["exciting_samples"]())
    assert heading == [
        "latent",
        "fires on",
        "nearest latent (cosine)",
        "most exciting test samples (value)",
        "what they share",
    ]
    found = {row[0]: row[1:] for row in rows}
    fires, nearest, samples, shared = found["#2"]
    # 2 x − 1 > 0 from x = 0.6 on, the fourth of twenty
    assert fires == "42.50%"
    assert nearest.endswith("(0.00)")
    assert samples == "39 (6.6),  38 (6.2),  37 (5.8),  36 (5.4),  35 (5)"
    assert shared == "class 1: 10 of 10"
    fires, nearest, samples, shared = found["#0"]
    assert fires == "47.50%"  # the zeros are silent
    assert nearest == "#1 (0.99)"
    assert samples.startswith("19 (1.9),  18 (1.8)")
    assert shared == "class 0: 10 of 10"


def test_cosines_are_those_of_decoder_rows_with_alike_ones_together(figures):
    matrix, histogram = figures.fitting()["decoder_cosines"]().axes[:2]
    numbers = [int(tick.get_text()) for tick in matrix.get_xticklabels()]
    assert abs(numbers.index(0) - numbers.index(1)) == 1
    expected = cosine_similarity(DECODER.numpy()[numbers])
    np.testing.assert_allclose(matrix.images[0].get_array(), expected, atol=1e-6)
    assert "2 of 3 have one at a cosine above 0.9" in histogram.get_title()


def test_recovery_is_that_of_each_feature_in_each_instance(toy_sae):
    run = Run.load(toy_sae)
    figure = WeightFigures(run).fitting()["recovery"]()
    true = run.data.feature_directions.numpy()
    decoder = run.model.snapshot()["decoder_vectors"].numpy()
    best = np.stack([cosine_similarity(true, rows).max(axis=1) for rows in decoder])
    np.testing.assert_allclose(figure.axes[1].images[0].get_array(), best, atol=1e-5)
    whole = int((best > 0.95).all(axis=1).sum())
    assert figure.axes[1].get_title() == f"best cosine: {whole} of 3 instances recover all features"
    latents = [int(tick.get_text()) for tick in figure.axes[0].get_xticklabels()]
    assert sorted(latents) == list(range(5))
    shown = np.asarray(figure.axes[0].images[0].get_array())
    np.testing.assert_allclose(shown, cosine_similarity(true, decoder[0][latents]), atol=1e-5)
    others = cosine_similarity(true, decoder[0])
    swapped = [np.abs(others[range(5), np.random.default_rng(i).permutation(5)]).sum() for i in range(50)]
    assert np.abs(np.diag(shown)).sum() >= max(swapped) - 1e-6


def test_recovery_over_training_ends_at_that_of_the_last_weights(toy_sae):
    run = Run.load(toy_sae)
    (ax,) = WeightFigures(run).fitting()["recovery_over_training"]().axes
    recovered, best, _ = ax.lines
    decoder = run.snapshots[100]["decoder_vectors"].numpy()
    cosines = np.stack([cosine_similarity(run.data.feature_directions.numpy(), rows).max(axis=1) for rows in decoder])
    assert recovered.get_xydata()[-1].tolist() == pytest.approx([100, (cosines > 0.95).mean()])
    assert best.get_xydata()[-1].tolist() == pytest.approx([100, cosines.mean()], rel=1e-5)


def test_truths_and_latents_over_training_are_those_of_the_first_instance_s_snapshots(toy_sae):
    run = Run.load(toy_sae)
    figures = WeightFigures(run).fitting()
    true = run.data.feature_directions.numpy()
    matched, standing = [], []
    for step in run.snapshots:
        cosines = np.abs(cosine_similarity(true, run.snapshots[step]["decoder_vectors"][0].numpy()))
        best = cosines[linear_sum_assignment(-cosines)]
        matched.append(best)
        standing.append(int((best**2 > 0.5).sum()))
    drawn = figures["truths_over_training"]()
    lines = np.stack([line.get_ydata() for line in drawn.axes[0].lines], axis=1)
    np.testing.assert_allclose(lines[:, :-1], matched, atol=1e-5)
    left, right = figures["latents_over_training"]().axes
    assert left.lines[0].get_ydata().tolist() == standing
    born, _, died = np.array([bar.get_height() for bar in right.patches]).reshape(3, -1)
    assert (born + died).tolist() == np.diff(standing).tolist()


@pytest.mark.parametrize(("activation", "sparse"), [("sigmoid", False), ("none", False), ("relu", True)])
def test_of_a_dense_code_nothing_is_taken_apart_and_nothing_fires(activation, sparse, data):
    torch.manual_seed(0)
    model = OvercompleteAutoencoder((3,), 3, activation=activation).eval()
    figures = SparsityFigures(SimpleNamespace(model=model, data=data, snapshots={}, metrics={}))
    firing = {"mean_activation", "contributions"}
    drawn = {"latent_histograms", "features", "hidden_states"}
    assert set(figures.fitting()) == drawn | (firing if sparse else set())
    titles = [ax.get_title() for ax in figures.latent_histograms().axes]
    assert any("active" in title for title in titles) == sparse
    table = cells(WeightFigures(figures.run).fitting()["exciting_samples"]())
    assert ("fires on" in table[0]) == sparse

"""Metrics against numpy, scikit-learn and brute force, however a set is cut into batches."""

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from sklearn.metrics import r2_score

from ae_lightning.metrics.reconstruction import ReconstructionError
from ae_lightning.metrics.recovery import cosine_matrix, duplicates, fraction_recovered, mcc, mmcs
from ae_lightning.metrics.sparsity import L0, L1, DeadFraction, FiringDensity, HoyerSparsity, MeanActivation

# Many zeros, as in rectified codes.
VALUES = st.one_of(st.just(0.0), st.floats(-100, 100, width=32))
CODES = arrays(np.float32, array_shapes(min_dims=2, max_dims=3, max_side=6), elements=VALUES)
CUTS = st.lists(st.integers(0, 6), max_size=3)


def metric_of(metric, array, cuts, axis=-2):
    """The metric of a set that is passed in pieces."""
    places = sorted({cut for cut in cuts if 0 < cut < array.shape[axis]})
    for piece in np.split(array, places, axis=axis):
        metric.update(torch.from_numpy(np.ascontiguousarray(piece)))
    return metric.compute().numpy()


@given(CODES, CUTS)
def test_firings_are_what_numpy_counts_however_they_are_cut(z, cuts):
    fires = z > 0
    np.testing.assert_allclose(metric_of(FiringDensity(), z, cuts), fires.mean(axis=-2), rtol=1e-6)
    np.testing.assert_allclose(metric_of(L0(), z, cuts), fires.sum(axis=-1).mean(), rtol=1e-5)
    np.testing.assert_allclose(metric_of(DeadFraction(), z, cuts), (~fires.any(axis=-2)).mean(), rtol=1e-6)
    np.testing.assert_allclose(metric_of(L0(two_sided=True), z, cuts), (z != 0).sum(axis=-1).mean(), rtol=1e-5)


@given(CODES, CUTS)
def test_sizes_are_numpys_however_they_are_cut(z, cuts):
    wide = z.astype(np.float64)
    np.testing.assert_allclose(metric_of(L1(), z, cuts), np.abs(wide).sum(axis=-1).mean(), rtol=1e-6)
    means = metric_of(MeanActivation(rectified=True), z, cuts)
    np.testing.assert_allclose(means, np.maximum(wide, 0).mean(axis=-2), rtol=1e-6)


@given(CODES, CUTS)
def test_hoyers_measure_of_a_set_is_the_mean_of_its_formula(z, cuts):
    root = np.sqrt(z.shape[-1])
    wide = np.abs(z.astype(np.float64))
    lengths = np.sqrt((wide**2).sum(axis=-1))
    assume(z.shape[-1] > 1)
    assume(((lengths == 0) | (lengths > 1e-6)).all())
    formula = (root - wide.sum(axis=-1) / np.where(lengths > 0, lengths, 1)) / (root - 1)
    wanted = np.where(lengths > 0, formula, 0)
    np.testing.assert_allclose(metric_of(HoyerSparsity(), z, cuts), wanted.mean(), atol=1e-5)


@st.composite
def reconstructions(draw):
    shape = draw(st.tuples(st.integers(2, 8), st.integers(1, 5)))
    numbers = st.floats(-10, 10, width=32)
    return draw(arrays(np.float32, shape, elements=numbers)), draw(arrays(np.float32, shape, elements=numbers))


@given(reconstructions(), CUTS)
def test_errors_are_numpys_and_explained_variance_scikit_learns(pair, cuts):
    x, x_hat = pair
    metric = ReconstructionError()
    places = sorted({cut for cut in cuts if 0 < cut < len(x)})
    for piece, piece_hat in zip(np.split(x, places), np.split(x_hat, places), strict=True):
        metric.update(torch.from_numpy(piece), torch.from_numpy(piece_hat))
    found = {name: float(value) for name, value in metric.compute().items()}
    squares = (x.astype(np.float64) - x_hat) ** 2
    assert found["mse_per_pixel"] == pytest.approx(squares.mean(), rel=1e-5, abs=1e-9)
    assert found["mse_per_image"] == pytest.approx(squares.sum(axis=1).mean(), rel=1e-5, abs=1e-9)
    if (x.astype(np.float64).var(axis=0) > 1e-3).all():
        wanted = r2_score(x.astype(np.float64), x_hat, multioutput="variance_weighted")
        assert found["explained_variance"] == pytest.approx(wanted, rel=1e-4, abs=1e-4)


def rows(draw, count, width):
    # Whole numbers: no row is so short that its direction is a matter of rounding.
    return draw(arrays(np.float32, (count, width), elements=st.integers(-5, 5).map(float)))


@st.composite
def dictionaries(draw):
    width = draw(st.integers(1, 5))
    return rows(draw, draw(st.integers(1, 5)), width), rows(draw, draw(st.integers(1, 4)), width)


def cosine(a, b):
    lengths = np.linalg.norm(a.astype(np.float64)) * np.linalg.norm(b.astype(np.float64))
    return float(a.astype(np.float64) @ b) / lengths if lengths else 0.0


@given(dictionaries())
def test_recovery_is_what_trying_all_matchings_finds(pair):
    learned, true = pair
    cosines = np.array([[cosine(a, b) for b in true] for a in learned])
    tensors = [torch.from_numpy(part) for part in pair]
    np.testing.assert_allclose(cosine_matrix(*tensors).numpy(), cosines, atol=1e-5)
    assert float(mmcs(*tensors)) == pytest.approx(cosines.max(axis=0).mean(), abs=1e-5)
    large = np.abs(cosines) if len(learned) >= len(true) else np.abs(cosines).T
    best = max(sum(large[place, i] for i, place in enumerate(chosen)) for chosen in
               permutations(range(large.shape[0]), large.shape[1]))  # fmt: skip
    assert float(mcc(*tensors)) == pytest.approx(best / len(true), abs=1e-5)


@given(dictionaries(), st.floats(0.1, 8))
def test_only_directions_count(pair, factor):
    learned, true = (torch.from_numpy(part) for part in pair)
    scaled = [learned * factor, true]
    for score in (mmcs, mcc):
        torch.testing.assert_close(score(*scaled), score(learned, true), atol=1e-5, rtol=0)


@given(dictionaries())
def test_a_dictionary_recovers_itself_whole(pair):
    true = np.unique(pair[1][np.abs(pair[1]).sum(axis=1) > 0], axis=0)
    assume(len(true) > 0)
    tensor = torch.from_numpy(true)
    assert float(mcc(tensor, tensor)) == pytest.approx(1, abs=1e-5)
    assert float(fraction_recovered(tensor, tensor)) == 1
    twice = torch.cat([tensor, tensor * 2])
    assert int(duplicates(twice, tensor)) == len(twice)

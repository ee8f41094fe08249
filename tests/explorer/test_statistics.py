"""Numbers on units, computed anew with numpy from all activations at once."""

import numpy as np
import pytest
import torch

from ae_lightning.explorer.code import Elementwise
from ae_lightning.explorer.histograms import BINS
from ae_lightning.explorer.network import DenseLayer, Network
from ae_lightning.explorer.statistics import NONE, TOP, importances, top_samples, unit_statistics

CLASSES = 4


@pytest.fixture
def network():
    generator = torch.Generator().manual_seed(0)

    def layer(name, inputs, outputs, activation):
        weight = torch.randn((inputs, outputs), generator=generator)
        bias = torch.randn(outputs, generator=generator)
        return DenseLayer(name, weight, bias, Elementwise(activation))

    first, code = layer("encoder 1", 6, 9, "relu"), layer("code", 9, 5, "none")
    first.bias[0] = -100  # a unit that is always silent
    first.bias[1] = 100  # one that never is
    return Network((first, code, layer("reconstruction", 5, 6, "sigmoid")))


@pytest.fixture
def samples():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn((230, 6), generator=generator)
    return x, torch.randint(0, CLASSES - 1, (230,), generator=generator)  # of the last class there are none


def batches(x, y, size=50):
    return lambda: zip(x.split(size), y.split(size), strict=True)


def test_statistics_are_those_of_numpy(network, samples):
    x, y = samples
    found = unit_statistics(network, batches(x, y), CLASSES)
    assert len(found) == 2
    for part, values in zip(found, network.outputs(x), strict=False):
        values = values.numpy()
        np.testing.assert_allclose(part.mean, values.mean(axis=0), rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(part.magnitude, np.abs(values).mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(part.density, (values != 0).mean(axis=0))
        for unit, column in enumerate(values.T):
            active = column[column != 0]
            if not len(active):
                assert (part.low[unit], part.high[unit], part.histogram[unit].sum()) == (0, 0, 0)
                continue
            assert (part.low[unit], part.high[unit]) == (active.min(), active.max())
            counts, _ = np.histogram(active.astype(np.float64), BINS)
            assert part.histogram[unit].tolist() == counts.tolist()
        for number in range(CLASSES):
            own = values[y.numpy() == number]
            wanted = own.mean(axis=0) if len(own) else np.zeros(values.shape[1])
            np.testing.assert_allclose(part.class_mean[:, number], wanted, rtol=1e-4, atol=1e-6)
    assert found[0].density[:2].tolist() == [0, 1]


def test_batches_do_not_matter_and_classes_are_optional(network, samples):
    x, _ = samples
    features = torch.rand(len(x), 3)
    whole, pieces = (unit_statistics(network, batches(x, features, size), None) for size in (230, 7))
    for a, b in zip(whole, pieces, strict=True):
        assert a.class_mean is None
        np.testing.assert_allclose(a.mean, b.mean, rtol=1e-6, atol=1e-9)
        assert a.histogram.tolist() == b.histogram.tolist()


def test_a_unit_that_always_gives_the_same_number(samples):
    x, y = samples
    constant = DenseLayer("code", torch.zeros(6, 2), torch.tensor([3.0, -2.0]))
    network = Network((constant, DenseLayer("reconstruction", torch.zeros(2, 6), torch.zeros(6))))
    (part,) = unit_statistics(network, batches(x, y), None)
    assert part.low.tolist() == part.high.tolist() == [3, -2]
    assert part.histogram[:, 0].tolist() == [230, 230]
    assert part.mean.tolist() == [3, -2]
    assert part.magnitude.tolist() == [3, 2]


def test_the_samples_that_excite_a_unit_most(network, samples):
    activations = network.outputs(samples[0])[0]
    top, values = top_samples(activations, rectified=True)
    assert (top.dtype, top.shape, values.dtype) == (np.uint16, (9, TOP), np.float32)
    for unit, column in enumerate(activations.numpy().T):
        ranked = [sample for sample in np.argsort(-column, kind="stable") if column[sample] > 0][:TOP]
        rest = TOP - len(ranked)
        assert top[unit].tolist() == ranked + [NONE] * rest
        assert values[unit].tolist() == [*column[ranked].tolist(), *([0] * rest)]
    assert (top[0] == NONE).all()


def test_of_equal_activations_the_earliest_come_first_and_negative_ones_count_where_they_can_be():
    activations = torch.tensor([[1.0, -1.0], [2.0, -3.0], [1.0, -2.0], [2.0, -1.0]])
    top, values = top_samples(activations, rectified=False)
    assert top[:, :4].tolist() == [[1, 3, 0, 2], [0, 3, 2, 1]]
    assert values[:, :4].tolist() == [[2, 2, 1, 1], [-1, -1, -2, -3]]
    assert (top[:, 4:] == NONE).all()
    assert not values[:, 4:].any()


def test_importance_by_hand_in_layers_of_other_widths():
    layers = [
        DenseLayer(
            "encoder 1", torch.tensor([[3.0, 0.0], [4.0, 1.0]]), torch.zeros(2), Elementwise("relu")
        ),  # norms 5, 1
        DenseLayer("code", torch.tensor([[2.0, 0.0, 0.0], [0.0, 6.0, 8.0]]), torch.zeros(3)),  # norms 2, 10
        DenseLayer("reconstruction", torch.tensor([[0.0, 1.0], [1.0, 0.0], [3.0, 4.0]]), torch.zeros(2)),
    ]
    found = importances(Network(tuple(layers)), [np.array([0.5, 2.0]), torch.tensor([1.0, 0.5, 0.25])])
    assert found[0].tolist() == [5, 20]
    assert found[1].tolist() == [2, 3, 10]  # columns of the code's weight: norms 2, 6, 8

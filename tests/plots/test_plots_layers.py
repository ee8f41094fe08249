import io
import warnings

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from ae_lightning.plots.layers import feature_maps, layer_activations


def _draw(figure: Figure) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(io.BytesIO())
    width, height = figure.get_size_inches() * figure.dpi
    for ax in figure.axes:
        box = ax.get_tightbbox()
        assert -1 <= box.x0 <= box.x1 <= width + 1
        assert -1 <= box.y0 <= box.y1 <= height + 1


def _pictures(figure: Figure) -> list[np.ndarray]:
    return [np.asarray(ax.images[0].get_array()) for ax in figure.axes if ax.images]


def _titles(figure: Figure, where: str = "left") -> list[str]:
    return [ax.get_title(loc=where) for ax in figure.axes if ax.images]


def _flat_maps(*values: float) -> np.ndarray:
    return np.stack([np.full((28, 28), value) for value in values])


def test_each_channel_is_an_image_and_each_layer_has_its_own_scale():
    figure = feature_maps([_flat_maps(0.0, 1.0, 5.0), _flat_maps(100.0, 20.0)], ["conv 1", "conv 2"], title="A seven")
    first, second = _pictures(figure)
    assert first[14, 14::29, 0].tolist() == [0, 51, 255]
    assert second[14, 14::29, 0].tolist() == [255, 51]
    assert _titles(figure) == ["conv 1: 3 maps of 28 × 28", "conv 2: 2 maps of 28 × 28"]
    assert figure.get_suptitle() == "A seven"
    bars = [ax.get_ylim() for ax in figure.axes if not ax.images]
    assert bars == [pytest.approx((0, 5)), pytest.approx((0, 100))]


def test_negative_maps_are_blue_and_positive_red_on_a_symmetric_scale():
    figure = feature_maps([_flat_maps(-4.0, 2.0, 0.0, -2.0)])
    blue, red, white, light = _pictures(figure)[0][14, 14::29].astype(int)
    assert blue[2] > 2 * blue[0]
    assert red[0] > red[2]
    assert white.tolist() == [255] * 3
    assert light[2] > light[0] > blue[0]
    assert figure.axes[1].get_ylim() == pytest.approx((-4, 4))


def test_a_layer_of_many_channels_is_cut_and_says_so():
    maps = np.concatenate([_flat_maps(*np.ones(5)), _flat_maps(*np.full(59, 1000.0))])
    figure = feature_maps([maps, maps[:5]], columns=4, max_maps=5)
    assert _titles(figure) == ["layer 1: first 5 of 64 maps of 28 × 28", "layer 2: 5 maps of 28 × 28"]
    cut, whole = _pictures(figure)
    assert np.array_equal(cut, whole)  # what is not shown has no say in the scale
    assert cut.shape[:2] == (2 * 29 + 1, 4 * 29 + 1)


@pytest.mark.parametrize(
    ("shapes", "title"),
    [
        ([(64, 14, 14), (8, 7, 5), (1, 1, 1)], None),
        ([(3, 40, 2)], "A title"),
        ([(200, 1, 1)], None),
        ([(200, 1, 1)], "A title"),
    ],
)
def test_maps_of_any_shape_fit_the_figure(shapes, title):
    generator = torch.Generator().manual_seed(0)
    _draw(feature_maps([torch.randn(shape, generator=generator) for shape in shapes], title=title))


def test_maps_that_are_all_zero_or_not_finite_are_drawn():
    _draw(feature_maps([np.zeros((4, 3, 3)), np.full((2, 3, 3), np.nan)]))


def test_units_that_never_fire_are_counted_and_marked():
    outputs = torch.rand(20, 6, generator=torch.Generator().manual_seed(0)) + 0.1
    outputs[:, [1, 4]] = 0
    outputs[1:, 2] = 0  # fires once
    figure = layer_activations([outputs, outputs[:, :1]], title="Encoder")
    assert _titles(figure) == ["layer 1: 6 units", "layer 2: 1 unit"]
    assert _titles(figure, "right") == ["silent on these samples: 2 of 6", "silent on these samples: 0 of 1"]
    ax = figure.axes[0]
    assert ax.lines[0].get_xdata().tolist() == [1, 4]
    np.testing.assert_allclose(_pictures(figure)[0], outputs)
    assert (ax.get_ylabel(), figure.axes[1].get_xlabel()) == ("sample", "unit")
    assert figure.get_suptitle() == "Encoder"


def test_a_unit_that_is_only_negative_is_not_called_dead():
    outputs = np.array([[-0.9, 0.5], [-0.8, -0.5]])
    figure = layer_activations([outputs], ["tanh"])
    assert _titles(figure, "right") == ["never above zero on these samples: 1 of 2"]
    low, high = figure.axes[0].images[0].get_clim()
    assert low == -high
    assert high == pytest.approx(0.9, rel=0.01)


def test_one_huge_activation_does_not_leave_the_others_dark():
    outputs = np.zeros((100, 50))
    outputs[:, :10] = np.linspace(0.5, 1, 1000).reshape(100, 10)
    outputs[0, 20] = 1e6
    assert layer_activations([outputs]).axes[0].images[0].get_clim() == pytest.approx((0, 1), abs=0.02)


@pytest.mark.parametrize(
    ("shapes", "title"),
    [([(100, 400), (100, 20)], "A title"), ([(1, 1)], None), ([(1, 1)], "A title"), ([(10, 2000)], None)],
)
def test_activations_of_any_shape_fit_the_figure(shapes, title):
    generator = torch.Generator().manual_seed(0)
    _draw(layer_activations([torch.randn(shape, generator=generator).relu() for shape in shapes], title=title))


def test_activations_that_are_not_finite_are_neither_dead_nor_an_error():
    figure = layer_activations([np.full((5, 3), np.nan), np.ones((5, 3))])
    assert _titles(figure, "right") == ["silent on these samples: 0 of 3"] * 2
    _draw(figure)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: feature_maps([]), "no hidden layers"),
        (lambda: layer_activations([]), "no hidden layers"),
        (lambda: feature_maps([np.ones((2, 3, 4, 4))]), r"\(channels, h, w\) of one sample, but that of layer 1"),
        (
            lambda: layer_activations([np.ones((2, 3)), np.ones(3)]),
            r"\(samples, width\), but that of layer 2 is \(3,\)",
        ),
        (lambda: layer_activations([np.ones((0, 3))]), "samples, width"),
        (lambda: feature_maps([np.ones((1, 2, 2))], ["a", "b"]), "1 layers, but 2 names"),
    ],
)
def test_what_cannot_be_drawn_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()

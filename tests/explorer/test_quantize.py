"""Rounding by hand, and what of it is left in sums and reconstructions."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from ae_lightning.explorer.code import Elementwise, Threshold, TopK
from ae_lightning.explorer.network import DenseLayer, Network
from ae_lightning.explorer.quantize import (
    EARLIER_ERROR,
    EXCHANGED,
    FINAL_ERROR,
    corrected,
    float16,
    int8,
    int16,
    round_earlier,
    round_final,
)


def random_network(activation="relu", output="none", widths=(30, 50, 40, 30), scale=1.0):
    generator = torch.Generator().manual_seed(0)
    layers = []
    for number, (inputs, outputs) in enumerate(pairwise(widths)):
        is_last = number == len(widths) - 2
        weight = scale * torch.randn((inputs, outputs), generator=generator) / inputs**0.5
        bias = torch.randn(outputs, generator=generator)
        name = "reconstruction" if is_last else "code" if number == 0 else f"decoder {number}"
        layers.append(DenseLayer(name, weight, bias, Elementwise(output if is_last else activation)))
    return Network(tuple(layers))


def samples(n=200, width=30):
    return torch.rand((n, width), generator=torch.Generator().manual_seed(1))


def bytes_of(network):
    rows = [network.rows(number).numpy() for number in range(len(network.layers))]
    return [int8(part, np.full_like(part, 10)) for part in rows]


def test_a_byte_for_each_weight_by_hand():
    rows = np.array([[1.0, -0.5, 0.25], [0.0, 0.0, 0.0], [127.0, 3.4, -1.6]], dtype=np.float32)
    weight = int8(rows, np.full_like(rows, 1000))
    assert not weight.is_relative
    assert weight.stored.dtype == np.int8
    assert weight.stored.tolist() == [[127, -64, 32], [0, 0, 0], [127, 3, -2]]  # 63.5 is rounded to the even 64
    np.testing.assert_array_equal(weight.scale, np.array([1 / 127, 0, 1], dtype=np.float32))
    np.testing.assert_allclose(weight.values, [[1, -64 / 127, 32 / 127], [0, 0, 0], [127, 3, -2]], rtol=1e-6)


def test_near_the_final_weight_the_difference_is_kept():
    generator = np.random.default_rng(0)
    final = generator.normal(size=(4, 9)).astype(np.float32)
    rows = final + 0.01 * generator.normal(size=(4, 9)).astype(np.float32)
    weight = int8(rows, final)
    assert weight.is_relative
    np.testing.assert_array_equal(weight.values, weight.stored.astype(np.float32) * weight.scale[:, None] + final)
    largest = np.abs(rows - final).max(axis=1, keepdims=True)
    assert (np.abs(weight.values - rows) <= largest / 254 * 1.01 + 1e-7).all()
    far = int8(-50 * rows, final)
    assert not far.is_relative
    assert np.square(far.values + 50 * rows).sum() < np.square(50 * rows).sum() * 1e-3


def test_float16_is_numpys_and_int16_is_finer():
    rows = np.random.default_rng(0).normal(size=(5, 40)).astype(np.float32)
    coarse, fine = float16(rows), int16(rows)
    assert (coarse.scale, coarse.is_relative) == (None, False)
    np.testing.assert_array_equal(coarse.stored, rows.astype(np.float16))
    np.testing.assert_array_equal(coarse.values, rows.astype(np.float16).astype(np.float32))
    assert fine.stored.dtype == np.int16
    assert (np.abs(fine.values - rows) <= np.abs(rows).max(axis=1, keepdims=True) / 65534 * 1.01).all()
    assert np.square(fine.values - rows).mean() < np.square(coarse.values - rows).mean() / 10


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_biases_keep_the_mean_of_every_sum(activation):
    network, x = random_network(activation), samples()
    rounded = corrected(network, bytes_of(network), network.outputs(x), x)
    true = coarse = x.double().numpy()
    for layer, own in zip(network.layers, rounded.layers, strict=True):
        sums = true @ layer.weight.double().numpy() + layer.bias.double().numpy()
        rounded_sums = coarse @ own.weight.double().numpy() + own.bias.double().numpy()
        assert np.abs(sums - rounded_sums).max() > 1e-3
        np.testing.assert_allclose(rounded_sums.mean(axis=0), sums.mean(axis=0), atol=1e-6)
        apply = {"relu": lambda s: np.maximum(s, 0), "tanh": np.tanh, "none": lambda s: s}[layer.activation.name]
        true, coarse = apply(sums), apply(rounded_sums)


def test_biases_take_most_of_the_error_away():
    network, x = random_network(), samples()
    weights = bytes_of(network)
    rounded = corrected(network, weights, network.outputs(x), x)
    plain = Network(tuple(replace(r, bias=own.bias) for r, own in zip(rounded.layers, network.layers, strict=True)))
    wanted = network.outputs(x)[-1]
    errors = [float((one.outputs(x)[-1] - wanted).square().mean()) for one in (plain, rounded)]
    assert errors[1] < errors[0] / 3


def test_a_network_is_as_exact_as_is_said():
    network, x = random_network(), samples()
    outputs = network.outputs(x)
    final = round_final(network, outputs, x)
    assert {weight.stored.dtype.name for weight in final.weights} == {"float16"}
    assert float((final.network.outputs(x)[-1] - outputs[-1]).abs().max()) <= FINAL_ERROR
    earlier = random_network(scale=0.7)
    rounded = round_earlier(earlier, earlier.outputs(x), x, final.weights)
    assert {weight.stored.dtype.name for weight in rounded.weights} == {"int8"}
    assert float((rounded.network.outputs(x)[-1] - earlier.outputs(x)[-1]).abs().max()) <= EARLIER_ERROR


def test_where_that_is_too_coarse_weights_get_sixteen_bits_and_a_scale():
    network, x = random_network(scale=4.0), samples()
    outputs = network.outputs(x)
    final = round_final(network, outputs, x)
    rounded = round_earlier(network, outputs, x, [int16(np.zeros_like(w.values)) for w in final.weights])
    for found in (final, rounded):
        assert {weight.stored.dtype.name for weight in found.weights} == {"int16"}
        assert not any(weight.is_relative for weight in found.weights)
    plain = corrected(network, [float16(w.values) for w in final.weights], outputs, x).outputs(x)[-1] - outputs[-1]
    assert float(plain.abs().max()) > FINAL_ERROR
    assert float((final.network.outputs(x)[-1] - outputs[-1]).abs().max()) < float(plain.abs().max()) / 4


def test_numbers_too_large_for_float16_have_a_place():
    network, x = random_network(scale=1e6), samples()
    final = round_final(network, network.outputs(x), x)
    assert {weight.stored.dtype.name for weight in final.weights} == {"int16"}
    assert all(np.isfinite(weight.values).all() for weight in final.weights)


SELECTING = {"topk": TopK(15), "threshold": Threshold(torch.tensor(0.8))}


def selecting_network(name, noise=0.0):
    """One hidden layer of 50 units that selects; noise moves the weights as training would."""
    network = random_network(widths=(30, 50, 30))
    generator = torch.Generator().manual_seed(2)
    code, last = (
        replace(layer, weight=layer.weight + noise * torch.randn(layer.weight.shape, generator=generator))
        for layer in network.layers
    )
    return Network((replace(code, activation=SELECTING[name]), last))


@pytest.mark.parametrize("name", SELECTING)
def test_the_final_code_selects_the_same_units_of_every_sample(name):
    network, x = selecting_network(name), samples(20_000)
    outputs = network.outputs(x)
    coarse = corrected(network, [float16(network.rows(number).numpy()) for number in (0, 1)], outputs, x)
    assert ((coarse.outputs(x)[0] != 0) != (outputs[0] != 0)).any()
    final = round_final(network, outputs, x)
    assert [weight.stored.dtype.name for weight in final.weights] == ["float32", "float16"]
    torch.testing.assert_close(final.network.outputs(x)[0], outputs[0], rtol=0, atol=0)
    assert float((final.network.outputs(x)[-1] - outputs[-1]).abs().max()) <= FINAL_ERROR


@pytest.mark.parametrize("name", SELECTING)
def test_an_earlier_code_selects_the_same_units_of_nearly_every_sample(name):
    network, earlier, x = selecting_network(name), selecting_network(name, noise=0.05), samples(20_000)
    final = round_final(network, network.outputs(x), x)
    wanted = earlier.outputs(x)
    rounded = round_earlier(earlier, wanted, x, final.weights)
    assert rounded.weights[0].stored.dtype == np.int16
    assert rounded.weights[0].is_relative
    off = (rounded.network.outputs(x)[-1] - wanted[-1]).abs().amax(dim=1) > EARLIER_ERROR
    assert off.float().mean() <= EXCHANGED


def test_where_sixteen_bits_exchange_too_many_units_weights_are_kept_as_they_are():
    network = selecting_network("topk")
    code = network.layers[0]
    # Units come in pairs that nearly tie: one of each is selected.
    code.weight[:, 1::2] = code.weight[:, ::2] + 1e-6 * torch.randn(30, 25, generator=torch.Generator().manual_seed(3))
    code.bias[1::2] = code.bias[::2]
    x = samples()
    wanted = network.outputs(x)
    rounded = round_earlier(network, wanted, x, [int16(np.zeros_like(network.rows(n).numpy())) for n in (0, 1)])
    assert [weight.stored.dtype.name for weight in rounded.weights] == ["float32", "int16"]
    torch.testing.assert_close(rounded.network.outputs(x)[0], wanted[0], rtol=0, atol=0)

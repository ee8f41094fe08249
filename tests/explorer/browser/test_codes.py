"""The page's own arithmetic of codes that select, given networks of random numbers, beside plain PyTorch formulas."""

from typing import Any

import numpy as np
import pytest
import torch
from playwright.sync_api import Page
from torch import Tensor

PIXELS, UNITS, SAMPLES = 10, 24, 30

# A network with one hidden layer, and what it gives of each sample; then with surgery; then gradients of the sums.
_COMPUTE = """([layers, samples, surgery]) => {
  const typed = ({ parameters, ...layer }) => ({
    ...layer,
    weight: Float32Array.from(layer.weight), bias: Float32Array.from(layer.bias),
    parameters: Object.fromEntries(Object.entries(parameters).map(([name, value]) =>
      [name, Array.isArray(value) ? Float32Array.from(value) : value])),
  });
  const network = new explorer.network.constructor(layers.map(typed));
  return samples.map((sample) => {
    const input = Float32Array.from(sample);
    const result = network.forward(input);
    const operated = network.forward(input, surgery);
    return {
      z: Array.from(result.hidden[0]), output: Array.from(result.output),
      operated: Array.from(operated.hidden[0]), operatedOutput: Array.from(operated.output),
      gradient: Array.from(network.readRows({ ...result, surgery: [] }, 1)),
      contribution: Array.from(network.contribution(result, 0, 3)),
    };
  });
}"""

_LIMITS = """async ([name, parameters, sums]) => {
  const { codes } = await import("explorer/codes.js");
  const typed = Object.fromEntries(Object.entries(parameters).map(([key, value]) =>
    [key, Array.isArray(value) ? Float32Array.from(value) : value]));
  return sums.map((row) => row.map((_, unit) => codes[name].limit(Float32Array.from(row), unit, typed)));
}"""


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


THETA, GATE, RATE, MAGNITUDE = (random(UNITS, seed=seed) / 2 for seed in range(4))


def topk(pre: Tensor) -> Tensor:
    values, places = pre.topk(5, dim=-1)
    return torch.zeros_like(pre).scatter(-1, places, values).relu()


def group_max(pre: Tensor) -> Tensor:
    values, places = pre.unflatten(-1, (6, 4)).max(dim=-1, keepdim=True)
    return torch.zeros(*pre.shape[:-1], 6, 4).scatter(-1, places, values.relu()).flatten(-2)


def batch_topk(pre: Tensor) -> Tensor:
    return pre * ((pre > 0.7) & (pre > 0))


def jumprelu(pre: Tensor) -> Tensor:
    return pre * (pre > THETA.abs())


def gated(pre: Tensor) -> Tensor:
    return (pre + GATE > 0) * torch.relu(pre * RATE.exp() + MAGNITUDE)


GATED = {"gate_bias": GATE, "factor": RATE.exp(), "magnitude_bias": MAGNITUDE}
KINDS = {
    "topk": ("topk", {"k": 5, "groups": False}, topk),
    "all of them": ("topk", {"k": UNITS, "groups": False}, torch.relu),
    "group max": ("topk", {"k": 6, "groups": True}, group_max),
    "batch_topk": ("threshold", {"threshold": torch.full((UNITS,), 0.7)}, batch_topk),
    "no threshold yet": ("threshold", {"threshold": torch.full((UNITS,), -1.0)}, torch.relu),
    "jumprelu": ("threshold", {"threshold": THETA.abs()}, jumprelu),
    "gated": ("gated", GATED, gated),
}


def plain(parameters: dict[str, Any]) -> dict[str, Any]:
    return {name: value.tolist() if isinstance(value, Tensor) else value for name, value in parameters.items()}


@pytest.fixture(scope="module")
def page(explored: Any, large_tab: Any) -> Page:
    return large_tab.open(explored("digits").page)


@pytest.mark.parametrize("kind", KINDS)
def test_what_selects_is_computed_as_by_pytorch(kind: str, page: Page) -> None:
    name, parameters, activate = KINDS[kind]
    encoder, decoder = random(PIXELS, UNITS, seed=5) / 3, random(UNITS, PIXELS, seed=6)
    bias, decoder_bias, x = random(UNITS, seed=7) / 4, random(PIXELS, seed=8), random(SAMPLES, PIXELS, seed=9)
    layers = [
        {"weight": encoder.T.flatten().tolist(), "bias": bias.tolist(), "inputs": PIXELS, "units": UNITS}
        | {"activation": name, "threshold": None, "parameters": plain(parameters)},
        {"weight": decoder.flatten().tolist(), "bias": decoder_bias.tolist(), "inputs": UNITS, "units": PIXELS}
        | {"activation": "none", "threshold": None, "parameters": {}},
    ]
    surgery = [
        {"layer": 0, "unit": 3, "kind": "off", "value": 0},
        {"layer": 0, "unit": 5, "kind": "clamp", "value": 0.75},
        {"layer": 0, "unit": 7, "kind": "scale", "value": -2},
    ]
    found = page.evaluate(_COMPUTE, [layers, x.tolist(), surgery])

    z = activate(x @ encoder + bias)
    fires = (z != 0).float().mean()
    assert 0.1 < fires < 0.9
    operated = z.clone()
    operated[:, 3], operated[:, 5], operated[:, 7] = 0, 0.75, -2 * z[:, 7]  # nothing else fires instead
    for key, wanted in {
        "z": z,
        "output": z @ decoder + decoder_bias,
        "operated": operated,
        "operatedOutput": operated @ decoder + decoder_bias,
        "contribution": z[:, 3:4] * decoder[3],
    }.items():
        given = np.array([answer[key] for answer in found])
        np.testing.assert_allclose(given, wanted, rtol=1e-5, atol=1e-5, err_msg=key)
        if key in ("z", "operated"):
            np.testing.assert_array_equal(given != 0, wanted.numpy() != 0)

    def output(sample: Tensor) -> Tensor:
        return activate(sample @ encoder + bias) @ decoder

    jacobians = [torch.autograd.functional.jacobian(output, sample).flatten() for sample in x]
    np.testing.assert_allclose([answer["gradient"] for answer in found], torch.stack(jacobians), atol=1e-4)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "no threshold yet"])
def test_a_unit_fires_exactly_above_its_limit(kind: str, page: Page) -> None:
    name, parameters, activate = KINDS[kind]
    sums = random(4, UNITS, seed=10)
    limits = page.evaluate(_LIMITS, [name, plain(parameters), sums.tolist()])
    for row, own in zip(sums, limits, strict=True):
        for unit, limit in enumerate(own):
            near = row.repeat(2, 1)
            near[:, unit] = torch.tensor([limit + 1e-4, limit - 1e-4])
            assert (activate(near)[:, unit] != 0).tolist() == [True, False]


def test_of_equal_sums_the_first_ones_are_taken(page: Page) -> None:
    found = page.evaluate(
        """async () => {
          const { codes: { topk } } = await import("explorer/codes.js");
          const apply = (sums, k, groups) => Array.from(topk.apply(Float32Array.from(sums), { k, groups }));
          return [apply([1, 3, 2, 2, 2, 0], 3, false), apply([0, -1, 2, 0], 3, false), apply([2, 2, -1, -1], 2, true)];
        }"""
    )
    assert found == [[0, 3, 2, 2, 0, 0], [0, 0, 2, 0], [2, 0, 0, 0]]

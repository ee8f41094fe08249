"""The page's own arithmetic of codes that select, given networks of random numbers, beside plain PyTorch formulas."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from playwright.sync_api import Page
from torch import Tensor

from ae_lightning.explorer import manifest
from ae_lightning.explorer.export import export
from ae_lightning.models.checkpoint import load_autoencoder
from ae_lightning.models.overcomplete import OvercompleteAutoencoder
from ae_lightning.nn.code_activation import CodeActivation
from ae_lightning.nn.dictionary import Dictionary

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

_ALL = """(count) => Array.from({ length: count }, (_, i) => {
  explorer.selectSample(i);
  return { hidden: Array.from(explorer.result.hidden[0]), output: Array.from(explorer.result.output) };
})"""

_PARAMETERS = """Object.fromEntries(Object.entries(explorer.network.layers[0].parameters).map(([name, value]) =>
  [name, value instanceof Float32Array ? Array.from(value) : value]))"""

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


class Selecting(CodeActivation):
    """An activation of a code by one of the formulas above, with numbers that follow the weights through training."""

    def __init__(self, kind: str, dictionary: Dictionary) -> None:
        super().__init__()
        bias, norms = dictionary.b_enc.detach(), dictionary.encoder_vectors.detach().norm(dim=-1)
        self.kind = kind
        if kind == "topk":
            self.groups, self.chosen = False, 3 + int(1e4 * norms.sum()) % 7
        elif kind == "threshold":
            self.threshold = 0.3 + bias.abs()
        else:
            self.b_gate, self.b_mag, self.r_mag = bias - 0.4, bias / 2, (norms / 2).log()

    @property
    def k(self) -> float | None:
        return self.chosen if self.kind == "topk" else None

    def forward(self, pre: Tensor, norms: Tensor | None = None) -> Tensor:
        if self.kind == "topk":
            values, places = pre.topk(self.chosen, dim=-1)
            return torch.zeros_like(pre).scatter(-1, places, values.relu())
        if self.kind == "threshold":
            return pre * (pre > self.threshold)
        return (pre + self.b_gate > 0) * torch.relu(pre * self.r_mag.exp() + self.b_mag)


class Overcomplete(OvercompleteAutoencoder):
    """A variant with such an activation, at each moment of its training."""

    kind = ""

    def select(self) -> None:
        self.dictionary.activation = Selecting(self.kind, self.dictionary)

    def restore(self, snapshot: Mapping[str, Tensor]) -> None:
        super().restore(snapshot)
        self.select()


@pytest.mark.parametrize("kind", ["topk", "threshold", "gated"])
def test_a_page_has_the_numbers_of_each_moment(
    kind: str, explored: Any, tab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(checkpoint: Path) -> Overcomplete:
        trained = load_autoencoder(checkpoint)
        model = Overcomplete(trained.input_shape, latent_dim=trained.latent_dim)
        model.load_state_dict(trained.state_dict())
        model.kind = kind
        model.select()
        return model.eval()

    monkeypatch.setattr(manifest, "load_autoencoder", load)
    run = explored("digits").run
    text = export(run, run.checkpoint, snapshots=4, samples=40, note=pytest.fail)
    (tmp_path / "page.html").write_text(text, encoding="utf-8")
    page = tab.open(tmp_path / "page.html")
    moments = page.evaluate("explorer.session.manifest.snapshots.map(({ step }) => step)")
    final = page.evaluate("explorer.session.manifest.final")
    model, x = load(run.checkpoint), run.data.test_set.take(40)[0]
    seen = []
    for number, step in enumerate(moments):
        page.evaluate("(number) => explorer.showSnapshot(number)", number)
        if number != final:
            model.restore(run.snapshots[step])
        answers = page.evaluate(_ALL, len(x))
        with torch.no_grad():
            x_hat, z = (load(run.checkpoint) if number == final else model)(x)
        room = 1e-3 if number == final else 2e-2
        off = np.abs(np.array([answer["output"] for answer in answers]) - x_hat.flatten(1).numpy()).max(axis=1)
        assert (off > room).sum() <= (0 if number == final else 1)  # of two units that nearly tie the other one
        if number == final:
            np.testing.assert_array_equal([np.array(answer["hidden"]) != 0 for answer in answers], z.numpy() != 0)
        seen.append(page.evaluate(_PARAMETERS))
    assert len({str(parameters) for parameters in seen}) > 1
    if kind == "threshold":  # as it is, in float32
        threshold = load(run.checkpoint).dictionary.activation.threshold
        np.testing.assert_array_equal(np.float32(seen[final]["threshold"]), threshold)


def test_the_panel_says_what_a_unit_is_selected_by(explored: Any, tab: Any) -> None:
    facts = "document.querySelector('#panel .facts').innerText"
    page = tab.open(explored("digits").page)
    page.evaluate("explorer.selectUnit(3)")
    assert "fires above" not in page.evaluate(facts)
    page.evaluate(
        """() => {
          const { network } = explorer, [code, last] = network.layers;
          const threshold = code.bias.map(() => 0.125);
          explorer.set({ network: new network.constructor(
            [{ ...code, activation: "threshold", parameters: { threshold } }, last]) });
        }"""
    )
    assert "fires above\n0.125" in page.evaluate(facts)
    assert f"sum\n{page.evaluate('explorer.result.sums[0][3].toPrecision(3)')}".replace("-", "−") in page.evaluate(
        facts
    ).replace("-", "−")

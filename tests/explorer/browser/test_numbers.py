"""The page computes what PyTorch computes: reconstructions, activations, errors, ablations and waterfalls."""

from typing import Any

import numpy as np
import pytest
import torch
from playwright.sync_api import Page
from torch import Tensor

from ae_lightning.explorer.chain import folded
from ae_lightning.models.base import Autoencoder
from ae_lightning.models.shallow import ShallowAutoencoder
from ae_lightning.nn.code_activation import CodeActivation

FINAL, HISTORY = 1e-3, 2e-2
"""How far a reconstruction may be off: with the checkpoint's weights as float16, and with older ones as bytes."""

SAMPLES = 100

OLDER_SAMPLES = 25
"""How many samples each older network is tried on."""

_OUTPUTS = """(count) => Array.from({ length: count }, (_, i) => {
  explorer.selectSample(i);
  return Array.from(explorer.result.output);
})"""

# For each of the first samples: hidden layers, reconstruction and error, as the page has them after a click.
_ALL = """async (count) => {
  const answers = [];
  for (let i = 0; i < count; i++) {
    explorer.selectSample(i);
    const { hidden, output } = explorer.result;
    answers.push({ hidden: hidden.map((h) => Array.from(h)), output: Array.from(output), error: explorer.error });
  }
  return answers;
}"""


def _selects(model: Any) -> bool:
    return isinstance(model, ShallowAutoencoder) and isinstance(model.dictionary.activation, CodeActivation)


@pytest.fixture
def page(shown: Any, tab: Any) -> Page:
    return tab.open(shown.page)


def samples_of(shown: Any) -> Tensor:
    """The first test samples (n, *input_shape) of the instance that is shown."""
    shown.run.data.setup()
    x = shown.run.data.test_set.take(SAMPLES)[0]
    return x if shown.run.data.instances is None else x[:, shown.instance]


def outputs(model: Autoencoder, x: Tensor, instance: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Codes (n, latent) and reconstructions (n, pixels) by PyTorch, for one instance.

    The codes are those of the folded model, the reconstructions of the model itself.
    """
    with torch.no_grad():
        if instance is not None:
            x = x.unsqueeze(1).expand(-1, model.instances or 1, *x.shape[1:])
        x_hat, z = model.eval()(x).x_hat, folded(model).eval()(x).z
    own = slice(None) if instance is None else instance
    return z[own].flatten(1).numpy(), x_hat[own].flatten(1).numpy()


def column(answers: list[dict[str, Any]], name: str) -> np.ndarray:
    return np.array([answer[name] for answer in answers])


def test_the_trained_network_is_computed_as_by_pytorch(shown: Any, page: Page) -> None:
    x = samples_of(shown)
    answers = page.evaluate(_ALL, len(x))
    z, x_hat = outputs(shown.run.model, x, shown.instance)
    code = page.evaluate("explorer.session.manifest.code")
    np.testing.assert_allclose(column(answers, "output"), x_hat, atol=FINAL, rtol=0)
    np.testing.assert_allclose([answer["hidden"][code] for answer in answers], z, atol=2 * FINAL, rtol=1e-3)
    errors = ((x_hat - x.flatten(1).numpy()) ** 2).mean(axis=1)
    np.testing.assert_allclose(column(answers, "error"), errors, rtol=2e-3, atol=1e-6)


def test_every_older_network_is_computed_as_by_pytorch(shown: Any, page: Page) -> None:
    x = samples_of(shown)[:OLDER_SAMPLES]
    snapshots = page.evaluate("explorer.session.manifest.snapshots.map(({ step }) => step)")
    final = page.evaluate("explorer.session.manifest.final")
    assert len(snapshots) == 10
    for number, step in enumerate(snapshots):
        page.evaluate("(number) => explorer.showSnapshot(number)", number)
        found = page.evaluate(_OUTPUTS, len(x))
        model = shown.run.model if number == final else shown.run.model_at(step)  # of the best checkpoint's step
        _, x_hat = outputs(model, x, shown.instance)
        off = (np.abs(np.reshape(found, x_hat.shape) - x_hat) > HISTORY).any(-1)
        # Weights of earlier moments are rounded: a sample whose latent lies at a threshold may be encoded otherwise.
        assert off.sum() <= int(_selects(shown.run.model)), f"step {step}"


def test_a_unit_that_is_switched_off_is_missing_as_in_pytorch(shown: Any, page: Page) -> None:
    x, z, x_hat = _liveliest(shown, page)
    units = np.argsort(-np.abs(z[0]))[:3].tolist()
    code = page.evaluate("explorer.session.manifest.code")
    for unit in units:
        page.evaluate("([layer, unit]) => explorer.toggle(layer, unit)", [code, unit])
    found = np.array(page.evaluate("Array.from(explorer.result.output)"))
    z[0, units] = 0
    without = _decoded(shown.run.model, torch.from_numpy(z), shown.instance)
    np.testing.assert_allclose(found, without[0], atol=FINAL, rtol=0)
    assert page.evaluate("explorer.error") == pytest.approx(
        float(((without - x.flatten(1).numpy()) ** 2).mean()), rel=2e-3
    )
    for _ in units:
        page.evaluate("explorer.undo()")
    np.testing.assert_allclose(page.evaluate("Array.from(explorer.result.output)"), x_hat[0], atol=FINAL, rtol=0)


def test_clamping_and_scaling_as_in_pytorch(shown: Any, page: Page) -> None:
    _, z, _ = _liveliest(shown, page)
    first, second = np.argsort(-np.abs(z[0]))[:2].tolist()
    page.evaluate(
        """([first, second]) => {
          const layer = explorer.session.manifest.code;
          explorer.operate({ layer, unit: first, kind: "clamp", value: 0.75 });
          explorer.operate({ layer, unit: second, kind: "scale", value: -2 });
        }""",
        [first, second],
    )
    z[0, first], z[0, second] = 0.75, -2 * z[0, second]
    expected = _decoded(shown.run.model, torch.from_numpy(z), shown.instance)[0]
    np.testing.assert_allclose(page.evaluate("Array.from(explorer.result.output)"), expected, atol=2 * FINAL, rtol=0)


def test_a_pixel_s_waterfall_ends_at_its_value(shown: Any, page: Page) -> None:
    _, _, x_hat = _liveliest(shown, page)
    pixel = int(np.argmax(x_hat[0]))
    parts = page.evaluate(
        """(pixel) => {
          const { bias, parts, sum, value } = explorer.network.waterfall(explorer.result, pixel);
          return { bias, parts: Array.from(parts), sum, value };
        }""",
        pixel,
    )
    assert parts["bias"] + sum(parts["parts"]) == pytest.approx(parts["sum"], abs=1e-4)
    assert parts["value"] == pytest.approx(float(x_hat[0, pixel]), abs=FINAL)


def test_what_a_unit_reads_and_writes_are_gradients(shown: Any, page: Page) -> None:
    """Rows of weights in a shallow network, gradients at this input in a deep one: automatic differentiation tells."""
    x, z, _ = _liveliest(shown, page)
    unit = int(np.argmax(z[0]))
    rows = page.evaluate(
        """(unit) => {
          const { network, result, session } = explorer, width = network.pixels;
          const own = (rows) => Array.from(rows.subarray(unit * width, (unit + 1) * width));
          const layer = session.manifest.code;
          return [own(network.readRows(result, layer)), own(network.writeRows(result, layer))];
        }""",
        unit,
    )
    model = folded(shown.run.model).eval()
    reads, writes = _gradients(model, x, z, unit, shown.instance)
    if "dictionary.activation.r_mag" in model.state_dict():  # what is read is in units of sums, which this multiplies
        reads = reads / float(model.state_dict()["dictionary.activation.r_mag"][unit].exp())
    # A code that is linear or rectified, and active: its gradient is that of the sum before the activation.
    np.testing.assert_allclose(rows[0], reads, atol=2e-3)
    np.testing.assert_allclose(rows[1], writes, atol=2e-3)


def _liveliest(shown: Any, page: Page) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """Show the sample with the largest activation, as toy samples may excite no unit: it, its code, its output."""
    x = samples_of(shown)
    z, x_hat = outputs(shown.run.model, x, shown.instance)
    sample = int(np.argmax(z.max(axis=1)))
    page.evaluate("(sample) => explorer.selectSample(sample)", sample)
    own = slice(sample, sample + 1)
    return x[own], z[own], x_hat[own]


def _decoded(model: Autoencoder, z: Tensor, instance: int | None) -> np.ndarray:
    model = folded(model)
    with torch.no_grad():
        if instance is None:
            return model.decode(z).flatten(1).numpy()
        return model.decode(z.expand(model.instances or 1, *z.shape))[instance].flatten(1).numpy()


def _gradients(
    model: Autoencoder, x: Tensor, z: np.ndarray, unit: int, instance: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """d unit / d input, and d reconstruction / d unit before the output's sigmoid, by automatic differentiation."""

    def code(flat: Tensor) -> Tensor:
        sample = flat.reshape(x.shape)
        if instance is None:
            return model.encode(sample)[0].flatten()[unit]
        return model.encode(sample.unsqueeze(1).expand(-1, model.instances or 1, *x.shape[1:]))[instance, 0, unit]

    def reconstruction(activation: Tensor) -> Tensor:
        values = torch.from_numpy(z).clone()
        values = torch.cat([values[:, :unit], activation.reshape(1, 1), values[:, unit + 1 :]], dim=1)
        lead = () if instance is None else (model.instances or 1,)
        decoded = model.decode(values.expand(*lead, *values.shape))
        flat = (decoded if instance is None else decoded[instance]).flatten()
        return torch.logit(flat.double()) if model.output_range == (0.0, 1.0) else flat

    reads = torch.autograd.functional.jacobian(code, x.flatten())
    writes = torch.autograd.functional.jacobian(reconstruction, torch.tensor(float(z[0, unit])))
    return reads.numpy(), writes.numpy()

"""What every variant must satisfy; a new one is covered by its file in models/ and its YAML in configs/model/."""

import inspect
from pathlib import Path
from typing import Any

import jsonargparse
import numpy as np
import pytest
import torch
import yaml
from sklearn.datasets import load_digits
from torch import Tensor

import ae_lightning
from ae_lightning.errors import UserError
from ae_lightning.models import variants
from ae_lightning.models.base import Autoencoder
from ae_lightning.models.checkpoint import load_autoencoder
from ae_lightning.models.toy_model import ToyModel
from ae_lightning.nn.modes import evaluation_mode

CONFIGS = Path(__file__).parents[2] / "configs" / "model"
PATHS = sorted(CONFIGS.glob("*.yaml"))
NAMES = sorted(variants())
IMAGES = [(1, 8, 8), (3, 32, 32), (1, 28, 28)]
VECTORS = (20,)

every_config = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)


def class_of(path: Path) -> str:
    """Name of the class in a file of configs/model/."""
    return yaml.safe_load(path.read_text())["class_path"].rpartition(".")[2]


def build(path: Path, input_shape: tuple[int, ...], **overrides: Any) -> Autoencoder:
    """The variant as a YAML has it, on data of a given shape."""
    config = yaml.safe_load(path.read_text())
    arguments = {**(config.get("init_args") or {}), "input_shape": list(input_shape), **overrides}
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Autoencoder, "model")
    model = {"class_path": config["class_path"], "init_args": arguments}
    return parser.instantiate_classes(parser.parse_object({"model": model})).model


def samples(shape: tuple[int, ...], n: int = 16) -> Tensor:
    """Data within [0, 1], which every variant's default output covers."""
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(0))


def test_the_families_of_this_version_are_found():
    named = ["Conv", "DeepConv", "FullyConnected", "Overcomplete", "Stacked"]
    assert {f"{name}Autoencoder" for name in named} <= set(NAMES)
    assert not {"Autoencoder", "ConvolutionalAutoencoder", "ShallowAutoencoder"} & set(NAMES)
    for name, kind in variants().items():
        assert not inspect.isabstract(kind)
        assert getattr(ae_lightning, name) is getattr(ae_lightning.models, name) is kind
    with pytest.raises(ImportError, match="Nonsense"):
        from ae_lightning.models import Nonsense  # noqa: F401


@pytest.mark.parametrize("name", NAMES)
def test_it_has_a_config(name):
    assert name in map(class_of, PATHS), f"no file in {CONFIGS} has class_path: {name}"


@every_config
def test_every_config_names_a_variant_and_says_what_it_is(path):
    config = yaml.safe_load(path.read_text())
    assert class_of(path) in NAMES
    assert "input_shape" not in config.get("init_args", {}), "the data say what shape they have"
    assert path.read_text().startswith("# "), "`ae-lightning configs` shows the first comment line"


@every_config
@pytest.mark.parametrize("shape", [*IMAGES, VECTORS], ids=lambda shape: "×".join(map(str, shape)))
def test_reconstructions_have_the_shape_of_the_input(path, shape):
    if shape == VECTORS and "Conv" in class_of(path):
        pytest.skip(f"{class_of(path)} takes images only")
    model = build(path, shape).eval()
    x = samples(shape, 3)
    x_hat, z = model(x)
    lead = () if model.instances is None else (model.instances,)
    assert x_hat.shape == (*lead, *x.shape)
    assert z.shape == (*lead, 3, *model.latent_shape)
    torch.testing.assert_close(model.decode(z), x_hat)
    losses, _ = model.loss(x)
    assert all(value.ndim == 0 and bool(value.isfinite()) for value in losses.values())


@every_config
def test_an_array_of_numpy_is_refused_in_a_sentence(path):
    model = build(path, (1, 8, 8)).eval()
    x = samples((1, 8, 8), 3)
    for method, argument in (("encode", x), ("decode", model.encode(x).detach()), ("__call__", x)):
        with pytest.raises(UserError, match=rf"{class_of(path)}\.\w+ takes tensors, .* of float32: torch\.from_numpy"):
            getattr(model, method)(argument.numpy())


@every_config
@pytest.mark.parametrize("loss", ["mse", "bce", "mae", "mse_sum", "fvu"])
def test_each_loss_trains_it_or_is_refused_for_its_output(path, loss):
    torch.manual_seed(0)
    model = build(path, (1, 8, 8), reconstruction_loss=loss)
    x = samples((1, 8, 8))
    if loss == "bce" and model.output_range != (0, 1):
        with pytest.raises(UserError, match=r"set --model.output_activation sigmoid"):
            model.loss(x)
        if "output_activation" not in inspect.signature(type(model)).parameters:
            return
        model = build(path, (1, 8, 8), reconstruction_loss=loss, output_activation="sigmoid")
    losses, output = model.loss(x)
    x_hat = output.x_hat.detach().double()
    truth = {
        "mse": (x_hat - x) ** 2,
        "mae": (x_hat - x).abs(),
        "bce": -(x * x_hat.log() + (1 - x) * (1 - x_hat).log()),
        "mse_sum": (x_hat - x) ** 2 * 64,
        "fvu": (x_hat - x) ** 2 / (x.double() - x.double().mean(0)).square().mean(),
    }
    assert float(losses["reconstruction"].detach()) == pytest.approx(float(truth[loss].mean()), rel=1e-4)
    losses["loss"].backward()
    assert all(bool(parameter.grad.isfinite().all()) for parameter in model.parameters())


@every_config
def test_gradients_reach_every_parameter(path):
    torch.manual_seed(0)
    model = build(path, (1, 8, 8))
    model.loss(samples((1, 8, 8)))[0]["loss"].backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert float(parameter.grad.abs().max()) > 0, parameter_name


@every_config
def test_one_batch_can_be_overfitted(path):
    torch.manual_seed(0)
    model = build(path, (1, 8, 8))
    x = torch.from_numpy(load_digits().images[:8]).float()[:, None] / 16
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, fused=True)
    # Below a tenth of the data's own variance: the code carries what tells the samples apart, unless it is so narrow
    # that no linear one could; then it is as good as that. A tied one without a bias before the code, which has to
    # keep the mean as one more direction, comes near it.
    slack = 1.3 if isinstance(model, ToyModel) else 1.05
    before = error_in_evaluation(model, x)
    enough = min(0.5 * before, max(0.1 * float(x.var(0).mean()), slack * best_linear_error(x, model.latent_size)))
    for step in range(1, 301):
        optimizer.zero_grad()
        model.loss(x)[0]["loss"].backward()
        optimizer.step()
        if step % 20 == 0 and error_in_evaluation(model, x) < enough:
            return
    pytest.fail(f"after 300 steps the error is {error_in_evaluation(model, x)}, and not below {enough}")


def best_linear_error(x: Tensor, width: int) -> float:
    """Squared error per pixel of as many principal components, by numpy."""
    rows = x.flatten(1).double().numpy()
    return float((np.linalg.svd(rows - rows.mean(0), compute_uv=False)[width:] ** 2).sum() / rows.size)


def error_in_evaluation(model: Autoencoder, x: Tensor) -> float:
    """Squared error per pixel without dropout and batch statistics, mean over instances."""
    with evaluation_mode(model):
        return float((model(x).x_hat - x).square().mean())


@every_config
def test_it_trains_in_bfloat16(path):
    torch.manual_seed(0)
    model = build(path, (1, 8, 8))
    x = samples((1, 8, 8))
    with torch.no_grad():
        exact, exact_output = model.loss(x)
    with torch.autocast("cpu", torch.bfloat16):
        losses, output = model.loss(x)
    assert not torch.equal(output.x_hat.float(), exact_output.x_hat), "autocast has no effect on this variant"
    for term, value in losses.items():
        assert value.dtype == torch.float32
        assert float(value.detach()) == pytest.approx(float(exact[term]), rel=0.05)
    losses["loss"].backward()
    assert all(bool(parameter.grad.isfinite().all()) for parameter in model.parameters())


@every_config
def test_snapshots_are_finite_and_named_and_do_not_train(path):
    snapshot = build(path, (1, 8, 8)).snapshot()
    assert snapshot
    for key, value in snapshot.items():
        assert isinstance(key, str)
        assert key
        assert value.numel() > 0
        assert bool(value.isfinite().all())
        assert not value.requires_grad


@every_config
def test_it_comes_back_from_a_checkpoint_bit_for_bit(path, make_trainer, digits, tmp_path):
    model = build(path, (1, 8, 8))
    trainer = make_trainer(max_steps=2)
    trainer.fit(model, digits)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    loaded = load_autoencoder(tmp_path / "model.ckpt")
    x, _ = digits.test_set.take(64)
    with torch.no_grad():
        expected, found = model.eval()(x), loaded(x)
    assert type(loaded) is type(model)
    assert torch.equal(found.x_hat, expected.x_hat)
    assert torch.equal(found.z, expected.z)


@every_config
def test_the_same_seed_gives_the_same_weights(path):
    torch.manual_seed(5)
    first = build(path, (1, 8, 8)).state_dict()
    torch.manual_seed(5)
    second = build(path, (1, 8, 8)).state_dict()
    torch.manual_seed(6)
    other = build(path, (1, 8, 8)).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@every_config
def test_samples_do_not_influence_each_other_in_evaluation(path):
    model = build(path, (1, 8, 8)).eval()
    x = samples((1, 8, 8), 6)
    with torch.no_grad():
        together = model(x).x_hat
        alone = torch.cat([model(one[None]).x_hat for one in x], dim=0 if model.instances is None else 1)
    torch.testing.assert_close(together, alone)

"""What every variant must satisfy; a new one is covered by its file in models/ and its YAML in configs/model/."""

import inspect
from pathlib import Path
from typing import Any

import jsonargparse
import pytest
import torch
import yaml
from torch import Tensor

import ae_lightning
from ae_lightning.errors import UserError
from ae_lightning.models import variants
from ae_lightning.models.base import Autoencoder
from ae_lightning.models.checkpoint import load_autoencoder

CONFIGS = Path(__file__).parents[2] / "configs" / "model"
NAMES = sorted(variants())
IMAGES = [(1, 8, 8), (3, 32, 32), (1, 28, 28)]
VECTORS = (20,)

every_variant = pytest.mark.parametrize("name", NAMES)


def configs_of(name: str) -> list[Path]:
    """Files in configs/model/ that name a class."""
    paths = sorted(CONFIGS.glob("*.yaml"))
    return [p for p in paths if yaml.safe_load(p.read_text())["class_path"].rpartition(".")[2] == name]


def build(name: str, input_shape: tuple[int, ...], **overrides: Any) -> Autoencoder:
    """The variant as its own YAML has it, on data of a given shape."""
    config = yaml.safe_load(configs_of(name)[0].read_text())
    arguments = {**(config.get("init_args") or {}), "input_shape": list(input_shape), **overrides}
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Autoencoder, "model")
    model = {"class_path": config["class_path"], "init_args": arguments}
    return parser.instantiate_classes(parser.parse_object({"model": model})).model


def samples(shape: tuple[int, ...], n: int = 16) -> Tensor:
    """Data within [0, 1], which every variant's default output covers."""
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(0))


def test_the_families_of_this_version_are_found():
    assert {"FullyConnectedAutoencoder", "OvercompleteAutoencoder"} <= set(NAMES)
    assert not {"Autoencoder", "ShallowAutoencoder"} & set(NAMES)
    for name, kind in variants().items():
        assert not inspect.isabstract(kind)
        assert getattr(ae_lightning, name) is kind


@every_variant
def test_it_has_a_config(name):
    assert configs_of(name), f"no file in {CONFIGS} has class_path: {name}"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_config_names_a_variant_and_says_what_it_is(path):
    config = yaml.safe_load(path.read_text())
    name = config["class_path"].rpartition(".")[2]
    assert name in NAMES
    assert "input_shape" not in config.get("init_args", {}), "the data say what shape they have"
    assert path.read_text().startswith("# "), "`ae-lightning configs` shows the first comment line"


@every_variant
@pytest.mark.parametrize("shape", [*IMAGES, VECTORS], ids=lambda shape: "×".join(map(str, shape)))
def test_reconstructions_have_the_shape_of_the_input(name, shape):
    try:
        model = build(name, shape)
    except UserError:
        assert shape == VECTORS, "every variant takes images"
        pytest.skip(f"{name} takes images only")
    x = samples(shape, 3)
    x_hat, z = model(x)
    lead = () if model.instances is None else (model.instances,)
    assert x_hat.shape == (*lead, *x.shape)
    assert z.shape == (*lead, 3, *model.latent_shape)
    torch.testing.assert_close(model.decode(z), x_hat)
    losses, _ = model.loss(x)
    assert all(value.ndim == 0 and bool(value.isfinite()) for value in losses.values())


@every_variant
def test_gradients_reach_every_parameter(name):
    torch.manual_seed(0)
    model = build(name, (1, 8, 8))
    model.loss(samples((1, 8, 8)))[0]["loss"].backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert float(parameter.grad.abs().max()) > 0, parameter_name


@every_variant
def test_one_batch_can_be_overfitted(name):
    torch.manual_seed(0)
    model = build(name, (1, 8, 8))
    x = samples((1, 8, 8), 8)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3, fused=True)
    errors = []
    for _ in range(300):
        losses, _ = model.loss(x)
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
        errors.append(float(losses["reconstruction"].detach()))
    # Below a tenth of the data's own variance: the code carries what tells the samples apart.
    copies = model.instances or 1
    assert errors[-1] / copies < 0.1 * float(x.var(0).mean())
    assert errors[-1] < 0.1 * errors[0]


@every_variant
def test_it_trains_in_bfloat16(name):
    torch.manual_seed(0)
    model = build(name, (1, 8, 8))
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


@every_variant
def test_snapshots_are_finite_and_named_and_do_not_train(name):
    snapshot = build(name, (1, 8, 8)).snapshot()
    assert snapshot
    for key, value in snapshot.items():
        assert isinstance(key, str)
        assert key
        assert value.numel() > 0
        assert bool(value.isfinite().all())
        assert not value.requires_grad


@every_variant
def test_it_comes_back_from_a_checkpoint_bit_for_bit(name, make_trainer, digits, tmp_path):
    model = build(name, (1, 8, 8))
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


@every_variant
def test_the_same_seed_gives_the_same_weights(name):
    torch.manual_seed(5)
    first = build(name, (1, 8, 8)).state_dict()
    torch.manual_seed(5)
    second = build(name, (1, 8, 8)).state_dict()
    torch.manual_seed(6)
    other = build(name, (1, 8, 8)).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@every_variant
def test_samples_do_not_influence_each_other_in_evaluation(name):
    model = build(name, (1, 8, 8)).eval()
    x = samples((1, 8, 8), 6)
    with torch.no_grad():
        together = model(x).x_hat
        alone = torch.cat([model(one[None]).x_hat for one in x], dim=0 if model.instances is None else 1)
    torch.testing.assert_close(together, alone)

"""What every variant must satisfy; a new one is covered by its file in models/ and its YAML in configs/model/."""

import inspect
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
import yaml

import ae_lightning
from ae_lightning.models import variants
from ae_lightning.models.matryoshka_sae import MatryoshkaSAE
from ae_lightning.testing import VariantTests

CONFIGS = Path(__file__).parents[2] / "configs" / "model"
PATHS = sorted(CONFIGS.glob("*.yaml"))
NAMES = sorted(variants())

every_config = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)


def class_of(path: Path) -> str:
    """Name of the class in a file of configs/model/."""
    return yaml.safe_load(path.read_text())["class_path"].rpartition(".")[2]


def parts(*kinds: str) -> list[Any]:
    """The packaged parts whose class is of this kind."""
    return [pytest.param(yaml.safe_load(path.read_text()), id=path.stem) for path in PATHS if kind_of(path) in kinds]


def kind_of(path: Path) -> str:
    name, settings = class_of(path), yaml.safe_load(path.read_text()).get("init_args", {})
    if "target_l0" in settings:
        return "held"
    convolves = "conv" in f"{name} {settings.get('network')}".lower()
    return "image" if convolves else "narrow" if name == "ToyModel" else "any"


class TestAnyData(VariantTests):
    """Variants of images and vectors alike."""

    @pytest.fixture(params=parts("any"))
    def part(self, request: pytest.FixtureRequest) -> dict[str, Any]:
        return request.param


class TestHeldL0(VariantTests):
    """Variants whose penalty matters more than a sample's reconstruction."""

    @pytest.fixture(params=parts("held"))
    def part(self, request: pytest.FixtureRequest) -> dict[str, Any]:
        return request.param

    def test_one_batch_can_be_overfitted(self, build, data):
        torch.manual_seed(0)
        super().test_one_batch_can_be_overfitted(build(self.input_shapes[0], penalty_weight=1e-3), data)


class TestSparseArithmetic(VariantTests):
    """Codes as indices and values, which so few latents do not get unasked."""

    variant = MatryoshkaSAE
    settings: ClassVar[dict[str, Any]] = {"latent_dim": 128, "k": 8, "instances": 2, "arithmetic": "sparse"}


class TestImagesOnly(VariantTests):
    input_shapes = tuple(shape for shape in VariantTests.input_shapes if len(shape) == 3)

    @pytest.fixture(params=parts("image"))
    def part(self, request: pytest.FixtureRequest) -> dict[str, Any]:
        return request.param


class TestToyModel(VariantTests):
    linear_slack = 1.3  # tied, and without a bias before the code it has to keep the mean as one more direction

    @pytest.fixture(params=parts("narrow"))
    def part(self, request: pytest.FixtureRequest) -> dict[str, Any]:
        return request.param


def test_the_families_of_this_version_are_found():
    named = ["Conv", "DeepConv", "FullyConnected", "Overcomplete", "Stacked"]
    assert {f"{name}Autoencoder" for name in named} <= set(NAMES)
    assert not {"Autoencoder", "ShallowAutoencoder"} & set(NAMES)
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

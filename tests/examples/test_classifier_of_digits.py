"""The first example of docs/guides/activations.md: the last hidden layer of a classifier of MNIST."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from guide_page import follow
from torch import nn

from ae_lightning.data import MNISTDataModule
from ae_lightning.data.store import StoredArray, StoreIndex

PAGE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "activations.md"
pytestmark = [
    *(pytest.mark.mnist, pytest.mark.usefixtures("mnist_root")),
    pytest.mark.skipif(not PAGE.is_file(), reason="needs a checkout"),
]


@pytest.fixture(scope="module")
def folder(made_once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    return made_once("classifier_of_digits", lambda folder: follow(PAGE, "A classifier of MNIST", folder))


@pytest.fixture(scope="module")
def classifier(folder: Path) -> nn.Sequential:
    described = importlib.util.spec_from_file_location("of_the_guide", folder / "classifier.py")
    assert described is not None
    assert described.loader is not None
    module = importlib.util.module_from_spec(described)
    described.loader.exec_module(module)
    return module.trained().eval()


def test_the_store_holds_what_the_layers_give_one_after_the_other(folder: Path, classifier: nn.Sequential) -> None:
    index = StoreIndex.read(folder / "activations")
    data = MNISTDataModule()
    data.setup()
    images, labels = data.development_set.take(300)
    with torch.inference_mode():
        for layer in (classifier.conv1, classifier.conv2, classifier.flat, classifier.hidden):
            images = layer(images)
    assert index.rows == 60_000
    torch.testing.assert_close(StoredArray(index, "hidden").read(0, 300), images)
    assert torch.equal(StoredArray(index, "y").read(0, 300), labels)


def test_the_dictionary_beats_as_many_principal_components_as_latents_are_active(folder: Path) -> None:
    covariance = StoreIndex.read(folder / "activations").statistics("hidden").covariance
    variances = np.linalg.eigvalsh(covariance)[::-1]
    found = metrics(folder)
    unexplained = found["errors"]["test"]["autoencoder"]["fvu"]
    assert found["latents"]["l0"] <= 8
    assert unexplained < 0.6 * (1 - variances[:8].sum() / variances.sum())


def test_the_classifier_works_with_the_reconstruction_in_it(folder: Path) -> None:
    accuracy = metrics(folder)["splice"]["measures"]["accuracy"]
    assert accuracy["original"] > 0.97
    assert accuracy["spliced"] > 0.95
    assert accuracy["mean_ablated"] < 0.3


def test_the_page_on_its_latents_is_one_small_file(folder: Path) -> None:
    (page,) = folder.glob("lightning_logs/TopKSAE/version_0/*.html")
    assert page.stat().st_size < 25_000_000


def metrics(folder: Path) -> dict:
    return json.loads((folder / "lightning_logs" / "TopKSAE" / "version_0" / "metrics.json").read_text())

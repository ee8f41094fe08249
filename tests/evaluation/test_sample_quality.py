"""The quality of a model's samples, and the classifier that is trained for it, against numbers made another way."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import Tensor

from ae_lightning.analysis.sample_quality import kernel_distance, neighborhoods
from ae_lightning.analysis.samplers import Sampler, StandardNormal
from ae_lightning.data.digits import DigitsDataModule
from ae_lightning.data.gaussian import GaussianDataModule
from ae_lightning.errors import CheckpointError, ConfigError, DataError
from ae_lightning.evaluation.label_classifier import label_classifier
from ae_lightning.evaluation.sample_quality import sample_quality
from ae_lightning.gallery import Gallery
from ae_lightning.models.base import Autoencoder


class Same(Autoencoder):
    """The code is the sample, so that a sampler of codes is one of samples."""

    def __init__(self, input_shape: tuple[int, ...]) -> None:
        super().__init__(input_shape)
        self.unused = torch.nn.Parameter(torch.zeros(()))  # says where and in which precision it computes

    def encode(self, x: Tensor) -> Tensor:
        return x.flatten(1)

    def decode(self, z: Tensor) -> Tensor:
        return z.unflatten(1, self.input_shape)

    @property
    def prior(self) -> Sampler:
        return StandardNormal((math.prod(self.input_shape),))


class Given(Sampler):
    """The same rows each time, in their order."""

    description = "given rows"

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows

    def draw(self, n: int, seed: int = 0) -> Tensor:
        return self.rows[:n]


@pytest.fixture(scope="module")
def classifiers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("classifiers")


def shuffled(digits: Any) -> Tensor:
    """Rows of the training set in random order: stored digits follow their writers."""
    rows = digits.train_set.indices
    return rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))]


@pytest.fixture(scope="module")
def gallery() -> Gallery:
    """Digits with as many training samples as test samples, so that none are drawn from more."""
    digits = DigitsDataModule()
    digits.setup()
    gallery = Gallery(Same(digits.input_shape), digits)
    gallery.train_set = digits.train_set.subset(shuffled(digits)[:360])
    return gallery


@pytest.fixture(scope="module")
def others(gallery: Gallery) -> tuple[Tensor, Tensor]:
    """Samples that the model's data do not hold, as rows, and their labels."""
    x, y = gallery.data.train_set.subset(shuffled(gallery.data)[360:]).take(2000)
    return x.flatten(1), y


def rows_of(dataset: Any) -> Tensor:
    return dataset.take(len(dataset))[0].flatten(1)


def features_of(train: Tensor, x: Tensor) -> Tensor:
    """Leading 50 principal components of the training samples, by scikit-learn in float64, on one scale."""
    pca = PCA(50, svd_solver="full").fit(train.double().numpy())
    scale = np.sqrt(np.square(pca.transform(train.double().numpy())).mean())
    return torch.from_numpy(pca.transform(x.double().numpy()) / scale)


def closed_form(a: np.ndarray, b: np.ndarray) -> float:
    """Fréchet distance of two sets of features, by the eigenvalues of the product of their covariances."""
    first, second = np.cov(a.T), np.cov(b.T)
    roots = np.sqrt(np.linalg.eigvals(first @ second).real.clip(0)).sum()
    return float(np.square(a.mean(0) - b.mean(0)).sum() + np.trace(first + second) - 2 * roots)


def test_numbers_are_those_of_features_that_were_made_another_way(
    gallery: Gallery, others: tuple[Tensor, Tensor], classifiers: Path
):
    train, test = rows_of(gallery.train_set), rows_of(gallery.test_set)
    noisy = others[0][:360] + 0.1 * torch.randn(360, 64, generator=torch.Generator().manual_seed(1))
    result = sample_quality(gallery, Given(noisy), classifiers=classifiers)
    real = features_of(train, train)
    kept = label_classifier(gallery.train_set, gallery.test_set, 10, classifiers)
    for name, rows in (("generated", noisy), ("test_set", test)):
        scores = result["scores"][name]
        expected = neighborhoods(real, features_of(train, rows))
        assert [scores[key] for key in expected._fields] == pytest.approx(
            list(expected), abs=0.004
        )  # at the brim of a ball
        assert scores["kernel_distance"] == pytest.approx(kernel_distance(real, features_of(train, rows)), abs=1e-4)
        with torch.no_grad():
            told = [kept.model.features(x.unflatten(1, (1, 8, 8))).double().numpy() for x in (train, rows)]
        assert scores["classifier_fd"] == pytest.approx(closed_form(*told), abs=1e-3)
    assert (result["samples"], result["sampler"], result["seed"]) == (360, "given rows", 0)
    ratios = PCA(50, svd_solver="full").fit(train).explained_variance_ratio_
    assert result["features"] == {
        "principal_components": 50,
        "explained_variance": pytest.approx(ratios.sum(), abs=1e-4),
        "fitted_to": 360,
    }
    x, y = gallery.test_set.take(360)
    with torch.no_grad():
        right = (kept.model(x).argmax(1) == y).double().mean().item()
    assert result["classifier"] == {"test_accuracy": pytest.approx(right), "file": str(kept.path)}
    assert right > 0.8
    assert result["scores"]["test_set"]["precision"] > 0.8


def test_a_missing_class_lowers_recall_and_coverage(gallery: Gallery, others: tuple[Tensor, Tensor], classifiers: Path):
    rows, y = others
    few = rows[y < 3].repeat(2, 1)
    whole, part = (
        sample_quality(gallery, Given(rows), 300, classifiers=classifiers)["scores"]["generated"]
        for rows in (rows, few)
    )
    assert part["recall"] < whole["recall"] - 0.2
    assert part["coverage"] < 0.5 < 0.9 < whole["coverage"]
    assert part["precision"] > whole["precision"] - 0.1
    assert part["kernel_distance"] > 0.1 > abs(whole["kernel_distance"])
    assert part["classifier_fd"] > whole["classifier_fd"]


def test_vectors_without_labels_have_no_classifier_and_the_right_normal_scores_as_the_test_set():
    data = GaussianDataModule(dim=4, rank=2, num_train=2000, num_val=10, num_test=1000)
    data.setup()
    gallery = Gallery(Same(data.input_shape), data)
    result = sample_quality(gallery, gallery.sampler("normal"), 800)
    generated, held_out = result["scores"]["generated"], result["scores"]["test_set"]
    assert generated.keys() == held_out.keys() == {"precision", "recall", "density", "coverage", "kernel_distance"}
    assert (result["classifier"], result["classifier_reason"]) == (None, "the data have no class labels")
    for name in ("precision", "recall", "coverage"):
        assert generated[name] == pytest.approx(held_out[name], abs=0.05)
    assert result == sample_quality(gallery, gallery.sampler("normal"), 800)
    other = sample_quality(gallery, gallery.sampler("normal"), 800, seed=1)
    assert other["scores"]["generated"] != generated
    assert other["scores"]["test_set"] == held_out


def test_what_cannot_be_measured_is_one_sentence(gallery: Gallery, classifiers: Path):
    with pytest.raises(ConfigError, match=r"^the samples cannot be measured: .* generated samples are NaN"):
        sample_quality(gallery, Given(torch.full((360, 64), torch.nan)), classifiers=classifiers)
    with pytest.raises(ConfigError, match=r"^the samples cannot be measured: .* at least 6 real samples"):
        sample_quality(gallery, Given(torch.zeros(5, 64)), 5, classifiers=classifiers)


class Elsewhere(Same):
    decodes_to_data = False


def test_a_model_that_decodes_to_no_samples_is_not_measured(gallery: Gallery):
    with pytest.raises(ConfigError, match="what Elsewhere decodes is no sample of the data"):
        sample_quality(Gallery(Elsewhere((1, 8, 8)), gallery.data), Given(torch.zeros(9, 64)))


# --- the classifier ----------------------------------------------------------------------------------------------


def test_a_classifier_is_trained_once_for_its_data_and_settings_and_kept(gallery: Gallery, tmp_path: Path):
    train, test = gallery.train_set, gallery.test_set
    state = torch.get_rng_state()
    first = label_classifier(train, test, 10, tmp_path / "new", steps=3)
    assert torch.equal(torch.get_rng_state(), state)
    written = first.path.stat().st_mtime_ns
    again = label_classifier(train, test, 10, tmp_path / "new", steps=3)
    assert (again.path, again.path.stat().st_mtime_ns) == (first.path, written)
    x = test.take(5)[0]
    assert torch.equal(first.model(x), again.model(x))
    anew = label_classifier(train, test, 10, tmp_path / "other", steps=3)
    assert anew.path.name == first.path.name
    assert torch.equal(first.model(x), anew.model(x))
    longer = label_classifier(train, test, 10, tmp_path / "new", steps=4)
    fewer = label_classifier(train.subset(train.indices[:300]), test, 10, tmp_path / "new", steps=3)
    assert len({first.path, longer.path, fewer.path}) == 3


def test_a_classifier_does_not_care_for_the_unit_of_the_data(gallery: Gallery, tmp_path: Path):
    train, test = gallery.train_set, gallery.test_set
    x = test.take(50)[0]
    plain = label_classifier(train, test, 10, tmp_path, steps=2)
    train.scale, test.scale, before = 1000 * train.scale, 1000 * test.scale, (train.scale, test.scale)
    try:
        scaled = label_classifier(train, test, 10, tmp_path, steps=2)
    finally:
        train.scale, test.scale = before
    torch.testing.assert_close(scaled.model(1000 * x), plain.model(x), atol=1e-4, rtol=1e-3)


def test_a_damaged_classifier_and_a_folder_that_cannot_be_are_one_sentence(gallery: Gallery, tmp_path: Path):
    train, test = gallery.train_set, gallery.test_set
    path = label_classifier(train, test, 10, tmp_path, steps=1).path
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CheckpointError, match=f"^{path} is damaged; delete it, and the classifier is trained anew$"):
        label_classifier(train, test, 10, tmp_path, steps=1)
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"cannot be kept in .*file/in \(.*\); name a folder .* with --classifiers$"):
        label_classifier(train, test, 10, tmp_path / "file" / "in", steps=1)

"""Codes beside known factors, as `evaluate` measures them, and what asks for one class of several factors."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from lightning import Trainer

from ae_lightning import DigitsDataModule, Gallery, LinearProbe, ShapesDataModule
from ae_lightning.analysis.factor_score_names import SCORES
from ae_lightning.analysis.factor_scores import factor_scores
from ae_lightning.analysis.probing import linear_probe
from ae_lightning.cli.evaluation_printing import print_numbers
from ae_lightning.evaluation import evaluate
from ae_lightning.evaluation.factors import scores_of_factors
from ae_lightning.explorer.samples import class_names, classes_of_test_set
from ae_lightning.harvesting.inputs import DataModuleInputs
from ae_lightning.models.fully_connected import FullyConnectedAutoencoder
from ae_lightning.models.overcomplete import OvercompleteAutoencoder
from ae_lightning.nn.modes import evaluation_mode
from ae_lightning.run.instances import of_instance
from ae_lightning.run.results import as_row
from ae_lightning.run.results_form import misplaced

SHAPE = (1, 12, 12)


@pytest.fixture(scope="module")
def data() -> ShapesDataModule:
    made = ShapesDataModule(12, scales=2, rotations=4, positions=6, eval_batch_size=100)  # the last batch is smaller
    made.setup()
    return made


@pytest.fixture(scope="module")
def model() -> FullyConnectedAutoencoder:
    torch.manual_seed(0)
    return FullyConnectedAutoencoder(SHAPE, latent_dim=4, hidden_dims=(16,)).eval()


@pytest.fixture(scope="module")
def results(model: FullyConnectedAutoencoder, data: ShapesDataModule) -> dict[str, Any]:
    return evaluate(model, data)


def test_scores_are_those_of_the_test_samples(
    model: FullyConnectedAutoencoder, data: ShapesDataModule, results: dict[str, Any]
) -> None:
    x, y = data.test_set.take(10_000)
    with evaluation_mode(model):
        codes = model.encode(x).numpy()
    truth = factor_scores(codes, y.numpy(), [False, True, True, True, True])
    found = results["factors"]
    assert {name: found[name] for name in truth.overall} == pytest.approx(truth.overall, abs=1e-4)
    assert found["samples"] == len(x) == len(data.test_set)
    assert list(found["each"]) == ["shape", "scale", "rotation", "x", "y"]
    assert found["each"]["scale"]["mig"] == pytest.approx(truth.each["mig"][1], abs=1e-4)
    assert misplaced(results) == ""
    row = as_row(results)
    assert [row[name] for name in SCORES] == [found[name] for name in SCORES]


def test_principal_components_stand_beside_them(data: ShapesDataModule, results: dict[str, Any]) -> None:
    from sklearn.decomposition import PCA

    (train, _), (test, y) = (part.take(10_000) for part in (data.train_set, data.test_set))
    codes = PCA(4, svd_solver="full").fit(train.flatten(1).numpy()).transform(test.flatten(1).numpy())
    truth = factor_scores(codes, y.numpy(), [False, True, True, True, True]).overall
    found = results["factors"]["pca"]
    assert found["mig"] == pytest.approx(truth["mig"], abs=1e-3)
    assert found["sap"] == pytest.approx(truth["sap"], abs=1e-3)


def test_what_is_printed(results: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    print_numbers({**results, "probes": {}})
    printed = capsys.readouterr().out
    assert f"known factors, on {results['factors']['samples']:,} test samples" in printed
    assert "PCA, 4 components" in printed
    for name in ("MIG", "SAP", "DCI disentanglement", "FactorVAE score", "rotation"):
        assert name in printed


def test_data_without_factors_have_no_scores(model: FullyConnectedAutoencoder) -> None:
    assert scores_of_factors(model, DigitsDataModule()) == []


def test_each_instance_of_a_population_has_its_own_scores(data: ShapesDataModule) -> None:
    torch.manual_seed(1)
    population = OvercompleteAutoencoder(SHAPE, latent_dim=3, instances=2).eval()
    found = evaluate(population, data)
    each = [row["factors"] for row in found["instances"]]
    assert each[0]["mig"] != each[1]["mig"]
    assert found["factors"]["mig"] == pytest.approx((each[0]["mig"] + each[1]["mig"]) / 2)
    single = of_instance(found, 1)["factors"]
    assert single["mig"] == each[1]["mig"]
    assert single["pca"] == found["factors"]["pca"]
    assert misplaced(found) == ""
    for entry in found["instances"]:  # as an earlier version wrote it
        del entry["factors"]
    assert misplaced(found) == ""


def test_a_code_that_is_not_finite_has_no_scores_and_a_reason(data: ShapesDataModule) -> None:
    broken = FullyConnectedAutoencoder(SHAPE, latent_dim=3, hidden_dims=(4,)).eval()
    with torch.no_grad():
        next(broken.encoder.parameters()).fill_(math.nan)
    found = evaluate(broken, data)["factors"]
    assert found["mig"] is None
    assert found["mig_reason"] == "not a number"


def test_a_map_of_latents_is_scored_place_by_place(data: ShapesDataModule) -> None:
    from ae_lightning.models.convolutional import DeepConvAutoencoder

    model = DeepConvAutoencoder(SHAPE, hidden_channels=(4,), latent_channels=2).eval()
    (scores,) = scores_of_factors(model, data)
    assert scores["varying_latents"] <= model.latent_size
    assert 0 <= scores["dci_disentanglement"] <= 1


@pytest.mark.parametrize("factor", ["shape", "x"])
def test_probes_read_the_factor_that_is_the_class(factor: str) -> None:
    own = ShapesDataModule(12, scales=2, rotations=4, positions=6, class_factor=factor)
    model = FullyConnectedAutoencoder(SHAPE, latent_dim=4, hidden_dims=(16,))
    trainer = Trainer(
        max_steps=1, logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu",
        callbacks=[probe := LinearProbe(full=False)],
    )  # fmt: skip
    trainer.fit(model, own)
    x, y = (part.numpy() for part in own.development_set.take(10_000))
    column = [one.name for one in own.factors].index(factor)
    count = len(x) * 5 // 6
    truth = linear_probe(x[:count], y[:count, column], x[count:], y[count:, column], pca_components=50, scaled=True)
    assert probe.state_dict()["baselines"]["probe/raw"] == pytest.approx(truth.accuracy)


def test_the_explorer_and_figures_know_the_class(
    data: ShapesDataModule, model: FullyConnectedAutoencoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    classes = classes_of_test_set(data)
    assert classes is not None
    y = data.test_set.take(10_000)[1]
    assert classes.tolist() == y[:, 0].tolist()
    assert class_names(data, classes) == ["square", "ellipse", "heart"]
    drawn: list[Any] = []
    monkeypatch.setattr(Gallery, "interpolation", lambda self, pairs: drawn.append(pairs))
    monkeypatch.setattr(Gallery, "arithmetic", lambda self, *samples: drawn.append(samples))
    figures = Gallery(model, data).drawable()
    figures["interpolation"]()
    figures["arithmetic"]()
    ((start, end),), (a, b, c) = drawn
    assert [int(y[sample, 0]) for sample in (start, end)] == [0, 1]
    assert int(y[a, 0]) == int(y[c, 0]) != int(y[b, 0])
    inputs = next(DataModuleInputs(data, batch_size=50, split="test").batches())
    assert np.array_equal(inputs.y, y[:50, 0])

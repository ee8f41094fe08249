"""`evaluate` on data with samples of each instance's own, beside scikit-learn's PCA of each."""

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from ae_lightning import SparseFeaturesDataModule
from ae_lightning.errors import ConfigError
from ae_lightning.evaluation import evaluate
from ae_lightning.models.standard_sae import StandardSAE
from ae_lightning.models.toy_model import ToyModel
from ae_lightning.run.instances import of_instance

INSTANCES, FEATURES, LATENTS = 3, 6, 2
# Instances that differ much, so that one fit for all is another than a fit for each.
PROBABILITY = [[0.9, 0.9, 0.01, 0.01, 0.01, 0.01], [0.01, 0.01, 0.01, 0.01, 0.9, 0.9], [0.3] * FEATURES]


def own_data(instances: int = INSTANCES) -> SparseFeaturesDataModule:
    return SparseFeaturesDataModule(
        FEATURES, PROBABILITY[:instances], instances=instances, num_val=150, num_test=250, eval_batch_size=64
    )


@pytest.fixture(scope="module")
def data() -> SparseFeaturesDataModule:
    data = own_data()
    data.setup()
    return data


@pytest.fixture(scope="module")
def model() -> ToyModel:
    torch.manual_seed(1)
    return ToyModel((FEATURES,), LATENTS, instances=INSTANCES).eval()


@pytest.fixture(scope="module")
def results(model: ToyModel, data: SparseFeaturesDataModule) -> dict[str, Any]:
    return evaluate(model, data)


def samples(data: SparseFeaturesDataModule, split: str, instance: int) -> np.ndarray:
    """Samples (n, features) of an instance, float64."""
    dataset = {"train": data.train_set, "validation": data.val_set, "test": data.test_set}[split]
    return dataset.take(100_000)[0][:, instance].double().numpy()


def by_hand(model: ToyModel, data: SparseFeaturesDataModule, kind: str, split: str, instance: int) -> np.ndarray:
    """Reconstructions (n, features) of an instance's samples."""
    x, train = samples(data, split, instance), samples(data, "train", instance)
    if kind == "mean_image":
        return np.broadcast_to(train.mean(0), x.shape)
    if kind == "pca":
        pca = PCA(LATENTS, svd_solver="full").fit(train)
        return pca.inverse_transform(pca.transform(x))
    weight = model.encoder_vectors[instance].detach().double().numpy()  # (latent, features)
    return np.maximum(x @ weight.T @ weight + model.dictionary.b_dec[instance].detach().double().numpy(), 0)


@pytest.mark.parametrize("kind", ["autoencoder", "mean_image", "pca"])
@pytest.mark.parametrize("split", ["validation", "test"])
def test_errors_are_means_over_instances_each_with_its_own_samples(model, data, results, kind, split):
    each = []
    for instance in range(INSTANCES):
        x, x_hat = samples(data, split, instance), by_hand(model, data, kind, split, instance)
        errors = ((x - x_hat) ** 2).sum(1)
        unexplained = errors.mean() / x.var(0).sum()
        each.append([errors.mean() / FEATURES, errors.mean(), errors.std() / FEATURES, unexplained, 1 - unexplained])
    names = ("mse_per_pixel", "mse_per_image", "mse_per_pixel_std", "fvu", "explained_variance")
    for name, expected in zip(names, np.mean(each, axis=0), strict=True):
        assert results["errors"][split][kind][name] == pytest.approx(expected, rel=1e-4, abs=1e-7), name
    assert len(np.unique(np.round(np.array(each)[:, 0], 4))) == INSTANCES


def test_each_instance_is_measured_as_if_it_were_alone(model, data, results):
    """An instance that is taken out, with its samples, has its part of every mean."""
    alone = []
    for instance in range(INSTANCES):
        single = ToyModel((FEATURES,), LATENTS).eval()
        single.load_state_dict({name: value[instance] for name, value in model.state_dict().items()})
        part = own_data()
        part.setup()
        part._sets = tuple(dataset.instance(instance) for dataset in part._sets)
        part._instances = None
        alone.append(evaluate(single, part))
    for split in ("validation", "test"):
        for kind, errors in results["errors"][split].items():
            for name, value in errors.items():
                mean = np.mean([one["errors"][split][kind][name] for one in alone])
                assert value == pytest.approx(mean, rel=1e-6, abs=1e-9), (split, kind, name)
    for name in ("active", "dead", "l0", "l1", "hoyer", "near_zero", "negative"):
        assert results["latents"][name] == pytest.approx(np.mean([one["latents"][name] for one in alone]), rel=1e-5)
    for instance, one in enumerate(alone):
        listed = of_instance(results, instance)
        for kind, errors in one["errors"]["test"].items():  # of the baselines, too: those of its own samples
            assert listed["errors"]["test"][kind] == pytest.approx(errors, rel=1e-6, abs=1e-9), (instance, kind)
        assert listed["latents"]["l0"] == pytest.approx(one["latents"]["l0"], rel=1e-5)


def test_what_is_recorded(results):
    assert results["pca_components"] == LATENTS
    assert results["model"]["instances"] == INSTANCES
    assert results["recovery"] == {}


def test_one_instance_with_samples_of_its_own():
    data = own_data(1)
    results = evaluate(ToyModel((FEATURES,), LATENTS, instances=1).eval(), data)
    x, train = samples(data, "test", 0), samples(data, "train", 0)
    expected = ((x - train.mean(0)) ** 2).mean()
    assert results["errors"]["test"]["mean_image"]["mse_per_pixel"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("instances", [None, 2])
def test_a_model_with_other_instances_is_refused(data, instances):
    with pytest.raises(ConfigError, match=r"for each of 3 instances, .* set --model.instances 3"):
        evaluate(StandardSAE((FEATURES,), 8, instances=instances).eval(), data)


def test_a_model_for_other_samples_is_refused(data):
    with pytest.raises(ConfigError, match="was made for 7"):
        evaluate(StandardSAE((7,), 8, instances=INSTANCES).eval(), data)


class _WithTruth(SparseFeaturesDataModule):
    """Samples that are sums of the first four axes, and say so."""

    @property
    def feature_directions(self) -> torch.Tensor:
        return torch.eye(FEATURES)[:4]


def test_recovery_of_known_directions():
    model = StandardSAE((FEATURES,), 5, instances=2).eval()
    with torch.no_grad():
        model.decoder_vectors.copy_(torch.zeros(2, 5, FEATURES))
        model.decoder_vectors[0, :4] = 3 * torch.eye(FEATURES)[[2, 0, 1, 3]]  # all four
        model.decoder_vectors[1, :3] = torch.eye(FEATURES)[[0, 0, 1]]  # two, one of them twice
    data = _WithTruth(FEATURES, num_val=20, num_test=20, instances=2)
    results = evaluate(model, data)
    assert [row["recovery"]["mcc"] for row in results["instances"]] == pytest.approx([1, 2 / 4])
    assert [row["recovery"]["fully_recovered_instances"] for row in results["instances"]] == [1, 0]
    assert [row["recovery"]["duplicates"] for row in results["instances"]] == [0, 2]
    assert results["recovery"] == {
        "mcc": pytest.approx((1 + 2 / 4) / 2),
        "mmcs": pytest.approx((1 + 2 / 4) / 2),
        "fraction_recovered": pytest.approx((1 + 2 / 4) / 2),
        "fully_recovered": 0.5,
        "fully_recovered_instances": 1,
        "instances": 2,
        "duplicates": 1,
    }


def test_a_toy_model_recovers_nothing_it_makes_the_directions():
    data = _WithTruth(FEATURES, num_val=20, num_test=20)
    assert evaluate(ToyModel((FEATURES,), LATENTS).eval(), data)["recovery"] == {}

"""How true latents are: the numbers of whole models and baselines, on data whose features are known."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from ae_lightning.analysis.known_baselines import oracle, random_rows
from ae_lightning.data.generated import GeneratedDataModule
from ae_lightning.data.sparse_features import SparseFeaturesDataModule
from ae_lightning.data.world import WorldDataModule
from ae_lightning.errors import ConfigError
from ae_lightning.evaluation import evaluate
from ae_lightning.evaluation.truth import measure_truth, truth_scores
from ae_lightning.evaluation.truth_meter import TruthMeter
from ae_lightning.models.topk_sae import TopKSAE
from ae_lightning.nn.sparse_code import SparseCode
from ae_lightning.training.batch import LabeledBatch

INPUTS, FEATURES = 6, 5


class Tree(GeneratedDataModule):
    """A root along the first axis with two children that exclude each other, and two features of their own."""

    def __init__(self, instances: int | None = None, **kwargs: Any) -> None:
        super().__init__(**{"num_val": 300, "num_test": 700, "eval_batch_size": 256, **kwargs})
        self._instances = instances

    @property
    def instances(self) -> int | None:
        return self._instances

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (INPUTS,)

    @property
    def value_range(self) -> tuple[float, float]:
        return -math.inf, math.inf

    @property
    def feature_directions(self) -> Tensor:
        return torch.eye(INPUTS)[:FEATURES]

    @property
    def feature_parents(self) -> Tensor:
        return torch.tensor([-1, 0, 0, -1, -1])

    def draw(self, n: int, generator: torch.Generator) -> LabeledBatch:
        shape = (n, *([] if self.instances is None else [self.instances]))
        chance = torch.rand(*shape, 4, generator=generator)
        size = 1 + torch.rand(*shape, FEATURES, generator=generator)
        root = chance[..., 0] < 0.5
        children = [root & (chance[..., 1] < 0.3), root & (chance[..., 1] > 0.7)]
        y = torch.stack([root, *children, chance[..., 2] < 0.2, chance[..., 3] < 0.2], -1) * size
        return y @ self.feature_directions, y


def set_up(data: GeneratedDataModule) -> GeneratedDataModule:
    data.setup("fit")
    data.setup("test")
    return data


def dictionary(rows: Tensor, instances: int | None = None) -> TopKSAE:
    """A code of what samples have along the axes, and what they are decoded to."""
    model = TopKSAE((INPUTS,), FEATURES, k=4, instances=instances, input_scaling="none").eval()
    with torch.no_grad():
        model.dictionary.b_enc.zero_()
        model.dictionary.b_dec.zero_()
        model.encoder_vectors.copy_(torch.eye(INPUTS)[:FEATURES])
        model.decoder_vectors.copy_(rows)
    return model


TRUE = torch.eye(INPUTS)[:FEATURES]
PERFECT = {
    **dict.fromkeys(["mcc", "mcc_matched", "mmcs", "fraction_recovered", "uniqueness", "splitting"], 1),
    **dict.fromkeys(["precision", "recall", "f1", "truth_f1", "correlation_mcc", "correlation_mcc_matched"], 1),
    **dict.fromkeys(["shrinkage_slope", "norm_ratio", "fully_recovered", "fully_recovered_instances", "instances"], 1),
    **dict.fromkeys(["fvu", "decoder_cosine", "absorption", "absorbed_share", "hedging", "dead", "duplicates"], 0),
    "absorption_pairs": 2,
}


def test_the_truth_itself_is_perfect_in_every_number() -> None:
    data = set_up(Tree())
    found = truth_scores(dictionary(TRUE), data)
    y = data.test_set.take(700)[1]
    assert found.pop("l0") == pytest.approx(float((y > 0).sum(1).double().mean()))
    assert found.pop("true_l0") == pytest.approx(float((y > 0).sum(1).double().mean()))
    assert found == {name: pytest.approx(value, abs=1e-6) for name, value in PERFECT.items()}


def test_a_child_that_holds_its_parent_is_seen_by_what_it_writes() -> None:
    rows = TRUE.clone()
    rows[1, 0] = 0.9
    absorbing, true = (truth_scores(dictionary(each), set_up(Tree())) for each in (rows, TRUE))
    assert true["absorbed_share"] == pytest.approx(0, abs=1e-6)
    # Both are about 1.5 long; half of the pairs' samples have this child.
    assert absorbing["absorbed_share"] == pytest.approx(0.9 / 2, abs=0.1)
    assert absorbing["hedging"] > 0.1
    assert absorbing["f1"] == 1


def test_each_instance_has_the_numbers_that_it_has_alone() -> None:
    data = set_up(Tree())
    rows = TRUE.clone()
    rows[2] = torch.tensor([0.5, 0.0, -1.0, 0.2, 0.0, 0.3])
    both = measure_truth(dictionary(torch.stack([TRUE, rows]), instances=2), data)
    for instance, own in enumerate((TRUE, rows)):
        assert both.each()[instance] == pytest.approx(truth_scores(dictionary(own), data), rel=1e-6, abs=1e-6)
    assert both.compute()["mcc"] == pytest.approx(sum(row["mcc"] for row in both.each()) / 2)
    assert both.compute()["instances"] == 2
    assert both.truths()["f1"].shape == both.truths()["absorption"].shape == (2, FEATURES)
    assert both.latents()["truth"].tolist()[0] == list(range(FEATURES))


def test_instances_with_samples_of_their_own() -> None:
    data = set_up(Tree(instances=2))
    rows = torch.stack([TRUE, TRUE.roll(1, 0)])
    found = measure_truth(dictionary(rows, instances=2), data).each()
    x, y = data.test_set.take(700)
    for instance in range(2):
        error = float((x[:, instance, :FEATURES] @ rows[instance] - x[:, instance]).square().sum())
        variance = float((x[:, instance] - x[:, instance].mean(0)).square().sum())
        assert found[instance]["fvu"] == pytest.approx(error / variance, rel=1e-4, abs=1e-6)
        assert found[instance]["true_l0"] == pytest.approx(float((y[:, instance] > 0).sum(1).double().mean()))
    # Each latent of the second writes what another reads.
    assert found[0]["f1"] == pytest.approx(1)
    assert found[1]["mcc"] == pytest.approx(1)
    assert found[1]["f1"] < 0.6
    assert found[1]["truth_f1"] == pytest.approx(1)


@pytest.mark.parametrize("dense", [0, 4096])
def test_a_baseline_sees_the_samples_of_all_instances(dense: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WorldDataModule, "DENSE", dense)
    data = set_up(WorldDataModule(features=8, dim=8, highest=0.3, instances=3, num_val=1, num_test=300))
    x, y = data.test_set.take(300)
    of_each = [y.instance(i).to_dense() if dense == 0 else y[:, i] for i in range(3)]
    truth = oracle(data.feature_directions, torch.zeros(8))
    meter = TruthMeter(truth.decoder_rows, data.feature_directions, two_sided=False)
    for instance, own in enumerate(of_each):
        code = truth.encode(x[:, instance], 3)
        meter.update(code, own, x[:, instance], truth.decode(code))
    assert truth_scores(truth, data, l0=3) == pytest.approx(meter.compute(), rel=1e-6, abs=1e-6, nan_ok=True)


def test_evaluation_tells_the_same_but_for_what_it_says_elsewhere() -> None:
    data = Tree()
    model = dictionary(torch.stack([TRUE, TRUE.flip(0)]), instances=2)
    results = evaluate(model, data)
    expected = measure_truth(model, data).each()
    for instance, row in enumerate(results["instances"]):
        own = {name: value for name, value in expected[instance].items() if name not in ("fvu", "l0", "dead")}
        for name, value in own.items():
            told = math.nan if row["recovery"][name] is None else row["recovery"][name]
            assert told == pytest.approx(value, nan_ok=True), name
        assert row["latents"]["l0"] == pytest.approx(expected[instance]["l0"])
        assert row["errors"]["test"]["autoencoder"]["fvu"] == pytest.approx(expected[instance]["fvu"], abs=1e-9)
    assert results["recovery"]["f1"] == pytest.approx((expected[0]["f1"] + expected[1]["f1"]) / 2)


def test_a_model_that_diverged_has_no_scores_and_leaves_others_theirs() -> None:
    rows = torch.stack([TRUE, TRUE])
    rows[1, 2] = torch.nan
    results = evaluate(dictionary(rows, instances=2), Tree())
    first, second = (row["recovery"] for row in results["instances"])
    assert first["mcc"] == pytest.approx(1)
    assert second["mcc"] is second["hedging"] is second["mcc_matched"] is None
    assert "mcc_reason" in second


def test_fresh_samples_are_always_the_same_and_not_those_of_the_test_set() -> None:
    data = set_up(Tree())
    rows = TRUE + 0.1
    found = truth_scores(dictionary(rows), data, samples=700)
    assert found == truth_scores(dictionary(rows), data, samples=700)
    assert found["fvu"] != truth_scores(dictionary(rows), data)["fvu"]
    meter = measure_truth(dictionary(rows), data, samples=701)
    assert int(meter.detection.samples) == 701


def test_the_mode_of_a_model_stays_as_it_was() -> None:
    model = dictionary(TRUE).train()
    truth_scores(model, set_up(Tree()))
    assert model.training


def test_the_oracle_is_above_random_rows() -> None:
    data = set_up(Tree())
    x = data.train_set.take(1000)[0]
    best = truth_scores(oracle(data.feature_directions, torch.zeros(INPUTS)), data, l0=4)
    worst = truth_scores(random_rows(x, FEATURES), data, l0=4)
    assert best == {**{name: pytest.approx(value, abs=1e-5) for name, value in PERFECT.items()}, **found_l0(best)}
    for name in ("mcc", "f1", "truth_f1", "correlation_mcc"):
        assert worst[name] < 0.9 < best[name]
    assert worst["fvu"] > 0.01


def found_l0(scores: dict[str, float]) -> dict[str, float]:
    return {name: scores[name] for name in ("l0", "true_l0")}


def test_what_cannot_be_measured_is_told() -> None:
    plain = SparseFeaturesDataModule(INPUTS, num_val=20, num_test=20)
    with pytest.raises(ConfigError, match="SparseFeaturesDataModule does not know the features of its samples"):
        truth_scores(dictionary(TRUE), plain)
    with pytest.raises(ValueError, match="need l0"):
        truth_scores(oracle(TRUE, torch.zeros(INPUTS)), set_up(Tree()))


@pytest.mark.parametrize("instances", [None, 2])
def test_features_as_indices_and_values_are_measured_as_they_are_with_their_zeros(instances: int | None) -> None:
    data = WorldDataModule(
        4100,
        8,
        highest=0.001,
        roots=20,
        compensation="approximate",
        instances=instances,
        num_val=10,
        num_test=300,
        eval_batch_size=128,
    )
    set_up(data)
    model = TopKSAE((8,), 12, k=3, instances=instances).eval()
    found = measure_truth(model, data)
    x, y = data.test_set.take(300)
    assert isinstance(y, SparseCode)
    meter = TruthMeter(model.decoder_vectors, data.feature_directions, data.feature_parents, own=instances)
    with torch.no_grad():
        x_hat, z = model(x)
    meter.update(z, y.to_dense(), x if instances is None else x.movedim(1, 0), x_hat)
    for ours, expected in zip(found.each(), meter.each(), strict=True):
        assert ours == pytest.approx(expected, rel=1e-5, abs=1e-7, nan_ok=True)
    assert found.each()[0]["true_l0"] > 2
    assert "absorption" in found.each()[0]

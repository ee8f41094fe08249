"""What is said of the instances of a population, from numbers made by hand."""

from typing import Any

from ae_lightning.evaluation.instance_table import SHARED_ORDER, failed_instances, instance_columns, shared_order
from ae_lightning.evaluation.verdict import verdict
from ae_lightning.run.instances import name_of_settings, setting_names


def entry(number: int, settings: dict[str, Any], error: float | None, l0: float, **parts: Any) -> dict[str, Any]:
    fvu = None if error is None else error / 0.08
    return {
        "instance": number,
        "settings": settings,
        "model": {"penalties": {}, "asked_l0": {"k": settings.get("k", 8)}},
        "errors": {"test": {"autoencoder": {"mse_per_pixel": error, "fvu": fvu}}},
        "latents": {"l0": l0, "active": 60.0, "dead": 4.0},
        "recovery": {},
        "weights": {},
        **parts,
    }


def results(*instances: dict[str, Any]) -> dict[str, Any]:
    test = {
        "autoencoder": {"mse_per_pixel": 0.02, "fvu": 0.25},
        "mean_image": {"mse_per_pixel": 0.08, "fvu": 1.0},
        "pca": {"mse_per_pixel": 0.03, "fvu": 0.4},
    }
    model = {"class": "TopKSAE", "instances": len(instances), "input_shape": [1, 8, 8], "latent_shape": [16]}
    return {
        "model": {**model, "penalties": {}, "asked_l0": {"k": 8}, "parameters": 1000},
        "errors": {"test": test},
        "latents": {"l0": 8.0, "active": 15.0, "dead": 1.0},
        "pca_components": 16,
        "instances": list(instances),
    }


MIXED = results(
    entry(0, {"seed": 3, "k": 4}, 0.04, 4.0),
    entry(1, {"seed": 3, "k": 8}, 0.02, 8.0),
    entry(2, {"seed": 5, "k": 8}, None, 8.0),
)


def test_a_column_for_each_setting_and_number_that_is_known() -> None:
    columns = dict(instance_columns(MIXED))
    assert columns == {
        "instance": ["0", "1", "2"],
        "k": ["4", "8", "8"],
        "seed": ["3", "3", "5"],
        "test error": ["0.04000", "0.02000", ""],
        "FVU": ["0.5000", "0.2500", ""],
        "L0": ["4", "8", "8"],
        "dead": ["4", "4", "4"],
    }
    known = {"fraction_recovered": 0.75, "mcc": 0.9}
    found = dict(instance_columns(results(entry(0, {}, 0.04, 4.0, recovery=known))))
    assert (found["features found"], found["MCC"]) == (["75%"], ["0.900"])
    assert instance_columns({"instances": []}) == instance_columns({}) == []


def test_the_seed_is_no_setting_by_which_instances_are_told_apart() -> None:
    rows = MIXED["instances"]
    assert setting_names(rows) == ["k", "seed"]
    assert [name_of_settings(row) for row in rows] == ["k 4", "k 8", "k 8"]


def test_shared_samples_are_told_of_where_instances_differ_by_chance_alone() -> None:
    assert shared_order(MIXED) == [SHARED_ORDER]
    assert shared_order(results(entry(0, {}, 0.04, 4.0), entry(1, {}, 0.04, 4.0))) == [SHARED_ORDER]
    assert shared_order(results(entry(0, {"k": 4}, 0.04, 4.0), entry(1, {"k": 8}, 0.04, 4.0))) == []
    assert shared_order(results(entry(0, {}, 0.04, 4.0))) == []
    own = {"errors": {"test": {"autoencoder": {}, "mean_image": {}, "pca": {}}}}
    assert shared_order(results(entry(0, {}, 0.04, 4.0, **own), entry(1, {}, 0.04, 4.0, **own))) == []


def test_instances_that_failed_are_named_where_the_mean_does_not_say_it() -> None:
    failed = results(entry(0, {"k": 4}, 0.04, 4.0), entry(1, {"k": 8}, 0.09, 8.0), entry(2, {"k": 16}, 0.08, 32.0))
    assert failed_instances(failed) == [
        "Instance 1, and like it 2: the autoencoder is no better than always answering the mean of the training "
        "samples (error 0.09000 against 0.08000). Train longer (--trainer.max_epochs), raise --model.k, which is 8, or "
        "set another --model.optimizer.lr.",
        "Instance 2: a test sample has 32 active latents, where --model.k asks for 16: train longer.",
    ]
    assert failed_instances(MIXED) == []
    alike = results(entry(0, {}, 0.09, 4.0), entry(1, {}, 0.02, 4.0))
    assert failed_instances(alike) == []  # the means are judged, as they were


def test_a_verdict_on_unlike_instances_says_that_it_is_on_their_mean() -> None:
    assert verdict(MIXED).sentence.startswith("In the mean over 3 instances of different settings it works: with 16 ")
    unfinished = verdict(MIXED, is_finished=False).sentence
    assert unfinished.startswith("So far in the mean over 3 instances of different settings it works: ")
    assert verdict(results(entry(0, {"seed": 1}, 0.02, 8.0))).sentence.startswith("It works: ")

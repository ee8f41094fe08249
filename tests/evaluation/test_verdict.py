"""The sentence that says whether a model is any good, on numbers that each verdict belongs to."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from ae_lightning.evaluation import evaluate
from ae_lightning.evaluation.verdict import components_of_active, numbers_beside, verdict
from ae_lightning.models.fully_connected import FullyConnectedAutoencoder

ENTRIES = 64
VARIANCE = 0.08


def errors(left):
    """Errors that leave a part of a variance of 0.08 per pixel."""
    return {"mse_per_pixel": VARIANCE * left, "mse_per_image": VARIANCE * left * ENTRIES, "fvu": left}


def numbers(ours=0.12, pca=0.15, width=16, l0=None, dead=0.0, penalties=None, asked=None, recovered=None, probes=None):
    """What `evaluate` answers of samples of 64 numbers; by default a dense code of 16 that beats PCA."""
    return {
        "model": {
            "class": "Mine",
            "parameters": 1000,
            "input_shape": [1, 8, 8],
            "latent_shape": [width],
            "penalties": penalties or {},
            "asked_l0": asked or {},
        },
        "errors": {"test": {"autoencoder": errors(ours), "mean_image": errors(1.0), "pca": errors(pca)}},
        "pca_components": min(width, ENTRIES),
        "latents": {"active": width - dead, "dead": dead, "l0": width if l0 is None else l0, "near_zero": 0.1},
        "recovery": {} if recovered is None else {"fraction_recovered": recovered, "mcc": 0.9, "mmcs": 0.93},
        "probes": probes or {},
    }


def probed(code, raw, error=0.005, kind="probe_full"):
    named = {"latent": code, "raw": raw, "latent_se": error, "raw_se": error}
    return {f"{kind}/{name}": value for name, value in named.items()}


def test_a_narrow_code_that_beats_pca_of_its_width_works():
    assert verdict(numbers()) == (
        "good",
        "It works: with 16 latents it leaves 0.12 of the variance, PCA of the same width leaves 0.15.",
    )


@pytest.mark.parametrize("ours", [0.1486, 0.15, 0.1514])
def test_within_a_hundredth_of_pca_is_about_as_good(ours):
    grade, sentence = verdict(numbers(ours=ours))
    assert grade == "mixed"
    assert sentence.startswith("It is about as good as PCA: with 16 latents it leaves 0.1")


def test_a_narrow_code_that_pca_beats_falls_short():
    grade, sentence = verdict(numbers(ours=0.2))
    assert grade == "bad"
    assert sentence == (
        "It falls short: with 16 latents it leaves 0.2 of the variance, PCA of the same width leaves 0.15."
    )


def test_a_model_that_has_learned_nothing_does_not_work():
    grade, sentence = verdict(numbers(ours=1.0))
    assert grade == "bad"
    assert sentence == (
        "It does not work: the autoencoder is no better than always answering the mean of the training samples (error "
        "0.08000 against 0.08000)."
    )


def test_an_empty_code_does_not_work_however_small_the_error():
    grade, sentence = verdict(numbers(width=128, l0=0, dead=128.0, penalties={"l1": 1.0}))
    assert (grade, sentence) == (
        "bad", "It does not work: the autoencoder's code is empty: no latent is active on any test sample.",
    )  # fmt: skip


@pytest.mark.parametrize("error", [None, float("nan"), float("inf")])
def test_training_that_has_diverged_failed(error):
    results = numbers()
    results["errors"]["test"]["autoencoder"] = {
        "mse_per_pixel": error, "fvu": None, "mse_per_pixel_reason": "too large to square",
    }  # fmt: skip
    assert verdict(results) == (
        "bad",
        "It failed: training has diverged, since the error on the test set is not finite (too large to square).",
    )


@pytest.mark.parametrize(
    ("share", "grade", "opening"),
    [
        (1.0, "good", "It works: it finds 100% of"),
        (0.9, "good", "It works: it finds 90% of"),
        (0.89, "mixed", "It works in part: it finds 89% of"),
        (0.5, "mixed", "It works in part: it finds 50% of"),
        (0.3, "bad", "It misses the truth: it finds 30% of"),
    ],
)
def test_where_the_truth_is_known_it_counts_before_all_else(share, grade, opening):
    judged = verdict(numbers(ours=0.3, recovered=share))
    assert judged.grade == grade
    assert judged.sentence == f"{opening} the true features and leaves 0.3 of the variance."


@pytest.mark.parametrize(("ours", "grade", "opening"), [(0.12, "good", "It works"), (0.4, "bad", "It falls short")])
def test_a_sparse_code_is_held_against_pca_of_as_many_components(ours, grade, opening):
    results = numbers(ours=ours, width=1024, l0=7.6, asked={"k": 8}, pca=0.0)
    assert components_of_active(results) == 8
    judged = verdict(results, errors(0.25))
    assert judged.grade == grade
    assert judged.sentence == (
        f"{opening}: with 7.6 of 1,024 latents active on a sample it leaves {ours:.2g} of the variance, PCA of as many "
        "components leaves 0.25."
    )


def test_a_code_is_only_compared_by_its_active_latents_where_they_are_meant_to_be_few():
    assert components_of_active(numbers(width=128, l0=40)) is None  # nothing asks for it
    assert components_of_active(numbers(width=128, l0=40, penalties={"l1": 0.1})) == 40
    assert components_of_active(numbers(width=128, l0=0.2, penalties={"l1": 0.1})) == 1
    assert components_of_active(numbers(width=16, penalties={"kl": 0.1})) is None  # all are active
    assert components_of_active(numbers(width=128, l0=64, penalties={"l1": 0.1})) is None  # a sample has 64
    assert components_of_active(numbers(width=128, l0=None, asked={"k": 200}) | {"latents": {}}) is None


@pytest.mark.parametrize(
    ("probes", "grade", "opening"),
    [
        ({}, "mixed", "It copies, which proves little: "),
        # Two standard errors of 0.005 and 0.005 are 2 · 0.005 · √2 = 0.01414.
        (probed(0.95, 0.95 + 0.0141), "mixed", "It copies, which proves little: "),
        (probed(0.95, 0.95 + 0.0142), "bad", "It falls short: "),
        (probed(0.95 + 0.0142, 0.95), "good", "It works: "),
        (probed(0.9, 0.8) | probed(0.8, 0.9, kind="probe"), "good", "It works: "),
    ],
)
def test_a_wide_code_that_nothing_makes_sparse_is_judged_by_what_is_read_from_it(probes, grade, opening):
    judged = verdict(numbers(ours=0.05, pca=1e-14, width=128, l0=96.0, probes=probes))
    assert judged.grade == grade
    assert judged.sentence.startswith(f"{opening}it leaves 0.05 of the variance where PCA of its width leaves none")
    assert ("a linear classifier reads" in judged.sentence) == bool(probes)


def test_of_a_run_that_goes_on_it_is_said_so():
    assert verdict(numbers(), is_finished=False).sentence.startswith("So far it works: with 16 latents")
    assert verdict(numbers(ours=1.0), is_finished=False).sentence.startswith("So far it does not work: the autoenc")


def test_without_variance_the_error_itself_is_told():
    results = numbers()
    for part in results["errors"]["test"].values():
        part["fvu"] = None
    assert "leaves an error of 0.0096, PCA of the same width leaves 0.012" in verdict(results).sentence


def test_four_numbers_stand_beside_what_they_must_beat():
    sparse = numbers(width=1024, l0=7.6, dead=3.0, asked={"k": 8}, pca=0.0, recovered=0.75, probes=probed(0.9, 0.8))
    assert numbers_beside(sparse, errors(0.25), 5) == [
        ("true features found", "75%", "mean cosine 0.93, at best 1"),
        ("variance left", "0.12", "PCA of 8 components: 0.25"),
        ("a linear classifier reads", "90.0%", "from raw samples: 80.0%"),
        ("active latents of a sample", "7.6", "asked: 8"),
        ("dead latents", "3", "of 1,024; they fire on no test sample"),
    ]
    dense = numbers_beside(numbers())
    assert dense == [
        ("variance left", "0.12", "PCA of the same width: 0.15"),
        ("squared error per pixel", "0.00960", "of the mean sample: 0.08000"),
        ("numbers in a code", "16", "in a sample: 64"),
        # The mean of 64 numbers, and 16 directions.
        ("parameters", "1,000", "PCA of the same width: 1,088"),
    ]
    assert numbers_beside(numbers(width=64, pca=1e-14))[0].baseline == "PCA of the same width: exact"
    of_vectors = numbers()
    of_vectors["model"]["input_shape"] = [64]
    assert numbers_beside(of_vectors)[1].name == "squared error per entry"
    of_either_sign = numbers(l0=7.0)
    of_either_sign["latents"]["negative"] = 0.4
    assert numbers_beside(of_either_sign) == dense


def test_the_numbers_of_a_verdict_are_those_of_the_data(digits):
    """A linear autoencoder that was given the principal components, as scikit-learn finds them."""
    model = FullyConnectedAutoencoder((1, 8, 8), 8, hidden_dims=[], output_activation="none")
    train, test = (part.take(len(part))[0].flatten(1).numpy() for part in (digits.train_set, digits.test_set))
    fitted = PCA(8).fit(train)
    left = ((fitted.inverse_transform(fitted.transform(test)) - test) ** 2).sum() / ((test - test.mean(0)) ** 2).sum()
    linear = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    with torch.no_grad():
        linear[0].weight.copy_(torch.from_numpy(fitted.components_))
        linear[0].bias.copy_(torch.from_numpy(-fitted.components_ @ fitted.mean_))
        linear[1].weight.copy_(torch.from_numpy(fitted.components_.T))
        linear[1].bias.copy_(torch.from_numpy(fitted.mean_.astype(np.float32)))
    judged = verdict(evaluate(model, digits))
    assert judged.sentence.startswith("It is about as good as PCA: with 8 latents it leaves ")
    assert f"leaves {left:.3g} of the variance, PCA of the same width leaves {left:.3g}." in judged.sentence

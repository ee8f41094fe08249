"""What is said of a model that has learned nothing, and whether the weight that it is told to try is bearable."""

import re

import pytest
import torch

from ae_lightning.callbacks.decoder_norm import DecoderNorm
from ae_lightning.data.digits import DigitsDataModule
from ae_lightning.evaluation import describe, evaluate
from ae_lightning.evaluation.judgment import missed_l0, penalty_to_try, shortcoming
from ae_lightning.models.gated_sae import GatedSAE
from ae_lightning.models.matryoshka_sae import MatryoshkaSAE
from ae_lightning.models.sparse import SparseAutoencoder
from ae_lightning.models.standard_sae import StandardSAE

SHAPE = (1, 8, 8)


def numbers(ours=0.01, active=16.0, near_zero=0.5, penalties=None, kind="StandardSAE", l0=4.0, length=None, **model):
    """What `evaluate` answers, as far as it is judged: a mean sample with 0.07 per pixel, 4.48 per image."""
    mean = {"mse_per_pixel": 0.07, "mse_per_image": 4.48}
    return {
        "model": {"class": kind, "penalties": penalties or {}, "input_shape": [1, 8, 8], "latent_shape": [50], **model},
        "scaled_length": length,
        "errors": {"test": {"autoencoder": {"mse_per_pixel": ours}, "mean_image": mean}},
        "latents": {"active": active, "near_zero": near_zero, "l0": l0},
    }


@pytest.mark.parametrize(
    "results",
    [
        numbers(),
        numbers(ours=0.0692),
        numbers(ours=float("nan"), active=0.0),
        numbers(ours=None),
        numbers(near_zero=1.0, penalties={"l1": 1.0}),  # small codes, and a decoder that makes up for them
        numbers(l0=0.1, penalties={"l1": 1.0}),  # less than a feature in a sample
    ],
)
def test_nothing_is_said_of_a_model_that_has_learned_something_or_diverged(results):
    assert shortcoming(results) is None


@pytest.mark.parametrize(("ours", "how"), [(0.07, "no better"), (0.08, "no better"), (0.0694, "hardly better")])
def test_no_better_than_the_mean_sample(ours, how):
    sentence = shortcoming(numbers(ours=ours))
    assert f"{how} than always answering the mean of the training samples (error {ours:.5f} against" in sentence
    assert "--trainer.max_epochs" in sentence
    assert "penalty" not in sentence


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"active": 0.0}, "code is empty: no latent is active on any test sample"),
        ({"active": 0.0, "ours": 0.0699}, "hardly better .* code is empty: no latent is active on any test sample"),
        ({"near_zero": 1.0, "ours": 0.0698}, "code is empty: all of its values are within 0.001 of zero"),
        ({"l0": 0.08, "ours": 0.08}, "no better .* code is nearly empty: 0.08 of 50 latents are active on a test samp"),
    ],
)
def test_an_empty_code_is_said_with_the_weight_that_emptied_it(options, words):
    sentence = shortcoming(numbers(**options, penalties={"l1": 10.0}))
    assert re.search(words, sentence)
    assert "Lower --model.penalty_weight, which is 10: l1 is a sum over latents" in sentence
    assert "try 0.003." in sentence  # 2 · 0.05 · √4.48 / 64 = 0.0033


@pytest.mark.parametrize(
    ("kind", "penalties", "words"),
    [
        ("SparseAutoencoder", {"l1": 10.0}, "l1 is a mean over latents, .* try 0.2"),
        ("SparseAutoencoder", {"kl": 10.0, "l1_layer_1": 3.0}, "--model.penalty_weight, which is 10; try 1"),
        ("SparseAutoencoder", {"l1_layer_2": 3.0}, "Lower the weight of l1_layer_2, which is 3"),
        ("TiedSparseAutoencoder", {"geometric": 3.0}, "Lower the weight of geometric, which is 3"),
        ("Mine", {"l1": 3.0}, "Lower the weight of l1, which is 3"),
        ("StandardSAE", {"l1": 0.001}, "which is 0.001: .* try 0.0001"),
    ],
)
def test_what_to_change(kind, penalties, words):
    assert re.search(f"{words}[.]$", shortcoming(numbers(ours=0.07, active=0.0, kind=kind, penalties=penalties)))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kind": "TopKSAE", "penalties": {"auxk": 1 / 32}, "asked_l0": {"k": 2.0}}, "raise --model.k, which is 2, or"),
        ({"penalties": {"l1": 3.0}, "asked_l0": {"target_l0": 0.5}}, "raise --model.target_l0, which is 0.5, or"),
        (
            {"kind": "GatedSAE", "penalties": {"auxk": 1 / 32, "l1": 30.0}},
            "which is 30: l1 is .* try 0.8",
        ),
        ({"kind": "JumpReLUSAE", "penalties": {"l0": 30.0, "pre_activation": 1.0}}, "which is 30: l0 is .* try 0.2"),
    ],
)
def test_what_to_change_in_dictionaries_that_scale_their_input(options, words):
    """2 · 0.05 · 8 = 0.8, and (0.05 · 8)² = 0.16."""
    judged = {"ours": 0.07, "active": 0.0, "length": 8.0, "reconstruction_loss": "mse_sum"}
    assert re.search(words, shortcoming(numbers(**judged, **options)))


@pytest.mark.parametrize(
    ("asked", "l0", "missed"),
    [
        ({"k": 8.0}, 10.1, True),
        ({"k": 8.0}, 9.9, False),
        ({"k": 8.0}, 3.0, False),  # of the eight largest five were not positive
        ({"target_l0": 8.0}, 3.0, True),
        ({"l0": 8.0}, 8.5, False),
        ({}, 50.0, False),
    ],
)
def test_a_code_that_is_far_from_what_was_asked_for_is_told_of(asked, l0, missed):
    sentence = missed_l0(numbers(l0=l0, asked_l0=asked))
    if missed:
        ((option, _),) = asked.items()
        assert f"has {l0:.3g} active latents, where --model.{option} asks for 8: train longer" in sentence
    else:
        assert sentence is None


@pytest.mark.parametrize(("projection", "fires"), [(0.049, False), (0.051, True)])
def test_the_weight_to_try_is_the_one_at_which_a_twentieth_of_a_sample_pays(projection, fires):
    """The slope of the loss in one latent, at a code of zeros, where the typical sample has length √4.48."""
    weight = penalty_to_try(numbers(penalties={"l1": 10.0}))
    row = torch.nn.functional.normalize(torch.arange(1.0, 65, dtype=torch.float64), dim=0)
    residual = projection * 4.48**0.5 * row
    z = torch.zeros((), dtype=torch.float64, requires_grad=True)
    ((residual - z * row).square().mean() + weight * z).backward()
    assert (float(z.grad) < 0) == fires


def fast(parameters):
    return torch.optim.Adam(parameters, lr=0.01)


def sae(weight):
    return StandardSAE(SHAPE, 100, penalty_weight=weight, optimizer=fast), [DecoderNorm()]


def deep(weight):
    return SparseAutoencoder(SHAPE, 20, (32,), penalty_weight=weight, unit_norm="all", optimizer=fast), []


def scaled(weight):
    options = {"input_scaling": "mean_square", "norm_weighted": True, "reconstruction_loss": "mse_sum"}
    return StandardSAE(SHAPE, 100, penalty_weight=weight, init="transpose", optimizer=fast, **options), []


def gated(weight):
    return GatedSAE(SHAPE, 100, penalty_weight=weight), []


@pytest.mark.parametrize("make", [sae, deep, scaled, gated])
def test_with_the_weight_to_try_the_code_is_not_empty(make, make_trainer):
    def trained(weight):
        torch.manual_seed(0)
        model, callbacks = make(weight)
        data = DigitsDataModule(batch_size=64)
        make_trainer(*callbacks, max_epochs=4).fit(model, data)
        return evaluate(model, data)

    emptied = trained(100.0)
    told = shortcoming(emptied)
    assert emptied["errors"]["test"]["autoencoder"]["explained_variance"] < 0.01
    better = trained(float(re.search(r"try ([\d.e-]+)[.]$", told)[1]))
    assert shortcoming(better) is None
    assert better["latents"]["l0"] > 1
    assert better["errors"]["test"]["autoencoder"]["explained_variance"] > 0.3


def test_what_is_described_of_a_population_is_plain_numbers():
    """The controller has a factor for each instance, and a Matryoshka autoencoder weighs its reconstructions."""
    model = GatedSAE((4,), 8, penalty_weight=2.0, target_l0=3.0, instances=2)
    assert describe(model)["penalties"] == {"l1": 2.0}
    assert describe(model)["asked_l0"] == {"target_l0": 3.0}
    nested = MatryoshkaSAE((4,), 8, k={"start": 8.0, "end": 2.5}, prefixes=(2,), prefix_weights=(0.25, 3.0))
    assert describe(nested)["penalties"] == {"auxk": 1 / 32, "prefix_2": 0.25, "prefixes": 3.0}
    assert describe(nested)["asked_l0"] == {"k": 2.5}

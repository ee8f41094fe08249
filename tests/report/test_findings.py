"""Warnings of a report, with numbers made by hand, just on each side of where a warning begins."""

import math

import numpy as np
import pytest

from ae_lightning.report.findings import findings

STEPS = np.arange(0, 101, 10)
#: It falls to 1 quickly and stays there.
SETTLED = (STEPS, np.array([5.0, 2.0, 1.2, 1.1, 1.05, 1.02, 1.01, 1.0, 1.0, 1.0, 1.0]))
NO_LOSS = (np.empty(0, dtype=int), np.empty(0))


def numbers(ours=0.01, pca=0.02, mean=0.07, active=16.0, dead=0.0, narrow=True, probes=None):
    """What `evaluate` answers, as far as a reader is warned of it; good numbers where nothing else is said."""
    errors = {"autoencoder": ours, "mean_image": mean, "pca": pca}
    return {
        "model": {"is_undercomplete": narrow, "class": "Mine", "penalties": {}, "latent_shape": [16]},
        "errors": {"test": {name: {"mse_per_pixel": value} for name, value in errors.items()}},
        "pca_components": 16,
        "latents": {"active": active, "dead": dead, "near_zero": 0.5, "l0": active / 2},
        "probes": probes or {},
    }


def warned(results=None, loss=SETTLED, is_finished=True):
    return findings(numbers() if results is None else results, loss, is_finished)


def falling_to(last):
    """A loss that is 1 after four fifths of the steps and in the end what is said."""
    return STEPS, np.array([5.0, 2.0, 1.5, 1.2, 1.1, 1.0, 1.0, 1.0, 1.0, (1 + last) / 2, last])


def test_good_numbers_call_for_no_warning():
    assert warned() == []


def test_a_run_that_has_not_finished_is_said_first():
    sentences = warned(numbers(ours=0.08), is_finished=False)
    assert len(sentences) == 2
    assert sentences[0] == "The run has not come to its end: these are the numbers of a checkpoint."


def test_of_an_empty_code_dead_latents_are_not_said_again():
    (sentence,) = warned(numbers(ours=0.08, active=0.0, dead=16.0))
    assert sentence.startswith("Train longer")


# Errors


@pytest.mark.parametrize("ours", [0.07, 0.0701, 5.0])
def test_of_a_model_that_has_learned_nothing_the_only_thing_said_is_what_to_change(ours):
    """What is wrong with it is in the verdict."""
    (sentence,) = warned(numbers(ours=ours))
    assert sentence == "Train longer (--trainer.max_epochs), or with another --model.optimizer.lr."


@pytest.mark.parametrize("ours", [0.0199, 0.02, 0.069, math.nan, math.inf])
def test_what_the_verdict_says_of_the_error_is_not_said_again(ours):
    assert warned(numbers(ours=ours)) == []


# Latents


@pytest.mark.parametrize(("dead", "is_warned"), [(7.0, False), (7.9, False), (8.0, True), (15.9, True)])
def test_half_of_the_latents_dead(dead, is_warned):
    sentences = warned(numbers(active=16 - dead, dead=dead))
    assert sentences == (
        [f"{dead:.0f} of 16 latents are dead: they are active on no test sample."] if is_warned else []
    )


# Probes


def probes(prefix, code, raw, error):
    return {
        f"{prefix}/latent": code,
        f"{prefix}/raw": raw,
        f"{prefix}/latent_se": error,
        f"{prefix}/raw_se": error,
    }


@pytest.mark.parametrize(
    ("code", "is_warned"),
    [
        # Two standard errors of 0.03 and 0.03 are 2 · 0.03 · √2 = 0.08485.
        (0.9, True),
        (0.9 + 0.0848, True),
        (0.9 + 0.0849, False),
        (0.9 - 0.0848, True),
        (0.9 - 0.0849, False),
    ],
)
def test_accuracies_within_two_standard_errors_are_noise(code, is_warned):
    sentences = [text for text in warned(numbers(probes=probes("probe", code, 0.9, 0.03))) if "noise" in text]
    assert len(sentences) == is_warned
    assert all(f"({code:.4f}) and on raw samples (0.9000)" in sentence for sentence in sentences)
    assert all("two standard errors (0.0424)" in sentence for sentence in sentences)


def test_a_code_that_is_read_worse_than_raw_samples_is_warned_of():
    (sentence,) = warned(numbers(probes=probes("probe", 0.8, 0.9, 0.03)))
    assert sentence == "A linear classifier reads less from the code (0.8000) than from raw samples (0.9000)."
    assert warned(numbers(probes=probes("probe", 0.99, 0.9, 0.03))) == []


def test_the_probe_on_all_samples_is_what_counts():
    both = probes("probe", 0.9, 0.9, 0.01) | probes("probe_full", 0.99, 0.9, 0.01)
    assert warned(numbers(probes=both)) == []
    both = probes("probe", 0.99, 0.9, 0.01) | probes("probe_full", 0.9, 0.9, 0.01)
    assert len(warned(numbers(probes=both))) == 1


def test_probes_that_there_are_not():
    assert warned(numbers(probes={"probe/latent": 0.9})) == []
    assert warned({name: value for name, value in numbers().items() if name != "probes"}) == []
    assert warned(numbers(probes={"probe/latent": 0.9, "probe/raw": 0.9})) == []  # how sure they are is not known


# Losses


@pytest.mark.parametrize(("last", "is_warned"), [(1.0499, False), (1.0501, True), (3.0, True)])
def test_a_loss_that_has_risen_by_more_than_a_twentieth(last, is_warned):
    sentences = warned(loss=falling_to(last))
    assert len(sentences) == is_warned
    assert all(f"risen again, from 1 at step 50 to {last:.5g}" in sentence for sentence in sentences)


@pytest.mark.parametrize(("last", "is_warned"), [(1 / 1.0199, False), (1 / 1.0201, True), (0.5, True)])
def test_a_loss_that_still_fell_by_more_than_a_fiftieth(last, is_warned):
    sentences = warned(loss=falling_to(last))
    assert len(sentences) == is_warned
    assert all(f"still falling when training ended, from 1 to {last:.5g}" in sentence for sentence in sentences)


def test_the_last_fifth_is_one_of_steps_and_not_of_values():
    # Many values at the start: the last fifth of the steps has but one of them, and the one before it lies at step 10.
    steps = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 100])
    values = np.array([5.0, 4.0, 3.0, 2.0, 1.5, 1.2, 1.1, 1.0, 1.0, 1.0, 1.0, 0.9])
    (sentence,) = warned(loss=(steps, values))
    assert "from 1 to 0.9" in sentence


def test_two_points_say_nothing_and_three_do():
    assert warned(loss=NO_LOSS) == []
    assert warned(loss=(np.array([0, 10]), np.array([5.0, 1.0]))) == []
    assert warned(loss=(np.array([0, 10]), np.array([1.0, 5.0]))) == []
    assert len(warned(loss=(np.array([0, 5, 10]), np.array([5.0, 3.0, 1.0])))) == 1


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("place", [1, -1])
def test_a_loss_that_was_no_number_once_is_told_and_not_hidden(value, place):
    values = SETTLED[1].copy()
    values[place] = value
    (sentence,) = warned(loss=(STEPS, values))
    assert sentence == (f"The validation loss was not finite, at first at step {STEPS[place]}: training has diverged.")


def test_a_loss_below_zero_is_measured_by_its_size():
    falls = np.array([0.0, -50.0, -90.0, -100.0, -100.0, -100.0, -100.0, -100.0, -100.0, -100.0, -100.0])
    assert warned(loss=(STEPS, falls)) == []
    falls[-1] = -94.0
    (sentence,) = warned(loss=(STEPS, falls))
    assert "risen again, from -100 at step 30 to -94" in sentence

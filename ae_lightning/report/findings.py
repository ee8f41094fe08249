"""What a reader of a run should be warned of."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ae_lightning.evaluation.judgment import missed_l0, shortcoming
from ae_lightning.numerals import numeral
from ae_lightning.run.results import TEST_IS_VALIDATION, known

# A loss that fell by more than this in the last fifth of the steps was still falling.
_STILL_FALLING = 0.02
# A last loss that lies higher than the best by more than this has risen.
_HAS_RISEN = 0.05
# Differences of accuracy below so many standard errors are noise.
_NOISE = 2.0


def findings(results: Mapping[str, Any], loss: tuple[np.ndarray, np.ndarray], is_finished: bool) -> list[str]:
    """Warnings that matter, a sentence each.

    Args:
        results: What `evaluate` answers, with `probes` if there are any.
        loss: Steps and values of the validation loss, (n,) each.
        is_finished: Whether the run has come to its end.
    """
    sentences = [] if is_finished else ["The run has not come to its end: these are the numbers of a checkpoint."]
    return [*sentences, *_of_errors(results), *_of_latents(results), *_of_probes(results), *_of_loss(*loss)]


def _of_errors(results: Mapping[str, Any]) -> Iterator[str]:
    test = {name: known(numbers, "mse_per_pixel") for name, numbers in results["errors"]["test"].items()}
    if results.get("test_is_validation"):
        yield f"These are not the errors of unseen data: {TEST_IS_VALIDATION}."
    if reason := results["errors"]["test"]["mean_image"].get("fvu_reason"):
        yield f"There is no fraction of variance explained on the test set: {reason}."
    if not math.isfinite(test["autoencoder"]):
        reason = results["errors"]["test"]["autoencoder"].get("mse_per_pixel_reason", test["autoencoder"])
        yield f"The autoencoder's error on the test set is not finite ({reason}): training has diverged."
    elif sentence := shortcoming(results):
        yield sentence
    elif results["model"]["is_undercomplete"] and test["autoencoder"] >= test["pca"]:
        yield (
            f"The autoencoder is no better than PCA with {results['pca_components']} components (error "
            f"{numeral(test['autoencoder'])} against {numeral(test['pca'])})."
        )


def _of_latents(results: Mapping[str, Any]) -> Iterator[str]:
    if sentence := missed_l0(results):
        yield sentence
    latents = results["latents"]
    size = latents["active"] + latents["dead"]
    if latents["active"] and latents["dead"] >= size / 2:
        yield f"{latents['dead']:.0f} of {size:.0f} latents are dead: they are active on no test sample."


def _of_probes(results: Mapping[str, Any]) -> Iterator[str]:
    probes = results.get("probes", {})
    for prefix in ("probe_full", "probe"):
        ours, raw = probes.get(f"{prefix}/latent"), probes.get(f"{prefix}/raw")
        if ours is None or raw is None:
            continue
        noise = math.hypot(probes.get(f"{prefix}/latent_se", 0.0), probes.get(f"{prefix}/raw_se", 0.0))
        if abs(ours - raw) < _NOISE * noise:
            code, pixels, least = (numeral(value, ".4f") for value in (ours, raw, noise))
            yield (
                f"The probe's accuracies on the code ({code}) and on raw pixels ({pixels}) differ by less than two "
                f"standard errors ({least}): that is noise."
            )
        return


def _of_loss(steps: np.ndarray, values: np.ndarray) -> Iterator[str]:
    there = np.isfinite(values)
    if not there.all():
        yield f"The validation loss was not finite, at first at step {steps[~there][0]}: training has diverged."
        return
    if len(values) < 3:
        return
    best, last = float(values.min()), float(values[-1])
    if last > best + _HAS_RISEN * abs(best):
        yield (
            f"The validation loss has risen again, from {best:.5g} at step {steps[values.argmin()]} to {last:.5g}: the "
            "best checkpoint is not the last one."
        )
        return
    before = values[steps <= steps[0] + 0.8 * (steps[-1] - steps[0])]
    if len(before) and float(before[-1]) - last > _STILL_FALLING * abs(last):
        yield (
            f"The validation loss was still falling when training ended, from {before[-1]:.5g} to {last:.5g} in the "
            "last fifth of the steps: a longer run would be better."
        )

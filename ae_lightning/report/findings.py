"""What a reader of a run should be warned of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ae_lightning.evaluation.instance_table import failed_instances
from ae_lightning.evaluation.judgment import missed_l0, shortcoming_of
from ae_lightning.evaluation.verdict import accuracies
from ae_lightning.numerals import numeral
from ae_lightning.run.results import TEST_IS_VALIDATION

# A loss that fell by more than this in the last fifth of the steps was still falling.
_STILL_FALLING = 0.02
# A last loss that lies higher than the best by more than this has risen.
_HAS_RISEN = 0.05


def findings(results: Mapping[str, Any], loss: tuple[np.ndarray, np.ndarray], is_finished: bool) -> list[str]:
    """Warnings that matter, a sentence each: what the verdict on the model does not say.

    Args:
        results: What `evaluate` answers, with `probes` if there are any.
        loss: Steps and values of the validation loss, (n,) each.
        is_finished: Whether the run has come to its end.
    """
    sentences = [] if is_finished else ["The run has not come to its end: these are the numbers of a checkpoint."]
    of_numbers = (*_of_errors(results), *_of_latents(results), *failed_instances(results), *_of_probes(results))
    return [*sentences, *of_numbers, *_of_loss(*loss)]


def _of_errors(results: Mapping[str, Any]) -> Iterator[str]:
    if results.get("test_is_validation"):
        yield f"These are not the errors of unseen data: {TEST_IS_VALIDATION}."
    if reason := results["errors"]["test"]["mean_image"].get("fvu_reason"):
        yield f"There is no fraction of variance explained on the test set: {reason}."
    if found := shortcoming_of(results):
        yield f"{found.advice}."


def _of_latents(results: Mapping[str, Any]) -> Iterator[str]:
    if sentence := missed_l0(results):
        yield sentence
    latents = results["latents"]
    size = latents["active"] + latents["dead"]
    if latents["active"] and latents["dead"] >= size / 2:
        yield f"{latents['dead']:.0f} of {size:.0f} latents are dead: they are active on no test sample."


def _of_probes(results: Mapping[str, Any]) -> Iterator[str]:
    read = accuracies(results)
    if read is None or not read.noise:
        return
    code, raw, least = (numeral(value, ".4f") for value in read)
    if read.sign == 0:
        yield (
            f"The probe's accuracies on the code ({code}) and on raw samples ({raw}) differ by less than two standard "
            f"errors ({least}): that is noise."
        )
    elif read.sign < 0:
        yield f"A linear classifier reads less from the code ({code}) than from raw samples ({raw})."


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

"""Whether a model has learned anything at all, and what to change where it has not."""

import math
from collections.abc import Mapping
from typing import Any

from ae_lightning.numerals import numeral
from ae_lightning.run.results import known

# Part of a baseline's error down to which a model is hardly better: one that answers the mean may be so by chance.
_HARDLY = 0.99
# Part of a typical sample's length that a latent's projection must exceed before it pays to fire.
_BEARABLE = 0.05
# Classes of ours whose penalty has its weight in --model.penalty_weight, and the reduction of `l1` there.
_L1_OVER_LATENTS = {"StandardSAE": "sum", "SparseAutoencoder": "mean", "TiedSparseAutoencoder": "mean"}


LITTLE = ("no better", "hardly better")
"""What is said of an error that is no lower than a baseline's, and of one within 1 % of it."""


def how_little_better(error: float, baseline: float) -> str:
    """One of `LITTLE`, or nothing of an error that is clearly lower than a baseline's."""
    if error >= baseline:
        return LITTLE[0]
    return LITTLE[1] if error > _HARDLY * baseline else ""


def shortcoming(results: Mapping[str, Any]) -> str | None:
    """What is wrong with a model that is hardly better than the mean sample, or whose code is empty; what to change.

    Args:
        results: What `evaluate` answers.

    Returns:
        None for a model that has learned something, and where an error is not finite.
    """
    ours, mean = (results["errors"]["test"][name]["mse_per_pixel"] for name in ("autoencoder", "mean_image"))
    if ours is None or mean is None or not math.isfinite(ours):
        return None
    better = how_little_better(ours, mean)
    empty = _emptiness(results, is_useless=bool(better))
    if better:
        answer = f"always answering the mean of the training samples (error {numeral(ours)} against {numeral(mean)})"
        what = f"The autoencoder is {better} than {answer}" + (f", and its code is {empty}" if empty else "")
    elif empty:
        what = f"The autoencoder's code is {empty}"
    else:
        return None
    return f"{what}. {_advice(results)}."


def penalty_to_try(results: Mapping[str, Any]) -> float:
    """A weight of the penalty that leaves the code something to do, for a model that its penalty has emptied.

    With decoder rows of norm 1, a latent of a `StandardSAE` lowers loss by firing as soon as the sample's projection on
    its row exceeds weight · input size / 2: the error, a mean over the input's entries, falls by 2 · projection / size
    for the first bit of activation, and the penalty, a sum over latents, costs the weight. The answer puts that at 5 %
    of the length of a typical sample (the root mean square of ‖x − mean‖). Where `l1` is a mean over latents it is as
    many times larger as there are latents. It is made for the squared error; of penalties other than `l1` it is a tenth
    of the present one, and it never is more.

    Args:
        results: What `evaluate` answers, of a class of ours with a penalty.
    """
    name, weight = next(iter(results["model"]["penalties"].items()))
    tenth = weight / 10
    if name != "l1":
        return tenth
    length = math.sqrt(results["errors"]["test"]["mean_image"]["mse_per_image"])
    bearable = 2 * _BEARABLE * length / math.prod(results["model"]["input_shape"])
    if _L1_OVER_LATENTS[results["model"]["class"]] == "mean":
        bearable *= math.prod(results["model"]["latent_shape"])
    return min(bearable, tenth)


def _emptiness(results: Mapping[str, Any], is_useless: bool) -> str:
    """In what way a code is empty; nothing if it is not.

    Small values and few active latents are emptiness only where nothing can be made of them: a decoder may make up for
    small codes, and samples may hold less than one feature each.
    """
    latents, size = results["latents"], math.prod(results["model"]["latent_shape"])
    if known(latents, "active") == 0:
        return "empty: no latent is active on any test sample"
    if is_useless and known(latents, "near_zero") == 1:
        return "empty: all of its values are within 0.001 of zero"
    if is_useless and known(latents, "l0") < 1:
        return f"nearly empty: {latents['l0']:.2g} of {size} latents are active on a test sample"
    return ""


def _advice(results: Mapping[str, Any]) -> str:
    model = results["model"]
    name, weight = next(iter(model["penalties"].items()), ("", 0.0))
    if not name:
        return "Train longer (--trainer.max_epochs), or with another --model.optimizer.lr"
    if model["class"] not in _L1_OVER_LATENTS or name.rpartition("_layer_")[0] or name == "geometric":
        return f"Lower the weight of {name}, which is {weight:g}"
    beside = "beside an error that is a mean over the input's entries"
    reduction = f": l1 is a {_L1_OVER_LATENTS[model['class']]} over latents, {beside}" if name == "l1" else ""
    return f"Lower --model.penalty_weight, which is {weight:g}{reduction}; try {penalty_to_try(results):.1g}"

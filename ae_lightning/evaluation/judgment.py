"""Whether a model has learned anything at all, and what to change where it has not."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from ae_lightning.numerals import numeral
from ae_lightning.run.results import has_targets, known, output_shape

# Part of a baseline's error down to which a model is hardly better: one that answers the mean may be so by chance.
_HARDLY = 0.99
# Relative distance of L0 from what was asked for that is let pass.
_NEAR_L0 = 0.25
# Part of a posterior's latents below which so few are active that it is called collapsed.
_FEW_ACTIVE = 0.25
# Part of a typical sample's length that a latent's projection must exceed before it pays to fire.
_BEARABLE = 0.05
# Classes of ours whose penalty has its weight in --model.penalty_weight, and the reduction of `l1` or `l0` there.
_OVER_LATENTS = {
    **dict.fromkeys(("StandardSAE", "GatedSAE", "JumpReLUSAE", "PAnnealSAE"), "sum"),
    **dict.fromkeys(("SparseAutoencoder", "TiedSparseAutoencoder"), "mean"),
}
# Terms that make no code sparse; one for each prefix of a Matryoshka autoencoder is another.
_NO_PENALTIES = ("auxk", "auxiliary", "pre_activation", "contraction", "mmd", "commitment")
_BESIDE = {
    "mse_sum": "that is a sum over the input's entries",
    "fvu": "in parts of the data's variance",
}


LITTLE = ("no better", "hardly better")
"""What is said of an error that is no lower than a baseline's, and of one within 1 % of it."""


def how_little_better(error: float, baseline: float) -> str:
    """One of `LITTLE`, or nothing of an error that is clearly lower than a baseline's."""
    if error >= baseline:
        return LITTLE[0]
    return LITTLE[1] if error > _HARDLY * baseline else ""


class Shortcoming(NamedTuple):
    """What is wrong with a model that has learned nothing, and what to change; neither ends in a full stop."""

    what: str
    advice: str


def shortcoming(results: Mapping[str, Any]) -> str | None:
    """What is wrong with a model that is hardly better than the mean sample, or whose code is empty; what to change.

    Args:
        results: What `evaluate` answers.

    Returns:
        None for a model that has learned something, and where an error is not finite.
    """
    found = shortcoming_of(results)
    return f"{found.what}. {found.advice}." if found else None


def shortcoming_of(results: Mapping[str, Any]) -> Shortcoming | None:
    """The two parts of what `shortcoming` says."""
    ours, mean = (results["errors"]["test"][name]["mse_per_pixel"] for name in ("autoencoder", "mean_image"))
    if ours is None or mean is None or not math.isfinite(ours):
        return None
    better = how_little_better(ours, mean)
    empty = _emptiness(results, is_useless=bool(better))
    model = "model" if has_targets(results) else "autoencoder"
    if better:
        those = "targets" if has_targets(results) else "samples"
        answer = f"always answering the mean of the training {those} (error {numeral(ours)} against {numeral(mean)})"
        what = f"The {model} is {better} than {answer}" + (f", and its code is {empty}" if empty else "")
    elif empty:
        what = f"The {model}'s code is {empty}"
    else:
        return None
    return Shortcoming(what, _advice(results))


def missed_l0(results: Mapping[str, Any]) -> str | None:
    """What is said of a code that is far from the number of active latents that was asked for; None if it is not.

    Of a code that selects the k largest latents fewer may be positive, so that it misses k only by more of them.

    Args:
        results: What `evaluate` answers.
    """
    l0 = known(results["latents"], "l0")
    for option, number in results["model"].get("asked_l0", {}).items():
        if l0 > number * (1 + _NEAR_L0) or (option != "k" and 0 < l0 < number * (1 - _NEAR_L0)):
            return (
                f"A test sample has {l0:.3g} active latents, where --model.{option} asks for {number:g}: train longer."
            )
    return None


def collapsed(results: Mapping[str, Any]) -> str | None:
    """What is said of a posterior that is the prior in most latents, and what to change; None where it is not.

    Args:
        results: What `evaluate` answers.
    """
    posterior = results.get("posterior")
    if not posterior:
        return None
    latents, active = len(posterior["kl_of_latents"]), posterior["active"]
    if active >= _FEW_ACTIVE * latents:
        return None
    return (
        f"Posterior collapse: {latents - active} of {latents} latents tell nothing of a sample. Lower --model.beta or "
        "let it rise over the run, give latents some --model.free_bits, or choose a smaller --model.latent_dim."
    )


def penalty_to_try(results: Mapping[str, Any]) -> float:
    """A weight of the penalty that leaves the code something to do, for a model that its penalty has emptied.

    With decoder rows of norm 1, a latent of a `StandardSAE` lowers loss by firing as soon as the sample's projection on
    its row exceeds weight · input size / 2: the error, a mean over the input's entries, falls by 2 · projection / size
    for the first bit of activation, and the penalty, a sum over latents, costs the weight. The answer puts that at 5 %
    of the length of a typical sample (the root mean square of ‖x − mean‖, as the model scales its input). Of an error
    that is a sum over entries nothing is divided by the size, and of `fvu` the error of a sum by the squared length.
    Where `l1` is a mean over latents it is as many times larger as there are latents. A penalty `l0` costs the weight
    for as much as a latent can gain, projection² in place of 2 · projection. All is made for the squared error; of
    other penalties it is a tenth of the present one, and it never is more.

    Args:
        results: What `evaluate` answers, of a class of ours with a penalty.
    """
    model = results["model"]
    name, weight = _penalty(model)
    tenth = weight / 10
    if name not in ("l1", "l0"):
        return tenth
    length = results.get("scaled_length") or math.sqrt(results["errors"]["test"]["mean_image"]["mse_per_image"])
    gain = 2 * _BEARABLE * length if name == "l1" else (_BEARABLE * length) ** 2
    units = {"mse_sum": 1.0, "fvu": length**2}
    bearable = gain / units.get(model.get("reconstruction_loss", "mse"), math.prod(output_shape(model)))
    if _OVER_LATENTS[model["class"]] == "mean":
        bearable *= math.prod(model["latent_shape"])
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
    for option, number in model.get("asked_l0", {}).items():
        return (
            f"Train longer (--trainer.max_epochs), raise --model.{option}, which is {number:g}, or set another "
            "--model.optimizer.lr"
        )
    name, weight = _penalty(model)
    if not name:
        return "Train longer (--trainer.max_epochs), or with another --model.optimizer.lr"
    if model["class"] not in _OVER_LATENTS or name.rpartition("_layer_")[0] or name == "geometric":
        return f"Lower the weight of {name}, which is {weight:g}"
    beside = _BESIDE.get(model.get("reconstruction_loss", "mse"), "that is a mean over the input's entries")
    over = f": {name} is a {_OVER_LATENTS[model['class']]} over latents, beside an error {beside}"
    reduction = over if name in ("l1", "l0") else ""
    return f"Lower --model.penalty_weight, which is {weight:g}{reduction}; try {penalty_to_try(results):.1g}"


def _penalty(model: Mapping[str, Any]) -> tuple[str, float]:
    """Name and weight of the first term that makes a code sparse; an empty name where there is none."""
    if "likelihood" in model:  # its KL divergence makes no code sparse
        return "", 0.0
    weights = model["penalties"].items()
    found = (item for item in weights if item[0] not in _NO_PENALTIES and not item[0].startswith("prefix"))
    return next(found, ("", 0.0))

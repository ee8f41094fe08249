"""What `metrics.json` may hold where commands read it; a file in a run's folder can be anybody's."""

from collections.abc import Callable, Mapping
from typing import Any

_ANY = "*"  # the name of all that are not named themselves
_LARGEST = 1 << 53
_MOST_DIMENSIONS = 16


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_truth(value: Any) -> bool:
    return isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _LARGEST


def _are_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(number is None or _is_number(number) for number in value)


def _is_shape(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= _MOST_DIMENSIONS and all(map(_is_count, value))


_NUMBERS = {_ANY: _is_number}
_LATENTS = {"mean_activation": _NUMBERS, _ANY: _is_number}
_ERRORS = {_ANY: {_ANY: _NUMBERS}}
_WEIGHTS_OF_LOSS = {name: _NUMBERS for name in ("penalties", "asked_l0")}
_SPLICED = {_ANY: _NUMBERS}
_FACTORS = {"each": {_ANY: _NUMBERS}, "pca": _NUMBERS, _ANY: _is_number}
_INSTANCE: dict[str, Any] = {
    "instance": _is_count,
    "settings": {_ANY: _is_number},
    "model": _WEIGHTS_OF_LOSS,
    "errors": _ERRORS,
    "latents": _LATENTS,
    **{name: _NUMBERS for name in ("recovery", "weights")},
    "factors": _FACTORS,
}
_LATER = ("factors",)
"""Parts of an instance that earlier versions did not write."""

_FORM: dict[str, Any] = {
    **{name: _is_text for name in ("run", "checkpoint")},
    **{name: _is_count for name in ("seed", "pca_components")},
    **{name: _is_number for name in ("seconds", "scaled_length")},
    "model": {
        "class": _is_text,
        **{name: _is_count for name in ("parameters", "instances", "images_seen")},
        **{name: _is_shape for name in ("input_shape", "output_shape", "latent_shape")},
        "compression_ratio": _is_number,
        **{name: _is_truth for name in ("is_undercomplete", "has_skip")},
        **{name: _is_text for name in ("reconstruction_loss", "likelihood")},
        **_WEIGHTS_OF_LOSS,
    },
    "data": {**{name: _is_text for name in ("class", "description", "hash")}, "has_targets": _is_truth},
    "test_is_validation": _is_truth,
    "baseline_samples": {"count": _is_count, "drawn": _is_truth},
    "errors": _ERRORS,
    "parts": {_ANY: _NUMBERS},
    "latents": _LATENTS,
    "posterior": {
        "kl": _is_number,
        "active": _is_count,
        **{name: _are_numbers for name in ("kl_of_latents", "variance_of_means")},
    },
    "bound": {"nats": _is_number, "nats_se": _is_number, "samples": _is_count, "images": _is_count},
    **{name: _NUMBERS for name in ("recovery", "weights", "probes", "codebook")},
    "factors": _FACTORS,
    "instances": [_INSTANCE],
    "splice": {
        **{name: _is_text for name in ("network", "class", "read", "replaced", "data", "loss")},
        "held_out": _is_truth,
        "samples": _is_count,
        "measures": _SPLICED,
        "instances": [_SPLICED],
    },
    "versions": {_ANY: _is_text},
}
"""What stands by which name: a check, the same for what a mapping holds, or in a list that for each of its entries.

What is not named here may be anything.
"""


def misplaced(results: Mapping[str, Any]) -> str:
    """The first name in the final numbers of a run under which something of another kind stands; empty if none does.

    A value may be null, but a section may not. A text that ends in `_reason` may stand beside a number. Instances are
    listed in their order, from 0 on, each with all of its parts.
    """
    return _misplaced(results, _FORM, "") or _out_of_order(results.get("instances", []))


def _misplaced(content: Mapping[str, Any], form: Mapping[str, Any], above: str) -> str:
    for name, value in content.items():
        expected: Mapping[str, Any] | list[Any] | Callable[[Any], bool] | None = form.get(name, form.get(_ANY))
        where = f"{above}{name}"
        if isinstance(expected, Mapping):
            found = _misplaced(value, expected, f"{where}.") if isinstance(value, dict) else where
        elif isinstance(expected, list):
            found = _misplaced_in(value, expected[0], where)
        elif expected is None or value is None or expected(value) or (name.endswith("_reason") and _is_text(value)):
            found = ""
        else:
            found = where
        if found:
            return found
    return ""


def _misplaced_in(entries: Any, form: Mapping[str, Any], where: str) -> str:
    """The same of a list of mappings."""
    if not isinstance(entries, list):
        return where
    found = (
        _misplaced(entry, form, f"{where}.{place}.") if isinstance(entry, dict) else f"{where}.{place}"
        for place, entry in enumerate(entries)
    )
    return next(filter(None, found), "")


def _out_of_order(instances: list[dict[str, Any]]) -> str:
    """The first part of an instance that is missing, a number other than its place, or a setting that is null."""
    for place, entry in enumerate(instances):
        wrong = [name for name in _INSTANCE if name not in entry and name not in _LATER]
        wrong += ["instance"] if entry.get("instance") != place else []
        wrong += [f"settings.{name}" for name, value in entry.get("settings", {}).items() if value is None]
        if wrong:
            return f"instances.{place}.{wrong[0]}"
    return ""


_NEEDED = {
    "model": ("class", "parameters", "input_shape", "latent_shape", "compression_ratio", "is_undercomplete"),
    "data": ("description", "hash"),
    "latents": ("active", "dead"),
    "recovery": (),
    "weights": (),
    "versions": ("ae_lightning", "torch"),
}


def is_whole(results: Mapping[str, Any]) -> bool:
    """Whether all is there that a report is made of; an earlier version, or somebody's hand, may have left it out."""
    errors = results.get("errors", {})
    baselines = [errors.get(split, {}).get(of) for split in ("test", "validation") for of in ("autoencoder", "pca")]
    baselines += [errors.get(split, {}).get("mean_image") for split in ("test", "validation")]
    measured = all(numbers and "mse_per_pixel" in numbers and "mse_per_image" in numbers for numbers in baselines)
    named = all(results.get(part, {}).get(name) is not None for part, names in _NEEDED.items() for name in names)
    return measured and named and _NEEDED.keys() <= results.keys()

"""Whether a model is any good, in one sentence, and the numbers that say so beside what they must beat."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Literal, NamedTuple

from ae_lightning.evaluation.judgment import how_little_better, shortcoming_of
from ae_lightning.numerals import numeral
from ae_lightning.run.instances import are_unlike
from ae_lightning.run.results import has_targets, known, output_shape, pca_of, set_with_exact_pca

Grade = Literal["good", "mixed", "bad"]

NOISE = 2.0
"""Differences of accuracy below so many standard errors are noise."""

# Parts of the true features from which on a dictionary is right, and from which on it is right in part.
_MOST, _HALF = 0.9, 0.5


class Verdict(NamedTuple):
    """A judgment of a model."""

    grade: Grade
    sentence: str  #: one sentence, with its reason


class Beside(NamedTuple):
    """A number of a model, and what it is to be compared with."""

    name: str
    value: str
    baseline: str


class Accuracies(NamedTuple):
    """What a linear classifier reads from the code and from raw samples."""

    code: float
    raw: float
    noise: float  #: standard error of the difference; 0 where it is not known

    @property
    def sign(self) -> int:
        """1 where the code is read better than raw samples, -1 where worse, 0 within two standard errors."""
        difference = self.code - self.raw
        return 0 if abs(difference) <= NOISE * self.noise else (difference > 0) - (difference < 0)


def verdict(
    results: Mapping[str, Any], pca_of_active: Mapping[str, Any] | None = None, is_finished: bool = True
) -> Verdict:
    """Judge a model by its errors on the test set, and by the true features where they are known.

    A model fails whose training has diverged, and one that has learned nothing (see `shortcoming`). Others are judged
    by the first of these that there is: the true features that it finds; for a code with few active latents, PCA of as
    many components; for a code narrower than the input, PCA of its width; and what a linear classifier reads from the
    code, beside raw samples.

    Args:
        results: What `evaluate` answers, with `probes` if there are any.
        pca_of_active: Errors on the test set of PCA with as many components as a sample has active latents, as
            `ErrorMeter` answers them; None where the code is not made sparse, see `components_of_active`.
        is_finished: Whether the run has come to its end.
    """
    grade, opening, reason = _judged(results, pca_of_active)
    listed = results.get("instances") or []
    if are_unlike(listed):
        opening = f"In the mean over {len(listed)} instances of different settings {_lower(opening)}"
    return Verdict(grade, f"{opening if is_finished else f'So far {_lower(opening)}'}: {reason}.")


def _judged(results: Mapping[str, Any], pca_of_active: Mapping[str, Any] | None) -> tuple[Grade, str, str]:
    test = results["errors"]["test"]
    if not math.isfinite(known(test["autoencoder"], "mse_per_pixel")):
        reason = test["autoencoder"].get("mse_per_pixel_reason", test["autoencoder"]["mse_per_pixel"])
        return "bad", "It failed", f"training has diverged, since the error on the test set is not finite ({reason})"
    if found := shortcoming_of(results):
        return "bad", "It does not work", _lower(found.what)
    if results.get("recovery"):
        return _by_truth(results)
    if pca_of_active is not None:
        active = f"with {results['latents']['l0']:.3g} of {_width(results):,} latents active on a sample"
        return _by_pca(results, active, pca_of_active, pca_of(results, "as many components"))
    if not set_with_exact_pca(results, "test"):
        return _by_pca(results, f"with {_width(results):,} latents", test["pca"], pca_of(results, "the same width"))
    return _by_probe(results)


def _by_truth(results: Mapping[str, Any]) -> tuple[Grade, str, str]:
    share = known(results["recovery"], "fraction_recovered")
    reason = f"it finds {share:.0%} of the true features and leaves {_left(results, 'autoencoder')}"
    if share >= _MOST:
        return "good", "It works", reason
    return ("mixed", "It works in part", reason) if share >= _HALF else ("bad", "It misses the truth", reason)


def _by_pca(results: Mapping[str, Any], width: str, pca: Mapping[str, Any], name: str) -> tuple[Grade, str, str]:
    ours, bar = results["errors"]["test"]["autoencoder"]["mse_per_pixel"], known(pca, "mse_per_pixel")
    reason = f"{width} it leaves {_left(results, 'autoencoder')}, {name} leaves {_part(pca)}"
    if not how_little_better(ours, bar):
        return "good", "It works", reason
    if not how_little_better(bar, ours):
        return "bad", "It falls short", reason
    return "mixed", f"It is about as good as {'a linear map' if has_targets(results) else 'PCA'}", reason


def _by_probe(results: Mapping[str, Any]) -> tuple[Grade, str, str]:
    reason = f"it leaves {_left(results, 'autoencoder')} where {pca_of(results, 'its width')} leaves none"
    read = accuracies(results)
    if read is None:
        return "mixed", "It copies, which proves little", reason
    reason += f", and a linear classifier reads {read.code:.1%} from its code, {read.raw:.1%} from raw samples"
    if read.sign == 0:
        return "mixed", "It copies, which proves little", reason
    return ("good", "It works", reason) if read.sign > 0 else ("bad", "It falls short", reason)


def accuracies(results: Mapping[str, Any]) -> Accuracies | None:
    """What the last probe read, that on all samples if there was one; None without a probe."""
    probes = results.get("probes") or {}
    for prefix in ("probe_full", "probe"):
        code, raw = probes.get(f"{prefix}/latent"), probes.get(f"{prefix}/raw")
        if code is not None and raw is not None:
            errors = (probes.get(f"{prefix}/{name}_se") or 0.0 for name in ("latent", "raw"))
            return Accuracies(code, raw, math.hypot(*errors))
    return None


def components_of_active(results: Mapping[str, Any]) -> int | None:
    """Components of PCA that a sparse code is compared with: as many as a sample has active latents, at least one.

    None for a code that nothing makes sparse, for one in which as many are active as there are latents, or numbers in a
    sample, and for a model that has a linear map beside its code.
    """
    model, l0 = results["model"], known(results["latents"], "l0")
    limit = min(_width(results), *(math.prod(shape) for shape in (model["input_shape"], output_shape(model))))
    if not (model.get("penalties") or model.get("asked_l0")) or not l0 < limit or model.get("has_skip"):
        return None
    return max(1, round(l0))


def numbers_beside(
    results: Mapping[str, Any], pca_of_active: Mapping[str, Any] | None = None, count: int = 4
) -> list[Beside]:
    """The numbers that say most of a model, beside what they must beat.

    Args:
        results: What `evaluate` answers, with `probes` if there are any.
        pca_of_active: As in `verdict`.
        count: How many.
    """
    return list(islice(_all_beside(results, pca_of_active), count))


def _all_beside(results: Mapping[str, Any], pca_of_active: Mapping[str, Any] | None) -> Iterator[Beside]:
    model, latents, test = (results[part] for part in ("model", "latents", "errors"))
    test, size = test["test"], _width(results)
    if recovery := results.get("recovery"):
        share = numeral(known(recovery, "fraction_recovered"), ".0%")
        yield Beside("true features found", share, f"mean cosine {known(recovery, 'mmcs'):.2f}, at best 1")
    yield Beside("variance left", _part(test["autoencoder"]), _best_pca(results, pca_of_active))
    if read := accuracies(results):
        yield Beside("a linear classifier reads", f"{read.code:.1%}", f"from raw samples: {read.raw:.1%}")
    if known(latents, "l0") < size and not latents.get("negative"):  # where a value says whether a latent is active
        asked = next(iter((model.get("asked_l0") or {}).values()), None)
        yield Beside(
            "active latents of a sample",
            f"{latents['l0']:.3g}",
            f"of {size:,}" if asked is None else f"asked: {asked:.4g}",
        )
        copies = model.get("instances")
        which = f"mean of {copies} instances" if copies else "they fire on no test sample"
        yield Beside("dead latents", format(latents["dead"], ".3g" if copies else ".0f"), f"of {size:,}; {which}")
    ours, mean = (numeral(known(test[name], "mse_per_pixel")) for name in ("autoencoder", "mean_image"))
    what = "target" if has_targets(results) else "sample"
    yield Beside(f"squared error per {entry_name(output_shape(model))}", ours, f"of the mean {what}: {mean}")
    entries, written = (math.prod(shape) for shape in (model["input_shape"], output_shape(model)))
    yield Beside("numbers in a code", f"{size:,}", f"in a sample: {entries:,}")
    of_pca = (written * (size + 1) + has_targets(results) * size * entries) * (model.get("instances") or 1)
    yield Beside("parameters", f"{model['parameters']:,}", f"{pca_of(results, 'the same width')}: {of_pca:,}")


def entry_name(shape: Sequence[int]) -> str:
    """What one number of a sample of this shape is called: a pixel of an image, an entry of a vector."""
    return "pixel" if len(shape) == 3 else "entry"


def _best_pca(results: Mapping[str, Any], pca_of_active: Mapping[str, Any] | None) -> str:
    """The strictest PCA that there is: of as many components as are active, else of the width of the code."""
    if pca_of_active is not None:
        count = components_of_active(results)
        width = f"rank {count}" if has_targets(results) else f"{count} component{'s' * (count != 1)}"
        return f"{pca_of(results, width)}: {_part(pca_of_active)}"
    is_exact = set_with_exact_pca(results, "test")
    return f"{pca_of(results, 'the same width')}: {'exact' if is_exact else _part(results['errors']['test']['pca'])}"


def _left(results: Mapping[str, Any], name: str) -> str:
    numbers = results["errors"]["test"][name]
    return f"{_part(numbers)} of the variance" if _has_variance(numbers) else f"an error of {_part(numbers)}"


def _part(numbers: Mapping[str, Any]) -> str:
    """The fraction of variance that is left, or the error per pixel where there is no variance to speak of."""
    value = numbers["fvu"] if _has_variance(numbers) else known(numbers, "mse_per_pixel")
    return f"{value:.2g}" if 0 < value < 0.1 else f"{value:.3g}"


def _has_variance(numbers: Mapping[str, Any]) -> bool:
    return numbers.get("fvu") is not None


def _width(results: Mapping[str, Any]) -> int:
    return math.prod(results["model"]["latent_shape"])


def _lower(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]

"""What `evaluate` and `fit` say of a model's numbers, line by line."""

from collections.abc import Iterator
from typing import Any

from ae_lightning.numerals import numeral, with_error
from ae_lightning.run.results import TEST_IS_VALIDATION, has_targets, known, output_shape, set_with_exact_pca, with_nan


def _count(number: float) -> str:
    """A whole number as it is; a mean of several with two digits behind the point."""
    return f"{number:.0f}" if number == round(number) else f"{number:.2f}"


def sample_word(results: dict[str, Any]) -> str:
    """What a sample is called: an image where it has pixels."""
    return "image" if _has_pixels(results) else "sample"


def produced_word(results: dict[str, Any]) -> str:
    """What is produced: a target where there are any, else the sample."""
    return "target" if has_targets(results) else sample_word(results)


def entry_word(results: dict[str, Any]) -> str:
    """What an entry of a sample is called."""
    return "pixel" if _has_pixels(results) else "entry"


def _has_pixels(results: dict[str, Any]) -> bool:
    return len(output_shape(results["model"])) == 3


def _of_rank(results: dict[str, Any]) -> str:
    """The linear baseline, with its number of components."""
    count = results["pca_components"]
    return f"a linear regression of rank {count}" if has_targets(results) else f"{count} principal components"


def error_lines(results: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What is left of the variance, and the test error."""
    test, validation = (results["errors"][split]["autoencoder"] for split in ("test", "validation"))
    explained = f"{_explained(test)} of the test set"
    yield "variance explained", f"{explained}, {_explained(validation)} of the validation set"
    for name, part in results.get("parts", {}).items():
        yield f"  of {name.replace('_', ' ')}", f"{_explained(part)} of the test set"
    if "corrupted" in results:
        yield "  of corrupted samples", f"{_explained(results['corrupted']['autoencoder'])} of the test set"
    error = _number(test, "mse_per_pixel", ".5f")
    if test["mse_per_pixel"] is not None:
        error = with_error(test["mse_per_pixel"], known(test, "mse_per_pixel_std"))
    yield "test error", f"{error} per {entry_word(results)} (spread over {sample_word(results)}s)"
    if results["test_is_validation"]:
        yield "*", TEST_IS_VALIDATION
    if results["baseline_samples"]["drawn"]:
        yield "baselines", f"fitted to {results['baseline_samples']['count']:,} training samples drawn at random"


def _explained(errors: dict[str, Any]) -> str:
    """Variance explained as a percentage, or why there is none."""
    return _number(errors, "explained_variance", ".2%")


def _number(numbers: dict[str, Any], name: str, form: str) -> str:
    """A number as text; where there is none, the reason that stands beside it."""
    value = numbers[name]
    return f"none ({numbers.get(f'{name}_reason', 'not known')})" if value is None else numeral(value, form)


def standing(results: dict[str, Any]) -> str:
    """The test error beside the baselines' in a sentence; nothing where one is not known, or the mean is exact."""
    errors = results["errors"]["test"]
    ours, mean, pca = (errors[name]["mse_per_pixel"] for name in ("autoencoder", "mean_image", "pca"))
    if ours is None or pca is None or not mean:
        return ""
    said = f"Test error: {_part(ours / mean)} the mean {produced_word(results)}'s"
    if set_with_exact_pca(results, "test"):
        exact = "is exact, so it is" if has_targets(results) else "are exact, so they are"
        return f"{said}; {_of_rank(results)} {exact} no baseline."
    return f"{said}, {_part(ours / pca)} that of {_of_rank(results)}."


def _part(ratio: float) -> str:
    """A ratio of two errors: a percentage, or how many times."""
    return f"{ratio:.3g} times" if ratio >= 1 else f"{numeral(ratio, '.0%' if ratio >= 0.1 else '.1%')} of"


def latent_lines(results: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """How many latents are active, and how sparse codes are."""
    latents, sample = with_nan(results["latents"]), sample_word(results)
    alive = f"{_count(latents['active'])} active, {_count(latents['dead'])} dead"
    copies = results["model"]["instances"]
    mean = f" (means of {copies} instances)" if copies else ""
    yield "latents", f"{alive}; L0 {latents['l0']:.3g} per {sample}{mean}"
    size = f"L1 {latents['l1']:.3g} per {sample}, Hoyer {latents['hoyer']:.2f}"
    yield "code", f"{size}, |z| ≤ 0.001 in {latents['near_zero']:.0%}"
    # The mean of the positive part says little of a code of either sign, unless something is asked of it.
    if "target" in latents or not latents["negative"]:
        middle, low, high = (latents["mean_activation"][name] for name in ("median", "min", "max"))
        yield "mean activation", f"{middle:.3g} in the median latent ({low:.3g} to {high:.3g})"
    if "target" in latents:
        near = f"{latents['within_factor_two']:.0%} of latents within a factor of 2"
        yield "target activation", f"{latents['target']:g}; {near}"


def posterior_lines(results: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What the posterior tells, and the bound, of a model that has them."""
    if "posterior" not in results:
        return
    posterior, bound, sample = results["posterior"], results["bound"], sample_word(results)
    kl = "none" if posterior["kl"] is None else numeral(posterior["kl"], ".2f")
    yield "posterior", f"KL {kl} nats per {sample}, {posterior['active']} of {len(posterior['kl_of_latents'])} active"
    nats = "none" if bound["nats"] is None else numeral(bound["nats"], ".2f")
    error = "" if bound["nats_se"] is None else f" ± {bound['nats_se']:.2f}"
    drawn = f"{bound['samples']:,} codes for each of {bound['images']:,}"
    yield "−log p(x)", f"at most {nats}{error} nats per {sample} ({drawn})"


def codebook_lines(results: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """How the codes of a codebook are used, of a model that has one."""
    if "codebook" in results:
        numbers = results["codebook"]
        used = f"{numbers['usage']:.1%} of {numbers['codes'] * numbers['codebooks']:,} codes are chosen"
        yield "codebook", f"{used}, perplexity {numeral(numbers['perplexity'], '.1f')}"
        yield "a sample", f"{numbers['codes_per_sample']:,} codes, {numbers['bits_per_sample']:,.0f} bits"


def recovery_lines(scores: dict[str, float]) -> Iterator[tuple[str, str]]:
    """How much of the true features is recovered, where they are known."""
    if not scores:
        return
    words = f"{scores['fraction_recovered']:.0%} recovered"
    if scores["instances"] > 1:
        words += f", all of them in {scores['fully_recovered_instances']:.0f} of {scores['instances']:.0f} instances"
    yield "true features", words
    yield "directions", f"MCC {scores['mcc']:.3f}, MMCS {scores['mmcs']:.3f}; duplicates: {scores['duplicates']:.1f}"
    if "f1" not in scores:  # an older run
        return
    of_latents = ", ".join(f"{title} {scores[name]:.3f}" for title, name in _DETECTION.items())
    yield "detection", f"{of_latents} per latent; F1 {scores['truth_f1']:.3f} per true feature"
    faults = [f"hedging {scores['hedging']:.3f}", f"shrinkage slope {scores['shrinkage_slope']:.3f}"]
    if "absorption" in scores:
        faults.insert(0, f"absorption {scores['absorption']:.3f}")
    yield "faults", f"{', '.join(faults)} (1 is none)"


_DETECTION = {"precision": "precision", "recall": "recall", "F1": "f1"}


def weight_lines(weights: dict[str, float]) -> Iterator[tuple[str, str]]:
    """Rank and norm of the weights of a shallow model."""
    for side in ("encoder", "decoder"):
        if f"weights/{side}_norm" in weights:
            rank, norm = (weights[f"weights/{side}_{what}"] for what in ("effective_rank", "norm"))
            yield side, f"effective rank {numeral(rank, '.1f')}, Frobenius norm {numeral(norm, '.2f')}"

"""What was trained, and the final numbers beside what they must beat, as tables."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from ae_lightning.evaluation.verdict import entry_name
from ae_lightning.numerals import numeral, with_error
from ae_lightning.report.page import Numbers
from ae_lightning.run.results import has_targets, known, output_shape, set_with_exact_pca, with_nan

_NAMES = {
    "autoencoder": "this autoencoder",
    "pca": "PCA, {} components",
    "mean_image": "mean of the training samples",
    "random_encoder": "random encoder, decoder by least squares",
}
_OF_TARGETS = {
    "autoencoder": "this model",
    "pca": "linear regression, rank {}",
    "mean_image": "mean of the training targets",
}
_PROBES = {"latent": "code", "raw": "raw samples", "pca": "PCA of the same width", "untrained": "untrained encoder"}


def model_and_data(results: Mapping[str, Any]) -> str:
    """What was trained on what, in a line."""
    model, data = results["model"], results["data"]["description"]
    return f"{_model(model)}, {model['parameters']:,} parameters{_copies(model)}. {data}."


def _model(model: Mapping[str, Any]) -> str:
    shapes = [model["input_shape"], model["latent_shape"]]
    if output_shape(model) != model["input_shape"]:
        shapes.append(output_shape(model))
    return f"{model['class']}, {' → '.join('×'.join(map(str, shape)) for shape in shapes)}"


def settings_table(config: Mapping[str, Any], results: Mapping[str, Any]) -> Numbers:
    """What was trained: model, data, optimizer, length, seed and versions."""
    model, versions = results["model"], results["versions"]
    rows = [
        ["model", _model(model)],
        ["parameters", f"{model['parameters']:,}" + _copies(model)],
        *([f"settings of the {part}", _settings(config[part])] for part in ("model", "data") if config.get(part)),
        ["optimizer", _optimizer(config)],
        ["data", results["data"]["description"]],
        ["hash of the training set", results["data"]["hash"]],
        ["seed", str(results.get("seed", config.get("seed_everything")))],
        ["samples seen", f"{model['images_seen']:,}"],
        ["training time", _seconds(results.get("seconds"))],
        ["versions", ", ".join(f"{name} {version}" for name, version in versions.items())],
    ]
    return Numbers(["setting", "value"], rows, is_text=True)


def error_table(results: Mapping[str, Any], samples: int, random_error: float | None = None) -> Numbers:
    """Squared errors on the test set beside the baselines.

    Args:
        results: What `evaluate` answers.
        samples: Test samples, by which the standard error of the mean is known.
        random_error: Squared error per entry of the random encoder, if it is known.
    """
    rows, shape = [], output_shape(results["model"])
    names = _NAMES | (_OF_TARGETS if has_targets(results) else {})
    for name, numbers in results["errors"]["test"].items():
        title = names[name].format(results["pca_components"])
        noise = known(numbers, "mse_per_pixel_std") / math.sqrt(samples)
        explained = numbers.get("explained_variance")
        of_variance = "" if explained is None else _percent(explained)
        mean = with_error(known(numbers, "mse_per_pixel"), noise)
        if name == "pca" and set_with_exact_pca(results, "test"):  # but for rounding, of which the numbers would be
            rows.append([title, "exact", "exact", "100%"])
        else:
            rows.append([title, mean, f"{known(numbers, 'mse_per_image'):.4g}", of_variance])
    if random_error is not None:
        rows.append([_NAMES["random_encoder"], numeral(random_error), f"{random_error * math.prod(shape):.4g}", ""])
    which = "test set, which is the validation set" if results.get("test_is_validation") else "test set"
    return Numbers(
        [f"squared error on the {which}", f"per {entry_name(shape)}", "per sample", "variance explained"],
        rows,
        f"In the units of the data after normalization, squared; ± is the standard error of the mean over {samples:,} "
        "samples. All baselines have the width of the code." + _of_a_part(results),
    )


def _percent(fraction: float) -> str:
    """A fraction in percents with a true minus sign, and without one before a zero."""
    text = numeral(round(fraction, 3) + 0.0 if abs(fraction) < 1 else fraction, ".1%")
    return text.replace("-", "−", 1) if text.startswith("-") else text


def _of_a_part(results: Mapping[str, Any]) -> str:
    """A sentence on what PCA and the mean were fitted to, where it is not the whole training set."""
    fitted = results.get("baseline_samples", {})
    if not fitted.get("drawn"):
        return ""
    linear = "The regression" if has_targets(results) else "PCA"
    return f" {linear} and the mean are those of {fitted['count']:,} training samples drawn at random."


def probe_table(results: Mapping[str, Any]) -> Numbers | None:
    """Accuracies of linear classifiers; None where there was no probe."""
    probes = results.get("probes", {})
    prefix = next((part for part in ("probe_full", "probe") if f"{part}/latent" in probes), None)
    if prefix is None:
        return None
    rows = [
        [title, with_error(probes[key], probes.get(f"{key}_se"), ".4f")]
        for key, title in ((f"{prefix}/{name}", title) for name, title in _PROBES.items())
        if key in probes
    ]
    part = probes.get("probe_full/fitted_on")
    drawn = f"{part:,.0f} training samples drawn at random" if part else "all training samples"
    fitted = drawn if prefix == "probe_full" else "the first training samples"
    return Numbers(["linear probe", "accuracy"], rows, f"Fitted on {fitted}; ± is one binomial standard error.")


def latent_table(results: Mapping[str, Any]) -> Numbers:
    """How sparse the code is, and what is recovered of known features."""
    return Numbers(["the code on the test set", ""], [list(row) for row in _latent_rows(results)])


def _latent_rows(results: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    latents, weights = (with_nan(results.get(part) or {}) for part in ("latents", "weights"))
    yield "latents that fire on a test sample, on none (dead)", f"{latents['active']:.4g}, {latents['dead']:.4g}"
    yield "active per sample (L0)", f"{latents['l0']:.4g}"
    for name, title in (("hoyer", "Hoyer's measure"), ("near_zero", "fraction of values within 0.001 of zero")):
        if name in latents:
            yield title, numeral(latents[name], ".3f")
    if "target" in latents:
        median = latents["mean_activation"]["median"]
        yield "mean activation of the median latent, and its target", f"{median:.4g}, {latents['target']:g}"
    for side in ("encoder", "decoder"):
        if f"weights/{side}_effective_rank" in weights:
            yield f"effective rank of the {side}", numeral(weights[f"weights/{side}_effective_rank"], ".1f")
    scores = with_nan(results.get("recovery") or {})
    if scores:
        yield "true features recovered", f"{scores['fraction_recovered']:.1%}"
        instances = f"{scores['fully_recovered_instances']:.0f} of {scores['instances']:.0f}"
        yield "instances that recover all", instances
        yield "MCC, MMCS", f"{scores['mcc']:.3f}, {scores['mmcs']:.3f}"
        if "f1" in scores:
            rates = ", ".join(f"{scores[name]:.3f}" for name in ("precision", "recall", "f1"))
            yield "precision, recall and F1 of latents as detectors", rates
            yield "hedging, shrinkage slope", f"{scores['hedging']:.3f}, {scores['shrinkage_slope']:.3f}"
        if "absorption" in scores:
            yield "absorption", f"{scores['absorption']:.3f}"


def _copies(model: Mapping[str, Any]) -> str:
    """How many instances there are, or which one of a population it is."""
    if "instance" in model:
        settings = ", ".join(f"{name} {value:g}" for name, value in model["settings"].items())
        return f", instance {model['instance']} of a population" + (f" ({settings})" if settings else "")
    return f" in {model['instances']} instances" if model["instances"] else ""


def _settings(part: Any) -> str:
    """Settings of a model or data set that are plain, in one line."""
    arguments = part.get("init_args", {}) if isinstance(part, dict) else {}
    told = {name: _schedule(value) if isinstance(value, dict) else value for name, value in arguments.items()}
    plain = {name: value for name, value in told.items() if name != "input_shape"}
    return ", ".join(f"{name} {value}" for name, value in plain.items() if value is not None)


def _schedule(value: Mapping[str, Any]) -> str | None:
    """Start and end of a coefficient that moves; None of any other mapping."""
    return f"{value['start']} → {value['end']}" if {"start", "end"} <= value.keys() else None


def _optimizer(config: Mapping[str, Any]) -> str:
    """Class of the optimizer and its learning rate, such as `Adam, lr 0.001`."""
    chosen = (config.get("model") or {}).get("init_args", {}).get("optimizer")
    if not isinstance(chosen, dict):
        return "the variant's own"
    name = chosen["class_path"].rpartition(".")[2]
    rate = chosen.get("init_args", {}).get("lr")
    by_rule = "lr by width and length of the run"
    return ", ".join([name, *([] if rate is None else [by_rule if rate == 0 else f"lr {rate}"])])


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return "not known"
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.1f} min"

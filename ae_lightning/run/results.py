"""`metrics.json`: the final numbers of a run, in sections, and the same as one row of a table."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ae_lightning.analysis.factor_score_names import SCORES
from ae_lightning.errors import RunFolderError
from ae_lightning.files import read_json, write_json
from ae_lightning.run.results_form import misplaced

RESULTS_NAME = "metrics.json"

TEST_IS_VALIDATION = "the test set is the validation set, which also chose the best checkpoint"
"""What is said at numbers that are not those of unseen data."""

# Part of the mean sample's error that rounding explains.
_ROUNDING = 1e-10
RECOVERY = ("fraction_recovered", "fully_recovered_instances", "mcc")
"""What is known of recovered features where the true ones are known, as a row has it."""

TRUTH = ("f1", "truth_f1", "absorption", "hedging")
"""What is known besides where their values in each sample are known, too."""

CODEBOOK = ("perplexity", "usage", "bits_per_sample")
"""What is known of the codes of a model that has a codebook."""

_PROBES = ("probe/latent", "probe/raw", "probe_full/latent", "probe_full/raw")


def read_results(folder: Path) -> dict[str, Any]:
    """The final numbers of a run; empty while it has not finished.

    Raises:
        RunFolderError: The file is damaged.
    """
    path = folder / RESULTS_NAME
    try:
        results = read_json(path, dict) if path.is_file() else {}
        if wrong := misplaced(results):
            raise RunFolderError(f"{path} is damaged ({wrong[:100]!r} is of another kind than fit writes)")
        return results
    except RunFolderError as error:
        raise RunFolderError(f"{error}: write it anew with `ae-lightning evaluate`") from error


def write_results(folder: Path, results: Mapping[str, Any], checkpoint: str | None = None) -> None:
    """Write the numbers of a run's best checkpoint, or of another, by the stem of its name: `metrics.<name>.json`."""
    write_json(folder / (RESULTS_NAME if checkpoint is None else f"metrics.{checkpoint}.json"), results)


def known(numbers: Mapping[str, Any], name: str) -> float:
    """A number to compute with: NaN where there is none, or null stands for one that was not finite."""
    value = numbers.get(name)
    return math.nan if value is None else value


def with_nan(section: Mapping[str, Any]) -> dict[str, Any]:
    """A section to print: NaN in place of each null, in mappings within it too."""
    return {
        name: with_nan(value) if isinstance(value, Mapping) else math.nan if value is None else value
        for name, value in section.items()
    }


def pca_is_exact(error: float | None, mean_error: float | None, components: int | None, size: int | None) -> bool:
    """Whether principal components leave nothing of a set but rounding, so that they are no bar.

    That is so where there are as many as samples have entries, or as directions in which they vary.

    Args:
        error: Error of the components on the set; None where it is not known, as for the others.
        mean_error: Error of the mean sample on it.
        components: Number of components.
        size: Entries of a sample.
    """
    if components is not None and size is not None and components >= size:
        return True
    return error is not None and mean_error is not None and error <= _ROUNDING * mean_error


def has_targets(results: Mapping[str, Any]) -> bool:
    """Whether final numbers are those of data whose targets are not the samples, so that PCA is a linear regression."""
    return bool(results.get("data", {}).get("has_targets"))


def pca_of(results: Mapping[str, Any], width: str) -> str:
    """What the numbers by the name `pca` are: PCA, or a linear regression, of a width that is said in words."""
    return f"{'linear regression' if has_targets(results) else 'PCA'} of {width}"


def linear_baseline(rows: Iterable[Mapping[str, Any]]) -> str:
    """What the numbers by the name `pca` are in rows that `as_row` gives: PCA, or a linear regression, or both."""
    kinds = {"linear regression" if row.get("has_targets") else "PCA" for row in rows}
    return " or ".join(sorted(kinds))


def output_shape(model: Mapping[str, Any]) -> list[int]:
    """Shape of what a described model produces of one sample; earlier versions knew none but that of the sample."""
    shape: list[int] = model.get("output_shape") or model["input_shape"]
    return shape


def set_with_exact_pca(results: Mapping[str, Any], split: str) -> bool:
    """Whether the principal components that final numbers have beside them leave nothing of a set, such as `test`."""
    pca, mean = (results["errors"][split][name]["mse_per_pixel"] for name in ("pca", "mean_image"))
    size = None if has_targets(results) else math.prod(results["model"]["input_shape"])
    return pca_is_exact(pca, mean, results["pca_components"], size)


def row_with_exact_pca(row: Mapping[str, Any]) -> bool:
    """The same of the test set in a row that `as_row` gives; False where nothing is known."""
    pca, mean = (row.get(f"{name}_test_mse_per_pixel") for name in ("pca", "mean_image"))
    ratio, latents = row.get("compression_ratio"), row.get("latent_size")
    size = None if ratio is None or latents is None else round(ratio * latents)
    return pca_is_exact(pca, mean, row.get("pca_components"), size)


def as_row(results: Mapping[str, Any]) -> dict[str, Any]:
    """The final numbers side by side, None where there is no such number.

    Args:
        results: What `metrics.json` holds; any of its sections may be missing.

    Returns:
        Errors in the units of the normalized data, means over samples, and over pixels where the name says so;
        `probe_latent`, `probe_full_raw` and the like are accuracies.
    """
    model, data, latents, recovery, factors, weights, probes = (
        results.get(part, {}) for part in ("model", "data", "latents", "recovery", "factors", "weights", "probes")
    )
    errors = results.get("errors", {})
    test, validation = (errors.get(split, {}) for split in ("test", "validation"))
    ours = test.get("autoencoder", {})
    return {
        "class": model.get("class"),
        "latent_size": None if (shape := model.get("latent_shape")) is None else math.prod(shape),
        **{name: model.get(name) for name in ("compression_ratio", "parameters")},
        "is_penalized": bool(model.get("penalties") or model.get("asked_l0")),
        **{f"test_{name}": ours.get(name) for name in ("mse_per_pixel", "mse_per_image", "mse_per_pixel_std")},
        **{name: ours.get(name) for name in ("explained_variance", "fvu")},
        "val_mse_per_pixel": validation.get("autoencoder", {}).get("mse_per_pixel"),
        **{f"{name}_test_mse_per_pixel": test.get(name, {}).get("mse_per_pixel") for name in ("pca", "mean_image")},
        "has_targets": data.get("has_targets"),
        # A linear regression has none.
        "pca_components": None if data.get("has_targets") else results.get("pca_components"),
        "test_is_validation": results.get("test_is_validation") or None,
        **{f"{side}_effective_rank": weights.get(f"weights/{side}_effective_rank") for side in ("encoder", "decoder")},
        **{f"{name}_latents": latents.get(name) for name in ("active", "dead")},
        **{name: latents.get(name) for name in ("l0", "l1", "hoyer", "near_zero")},
        "median_mean_activation": latents.get("mean_activation", {}).get("median"),
        **{name: recovery.get(name) for name in (*RECOVERY, *TRUTH)},
        **{name: factors.get(name) for name in SCORES},
        **{name.replace("/", "_"): probes.get(name) for name in _PROBES},
        **{name: results.get("codebook", {}).get(name) for name in CODEBOOK},
        "seconds": results.get("seconds"),
        "data": data.get("description"),
        "data_hash": data.get("hash"),
    }

"""A model, or a run, measured as a whole."""

import contextlib
import platform
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ae_lightning.data.base import AutoencoderDataModule
from ae_lightning.data.in_memory import InMemoryDataset
from ae_lightning.errors import Notice, RunFolderError
from ae_lightning.evaluation.baselines import Baselines
from ae_lightning.evaluation.codebook import code_counts, codebook_numbers
from ae_lightning.evaluation.corrupted import corrupted_errors
from ae_lightning.evaluation.errors import ErrorMeter, errors_of_parts, model_errors
from ae_lightning.evaluation.factors import mean_scores, scores_of_components, scores_of_factors
from ae_lightning.evaluation.instances import means_of, penalties, rows_of, weights_of_each
from ae_lightning.evaluation.latents import LatentMeter
from ae_lightning.evaluation.posterior import measured_posterior, require_bound
from ae_lightning.evaluation.truth import recovery
from ae_lightning.files import finite
from ae_lightning.metrics.recovery import together
from ae_lightning.models.base import Autoencoder
from ae_lightning.models.checkpoint import load_autoencoder
from ae_lightning.models.scaled_dictionary import ScaledDictionary
from ae_lightning.models.sparse_dictionary import SparseDictionary
from ae_lightning.models.variational import VariationalAutoencoder
from ae_lightning.models.vqvae import VQVAE
from ae_lightning.nn.modes import evaluation_mode
from ae_lightning.nn.precision import like_weights
from ae_lightning.run.results import write_results
from ae_lightning.run.run import Run
from ae_lightning.run.tables import latents_file
from ae_lightning.training.checks import check_shape, check_target
from ae_lightning.version import __version__

_SAMPLES_TO_MEASURE = 1000


def evaluate(
    model: Autoencoder, data: AutoencoderDataModule, device: torch.device | str | None = None
) -> dict[str, Any]:
    """Measure a model on the validation and test sets of `data`, and the baselines beside it.

    Errors are squared errors in the units of the data after normalization: per pixel (mean over images and
    pixels) and per image (sum over pixels, mean over images); with instances, means over them. PCA has as many
    components as the code has latents, fitted on the training images; as many as
    samples have entries, or directions in which they vary, are exact. Of data with targets all errors are those of the
    target; in place of PCA stands a linear regression of as low a rank, in that of the mean image the mean target.
    Where each instance has samples of its own, both baselines are fitted to these, and the means are over instances.
    Sets are read in pieces, whatever their size; see `Baselines` for what is fitted to a part of the training set.

    Args:
        model: The model.
        data: Its data module, which is set up here.
        device: Where the model and the baselines compute; where the model is by default. The model stays there.

    Returns:
        `model`, `data`, `versions`: what was measured; `has_targets` of data that have any. `errors`: for each set and
        for `autoencoder`, `mean_image` and `pca`, what `ErrorMeter.compute` says. `parts`: of models that name parts of
        their output, the same of each on the test set, such as `source_0` of a `Crosscoder`. `baseline_samples`: how
        many training samples the baselines were fitted to, `drawn` at random or all of them. `scaled_length`: root mean
        square of ‖x − mean‖ over the first 1,000 test samples, or targets, as the model scales them, None where it does
        not. `test_is_validation`: whether both sets are the same, so that the errors are not those of unseen data.
        `latents`: what `LatentMeter.statistics` says of the code, on the test set. `weights`: of shallow models;
        `recovery`: of shallow models on data whose true features are known, see `truth_scores`; `factors`: on data
        whose factors are known, see `scores_of_factors`; all three are empty for others. `codebook`: of a `VQVAE`, on
        the test set, see `codebook_numbers`. `posterior`, `bound`: of a `VariationalAutoencoder`, on the test set, see
        `ae_lightning.evaluation.posterior`. `instances`: of models that have any, the numbers of each alone, see
        `ae_lightning.evaluation.instances.rows_of`; those before are means over them. `corrupted`: of models that mend
        corrupted samples, see `ae_lightning.evaluation.corrupted.corrupted_errors`. A number that is not finite is
        None, with the reason beside it, see `ae_lightning.files.finite`.

    Raises:
        ConfigError: The model was made for samples or targets of another shape, or another number of instances.
    """
    with evaluation_mode(model if device is None else model.to(device)):
        return _measure(model, data)[0]


def evaluate_run(
    run: Run,
    checkpoint: Path | None = None,
    data: AutoencoderDataModule | None = None,
    device: torch.device | str = "cpu",
    splice: Callable[[Autoencoder], dict[str, Any]] | None = None,
    bound_samples: int | None = None,
) -> dict[str, Any]:
    """Evaluate a checkpoint of a run on the run's own data, and write `metrics.json` and `latents.csv` into its folder.

    Those of another checkpoint than the best are `metrics.<name>.json` and `latents.<name>.csv`. The table is that of
    `LatentMeter.write_table`. The probes are the last ones logged; the seconds are those of the whole training, None
    where it has not ended or an older version did not log them.

    Args:
        run: The run.
        checkpoint: The best one by default.
        data: Its data module, where it is at hand already.
        device: Where the model and the baselines compute.
        splice: What measures the model within the network whose activations it was trained on, a `Splice`; its numbers
            stand under `splice`.
        bound_samples: Codes drawn for each test sample in the bound on log p(x) of a `VariationalAutoencoder`; 64 for
            each of 1,000 by default.

    Raises:
        ConfigError: A bound is asked of a model that has none.
        CheckpointError: The checkpoint is missing, damaged or not ours.
    """
    checkpoint = checkpoint or run.checkpoint
    model = load_autoencoder(checkpoint).to(device)
    require_bound(model, bound_samples)
    spliced = {} if splice is None else {"splice": splice(model)}  # first, for a network may turn out not to be fit
    measured, latents = _measure(model, data or run.data, bound_samples)
    results: dict[str, Any] = {
        "run": str(run.folder),
        "checkpoint": checkpoint.name,
        "seed": run.config.get("seed_everything"),
        **measured,
        "probes": finite(run.last_values("probe")),
        "seconds": run.last_values("speed/train_seconds").get("speed/train_seconds"),
        **spliced,
    }
    before = _earlier_hash(run) or results["data"]["hash"]
    if before != results["data"]["hash"]:
        warnings.warn(
            f"{run.folder} was measured before on data of another hash ({before}): its data are no longer the same",
            Notice,
            stacklevel=2,
        )
    other = None if checkpoint.resolve() == run.checkpoint.resolve() else checkpoint.stem
    # The numbers come last: where they are, all is.
    latents.write_table(latents_file(run.folder, other))
    write_results(run.folder, results, other)
    return results


def _earlier_hash(run: Run) -> str | None:
    """Hash of the data that the run was measured on before; None where it was not, or the record is damaged."""
    with contextlib.suppress(RunFolderError):  # the record is about to be written anew
        return run.results.get("data", {}).get("hash")
    return None


def describe(model: Autoencoder) -> dict[str, Any]:
    """Class, size and shape of a model, and what its loss holds.

    Returns:
        `penalties`: weights of the terms beside the reconstruction, means over instances. `asked_l0`: options that say
        how many latents of a sample shall be active, see `SparseDictionary.asked_l0`. `output_shape`: where that is not
        the input's. `has_skip`: of a `Transcoder` with a linear map beside its latents.
    """
    return {
        "class": type(model).__name__,
        "parameters": model.num_parameters,
        "input_shape": list(model.input_shape),
        "latent_shape": list(model.latent_shape),
        "instances": model.instances,
        "compression_ratio": model.compression_ratio,
        "is_undercomplete": model.is_undercomplete,
        **_error_of(model),
        "penalties": penalties(model),
        "asked_l0": model.asked_l0 if isinstance(model, SparseDictionary) else {},
        "images_seen": model.images_seen,
        **({} if model.output_shape == model.input_shape else {"output_shape": list(model.output_shape)}),
        **({} if getattr(model, "W_skip", None) is None else {"has_skip": True}),
    }


def _error_of(model: Autoencoder) -> dict[str, str]:
    if isinstance(model, VariationalAutoencoder):
        return {"likelihood": model.likelihood.title}
    return {"reconstruction_loss": model.reconstruction_loss}


def versions() -> dict[str, str]:
    """Versions that a number may depend on."""
    import lightning
    import sklearn

    return {
        "ae_lightning": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "lightning": lightning.__version__,
        "numpy": np.__version__,
        "scikit-learn": sklearn.__version__,
    }


def _measure(
    model: Autoencoder, data: AutoencoderDataModule, bound_samples: int | None = None
) -> tuple[dict[str, Any], LatentMeter]:
    data.prepare_data()
    data.setup("fit")
    data.setup("test")
    x, target = model.pair(data.test_set.take(1))
    check_shape(x, model.input_shape, model.instances, type(model).__name__)
    check_target(target, model.output_shape, type(model).__name__)
    baselines = Baselines(data.train_set, model.latent_size, data.instances, model.device, _format(model))
    latents = LatentMeter(model)
    latents.measure(data.test_set, data.eval_batch_size)

    def errors(dataset: InMemoryDataset) -> dict[str, ErrorMeter]:
        ours = model_errors(model, dataset, data.eval_batch_size, data.instances)
        return {"autoencoder": ours, **baselines.measure(dataset)}

    meters = {"validation": errors(data.val_set), "test": errors(data.test_set)}
    recovered, weights = recovery(model, data), weights_of_each(model)
    factors = scores_of_factors(model, data)
    of_components = {"pca": scores_of_components(baselines, data)} if factors else {}
    results: dict[str, Any] = {
        "model": describe(model),
        "data": {
            "class": type(data).__name__,
            "description": data.description,
            "hash": data.fingerprint(),
            **({} if data.test_set.target is None else {"has_targets": True}),
        },
        "errors": {split: {name: meter.compute() for name, meter in of.items()} for split, of in meters.items()},
        **corrupted_errors(model, data.test_set, data.eval_batch_size),
        "pca_components": baselines.components,
        "baseline_samples": {"count": baselines.samples, "drawn": baselines.are_drawn},
        "scaled_length": _scaled_length(model, data.test_set),
        "test_is_validation": data.test_is_validation,
        "latents": latents.statistics(),
        **measured_posterior(model, data.test_set, data.eval_batch_size, bound_samples),
        "recovery": together(recovered),
        "factors": {**mean_scores(factors), **of_components},
        "weights": means_of(weights),
        "versions": versions(),
    }
    if model.output_parts:
        parts = errors_of_parts(model, data.test_set, data.eval_batch_size, data.instances)
        results["parts"] = {name: meter.compute() for name, meter in parts.items()}
    if isinstance(model, VQVAE):
        results["codebook"] = codebook_numbers(model, code_counts(model, data.test_set, data.eval_batch_size))
    if model.instances is not None:
        results["instances"] = rows_of(model, meters, latents.each(), recovered, weights, factors)
    return finite(results), latents


def _scaled_length(model: Autoencoder, dataset: InMemoryDataset) -> float | None:
    if not isinstance(model, ScaledDictionary):
        return None
    _, target = model.pair(dataset.take(_SAMPLES_TO_MEASURE))
    rows = model.scaled_target(like_weights(model, target)).cpu().double()
    return float((rows - rows.mean(-2, keepdim=True)).square().sum(-1).mean().sqrt())


def _format(model: Autoencoder) -> torch.dtype:
    """Format of the numbers in a model's weights."""
    return next((parameter.dtype for parameter in model.parameters()), torch.float32)

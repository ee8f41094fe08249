"""The final numbers of a trained autoencoder, beside the baselines that make them mean something."""

import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import ae_lightning
from ae_lightning.analysis.baselines import mean_image_error
from ae_lightning.analysis.pca import fit_pca
from ae_lightning.callbacks.weight_statistics import weight_statistics
from ae_lightning.data.base import AutoencoderDataModule
from ae_lightning.data.in_memory import InMemoryDataset
from ae_lightning.files import write_json
from ae_lightning.metrics.reconstruction import ReconstructionError
from ae_lightning.metrics.sparsity import L0, FiringDensity
from ae_lightning.models.base import Autoencoder
from ae_lightning.models.checkpoint import load_autoencoder
from ae_lightning.models.shallow import ShallowAutoencoder
from ae_lightning.run import Run


def evaluate(model: Autoencoder, data: AutoencoderDataModule) -> dict[str, Any]:
    """Measure a model on the validation and test sets of `data`, and the baselines beside it.

    Errors are squared errors in the units of the data after normalization: per pixel (mean over images and
    pixels) and per image (sum over pixels, mean over images); with instances, means over them. PCA has as many
    components as the code has latents, fitted on the training images; as wide as the input or wider it is exact.
    """
    data.prepare_data()
    data.setup("fit")
    data.setup("test")
    train = _images(data.train_set)
    mean_image = {name: mean_image_error(train, _images(split)) for name, split in _splits(data)}
    pca = fit_pca(train, model.latent_size)
    del train
    return {
        "model": describe(model),
        "data": {"class": type(data).__name__, "description": data.description, "hash": data.fingerprint()},
        "errors": {
            name: {
                "autoencoder": _model_errors(model, split, data.eval_batch_size),
                "mean_image": _both_units(mean_image[name], model.input_size),
                "pca": _both_units(_pca_error(pca, split), model.input_size),
            }
            for name, split in _splits(data)
        },
        "pca_components": len(pca.components),
        "latents": latent_statistics(model, data.test_set, data.eval_batch_size),
        "weights": weight_statistics(model) if isinstance(model, ShallowAutoencoder) else {},
        "versions": versions(),
    }


def evaluate_run(run: Run, checkpoint: Path | None = None, data: AutoencoderDataModule | None = None) -> dict[str, Any]:
    """Evaluate a checkpoint of a run on the run's own data and write `metrics.json` into its folder.

    Another checkpoint than the best is written to `metrics.<name>.json`. The probes are the last ones logged; the
    seconds are those of the whole training, None where it has not ended or an older version did not log them.

    Args:
        run: The run.
        checkpoint: The best one by default.
        data: Its data module, where it is at hand already.

    Raises:
        CheckpointError: The checkpoint is missing, damaged or not ours.
    """
    checkpoint = checkpoint or run.checkpoint
    results = {
        "run": str(run.folder),
        "checkpoint": checkpoint.name,
        "seed": run.config.get("seed_everything"),
        **evaluate(load_autoencoder(checkpoint), data or run.data),
        "probes": run.last_values("probe"),
        "seconds": run.last_values("speed/train_seconds").get("speed/train_seconds"),
    }
    name = "metrics.json" if checkpoint.resolve() == run.checkpoint.resolve() else f"metrics.{checkpoint.stem}.json"
    write_json(run.folder / name, results)
    return results


def describe(model: Autoencoder) -> dict[str, Any]:
    """Class, size and shape of a model."""
    return {
        "class": type(model).__name__,
        "parameters": model.num_parameters,
        "input_shape": list(model.input_shape),
        "latent_shape": list(model.latent_shape),
        "instances": model.instances,
        "compression_ratio": model.compression_ratio,
        "is_undercomplete": model.is_undercomplete,
        "images_seen": model.images_seen,
    }


@torch.no_grad()
def latent_statistics(model: Autoencoder, dataset: InMemoryDataset, batch_size: int) -> dict[str, float]:
    """How many latents are active, and on how many images.

    A latent of a rectified code fires above zero; of any other code, where it is not exactly zero.

    Returns:
        `active`, `dead`: latents that fired on at least one image, on none (means over instances); `l0`: mean
        number that fire on one image.
    """
    two_sided = not (isinstance(model, ShallowAutoencoder) and model.fires_above_zero)
    # Evaluation is the first process's own business, also where several trained.
    density = FiringDensity(two_sided=two_sided, sync_on_compute=False)
    l0 = L0(two_sided=two_sided, sync_on_compute=False)
    batch_axis = 0 if model.instances is None else 1
    for x, _ in dataset.batches(batch_size):
        z = model.encode(x.to(model.device)).flatten(batch_axis + 1).cpu()
        density.update(z)
        l0.update(z)
    dead = float((density.compute() == 0).float().sum(-1).mean())
    return {"active": model.latent_size - dead, "dead": dead, "l0": float(l0.compute())}


def versions() -> dict[str, str]:
    """Versions that a number may depend on."""
    import lightning
    import sklearn

    return {
        "ae_lightning": ae_lightning.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "lightning": lightning.__version__,
        "numpy": np.__version__,
        "scikit-learn": sklearn.__version__,
    }


def _splits(data: AutoencoderDataModule) -> Iterator[tuple[str, InMemoryDataset]]:
    yield "validation", data.val_set
    yield "test", data.test_set


def _images(dataset: InMemoryDataset) -> Tensor:
    return torch.cat([x.cpu() for x, _ in dataset.batches(4096)])


@torch.no_grad()
def _model_errors(model: Autoencoder, dataset: InMemoryDataset, batch_size: int) -> dict[str, float]:
    metric = ReconstructionError(sync_on_compute=False)
    for x, _ in dataset.batches(batch_size):
        x = x.to(model.device)
        metric.update(x.cpu(), model(x).x_hat.cpu())
    return {name: float(value) for name, value in metric.compute().items()}


def _pca_error(pca: Any, dataset: InMemoryDataset) -> float:
    total, count = 0.0, 0
    for x, _ in dataset.batches(4096):
        rows = x.cpu().flatten(1).numpy()
        total += float(np.square(rows - pca.decode(pca.encode(rows))).sum(dtype=np.float64))
        count += rows.size
    return total / count


def _both_units(per_pixel: float, pixels: int) -> dict[str, float]:
    return {"mse_per_pixel": per_pixel, "mse_per_image": per_pixel * pixels}

"""What the posterior of a variational autoencoder tells of samples, and a bound on how probable they are."""

import math
from typing import Any

import torch
from torch import Tensor

from ae_lightning.data.in_memory import InMemoryDataset
from ae_lightning.data.loader import seeded_generator
from ae_lightning.errors import ConfigError
from ae_lightning.models.base import Autoencoder
from ae_lightning.models.variational import VariationalAutoencoder
from ae_lightning.nn.modes import evaluation_mode
from ae_lightning.nn.posterior import Posterior
from ae_lightning.nn.precision import adding_device, like_weights

#: Variance over samples that a latent's posterior mean must exceed to be called active (Burda et al. 2015).
ACTIVE = 0.01
#: Codes drawn for each sample, and samples, of the bound that is taken after a fit.
QUICK_SAMPLES, QUICK_IMAGES = 64, 1000

# Samples that share a stream of random numbers.
_ROWS = 16
# Numbers of the decoder's output that are computed in one go: 1 MB, which a processor's cache holds, or 256 MB.
_AT_ONCE, _AT_ONCE_ELSEWHERE = 1 << 18, 1 << 26


def measured_posterior(
    model: Autoencoder, dataset: InMemoryDataset, batch_size: int, bound_samples: int | None = None
) -> dict[str, Any]:
    """`posterior` and `bound` of a set, what `posterior_statistics` and `bound` say; nothing of models without either.

    Args:
        model: The model, in evaluation mode.
        dataset: The samples.
        batch_size: Samples that are encoded at a time.
        bound_samples: Codes drawn for each sample of the set; by default 64 for each of its first 1,000.

    Raises:
        ConfigError: A bound is asked for, and the model has none.
    """
    if not isinstance(model, VariationalAutoencoder):
        require_bound(model, bound_samples)
        return {}
    found = {"posterior": posterior_statistics(model, dataset, batch_size)}
    quick = bound_samples is None
    count = min(QUICK_IMAGES, len(dataset)) if quick else len(dataset)
    return found | {"bound": bound(model, dataset, QUICK_SAMPLES if bound_samples is None else bound_samples, count)}


def require_bound(model: Autoencoder, bound_samples: int | None) -> None:
    """Check that a bound that is asked for can be had.

    Raises:
        ConfigError: The model has no likelihood, or the number of codes is not positive.
    """
    if bound_samples is None:
        return
    if not isinstance(model, VariationalAutoencoder):
        raise ConfigError(
            f"--bound-samples asks for a bound on log p(x), but {type(model).__name__} has no likelihood: such a bound "
            "has a VariationalAutoencoder"
        )
    if bound_samples < 1:
        raise ConfigError(f"--bound-samples is {bound_samples}; it must be at least 1")


@torch.no_grad()
def posterior_statistics(model: VariationalAutoencoder, dataset: InMemoryDataset, batch_size: int) -> dict[str, Any]:
    """How much each latent tells of the samples of a set.

    Args:
        model: The model, in evaluation mode.
        dataset: The samples.
        batch_size: Samples that are encoded at a time.

    Returns:
        `kl`: KL(q(z|x) ‖ p(z)) in nats, mean over samples; `kl_of_latents`: the same of each latent, a list;
        `variance_of_means`: variance over samples of each latent's posterior mean, a list; `active`: how many of these
        exceed 0.01, the active units of Burda et al. (2015), arXiv 1509.00519.
    """
    device = adding_device(model.device)
    rows = [_row(model.posterior(_encoded(model, batch)), device) for batch in dataset.batches(batch_size)]
    sums = torch.stack([row[0] for row in rows]).sum(0)
    count = sum(row[1] for row in rows)
    divergences, means, squares = sums / count
    variances = (squares - means.square()).clamp(min=0)
    return {
        "kl": float(divergences.sum()),
        "active": int((variances > ACTIVE).sum()),
        "kl_of_latents": divergences.tolist(),
        "variance_of_means": variances.tolist(),
    }


@torch.no_grad()
def bound(
    model: VariationalAutoencoder, dataset: InMemoryDataset, samples: int, count: int | None = None, seed: int = 0
) -> dict[str, Any]:
    """An upper bound on −log p(x) by importance sampling: −log 1/k Σ p(x, z) / q(z|x), mean over samples of a set.

    It comes nearer to the truth with each code that is drawn. Noise follows from the seed and a sample's row, 16 rows
    having a stream together, on one kind of device.

    Args:
        model: The model.
        dataset: The samples.
        samples: Codes k drawn for each.
        count: How many samples, from the first on; all by default.
        seed: Seed of the codes.

    Returns:
        `nats`: the bound; `nats_se`: its standard error over samples of the set, None of a single one; `samples`,
        `images`: how many codes, and samples.

    Source: Burda, Grosse and Salakhutdinov (2015), arXiv 1509.00519, who draw 5,000 codes.
    """
    count = len(dataset) if count is None else min(count, len(dataset))
    with evaluation_mode(model):
        parts = [
            _bounds(model, dataset, first, min(first + _ROWS, count), samples, seed) for first in range(0, count, _ROWS)
        ]
    bounds = torch.cat(parts)
    error = float(bounds.std() / math.sqrt(count)) if count > 1 else None
    return {"nats": float(-bounds.mean()), "nats_se": error, "samples": samples, "images": count}


def _bounds(
    model: VariationalAutoencoder, dataset: InMemoryDataset, first: int, end: int, samples: int, seed: int
) -> Tensor:
    """Lower bounds on log p(x), (rows,) float64 on the CPU, of the rows from `first` until `end`."""
    batch = dataset.__getitems__(torch.arange(first, end, device=dataset.device))
    x, target = (like_weights(model, part) for part in model.pair(batch))
    posterior = model.posterior(x)
    generator = seeded_generator(seed, first, 1, device=x.device)
    at_once = _AT_ONCE if x.device.type == "cpu" else _AT_ONCE_ELSEWHERE
    at_once = max(1, at_once // (_ROWS * math.prod(model.output_shape)))
    total = torch.full((len(x),), -math.inf, dtype=torch.float64)
    for start in range(0, samples, at_once):
        shape = (min(at_once, samples - start), *posterior.mean.shape)
        noise = torch.randn(shape, generator=generator, device=x.device, dtype=posterior.mean.dtype)
        weights = model.log_weights(posterior, target, noise)
        total = torch.logaddexp(total, torch.logsumexp(weights, 0).cpu().double())
    return total - math.log(samples)


def _encoded(model: Autoencoder, batch: Any) -> Tensor:
    return like_weights(model, model.pair(batch)[0])


def _row(posterior: Posterior, device: torch.device) -> tuple[Tensor, int]:
    """Sums over a batch of what each latent's divergence, posterior mean and its square are, (3, latents); its size."""
    means = posterior.mean.flatten(1).to(device, torch.float64)
    divergences = posterior.divergences().to(device, torch.float64)
    return torch.stack([part.sum(0) for part in (divergences, means, means.square())]), len(means)

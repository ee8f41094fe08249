"""Dictionaries that trained ones are held against where the truth is known: one that knows it, and some that do not."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ae_lightning.analysis.pca import fit_pca
from ae_lightning.analysis.pursuit import orthogonal_matching_pursuit
from ae_lightning.nn.sparse_code import SparseCode
from ae_lightning.nn.sparse_products import decode_sparse

# Samples that scikit-learn's dictionary learning looks at together, and how many such batches it sees.
_BATCH = 256
_STEPS = 40


@dataclass(frozen=True)
class Baseline:
    """A dictionary whose codes come from orthogonal matching pursuit, the same for all, at the L0 asked for.

    Args:
        name: What it is called.
        decoder_rows: (latent, input).
        offset: What samples are without any latent, (input,).
        two_sided: Whether codes of either sign count as firing; truths are not negative, so that the oracle's need not.
    """

    name: str
    decoder_rows: Tensor
    offset: Tensor
    two_sided: bool = True

    def encode(self, x: Tensor, l0: int) -> SparseCode:
        """Codes (n, latent) of samples (n, input), of at most l0 entries each.

        Raises:
            ValueError: As `orthogonal_matching_pursuit` does.
        """
        rows = self.decoder_rows.to(x)
        return orthogonal_matching_pursuit(x - self.offset.to(x), rows, l0, nonnegative=not self.two_sided)

    def decode(self, z: SparseCode) -> Tensor:
        """Reconstructions (n, input) from codes."""
        return decode_sparse(z, self.decoder_rows.to(z.values), self.offset.to(z.values))


def oracle(directions: Tensor, offset: Tensor) -> Baseline:
    """The true dictionary (feature, input): what is missed here, no dictionary finds by such codes.

    The ceiling of recovery, and not that of reconstruction: a dictionary made for the samples may leave less of them.
    """
    return Baseline("oracle", directions, offset, two_sided=False)


def random_rows(x: Tensor, latents: int, seed: int = 0) -> Baseline:
    """Unit rows drawn at random, about the mean of samples (n, input): what geometry alone gives, the floor."""
    # Not torch's: the directions of a world of the same seed may be its first numbers.
    rows = torch.from_numpy(np.random.default_rng(seed).standard_normal((latents, x.shape[-1]))).to(x)
    return Baseline("random rows", F.normalize(rows, dim=-1), x.mean(0))


def principal_components(x: Tensor, latents: int) -> Baseline:
    """The leading principal components of samples (n, input), as many as there are latents, samples or inputs.

    They are at right angles, so that a code is made of the largest projections.
    """
    pca = fit_pca(x.cpu().numpy(), min(latents, *x.shape))
    return Baseline("PCA", torch.from_numpy(pca.components).to(x), torch.from_numpy(pca.mean).to(x))


def cluster_centers(x: Tensor, latents: int, seed: int = 0) -> Baseline:
    """Directions of k-means centers of samples (n, input), from their mean: as many as latents, or samples.

    Source: `sklearn.cluster.MiniBatchKMeans`.
    """
    from sklearn.cluster import MiniBatchKMeans

    mean = x.mean(0)
    fit = MiniBatchKMeans(min(latents, len(x)), random_state=seed, n_init=1)
    fit.fit((x - mean).cpu().numpy())
    centers = torch.from_numpy(fit.cluster_centers_).to(x)
    return Baseline("k-means", F.normalize(centers, dim=-1), mean)


def learned_dictionary(x: Tensor, latents: int, l0: int, seed: int = 0, steps: int = _STEPS) -> Baseline:
    """scikit-learn's dictionary learning on samples (n, input), which starts from samples drawn at random.

    Source: Mairal et al. (2009), "Online dictionary learning for sparse coding"; `MiniBatchDictionaryLearning`. Its
    codes are the lasso's, whose penalty is chosen so that a sample has about l0 entries at the start. That takes some
    5 ms a sample and core with 1,024 rows of 256, far more than a step of a trained encoder.

    Args:
        x: Samples (n, input), at least as many as latents.
        latents: Rows.
        l0: Entries of a code.
        seed: Seed of its start and order.
        steps: Batches of 256 samples that it sees.

    Raises:
        ValueError: There are fewer samples than latents.
    """
    from sklearn.decomposition import MiniBatchDictionaryLearning
    from sklearn.exceptions import ConvergenceWarning

    if len(x) < latents:
        raise ValueError(f"a dictionary of {latents} rows starts from as many samples, but there are {len(x)}")
    generator = torch.Generator().manual_seed(seed)
    mean = x.mean(0)
    start = F.normalize((x - mean)[torch.randperm(len(x), generator=generator)[:latents].to(x.device)], dim=-1)
    learner = MiniBatchDictionaryLearning(
        latents,
        alpha=_penalty(x[:_BATCH] - mean, start, l0),
        batch_size=_BATCH,
        dict_init=start.cpu().numpy(),
        random_state=seed,
    )
    with warnings.catch_warnings():
        # Samples that it starts from may be alike; the lasso then drops one.
        warnings.simplefilter("ignore", ConvergenceWarning)
        for _ in range(steps):
            batch = x[torch.randint(len(x), (_BATCH,), generator=generator).to(x.device)]
            learner.partial_fit((batch - mean).cpu().numpy())
    return Baseline("dictionary learning", torch.from_numpy(learner.components_).to(x), mean)


def _penalty(x: Tensor, rows: Tensor, l0: int) -> float:
    """The lasso's penalty at which a sample has about l0 entries: the largest cosine with what l0 rows leave."""
    code = orthogonal_matching_pursuit(x, rows, l0)
    return float(((x - decode_sparse(code, rows)) @ rows.mT).abs().amax(-1).median())

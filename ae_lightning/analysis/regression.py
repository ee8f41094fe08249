"""Linear regression of a given rank, from moments of samples and targets that come in batches."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ae_lightning.analysis.moments import Moments

# Part of the mean variance of an entry that keeps a solution unique where samples vary in fewer directions.
_RIDGE = 1e-10


class Regression(NamedTuple):
    """ŷ = (x − x̄) R V + ȳ, with R (…, input, rank) and orthonormal rows V (…, rank, output), strongest first.

    Args:
        center: x̄ (…, input).
        reading: R.
        vectors: V.
        mean: ȳ (…, output).
    """

    center: Tensor
    reading: Tensor
    vectors: Tensor
    mean: Tensor

    def reconstruct(self, x: Tensor) -> Tensor:
        """Targets (…, n, output) as far as they are linear in samples x (…, n, input)."""
        return (x - self.center.unsqueeze(-2)) @ self.reading @ self.vectors + self.mean.unsqueeze(-2)

    def to(self, dtype: torch.dtype) -> Regression:
        """The same in another format of numbers."""
        return Regression(*(part.to(dtype) for part in self))


class JointMoments:
    """Means of samples and targets, the covariance of samples, and that with targets, added up in float64.

    Batches are merged as `Moments` merges them.

    Args:
        lead: Leading dimensions, which are kept apart.
        input_size: Width of a sample.
        output_size: Width of a target.
        device: Where sums are kept.
    """

    def __init__(
        self, lead: tuple[int, ...], input_size: int, output_size: int, device: torch.device | str = "cpu"
    ) -> None:
        self._of_x = Moments((*lead, input_size), device)
        self._mean = torch.zeros(*lead, output_size, dtype=torch.float64, device=device)
        self._cross = torch.zeros(*lead, input_size, output_size, dtype=torch.float64, device=device)

    def add(self, x: Tensor, y: Tensor) -> None:
        """Add samples (…, n, input) and their targets (…, n, output)."""
        x, y = (rows.to(self._mean.device, torch.float64) for rows in (x, y))
        means = x.mean(-2), y.mean(-2)
        steps = means[0] - self._of_x.mean, means[1] - self._mean
        total = self._of_x.count + x.shape[-2]
        self._cross += (x - means[0].unsqueeze(-2)).mT @ (y - means[1].unsqueeze(-2))
        self._cross += self._of_x.count * x.shape[-2] / total * steps[0].unsqueeze(-1) * steps[1].unsqueeze(-2)
        self._mean += steps[1] * (x.shape[-2] / total)
        self._of_x.add(x)

    def regression(self, rank: int) -> Regression:
        """The linear map of at most this rank whose squared error on the targets is smallest.

        It is the regression without a limit, B = Sxx⁻¹ Sxy, followed by the projection on the leading principal
        directions of its predictions. Of a target that is the sample itself it is PCA.

        Source: Izenman (1975), "Reduced-rank regression for the multivariate linear model".
        """
        typical = self._of_x.scatter.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None]
        # Samples that are all alike predict nothing, whatever the ridge.
        ridge = torch.where(typical > 0, _RIDGE * typical, 1) * torch.eye(self._cross.shape[-2]).to(self._cross)
        root = torch.linalg.cholesky(self._of_x.scatter + ridge)
        rows = _leading_rows(torch.linalg.solve_triangular(root, self._cross, upper=False), rank)
        return Regression(self._of_x.mean, torch.cholesky_solve(self._cross, root) @ rows.mT, rows, self._mean)


def _leading_rows(matrix: Tensor, rank: int) -> Tensor:
    """The leading right singular vectors of a matrix (…, m, n), as rows (…, min(rank, m, n), n)."""
    rank = min(rank, *matrix.shape[-2:])
    if matrix.shape[-1] > matrix.shape[-2]:
        return torch.linalg.svd(matrix, full_matrices=False).Vh[..., :rank, :].contiguous()
    vectors = torch.linalg.eigh(matrix.mT @ matrix).eigenvectors  # several times as fast
    return vectors[..., -rank:].flip(-1).mT.contiguous()

"""What a dictionary reads of the data: samples centered, scaled, whitened or standardized, and put back again.

All but `standardized` are affine maps x_s = (x − μ)A that are fitted once, from a random sample of the data, and kept
in the checkpoint; `nn.folding` puts them into a dictionary's weights. Without one factor for all data the units of
coefficients, thresholds and bandwidths would be the data's own.
"""

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ae_lightning.errors import ConfigError
from ae_lightning.nn.centering import centered, principal_directions
from ae_lightning.nn.precision import KeepsPrecision, adding_device, at_least_float32, wide_dtype

InputScalingName = Literal[
    "none",
    "mean_norm",
    "mean_square",
    "centered",
    "centered_mean_norm",
    "centered_mean_square",
    "whitened",
    "standardized",
]
"""How data are scaled before the encoder reads them; losses are then in scaled units.

`mean_norm`: one factor that makes the mean norm of a sample √d, for d dimensions (Anthropic, April 2024; SAELens).
`mean_square`: one factor that makes the mean squared norm 1 (dictionary_learning). `centered`: the mean is subtracted.
`centered_mean_norm`, `centered_mean_square`: the mean first, then the factor that what is left needs; for data that lie
far from zero. `whitened`: the mean is subtracted, and each principal direction divided by its deviation.
`standardized`: each sample by itself, to mean 0 and deviation 1 over its entries.
"""


class InputScaling(nn.Module):
    """Leaves samples as they are, and is what the other scalings override."""

    #: Whether `nn.folding` can put it into a dictionary's weights.
    is_foldable: bool = True

    def forward(self, x: Tensor) -> Tensor:
        """Samples (…, batch, input) in scaled units, of the same format of numbers."""
        return x

    def undo(self, x_hat: Tensor, x: Tensor | None = None) -> Tensor:
        """Reconstructions (…, batch, input) in the data's units, from scaled ones.

        Args:
            x_hat: In scaled units.
            x: The samples, before scaling, that they are of. Only `standardized` needs them.
        """
        return x_hat

    @torch.no_grad()
    def fit(self, samples: Tensor) -> None:
        """Estimate what is kept, in float64, from a random sample (n, input) of the data, or (instances, n, input).

        Raises:
            ConfigError: The samples have no scale, or are not finite.
        """

    @property
    def is_fitted(self) -> bool:
        """Whether nothing is left to estimate; before that, samples stay as they are. Asks the device."""
        return True

    @property
    def center(self) -> Tensor | None:
        """μ (…, input), or None where nothing is subtracted."""
        return None

    def fold_reading(self, weight: Tensor) -> Tensor:
        """A W of weights (…, input, columns), which read scaled samples: these read samples less μ."""
        return weight

    def fold_writing(self, rows: Tensor) -> Tensor:
        """W A⁻¹ of rows (…, rows, input) in scaled units: in the data's, less μ."""
        return rows


class _Fitted(KeepsPrecision, InputScaling):
    """A scaling that keeps what it was fitted to, in float32 or wider whatever the model is cast to."""

    fitted: Tensor

    def __init__(self, name: InputScalingName) -> None:
        super().__init__()
        self.name: InputScalingName = name
        self.register_buffer("fitted", torch.zeros((), dtype=torch.bool))

    @property
    def is_fitted(self) -> bool:
        """Whether `fit` was called, here or before the checkpoint was written."""
        return bool(self.fitted)

    def _checked(self, samples: Tensor) -> Tensor:
        samples = samples.to(adding_device(samples.device), torch.float64)
        if not bool(samples.isfinite().all()):
            raise ConfigError(f"the input scaling {self.name} needs finite samples, but some are NaN or infinite")
        return samples

    def _refuse_zero(self, scale: Tensor, what: str) -> None:
        if not bool((scale > 0).all()):
            which = "" if scale.ndim == 0 else f" of instance {int((scale <= 0).nonzero()[0])}"
            raise ConfigError(
                f"the input scaling {self.name} has no scale to find, for the samples{which} are all {what}: choose "
                "another, or none"
            )


class AffineScaling(_Fitted):
    """x_s = (x − μ)·s with one factor s for all dimensions; either may be left out.

    Args:
        name: Which of them, as `InputScalingName` says.
        input_dim: Width of the input.
        lead: (instances,) where each instance may have data, and so a scaling, of its own; else ().

    Buffers: `mean` (…, input) and `factor` (…), each only where the name asks for it.
    """

    mean: Tensor | None
    factor: Tensor | None

    def __init__(self, name: InputScalingName, input_dim: int, lead: tuple[int, ...] = ()) -> None:
        super().__init__(name)
        mean = torch.zeros(*lead, input_dim, dtype=wide_dtype())
        self.register_buffer("mean", mean if name.startswith("centered") else None)
        self.register_buffer("factor", None if name == "centered" else torch.ones(lead, dtype=wide_dtype()))

    def forward(self, x: Tensor) -> Tensor:
        """Samples (…, batch, input) less μ, times s."""
        scaled = at_least_float32(x)
        if self.mean is not None:
            scaled = scaled - self.mean.unsqueeze(-2)
        return self.fold_reading(scaled).to(x.dtype)

    def undo(self, x_hat: Tensor, x: Tensor | None = None) -> Tensor:
        """Reconstructions (…, batch, input) over s, plus μ, in float32 or wider."""
        data = self.fold_writing(at_least_float32(x_hat))
        return data if self.mean is None else data + self.mean.unsqueeze(-2)

    @torch.no_grad()
    def fit(self, samples: Tensor) -> None:
        """Estimate μ and s, in float64.

        Raises:
            ConfigError: The samples are all zero (all equal, if they are centered), or not finite.
        """
        samples = self._checked(samples)
        if self.mean is not None:
            mean, samples = centered(samples, -2)
            self.mean.copy_(mean.squeeze(-2))
        if self.factor is not None:
            norms = samples.norm(dim=-1)
            by_norm = self.name.endswith("mean_norm")
            scale = norms.mean(-1) if by_norm else norms.square().mean(-1).sqrt()
            self._refuse_zero(scale, "zero" if self.mean is None else "equal")
            self.factor.copy_((math.sqrt(samples.shape[-1]) if by_norm else 1) / scale)
        self.fitted.fill_(True)

    @property
    def center(self) -> Tensor | None:
        """μ (…, input), or None."""
        return self.mean

    def fold_reading(self, weight: Tensor) -> Tensor:
        """Weights (…, input, columns) times s."""
        return weight if self.factor is None else weight * self.factor[..., None, None]

    def fold_writing(self, rows: Tensor) -> Tensor:
        """Rows (…, rows, input) over s."""
        return rows if self.factor is None else rows / self.factor[..., None, None]


class Whitening(_Fitted):
    """x_s = (x − μ)A with A = Vᵀ diag(1/√(λ + ε)) of the principal directions V and the variances λ along them.

    Along each direction the variance becomes λ/(λ + ε): 1, but for directions in which the data hardly vary. In the
    data's units a float32 model loses as many digits as there lie between the largest √(λ + ε) and the smallest.

    Source: "whitening" of arXiv 2511.13981 and of SAELens (`covariance_whitening`), whose ε is in squared units of the
        data.

    Args:
        input_dim: Width of the input.
        lead: (instances,) where each instance may have data, and so a scaling, of its own; else ().
        eps: ε in parts of the mean variance of a dimension, so that it does not depend on the data's units.

    Buffers: `mean` (…, input), `directions` (…, input, input), a row for each, and `deviations` (…, input), √(λ + ε).
    """

    mean: Tensor
    directions: Tensor
    deviations: Tensor

    def __init__(self, input_dim: int, lead: tuple[int, ...] = (), eps: float = 1e-3) -> None:
        super().__init__("whitened")
        if not 0 < eps < math.inf:
            raise ConfigError(f"the eps of whitening is {eps}; it must be above 0, in parts of the mean variance")
        self.eps = eps
        self.register_buffer("mean", torch.zeros(*lead, input_dim, dtype=wide_dtype()))
        self.register_buffer("directions", torch.eye(input_dim, dtype=wide_dtype()).repeat(*lead, 1, 1))
        self.register_buffer("deviations", torch.ones(*lead, input_dim, dtype=wide_dtype()))

    def forward(self, x: Tensor) -> Tensor:
        """Samples (…, batch, input) less μ, along the principal directions, over their deviations."""
        with torch.autocast(x.device.type, enabled=False):
            rows = at_least_float32(x) - self.mean.unsqueeze(-2)
            return ((rows @ self.directions.to(rows.dtype).mT) / self.deviations.unsqueeze(-2)).to(x.dtype)

    def undo(self, x_hat: Tensor, x: Tensor | None = None) -> Tensor:
        """Reconstructions (…, batch, input) times the deviations, in the axes of the data, plus μ; float32 or wider."""
        with torch.autocast(x_hat.device.type, enabled=False):
            return self.fold_writing(at_least_float32(x_hat)) + self.mean.unsqueeze(-2)

    @torch.no_grad()
    def fit(self, samples: Tensor) -> None:
        """Estimate μ, V and λ, in float64.

        Raises:
            ConfigError: The samples are all equal, or not finite.
        """
        mean, directions, variances = principal_directions(self._checked(samples))
        typical = variances.mean(-1)
        self._refuse_zero(typical, "equal")
        self.mean.copy_(mean)
        self.directions.copy_(directions)
        self.deviations.copy_((variances + self.eps * typical.unsqueeze(-1)).sqrt())
        self.fitted.fill_(True)

    @property
    def center(self) -> Tensor:
        """μ (…, input)."""
        return self.mean

    def fold_reading(self, weight: Tensor) -> Tensor:
        """A W of weights (…, input, columns)."""
        return self.directions.to(weight.dtype).mT @ (weight / self.deviations.unsqueeze(-1))

    def fold_writing(self, rows: Tensor) -> Tensor:
        """W A⁻¹ of rows (…, rows, input)."""
        return (rows * self.deviations.unsqueeze(-2)) @ self.directions.to(rows.dtype)


class Standardization(InputScaling):
    """Each sample by itself: its entries' mean subtracted, and divided by their deviation + 1e-5.

    The deviation is the unbiased one (over d − 1), as OpenAI and SAELens (`layer_norm`) have it; 1e-5 is in units of
    the data. A code alone does not know its sample's mean and deviation: what is decoded from it is in standardized
    units.

    Args:
        input_dim: Width of the input.
    """

    is_foldable = False

    def __init__(self, input_dim: int) -> None:
        super().__init__()
        if input_dim < 2:
            raise ConfigError("the input scaling standardized needs samples of at least 2 numbers: choose another")

    def forward(self, x: Tensor) -> Tensor:
        """Samples (…, batch, input), each with mean 0 and deviation 1."""
        _, deviation, rows = self._parts(x)
        return (rows / deviation).to(x.dtype)

    def undo(self, x_hat: Tensor, x: Tensor | None = None) -> Tensor:
        """Reconstructions (…, batch, input) with the mean and deviation of the samples x; in float32 or wider.

        Raises:
            ValueError: x is missing.
        """
        if x is None:
            raise ValueError("a standardized reconstruction needs the samples x to be put into their units")
        mean, deviation, _ = self._parts(x)
        return at_least_float32(x_hat) * deviation + mean

    def _parts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, rows = centered(at_least_float32(x), -1)
        deviation = (rows.square().sum(-1, keepdim=True) / (x.shape[-1] - 1)).sqrt()
        return mean, deviation + 1e-5, rows


def make_scaling(name: InputScalingName, input_dim: int, lead: tuple[int, ...] = (), **options: Any) -> InputScaling:
    """The scaling called `name`.

    Args:
        name: As `InputScalingName` says.
        input_dim: Width of the input.
        lead: (instances,) where each instance may have data of its own; fitted to samples that they share, all are the
            same. () scales shared samples once for all.
        **options: Of `Whitening`: `eps`.
    """
    if name == "whitened":
        return Whitening(input_dim, lead, **options)
    if name == "none":
        return InputScaling()
    return Standardization(input_dim) if name == "standardized" else AffineScaling(name, input_dim, lead)

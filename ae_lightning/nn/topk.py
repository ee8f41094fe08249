"""Codes of which a fixed number is active: k of each sample, or k of a sample in the mean over a batch."""

from typing import Any

import torch
from torch import Tensor

from ae_lightning.errors import ConfigError
from ae_lightning.nn.batch_selection import largest
from ae_lightning.nn.code_activation import CodeActivation, Reduce
from ae_lightning.nn.precision import KeepsPrecision, wide_dtype

# Thresholds are nowhere negative. Not NaN, which in a checkpoint says that training failed.
_NOT_CALIBRATED = -1.0


class ActiveLatents(KeepsPrecision, CodeActivation):
    """Codes of which the k with the largest scores are active; subclasses say of what.

    A score is the pre-activation, times the norm of the decoder's row where `weighted`.

    Args:
        k: Active latents of a sample.
        latent_dim: Latents.
        weighted: Whether `forward` and `observe` are given norms.
        moving: Whether k changes in training, by `set_k`: its present value is then in the state.
    """

    present_k: Tensor

    def __init__(self, k: float, latent_dim: int, weighted: bool, moving: bool) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.weighted = weighted
        self._check(k)
        self._k = k
        self.moving = moving
        if moving:
            self.register_buffer("present_k", torch.tensor(0.0, dtype=wide_dtype()))
            self.set_k(k)

    @property
    def k(self) -> float:
        """Active latents of a sample, at present; in evaluation as the state says, which a snapshot may have set."""
        return type(self._k)(self.present_k) if self.moving and not self.training else self._k

    def set_k(self, k: float) -> None:
        """Change the number of active latents, where it was said to be moving.

        A compiled forward pass is compiled anew for each k: shapes depend on it.
        """
        self._check(k)
        self._k = type(self._k)(torch.tensor(k, dtype=torch.float32, device="cpu"))  # as the state holds it
        self.present_k.fill_(self._k)

    def scored(self, pre: Tensor, norms: Tensor | None) -> Tensor:
        """Scores (…, batch, latent), without a gradient."""
        if (norms is not None) != self.weighted:
            raise ValueError(f"norms have to be given if and only if latents are weighted, which is {self.weighted}")
        pre = pre.detach()
        return pre if norms is None else pre * norms.detach().unsqueeze(-2)

    @torch.no_grad()
    def scale_latents(self, factor: Tensor) -> None:
        """Adapt to pre-activations that are multiplied by a positive factor (…, latent), so that codes are too.

        Where selection is weighted, nothing has to change: rows of the decoder that are divided by the same factor
        leave the scores as they are. Otherwise it must be one factor for all latents.
        """
        if not self.weighted and not torch.allclose(factor, factor[..., :1], rtol=1e-5, atol=0):
            raise ConfigError(
                "the norms of the decoder's rows cannot be folded into codes that are selected by pre-activations "
                "alone, since other latents would be selected: weigh the selection by the norms, or hold them equal "
                "with the DecoderNorm callback"
            )

    def measures(self) -> dict[str, Tensor]:
        """The present k, where it moves."""
        return {"k": self.present_k} if self.moving else {}

    def _check(self, k: float) -> None:
        raise NotImplementedError

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        if self.moving:
            self.set_k(float(self.present_k))


class TopK(ActiveLatents):
    """Keeps the k largest of each sample, and of these the positive ones: z = ReLU(top_k(pre)), Gao et al. (2024).

    A code holds pre-activations, also where norms weigh the selection; its gradient reaches the kept ones alone. Of
    equal scores `torch.topk` decides which are kept.

    Args:
        k: Active latents of a sample, at most.
        latent_dim: Latents.
        instances: Independent dictionaries; it changes nothing here.
        groups: Whether to keep the largest of each of k groups of neighboring latents, in place of the k largest.
        weighted: Whether a score is pre-activation × norm of the decoder's row; otherwise it is the pre-activation.
        moving: Whether k changes in training, by `set_k`.

    Raises:
        ConfigError: k is not from 1 to latent_dim, or the groups cannot be formed.
    """

    def __init__(
        self,
        k: int,
        latent_dim: int,
        instances: int | None = None,
        groups: bool = False,
        weighted: bool = False,
        moving: bool = False,
    ) -> None:
        self.groups = groups
        if groups and moving:
            raise ConfigError("--model.k cannot follow a schedule where latents are in k groups: give one number")
        super().__init__(k, latent_dim, weighted, moving)

    def set_k(self, k: float) -> None:
        """Change the number of active latents, to the nearest whole one."""
        super().set_k(round(k))

    def forward(self, pre: Tensor, norms: Tensor | None = None) -> Tensor:
        """Codes (…, batch, latent)."""
        places = self.places(self.scored(pre, norms))
        return torch.zeros_like(pre).scatter(-1, places, pre.gather(-1, places).relu())

    def places(self, scores: Tensor) -> Tensor:
        """Indices (…, batch, k) of the selected latents, in no order."""
        k = int(self.k)
        if not self.groups:
            return scores.topk(k, sorted=False).indices
        width = self.latent_dim // k
        return scores.unflatten(-1, (k, width)).argmax(-1) + torch.arange(k, device=scores.device) * width

    def extra_repr(self) -> str:
        """What `print` shows."""
        return f"k={self._k}, groups={self.groups}, weighted={self.weighted}"

    def _check(self, k: float) -> None:
        if not 1 <= k <= self.latent_dim:
            raise ConfigError(f"--model.k is {k}; it has to be from 1 to the {self.latent_dim} latents")
        if self.groups and self.latent_dim % k:
            raise ConfigError(
                f"{self.latent_dim} latents cannot be divided into --model.k {k} groups of equal size: give a k that "
                "divides them"
            )


class BatchTopK(ActiveLatents):
    """Keeps the k·n largest of a batch of n samples, Bussmann et al. (2024); outside training those above a threshold.

    In training each instance keeps its int(k·n) largest scores, and of these the positive ones. Otherwise a latent is
    active where its score exceeds `inference_threshold`, so that a code does not depend on the rest of its batch.

    The running threshold is a bias-corrected exponential mean of the smallest positive score that a training batch
    kept, which moves once for each optimizer step. Batches whose gradients are accumulated count together as one, by
    the mean of theirs; one that kept nothing positive tells nothing. Before the first step the threshold is 0. The
    smallest score depends on the size of the batch: the threshold belongs to the one it was trained with.

    Over several processes each selects from its own part of the batch, and their thresholds are averaged.

    Args:
        k: Active latents of a sample in the mean over a batch, at most; it may be a fraction.
        latent_dim: Latents.
        instances: Independent dictionaries, each with a threshold of its own; None is one without an own dimension.
        momentum: Share of the past that a step leaves in the running threshold, from 0 to below 1.
        weighted: Whether a score is pre-activation × norm of the decoder's row; otherwise it is the pre-activation.
        moving: Whether k changes in training, by `set_k`.

    Raises:
        ConfigError: k is not above 0 and up to latent_dim, or momentum is out of range.
    """

    threshold: Tensor
    weight: Tensor
    calibrated: Tensor

    def __init__(
        self,
        k: float,
        latent_dim: int,
        instances: int | None = None,
        momentum: float = 0.9,
        weighted: bool = False,
        moving: bool = False,
    ) -> None:
        super().__init__(float(k), latent_dim, weighted, moving)
        if not 0 <= momentum < 1:
            raise ConfigError(f"the momentum of the threshold is {momentum}; it has to be at least 0 and below 1")
        self.momentum = momentum
        # (…), with the instances. Of the mean `weight` is the sum of the weights of all steps so far, below 1.
        zero = torch.zeros(() if instances is None else (instances,), dtype=wide_dtype())
        self.register_buffer("threshold", zero)
        self.register_buffer("weight", zero.clone())
        self.register_buffer("calibrated", torch.full_like(zero, _NOT_CALIBRATED))
        # Sum and number, (2, …), of the smallest scores since the last step. No buffer: it differs between processes.
        self._gathered: Tensor | None = None

    @property
    def inference_threshold(self) -> Tensor:
        """The score (…) above which a latent is active outside training: the calibrated, or else the running one."""
        return torch.where(self.calibrated < 0, self.threshold, self.calibrated)

    def forward(self, pre: Tensor, norms: Tensor | None = None) -> Tensor:
        """Codes (…, batch, latent)."""
        scores = self.scored(pre, norms)
        if not self.training:
            return torch.where(scores > self.inference_threshold[..., None, None], pre, 0)
        places = self.places(scores)
        flat = pre.flatten(-2)
        return torch.zeros_like(flat).scatter(-1, places, flat.gather(-1, places).relu()).view_as(pre)

    def places(self, scores: Tensor) -> Tensor:
        """Indices (…, int(k·n)) of what is selected in training from all scores of n samples, in no order."""
        return largest(scores.flatten(-2), int(self.k * scores.shape[-2]))

    @torch.no_grad()
    def observe(self, z: Tensor, norms: Tensor | None = None) -> None:
        """Gather the smallest positive score of a training batch's codes z (…, batch, latent)."""
        scores = self.scored(z, norms)
        smallest = scores.masked_fill(scores <= 0, torch.inf).amin((-2, -1)).to(self.threshold.dtype)
        seen = smallest.isfinite()
        evidence = torch.stack((smallest.where(seen, 0), seen.to(smallest.dtype)))
        self._gathered = evidence if self._gathered is None else self._gathered + evidence

    @torch.no_grad()
    def advance(self, reduce: Reduce) -> None:
        """Take the scores gathered since the last optimizer step into the mean, and drop a calibrated threshold."""
        gathered = self._gathered
        if gathered is None:  # other processes wait for this one's part
            gathered = torch.zeros(2, *self.threshold.shape, dtype=self.threshold.dtype, device=self.threshold.device)
        self._gathered = None
        total, number = reduce(gathered, "sum")
        share = (1 - self.momentum) * (number > 0)
        self.weight += share * (1 - self.weight)
        smallest = total / number.clamp(min=1)
        self.threshold += (share / self.weight.clamp(min=1 - self.momentum)) * (smallest - self.threshold)
        self.calibrated.fill_(_NOT_CALIBRATED)

    def forget(self) -> None:
        """Drop what was gathered since the last optimizer step."""
        self._gathered = None

    @torch.no_grad()
    def calibrate(self, threshold: Tensor) -> None:
        """Use this threshold (…), at least 0, outside training in place of the running one, until training goes on.

        `ae_lightning.analysis.calibration` finds the one at which L0 is k on given data.
        """
        self.calibrated.copy_(threshold.clamp(min=0))

    @torch.no_grad()
    def scale_latents(self, factor: Tensor) -> None:
        """Adapt to pre-activations that are multiplied by a positive factor (…, latent), so that codes are too.

        As `ActiveLatents.scale_latents`; where selection is not weighted, thresholds are multiplied as well.
        """
        super().scale_latents(factor)
        if not self.weighted:
            self.threshold *= factor[..., 0]
            self.calibrated *= factor[..., 0]

    def measures(self) -> dict[str, Tensor]:
        """The threshold outside training, and the present k where it moves."""
        return {"threshold": self.inference_threshold.mean(), **super().measures()}

    def extra_repr(self) -> str:
        """What `print` shows."""
        return f"k={self._k}, momentum={self.momentum}, weighted={self.weighted}"

    def _check(self, k: float) -> None:
        if not 0 < k <= self.latent_dim:
            raise ConfigError(f"--model.k is {k}; it has to be above 0 and at most the {self.latent_dim} latents")

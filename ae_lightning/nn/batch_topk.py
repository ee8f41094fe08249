"""Codes of which k of a sample are active in the mean over a batch, selected from the whole batch."""

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from ae_lightning.errors import ConfigError
from ae_lightning.nn.active_latents import ActiveLatents, kept
from ae_lightning.nn.batch_selection import largest
from ae_lightning.nn.code_activation import Reduce
from ae_lightning.nn.precision import wide_dtype
from ae_lightning.nn.sparse_code import SparseCode

# Thresholds are nowhere negative. Not NaN, which in a checkpoint says that training failed.
_NOT_CALIBRATED = -1.0


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
        k: Active latents of a sample in the mean over a batch, at most; it may be a fraction. One number, or one for
            each instance.
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
        k: float | Sequence[float],
        latent_dim: int,
        instances: int | None = None,
        momentum: float = 0.9,
        weighted: bool = False,
        moving: bool = False,
    ) -> None:
        k = list(map(float, k)) if isinstance(k, Sequence) else float(k)
        super().__init__(k, latent_dim, instances, weighted, moving)
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

    @property
    def expected_k(self) -> float:
        """As `ActiveLatents` has it; outside training all latents, while the threshold of an instance is 0."""
        return self.k if self.training or bool((self.inference_threshold > 0).all()) else self.latent_dim

    def forward(self, pre: Tensor, norms: Tensor | None = None) -> Tensor:
        """Codes (…, batch, latent)."""
        scores = self.scored(pre, norms)
        if not self.training:
            return torch.where(scores > self.inference_threshold[..., None, None], pre, 0)
        places = self.places(scores)
        flat = pre.flatten(-2)
        values = flat.gather(-1, places).relu()
        if self.given is not None:
            values = values.where(kept(self._counts(pre.shape[-2]), pre.device), 0)
        return torch.zeros_like(flat).scatter(-1, places, values).view_as(pre)

    def places(self, scores: Tensor) -> Tensor:
        """Indices (…, int(k·n)) of what is selected in training from all scores of n samples.

        They are in no order, or where instances differ in k as many as the largest has, the best first.
        """
        flat = scores.flatten(-2)
        places = largest(flat, int(self.k * scores.shape[-2]))
        if self.given is None:
            return places
        return places.gather(-1, flat.gather(-1, places).argsort(-1, descending=True))

    def _counts(self, samples: int) -> list[int]:
        """How many are kept of so many samples, for each instance."""
        return [int(k * samples) for k in self.each_k]

    def _selected(
        self, blocks: Iterable[tuple[int, int, Tensor, Tensor]], samples: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        if not self.training:
            yield from self._above_threshold(blocks, samples)
            return
        best: dict[int, list[tuple[Tensor, Tensor, Tensor]]] = {}
        counts = self._counts(samples)
        for instance, start, pre, scores in blocks:  # the largest of all are among the largest of each block
            places = largest(scores.flatten(), counts[instance])
            first = (instance * samples + start) * self.latent_dim
            found = (places + first, pre.flatten()[places], scores.flatten()[places])
            best.setdefault(instance, []).append(found)
        for instance, parts in best.items():
            places, values, scores = (torch.cat(part) for part in zip(*parts, strict=True))
            if len(parts) > 1:
                chosen = largest(scores, counts[instance])
                places, values = places[chosen], values[chosen]
            places, order = places.sort()
            yield places, values[order]

    def _above_threshold(
        self, blocks: Iterable[tuple[int, int, Tensor, Tensor]], samples: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        thresholds = self.inference_threshold.flatten()
        for instance, start, pre, scores in blocks:
            places = (scores > thresholds[instance]).flatten().nonzero().squeeze(-1)
            yield places + (instance * samples + start) * self.latent_dim, pre.flatten()[places]

    @torch.no_grad()
    def observe(self, z: Tensor | SparseCode, norms: Tensor | None = None) -> None:
        """Gather the smallest positive score of a training batch's codes z (…, batch, latent)."""
        smallest = self._smallest_of_entries(z, norms) if isinstance(z, SparseCode) else self._smallest(z, norms)
        smallest = smallest.to(self.threshold.dtype)
        seen = smallest.isfinite()
        evidence = torch.stack((smallest.where(seen, 0), seen.to(smallest.dtype)))
        self._gathered = evidence if self._gathered is None else self._gathered + evidence

    def _smallest(self, z: Tensor, norms: Tensor | None) -> Tensor:
        scores = self.scored(z, norms)
        return scores.masked_fill(scores <= 0, torch.inf).amin((-2, -1))

    def _smallest_of_entries(self, z: SparseCode, norms: Tensor | None) -> Tensor:
        scores = z.values.detach()
        if norms is not None:
            scores = scores * norms.flatten()[z.places.latents]
        scores = scores.masked_fill(scores <= 0, torch.inf)
        smallest = torch.full((self.threshold.numel(),), torch.inf, dtype=scores.dtype, device=scores.device)
        owners = z.places.latents // self.latent_dim
        return smallest.scatter_reduce(0, owners, scores, "amin").view(self.threshold.shape)

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
        return f"{super().extra_repr()}, momentum={self.momentum}"

    def _check(self, k: float) -> None:
        if not 0 < k <= self.latent_dim:
            raise ConfigError(f"--model.k is {k}; it has to be above 0 and at most the {self.latent_dim} latents")

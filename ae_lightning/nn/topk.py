"""Codes of which the k largest of each sample are active."""

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from ae_lightning.errors import ConfigError
from ae_lightning.nn.active_latents import ActiveLatents, kept
from ae_lightning.nn.batch_selection import largest


class TopK(ActiveLatents):
    """Keeps the k largest of each sample, and of these the positive ones: z = ReLU(top_k(pre)), Gao et al. (2024).

    A code holds pre-activations, also where norms weigh the selection; its gradient reaches the kept ones alone. Of
    equal scores `torch.topk` decides which are kept.

    Args:
        k: Latents of a sample that are active, at most: a number, or one for each instance.
        latent_dim: Latents.
        instances: Independent dictionaries, or None for a single one.
        groups: Whether to keep the largest of each of k groups of neighboring latents, in place of the k largest.
        weighted: Whether a score is pre-activation × norm of the decoder's row; otherwise it is the pre-activation.
        moving: Whether k changes in training, by `set_k`.

    Raises:
        ConfigError: k is not from 1 to latent_dim, or the groups cannot be formed.
    """

    def __init__(
        self,
        k: int | Sequence[int],
        latent_dim: int,
        instances: int | None = None,
        groups: bool = False,
        weighted: bool = False,
        moving: bool = False,
    ) -> None:
        self.groups = groups
        if groups and (moving or isinstance(k, Sequence)):
            ways = "follow a schedule" if moving else "differ among instances"
            raise ConfigError(f"--model.k cannot {ways} where latents are in k groups: give one number")
        super().__init__(k, latent_dim, instances, weighted, moving)

    def set_k(self, k: float) -> None:
        """Change the number of active latents, to the nearest whole one."""
        super().set_k(round(k))

    def forward(self, pre: Tensor, norms: Tensor | None = None) -> Tensor:
        """Codes (…, batch, latent)."""
        places = self.places(self.scored(pre, norms))
        values = pre.gather(-1, places).relu()
        if self.given is not None:
            values = values.where(kept(self.given, pre.device).unsqueeze(-2), 0)
        return torch.zeros_like(pre).scatter(-1, places, values)

    def places(self, scores: Tensor) -> Tensor:
        """Indices (…, batch, k) of the selected latents; the largest first where instances differ in k."""
        k = int(self.k)
        if self.groups:
            width = self.latent_dim // k
            return scores.unflatten(-1, (k, width)).argmax(-1) + torch.arange(k, device=scores.device) * width
        return scores.topk(k, sorted=self.given is not None).indices

    def _selected(
        self, blocks: Iterable[tuple[int, int, Tensor, Tensor]], samples: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        each = self.each_k
        for instance, start, pre, scores in blocks:
            best = self.places(scores) if self.groups else largest(scores, int(each[instance]))
            best = best.sort(-1).values
            first = (instance * samples + start) * self.latent_dim
            rows = torch.arange(len(pre), device=pre.device).unsqueeze(-1) * self.latent_dim
            yield (best + (rows + first)).flatten(), pre.gather(-1, best).flatten()

    def extra_repr(self) -> str:
        """What `print` shows."""
        return f"{super().extra_repr()}, groups={self.groups}"

    def _check(self, k: float) -> None:
        if not 1 <= k <= self.latent_dim:
            raise ConfigError(f"--model.k is {k}; it has to be from 1 to the {self.latent_dim} latents")
        if self.groups and self.latent_dim % k:
            raise ConfigError(
                f"{self.latent_dim} latents cannot be divided into --model.k {k} groups of equal size: give a k that "
                "divides them"
            )

"""What codes share of which a fixed number is active: how many, and by which scores they are compared."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from ae_lightning.errors import ConfigError
from ae_lightning.nn.code_activation import CodeActivation
from ae_lightning.nn.precision import KeepsPrecision, at_least_float32, wide_dtype
from ae_lightning.nn.sparse_code import Places, SparseCode

Blocks = Iterable[tuple[int, int, Tensor]]
"""Pre-activations (samples, latent) of some samples at a time, after the number of their instance and of the first."""


class ActiveLatents(KeepsPrecision, CodeActivation):
    """Codes of which the k with the largest scores are active; subclasses say of what.

    A score is the pre-activation, times the norm of the decoder's row where `weighted`.

    Args:
        k: Active latents of a sample: a number, or one for each instance.
        latent_dim: Latents.
        instances: Independent dictionaries, or None for a single one.
        weighted: Whether `forward` and `observe` are given norms.
        moving: Whether k changes in training, by `set_k`: its present value is then in the state.

    Raises:
        ConfigError: A k is out of range, or there are not as many as instances.
    """

    present_k: Tensor

    def __init__(
        self, k: float | Sequence[float], latent_dim: int, instances: int | None, weighted: bool, moving: bool
    ) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.instances = instances
        self.weighted = weighted
        self.given = list(k) if isinstance(k, Sequence) else None
        if self.given is not None and len(self.given) != instances:
            raise ConfigError(f"--model.k has {len(self.given)} numbers for {instances or 1} instances: give as many")
        for each in (k,) if self.given is None else self.given:
            self._check(each)  # type: ignore[arg-type]
        self._k: float = k if self.given is None else max(self.given)  # type: ignore[assignment]
        self.moving = moving
        if moving:
            self.register_buffer("present_k", torch.tensor(0.0, dtype=wide_dtype()))
            self.set_k(self._k)

    @property
    def k(self) -> float:
        """Active latents of a sample, at present, the most that an instance has; in evaluation as the state says."""
        return type(self._k)(self.present_k) if self.moving and not self.training else self._k

    @property
    def expected_k(self) -> float:
        """Active latents of a sample to reckon with, where nothing may be known yet of a threshold."""
        return self.k

    @property
    def each_k(self) -> list[float]:
        """The same for each instance; of a single dictionary one number."""
        return self.given if self.given is not None else [self.k] * (self.instances or 1)

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
    def select(self, blocks: Blocks, norms: Tensor | None, shape: Sequence[int]) -> SparseCode:
        """The pre-activations that `forward` keeps, before those below zero are cut, from some samples at a time.

        Args:
            blocks: All samples of an instance, then those of the next.
            norms: Norms (…, latent) of the decoder's rows, where latents are weighted.
            shape: (…, batch, latent) of the codes.

        Returns:
            A code without a gradient, its values in float32 or wider.
        """
        flat, values = [], []
        for places, found in self._selected(self._scored_blocks(blocks, norms), shape[-2]):
            flat.append(places)
            values.append(at_least_float32(found))
        return SparseCode(torch.cat(values), Places.of_flat(torch.cat(flat), shape))

    def _scored_blocks(self, blocks: Blocks, norms: Tensor | None) -> Iterator[tuple[int, int, Tensor, Tensor]]:
        each = None if norms is None else norms.reshape(-1, self.latent_dim)
        for instance, start, pre in blocks:
            yield instance, start, pre, self.scored(pre, None if each is None else each[instance])

    def _selected(
        self, blocks: Iterable[tuple[int, int, Tensor, Tensor]], samples: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Places through all codes, rising, and pre-activations there, of blocks and their scores.

        Args:
            blocks: Number of the instance, that of the first sample, pre-activations and scores.
            samples: How many there are of an instance.
        """
        raise NotImplementedError

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

    def extra_repr(self) -> str:
        """What `print` shows."""
        return f"k={self._k if self.given is None else self.given}, weighted={self.weighted}"

    def _check(self, k: float) -> None:
        raise NotImplementedError

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        if self.moving:
            self.set_k(float(self.present_k))


def kept(counts: Sequence[float], device: torch.device) -> Tensor:
    """Which of the best of each instance are kept, (instances, most), where these are sorted."""
    return torch.arange(int(max(counts)), device=device) < torch.tensor(counts, device=device).unsqueeze(-1)

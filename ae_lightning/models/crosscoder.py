"""Crosscoders: one sparse code for the activations of several layers or models."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ae_lightning.errors import ConfigError
from ae_lightning.models.any_code import AnyCodeDictionary, CodeName
from ae_lightning.nn.precision import at_least_float32
from ae_lightning.nn.scaling import InputScaling, InputScalingName
from ae_lightning.nn.source_scaling import SourceScaling


class Crosscoder(AnyCodeDictionary):
    """One code for several sources: z = act(Σ_s W_enc,s (x_s − b_s) + b_enc), x̂_s = W_dec,s z + b_s.

    A sample is its sources side by side, such as the activations of two layers, or of two models on the same text. Each
    source is scaled by itself. A latent that both have in common writes to both; `relative_norms` says how much of what
    a latent writes goes to each source. A latent is compared, and penalized, by the norm of its row over all sources.

    `evaluate` tells errors of each source beside those of the whole sample.

    Source: Lindsey et al. (2024), "Sparse crosscoders for cross-layer features and model diffing"; Minder et al.
    (2025), "Robustly identifying concepts introduced during chat fine-tuning using crosscoders", arXiv 2504.02922, for
    BatchTopK, where a penalty would hide that sources have a latent in common.

    Args:
        input_shape: Shape of one sample, (Σ widths,). The command line takes it from the data.
        latent_dim: Number of latents.
        source_dims: Widths of the sources in their order, or how many there are of equal width.
        activation: What makes the code sparse: batch_topk, topk, jumprelu or relu; see `CodeName`.
        input_scaling: How each source is scaled, by numbers of its own: see `SparseDictionary`.
        instances: Independent copies trained side by side, or None for a single one.
        **kwargs: Arguments of `AnyCodeDictionary`.

    Raises:
        ConfigError: The widths of the sources do not add up to that of a sample.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        latent_dim: int = 4096,
        source_dims: int | list[int] = 2,
        activation: CodeName = "batch_topk",
        input_scaling: InputScalingName = "centered_mean_norm",
        instances: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(input_shape, latent_dim, activation, instances=instances, input_scaling="none", **kwargs)
        self.source_dims = _widths(source_dims, self.input_size)
        self.scaling: InputScaling = SourceScaling(input_scaling, self.source_dims, self._lead)

    @property
    def output_parts(self) -> dict[str, slice]:
        """Where each source lies in a sample."""
        ends = [sum(self.source_dims[: number + 1]) for number in range(len(self.source_dims))]
        return {
            f"source_{number}": slice(end - width, end)
            for number, (width, end) in enumerate(zip(self.source_dims, ends, strict=True))
        }

    @property
    def source_norms(self) -> Tensor:
        """Norms (…, latent, sources) of what each latent writes to each source, in scaled units."""
        parts = at_least_float32(self.decoder_vectors.detach()).split(self.source_dims, -1)
        return torch.stack([part.norm(dim=-1) for part in parts], -1)

    @property
    def relative_norms(self) -> Tensor:
        """The same as parts of their sum: 1/S each where a latent writes as much to all of S; 0 where it is zero."""
        norms = self.source_norms
        total = norms.sum(-1, keepdim=True)
        return torch.where(total > 0, norms / total, 0)


def _widths(source_dims: int | Sequence[int], size: int) -> list[int]:
    """The width of each source of a sample of so many numbers.

    Raises:
        ConfigError: They do not add up to it.
    """
    if isinstance(source_dims, int):
        if source_dims < 1 or size % source_dims:
            raise ConfigError(
                f"--model.source_dims {source_dims} asks for so many sources of one width, but a sample of these data "
                f"has {size} numbers: give the width of each source, such as [{size - size // 3},{size // 3}]"
            )
        return [size // source_dims] * source_dims
    widths = list(source_dims)
    if min(widths, default=0) < 1 or sum(widths) != size:
        raise ConfigError(
            f"--model.source_dims {widths} adds up to {sum(widths)}, but a sample of these data has {size} numbers: "
            "give the width of each source, in their order"
        )
    return widths

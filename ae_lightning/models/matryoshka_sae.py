"""Matryoshka sparse autoencoders: the first latents reconstruct alone, the next ones add to them."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor

from ae_lightning.errors import ConfigError
from ae_lightning.models.selecting import final_k
from ae_lightning.models.topk_sae import SelectingSAE
from ae_lightning.nn.active_latents import ActiveLatents
from ae_lightning.nn.affine import affine, product
from ae_lightning.nn.batch_topk import BatchTopK
from ae_lightning.nn.prefixes import prefix_widths, random_widths
from ae_lightning.nn.sparse_code import SparseCode
from ae_lightning.nn.sparse_products import decode_prefixes
from ae_lightning.nn.topk import TopK
from ae_lightning.training.batch import Pass
from ae_lightning.training.coefficients import Ramp
from ae_lightning.training.population import count_of


class MatryoshkaSAE(SelectingSAE):
    """A BatchTopK autoencoder each of whose prefixes, its first m₁ < m₂ < … latents, has to reconstruct by itself.

    All latents are selected together; a prefix decodes its part of the code, and the decoder's bias. The loss is a
    weighted sum of all prefixes' errors, `reconstruction` for all latents and `prefix_m` for the first m. General
    features settle in the first latents, and special ones that come later do not absorb them. The more inner prefixes
    weigh, the more of their latents stand for a mixture of features in place of one.

    Source: Bussmann et al. (2025), "Learning multi-level features with Matryoshka sparse autoencoders", arXiv
    2503.17547; random prefixes after Nabeshima (2024).

    Args:
        input_shape: Shape of one sample. The command line takes it from the data.
        latent_dim: Number of latents.
        k: Active latents of a sample in the mean over a batch, all prefixes together, or how they change over the run,
            or a list with a number for each instance.
        prefixes: Widths of the prefixes in rising order, to which latent_dim is added; or, where all are below 1, the
            fractions of the latents that each adds, which sum to 1.
        prefix_weights: A coefficient for each prefix's error, that of all latents last. Null is the part of the latents
            that each adds. SAELens has 1 for each, dictionary_learning 1 / L² for L prefixes.
        random_prefixes: How many prefixes are drawn for each batch of training in place of the given ones, small ones
            more often; their mean error is the term `prefixes`, with the coefficient of all latents'. Evaluation has
            the given ones. Null draws none.
        select: Whether the largest latents are taken of a batch, or of each sample.
        instances: Independent copies trained side by side, or None for a single one.
        norm_weighted: Whether latents are compared by what they write, pre-activation × norm of the decoder's row.
        auxk_weight: Coefficient of AuxK, which explains the error of all latents; 0 for none.
        **kwargs: Arguments of `SparseDictionary`.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        latent_dim: int = 4096,
        k: float | list[float] | Ramp = 32,
        prefixes: Sequence[float] = (1 / 16, 1 / 16, 1 / 8, 1 / 4, 1 / 2),
        prefix_weights: Sequence[float] | None = None,
        random_prefixes: int | None = None,
        select: Literal["batch", "sample"] = "batch",
        instances: int | None = None,
        norm_weighted: bool = True,
        auxk_weight: float = 1 / 32,
        **kwargs: Any,
    ) -> None:
        options: dict[str, Any] = {"weighted": norm_weighted, "moving": isinstance(k, dict)}
        copies = count_of(instances, k=k, **kwargs)
        activation: ActiveLatents = (
            BatchTopK(final_k(k, latent_dim), latent_dim, copies, **options)
            if select == "batch"
            else TopK(final_k(k, latent_dim, whole=True), latent_dim, copies, **options)
        )
        super().__init__(input_shape, latent_dim, activation, k, instances=copies, auxk_weight=auxk_weight, **kwargs)
        self.widths = prefix_widths(prefixes, latent_dim)
        self.prefix_weights = _weights(prefix_weights, self.widths)
        if random_prefixes is not None and not 1 <= random_prefixes < latent_dim:
            raise ConfigError(
                f"--model.random_prefixes is {random_prefixes}; it must be from 1 to {latent_dim - 1}, one less than "
                "there are latents"
            )
        self.random_prefixes = random_prefixes

    def outputs(self, z: Tensor | SparseCode) -> list[Tensor]:
        """What each prefix decodes its part of z to, the narrowest first."""
        widths = self.widths
        if self.random_prefixes is not None and self.training:
            widths = random_widths(self.random_prefixes, self.latent_dim)
        rows = self.dictionary.decoder_vectors
        if isinstance(z, SparseCode):
            return decode_prefixes(z, rows, self.dictionary.b_dec, widths)
        outputs = [affine(z[..., : widths[0]], rows[..., : widths[0], :], self.dictionary.b_dec)]
        for start, end in pairwise(widths):
            outputs.append(outputs[-1] + product(z[..., start:end], rows[..., start:end, :]))
        return outputs

    def prefix_reconstructions(self, x: Tensor) -> list[Tensor]:
        """Reconstructions of x (batch, *input_shape) by each prefix, the narrowest first, in the data's units."""
        flat = self.flatten(x)
        z = self.encode(x)
        return [self.unflatten(self.scaling.undo(x_hat, flat)) for x_hat in self.outputs(z)]

    def reconstruction_terms(self, done: Pass) -> dict[str, Tensor]:
        """The errors of all latents and of the prefixes."""
        *inner, whole = (self.error(x_hat, done.target) for x_hat in done.outputs)
        if self.random_prefixes is not None and self.training:
            return {"reconstruction": whole, "prefixes": torch.stack(inner).mean(0)}
        names = (f"prefix_{width}" for width in self.widths[:-1])
        return {"reconstruction": whole, **dict(zip(names, inner, strict=True))}

    @property
    def loss_weights(self) -> dict[str, float | Tensor]:
        """A coefficient for each prefix."""
        names = [*(f"prefix_{width}" for width in self.widths[:-1]), "reconstruction"]
        weights = dict(zip(names, self.prefix_weights, strict=True))
        return {**super().loss_weights, "prefixes": self.prefix_weights[-1], **weights}

    @property
    def untraceable(self) -> str:
        """Why the loss cannot be compiled."""
        return super().untraceable if self.random_prefixes is None else "its prefixes are other ones at each step"


def _weights(weights: Sequence[float] | None, widths: Sequence[int]) -> list[float]:
    if weights is None:
        return [(width - before) / widths[-1] for before, width in pairwise((0, *widths))]
    if len(weights) != len(widths) or not all(0 <= weight < float("inf") for weight in weights):
        raise ConfigError(
            f"--model.prefix_weights is {list(weights)}; it must have {len(widths)} numbers from 0 on, one for each "
            "prefix, that of all latents last"
        )
    return list(weights)

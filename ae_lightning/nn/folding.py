"""A dictionary's weights with its input scaling, and the norms of its decoder, put into them.

Both leave codes and reconstructions as they are, up to rounding (norms multiply each latent's code by its row's norm,
and divide the row by it). All is computed in float64 and given back in the weights' own format.

Where latents are compared by what they write, pre-activation × norm, that norm is the one in scaled units: fold norms
first, and the scaling afterwards. Rows are then of norm 1 in scaled units.
"""

import copy
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ae_lightning.errors import ConfigError
from ae_lightning.nn.code_activation import CodeActivation, is_rectified
from ae_lightning.nn.dictionary import Dictionary
from ae_lightning.nn.precision import adding_device
from ae_lightning.nn.scaling import InputScaling


class DictionaryWeights(NamedTuple):
    """W_enc (…, input, latent), b_enc (…, latent) or None, W_dec (…, latent, output), b_dec (…, output).

    Of a tied dictionary W_dec is W_enc transposed; what comes out of a fold is not tied any more.
    """

    W_enc: Tensor
    b_enc: Tensor | None
    W_dec: Tensor
    b_dec: Tensor


@torch.no_grad()
def fold_scaling(
    weights: DictionaryWeights, centered: bool, scaling: InputScaling, writing: InputScaling | None = None
) -> DictionaryWeights:
    """Weights that read and write the data's units, from those that read and write (x − μ)A.

    W_enc' = A W_enc; W_dec' = W_dec A⁻¹; b_dec' = b_dec A⁻¹ + μ. An encoder that reads x − b_dec goes on doing so, and
    keeps its bias; of any other, b_enc' = b_enc − μ A W_enc, a new bias if there was none. Pre-activations do not
    change, and so neither do thresholds and the biases of gates.

    Folded weights meet data as they lie: where these lie R deviations from zero, float32 loses log₁₀ R of its seven
    digits, which a scaling that subtracts first does not.

    Args:
        weights: In scaled units.
        centered: Whether the encoder reads x − b_dec.
        scaling: Fitted, of the same width, with the same instances or none.
        writing: The scaling of what is written, where that is another.

    Raises:
        ConfigError: A scaling depends on each sample.
    """
    writing = scaling if writing is None else writing
    if not (scaling.is_foldable and writing.is_foldable):
        raise ConfigError(
            "an input scaling that depends on each sample (standardized) cannot be folded into weights: keep it, or "
            "train with another"
        )
    W_enc, b_enc, W_dec, b_dec = _wide(weights)
    reading, writing = (copy.deepcopy(one).to(W_enc.device) for one in (scaling, writing))
    W_enc = reading.fold_reading(W_enc)
    b_dec = writing.fold_writing(b_dec.unsqueeze(-2)).squeeze(-2)
    if writing.center is not None:
        b_dec = b_dec + writing.center.to(torch.float64)
    if reading.center is not None and not centered:
        shift = (reading.center.to(torch.float64).unsqueeze(-2) @ W_enc).squeeze(-2)
        b_enc = -shift if b_enc is None else b_enc - shift
    return _like(weights, DictionaryWeights(W_enc, b_enc, writing.fold_writing(W_dec), b_dec))


@torch.no_grad()
def fold_norms(weights: DictionaryWeights) -> tuple[DictionaryWeights, Tensor]:
    """Weights whose decoder rows have norm 1, and the norms n (…, latent) that rows had.

    W_dec' = W_dec / n; W_enc' = n W_enc; b_enc' = n b_enc. Pre-activations are n times what they were: what else is in
    their units follows by `CodeActivation.scale_latents(n)`. A row of zeros stays as it is, and its latent too: n is 1.
    """
    W_enc, b_enc, W_dec, b_dec = _wide(weights)
    norms = W_dec.norm(dim=-1)
    norms = torch.where(norms > 0, norms, 1)
    folded = DictionaryWeights(
        W_enc * norms.unsqueeze(-2),
        None if b_enc is None else b_enc * norms,
        W_dec / norms.unsqueeze(-1),
        b_dec,
    )
    return _like(weights, folded), norms.to(weights.W_dec)


@torch.no_grad()
def fold_dictionary(
    dictionary: Dictionary, scaling: InputScaling, norms: bool = True, writing: InputScaling | None = None
) -> Dictionary:
    """A new dictionary, not tied, that does to data what this one does to scaled data.

    Args:
        dictionary: In scaled units.
        scaling: Fitted, of the same width, with the same instances or none.
        norms: Whether decoder rows get norm 1 in scaled units, from which those in the data's follow. They have to
            where latents are compared by norms.
        writing: The scaling of what is written, where that is another.

    Raises:
        ConfigError: A scaling depends on each sample, or the activation cannot follow the norms.
    """
    weights = DictionaryWeights(dictionary.W_enc, dictionary.b_enc, dictionary.decoder_vectors, dictionary.b_dec)
    activation = copy.deepcopy(dictionary.activation)
    if norms:
        weights, lengths = fold_norms(weights)
        _scale_latents(activation, lengths)
    weights = fold_scaling(weights, dictionary.centered, scaling, writing)
    folded = Dictionary(
        weights.W_enc.shape[-2],
        dictionary.latent_dim,
        activation,
        dictionary.instances,
        centered=dictionary.centered,
        encoder_bias=weights.b_enc is not None,
        output_dim=weights.b_dec.shape[-1],
    ).to(weights.W_enc)
    for name, value in weights._asdict().items():
        if value is not None:
            getattr(folded, name).copy_(value)
    return folded.train(dictionary.training)


def _scale_latents(activation: nn.Module, norms: Tensor) -> None:
    if isinstance(activation, CodeActivation):
        activation.scale_latents(norms)
        activation.weighted = False  # norms are 1 now, and scaling would change them without changing who writes most
    elif not is_rectified(activation):
        raise ConfigError(f"decoder norms cannot be folded: a {type(activation).__name__} does not carry them through")


def _wide(weights: DictionaryWeights) -> DictionaryWeights:
    return _each(weights, lambda part: part.to(adding_device(part.device), torch.float64))


def _like(weights: DictionaryWeights, folded: DictionaryWeights) -> DictionaryWeights:
    """In the format and on the device of the weights, and sharing no memory with them."""
    return _each(folded, lambda part: part.to(weights.W_enc).clone(memory_format=torch.contiguous_format))


def _each(weights: DictionaryWeights, change: Callable[[Tensor], Tensor]) -> DictionaryWeights:
    W_enc, b_enc, W_dec, b_dec = weights
    return DictionaryWeights(change(W_enc), None if b_enc is None else change(b_enc), change(W_dec), change(b_dec))

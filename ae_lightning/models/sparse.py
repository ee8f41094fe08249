"""Deep autoencoders whose code is made sparse by a penalty."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from ae_lightning.errors import ConfigError
from ae_lightning.losses.sparsity import SparsityPenaltyName, sparsity_penalty
from ae_lightning.models.base import Autoencoder, AutoencoderOutput
from ae_lightning.nn.activations import ActivationName, LatentActivationName, activation_range
from ae_lightning.nn.activations import latent_activation as make_latent_activation
from ae_lightning.nn.isometry import relaxed_distortion
from ae_lightning.nn.linear import TiedLinear, UnitNormLinear, normalize_rows
from ae_lightning.nn.mlp import MLP
from ae_lightning.nn.modes import evaluation_mode, running_statistics_in_use
from ae_lightning.nn.precision import at_least_float32, like_weights
from ae_lightning.nn.recompute import recomputed
from ae_lightning.training.checks import require_not_negative, require_positive, require_probability

UnitNorm = Literal["none", "last", "all", "forward"]
"""Which of a decoder's layers divide their basis vectors by their norm; forward is the earlier name of all."""

T = TypeVar("T")


class SparseAutoencoder(Autoencoder):
    """Fully connected layers down to a sparse code and mirrored up again: in-h-h-latent-h-h-in, h = (in + latent)/2.

    The objective is reconstruction + penalty_weight × penalty. The penalty is logged under its own name, before it is
    weighted (`val/l1`); it is a mean over latents and over the batch, so that a weight means the same for a wide and a
    narrow code. In training its weight may rise from 0; a loss in evaluation always has the full weight, so that
    `val/loss` can be compared between epochs, and the best checkpoint is the best by the objective that is meant.

    A penalty on size, such as l1, can be met by small codes and a decoder that makes up for them with large weights,
    without a single latent falling silent; `unit_norm`, or the callback `DecoderNorm`, takes most of that way from it.

    Args:
        input_shape: Shape of one sample, such as (1, 28, 28). The command line takes it from the data.
        latent_dim: Width of the code.
        hidden_dims: Widths of the encoder's hidden layers, from the input to the code; the decoder mirrors them. None
            stands for two layers of (input + latent) / 2.
        activation: Activation of the hidden layers.
        latent_activation: Activation of the code: none makes it linear; soft_threshold and hard_threshold set values
            within ± threshold to zero.
        threshold: The threshold of these two.
        penalty: What is asked of the code: l1, kl (mean activation near the target), hoyer, log or lp.
        penalty_weight: Weight of the penalty.
        penalty_warmup: Optimizer steps over which the weights of penalties rise from 0, in a straight line.
        target: Mean activation of each latent that kl aims at, in [0, 1].
        layer_weights: Weights of the same penalty on hidden layers of the encoder, from the input on, one for each;
            logged as `l1_layer_1`, `l1_layer_2`, …
        unit_norm: Which decoder layers divide their basis vectors, what single units write, by their norm in the
            forward pass, so that the gradient flows through the division: none, the last one, which writes the
            reconstruction, or all (forward in older configs). The encoder is left as it is.
        batch_norm: Whether hidden layers normalize their activations over the batch.
        geometric_weight: Weight of the term `geometric`, by which the decoder keeps the shape of the space of codes;
            it is computed in training only.
        checkpoint_gradients: Whether to keep less for the backward pass and compute it again there: less memory, the
            work of one more forward pass, the same gradients.
        output_activation: Activation of the reconstruction; sigmoid asks for pixels within [0, 1].
        **kwargs: Arguments of `Autoencoder`.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        latent_dim: int = 50,
        hidden_dims: tuple[int, ...] | None = None,
        activation: ActivationName = "relu",
        latent_activation: LatentActivationName = "none",
        threshold: float = 0.1,
        penalty: SparsityPenaltyName = "l1",
        penalty_weight: float = 0.1,
        penalty_warmup: int = 0,
        target: float = 0.05,
        layer_weights: tuple[float, ...] | None = None,
        unit_norm: UnitNorm = "none",
        batch_norm: bool = False,
        geometric_weight: float = 0.0,
        checkpoint_gradients: bool = False,
        output_activation: ActivationName = "none",
        **kwargs: Any,
    ) -> None:
        require_positive(latent_dim=latent_dim, hidden_dims=min(hidden_dims or (), default=None))
        require_not_negative(threshold=threshold, penalty_weight=penalty_weight, penalty_warmup=penalty_warmup)
        require_not_negative(geometric_weight=geometric_weight)
        require_probability(target=target)
        super().__init__(input_shape, **kwargs)
        if hidden_dims is None:
            hidden_dims = ((self.input_size + latent_dim) // 2,) * 2
        self.latent_dim = latent_dim
        self.penalty: SparsityPenaltyName = penalty
        self.penalty_weight = penalty_weight
        self.penalty_warmup = penalty_warmup
        self.target = target
        self.layer_weights = _weights_of_layers(layer_weights, len(hidden_dims))
        self.geometric_weight = geometric_weight
        self.checkpoint_gradients = checkpoint_gradients
        self.output_activation_name: ActivationName = output_activation
        widths = [self.input_size, *hidden_dims, latent_dim]
        self.encoder = MLP(widths, activation, "none", batch_norm)
        self.latent_activation = make_latent_activation(latent_activation, threshold)
        self.decoder = MLP(widths[::-1], activation, output_activation, batch_norm)
        self._arrange_layers(unit_norm)

    def encode(self, x: Tensor) -> Tensor:
        """Code: x (batch, *input_shape) to (batch, latent_dim)."""
        return self._encode(x)[-1]

    def decode(self, z: Tensor) -> Tensor:
        """Reconstruction: z (batch, latent_dim) to (batch, *input_shape)."""
        return self._through(self.decoder, self.decoder, z).unflatten(-1, self.input_shape)

    def layer_outputs(self, x: Tensor, after_activation: bool = False) -> list[Tensor]:
        """Activations (batch, width) of each hidden layer of the encoder; what the option adds is said at the base."""
        *hidden, z = self._encode(x, after_activation)
        return [*hidden, z] if after_activation else hidden

    def basis_vectors(self) -> list[Tensor]:
        """What single units write: for each decoder layer, from the code on, a view (unit, output) of its weight.

        A row is one basis vector. Edits write through to the parameter. With `unit_norm` the layer uses the rows'
        directions only.
        """
        return [layer[0].weight.T for layer in self.decoder]  # type: ignore[index]

    def normalize_basis_vectors(self, layers: Literal["last", "all"] = "last") -> None:
        """Divide basis vectors by their norm, in place, as a step by hand; vectors of zeros stay as they are.

        With tied weights these are rows of the encoder's matrices too, which are divided with them.

        Args:
            layers: Whether to do so in the decoder's last layer, which writes the reconstruction, or in all of them.
        """
        bases = self.basis_vectors()
        for basis in bases[-1:] if layers == "last" else bases:
            normalize_rows(basis)

    def evaluate(self, x: Tensor, near_zero: float = 1e-3, batch_size: int = 4096) -> dict[str, Tensor | float]:
        """What the model makes of samples, in evaluation mode: errors, codes and how sparse they are.

        Args:
            x: Samples (n, *input_shape), on any device; at least one.
            near_zero: A value of a code counts as zero within ± this.
            batch_size: Samples that are computed at a time.

        Returns:
            On the CPU: `errors` (n,), the squared error of each sample, a mean over its entries; `mean` and `std` of
            these over samples (n in the denominator); `codes` (n, latent); `mean_activation` (latent,) of z, and
            `mean_positive_activation` (latent,) of ReLU(z), which the penalty kl draws to its target, both means over
            samples; `sparsity_level`, the fraction of all values of the codes that are near zero.
        """
        with evaluation_mode(self):
            parts = [self._errors_and_codes(part) for part in x.split(batch_size)]
        errors, codes = (torch.cat(part) for part in zip(*parts, strict=True))
        return {
            "errors": errors,
            "mean": float(errors.mean()),
            "std": float(errors.std(correction=0)),
            "codes": codes,
            "mean_activation": codes.mean(0),
            "mean_positive_activation": codes.relu().mean(0),
            "sparsity_level": float((codes.abs() <= near_zero).double().mean()),
        }

    def terms(self, x: Tensor, target: Tensor) -> tuple[dict[str, Tensor], AutoencoderOutput]:
        """Forward pass and terms of the loss: reconstruction, penalties on the code and hidden layers, geometric term.

        Hidden layers are penalized as this pass saw them; the geometric term is there in training alone.
        """
        *hidden, z = self._encode(x)
        output = AutoencoderOutput(self.decode(z), z)
        terms = self.loss_terms(target, output) | {self.penalty: self._penalty(z)}
        if self.layer_weights:
            terms |= {f"{self.penalty}_layer_{number}": self._penalty(h) for number, h in enumerate(hidden, 1)}
        if self.geometric_weight > 0 and self.training:
            with running_statistics_in_use(self.decoder):
                # Autocast has made codes narrower than the weights, which this term is computed with as they are.
                terms["geometric"] = relaxed_distortion(self.decoder, z.to(next(self.decoder.parameters()).dtype))
        return terms, output

    @property
    def loss_weights(self) -> dict[str, float]:
        """Weights of the terms; in training those of penalties as far as they have risen."""
        weights: dict[str, float] = {self.penalty: self.penalty_weight}
        weights |= {f"{self.penalty}_layer_{number}": weight for number, weight in enumerate(self.layer_weights, 1)}
        risen = {name: self.warmed_up(weight, self.penalty_warmup) for name, weight in weights.items()}
        return risen | {"geometric": self.geometric_weight}

    @property
    def output_range(self) -> tuple[float, float]:
        """Range of the output activation."""
        return activation_range(self.output_activation_name)

    def _arrange_layers(self, unit_norm: UnitNorm) -> None:
        """Let the linear layers be what the options ask for."""
        for layer in _normalized(self.decoder, unit_norm):
            layer[0] = UnitNormLinear(layer[0])

    def _encode(self, x: Tensor, after_activation: bool = False) -> list[Tensor]:
        """Hidden layers and the code."""
        layers = partial(self.encoder.layer_outputs, after_activation=after_activation)
        *hidden, last = self._through(layers, self.encoder, x.flatten(1))
        return [*hidden, self.latent_activation(last)]

    def _errors_and_codes(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = like_weights(self, x)
        x_hat, z = self(x)
        errors = (at_least_float32(x_hat) - at_least_float32(x)).square().flatten(1).mean(1)
        return errors.cpu(), at_least_float32(z).cpu()

    def _through(self, function: Callable[[Tensor], T], module: MLP, x: Tensor) -> T:
        return recomputed(function, x, module) if self.checkpoint_gradients else function(x)

    def _penalty(self, activations: Tensor) -> Tensor:
        return sparsity_penalty(self.penalty, activations, reduction="mean", target=self.target)


class TiedSparseAutoencoder(SparseAutoencoder):
    """A sparse autoencoder each of whose decoder matrices is the transpose of an encoder matrix: half the weights.

    A matrix gets the gradients of both its uses; biases are the layers' own. With `unit_norm` last the last decoder
    layer alone divides what its units write by the norm, and the first layer of the encoder, whose matrix it is, uses
    it at its own length; with all the encoder uses the normalized matrices too, so that the two stay transposes of each
    other. What the other options mean is said at `SparseAutoencoder`.
    """

    def _arrange_layers(self, unit_norm: UnitNorm) -> None:
        if unit_norm != "last":
            for layer in _normalized(self.encoder, unit_norm):
                layer[0] = UnitNormLinear(layer[0], axis=1)
        alone = _normalized(self.decoder, unit_norm) if unit_norm == "last" else []
        for layer, mirrored in zip(self.decoder, reversed(self.encoder), strict=True):
            layer[0] = TiedLinear(mirrored[0], layer[0].bias, unit_norm=layer in alone)  # type: ignore[index, operator]


def _normalized(layers: nn.Sequential, unit_norm: UnitNorm) -> list[Any]:
    """The layers whose basis vectors are divided by their norm."""
    if unit_norm == "none":
        return []
    return list(layers)[-1:] if unit_norm == "last" else list(layers)


def _weights_of_layers(weights: tuple[float, ...] | None, hidden: int) -> tuple[float, ...]:
    if weights is None:
        return ()
    if len(weights) != hidden:
        raise ConfigError(
            f"--model.layer_weights takes a number for each of the encoder's {hidden} hidden layers, but there are "
            f"{len(weights)}: give 0 where there is to be no penalty"
        )
    require_not_negative(layer_weights=min(weights, default=0))
    return tuple(weights)

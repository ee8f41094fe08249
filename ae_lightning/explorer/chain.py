"""A model taken apart into the chain of dense layers that it computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from ae_lightning.errors import ConfigError
from ae_lightning.explorer.code import IDENTITY, Activation, Elementwise, code_of
from ae_lightning.explorer.network import CODE, RECONSTRUCTION, DenseLayer, Network
from ae_lightning.models.base import Autoencoder
from ae_lightning.models.networked import NetworkAutoencoder
from ae_lightning.models.scaled_dictionary import ScaledDictionary
from ae_lightning.nn.activations import LatentActivationName
from ae_lightning.nn.code_activation import CodeActivation
from ae_lightning.nn.dictionary import Dictionary
from ae_lightning.nn.linear import TiedLinear, UnitNormLinear
from ae_lightning.nn.modes import evaluation_mode
from ae_lightning.nn.precision import like_weights
from ae_lightning.training.batch import instances_first
from ae_lightning.training.population import require_instance

CHECKED = 32
"""How many samples a chain is compared with its model on."""

_ACTIVATIONS: dict[type[nn.Module], LatentActivationName] = {
    nn.ReLU: "relu",
    nn.LeakyReLU: "leaky_relu",
    nn.ELU: "elu",
    nn.GELU: "gelu",
    nn.Tanh: "tanh",
    nn.Sigmoid: "sigmoid",
    nn.Softshrink: "soft_threshold",
    nn.Hardshrink: "hard_threshold",
}
_IGNORED = (nn.Identity, nn.Dropout, nn.Flatten, nn.Unflatten)
# Deviation of the chain from the model that rounding can explain, as a part of the largest value.
_ROUNDING = 1e-4


def network_of(model: Autoencoder, instance: int = 0) -> Network:
    """The chain of a model, or of one of its instances; see `dense_layers`."""
    return Network(tuple(dense_layers(model, instance)))


def dense_layers(model: Autoencoder, instance: int = 0) -> list[DenseLayer]:
    """The chain of dense layers that a model computes in evaluation mode; batch normalization is part of the next one.

    A model that offers `fold()` is folded first, so that its layers read and write samples as the data module gives
    them, and compare units by their sums alone.

    Args:
        model: A variant with a `dictionary`, or with an `encoder` and a `decoder` made of linear layers, activations,
            batch normalization and dropout.
        instance: Which of the model's instances, if it has several.

    Returns:
        Layers whose weights are detached; those of a shallow model without batch normalization share its memory.

    Raises:
        ConfigError: The model has other parts, cannot be folded, or has not so many instances.
    """
    require_instance(model, instance)
    model = folded(model)
    if isinstance(getattr(model, "dictionary", None), Dictionary):
        return _of_dictionary(model, instance)
    encoder, activation, decoder = (getattr(model, name, None) for name in ("encoder", "latent_activation", "decoder"))
    chain = _Chain(model)
    injected = model if isinstance(model, NetworkAutoencoder) else None
    chain.extend(encoder, activation)
    if injected:
        chain.keep(injected.latent_dim)
    depth = len(chain.layers)
    chain.extend(decoder)
    if injected:
        chain.keep(injected.input_size)
        chain.extend(injected.output_activation)
    if not 0 < depth < len(chain.layers):
        raise _not_dense(model, "its layers are not those of an encoder and a decoder")
    return _named(chain.finished(), depth)


def can_be_explored(model: Autoencoder) -> bool:
    """Whether a model is a chain of dense layers."""
    try:
        network = network_of(model)
        if isinstance(model, NetworkAutoencoder):  # an objective may do more with a code than its layers say
            x = like_weights(model, torch.rand(CHECKED, *model.input_shape, generator=torch.Generator().manual_seed(0)))
            if x.dtype in (torch.float32, torch.float64):  # what is narrower rounds too much to compare
                check_network(network, model, x)
    except ConfigError:
        return False
    return True


def check_network(network: Network, model: Autoencoder, x: Tensor, instance: int = 0) -> None:
    """Check that a chain gives the model's own code and reconstruction, up to rounding.

    Args:
        network: The chain.
        model: The model it was taken from.
        x: Samples as the data module gives them.
        instance: Which instance the chain is of.

    Raises:
        ConfigError: It does not, or weights are not finite.
    """
    if not all(layer.is_finite for layer in network.layers):
        raise ConfigError(f"the {type(model).__name__} has weights that are not finite: its training has failed")
    whole = folded(model)
    with evaluation_mode(model), evaluation_mode(whole):
        wanted = [part if model.instances is None else part[instance] for part in (whole(x).z, model(x).x_hat)]
        outputs = network.outputs(flat_samples(model, x, instance))
    # Rounding may exchange two units that nearly tie, or take one across its threshold, of a few samples.
    astray = len(x) // 16 if network.selects else 0
    for given, own in zip((outputs[network.code], outputs[-1]), wanted, strict=True):
        own = own.flatten(1)
        room = _ROUNDING * (1 + float(own.abs().max()))
        if given.shape != own.shape or int((~((given - own).abs() <= room)).any(dim=1).sum()) > astray:
            raise _not_dense(model, "it computes something else than its layers say")


def folded(model: Autoencoder) -> Autoencoder:
    """The model, or with scaling in its weights and biases, and norms by which latents are compared: `model.fold()`.

    Codes stay as they are, unless such norms go into them.

    Raises:
        ConfigError: It cannot be folded.
    """
    fold: Callable[[], Autoencoder] | None = getattr(model, "fold", None)
    if isinstance(model, ScaledDictionary):
        fold = None if model.is_folded else partial(model.fold, norms=model.compares_norms)
    if fold is None:
        return model
    try:
        return fold()
    except ConfigError as error:
        raise _not_dense(model, str(error)) from error


def flat_samples(model: Autoencoder, x: Tensor, instance: int) -> Tensor:
    """Samples (n, input) of one instance, from samples as the data module gives them."""
    x = instances_first(x, len(model.input_shape))
    own = x[instance] if x.ndim > len(model.input_shape) + 1 else x
    return own.reshape(len(own), -1)


def _of_dictionary(model: Any, instance: int) -> list[DenseLayer]:
    dictionary: Dictionary = model.dictionary

    def own(part: Tensor) -> Tensor:
        return part.detach() if dictionary.instances is None else part.detach()[instance]

    encoder, decoder_bias = own(dictionary.W_enc), own(dictionary.b_dec)
    bias = encoder.new_zeros(encoder.shape[1]) if dictionary.b_enc is None else own(dictionary.b_enc)
    if dictionary.centered:
        bias = (bias.double() - decoder_bias.double() @ encoder.double()).to(bias.dtype)
    output = getattr(model, "output_activation", None)
    last = _elementwise(model, output) if isinstance(output, nn.Module) else IDENTITY
    decoder = own(dictionary.decoder_vectors)
    if model.needs_targets or decoder.shape != encoder.T.shape:
        raise _not_dense(model, "it gives something else than its input again")
    code = DenseLayer(CODE, encoder, bias, _code_activation(model, lambda part: own(part).to(encoder)))
    return [code, DenseLayer(RECONSTRUCTION, decoder, decoder_bias, last)]


def _code_activation(model: Any, own: Callable[[Tensor], Tensor]) -> Activation:
    activation = model.dictionary.activation
    if not isinstance(activation, CodeActivation):
        return _elementwise(model, activation)
    found = code_of(activation, own)
    if found is None:
        raise _not_dense(model, f"it has a {type(activation).__name__}")
    return found


def _leaves(*modules: Any) -> Iterator[nn.Module]:
    """The parts in their order, those of an `nn.Sequential` one by one."""
    for module in modules:
        if isinstance(module, nn.Sequential):
            yield from _leaves(*module)
        elif isinstance(module, nn.Module):
            yield module


@dataclass
class _Chain:
    """Layers that are found one after the other; a batch normalization waits for the next."""

    model: Autoencoder
    layers: list[DenseLayer] = field(default_factory=list)
    norm: tuple[Tensor, Tensor] | None = None

    def extend(self, *modules: Any) -> None:
        for part in _leaves(*modules):
            self._add(part)

    def _add(self, part: nn.Module) -> None:
        if isinstance(part, (nn.Linear, UnitNormLinear, TiedLinear)):
            self.layers.append(DenseLayer("", *self._folded(*_affine(part))))
            self.norm = None
        elif isinstance(part, nn.BatchNorm1d) and part.running_mean is not None and self.norm is None:
            self.norm = _scale_and_shift(part)
        elif not isinstance(part, _IGNORED):
            activation = _elementwise(self.model, part)
            if not self.layers or self.norm is not None or self.layers[-1].activation.name != "none":
                raise _not_dense(self.model, f"a {type(part).__name__} follows something else than a linear layer")
            self.layers[-1] = replace(self.layers[-1], activation=activation)

    def keep(self, outputs: int) -> None:
        """Leave out what the last layer gives beyond so many: the log variances of a posterior, or of pixels."""
        if self.layers and self.layers[-1].weight.shape[1] > outputs:
            last = self.layers[-1]
            self.layers[-1] = replace(last, weight=last.weight[:, :outputs], bias=last.bias[:outputs])

    def finished(self) -> list[DenseLayer]:
        if self.norm is not None:
            raise _not_dense(self.model, "it ends in a batch normalization")
        return self.layers

    def _folded(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """(x·s + t)·W + b = x·(s W) + (t·W + b), in float64."""
        if self.norm is None:
            return weight, bias
        scale, shift = self.norm
        wide = weight.double()
        return (scale[:, None] * wide).to(weight.dtype), (shift @ wide + bias.double()).to(bias.dtype)


def _affine(part: nn.Linear | UnitNormLinear | TiedLinear) -> tuple[Tensor, Tensor]:
    """Weight (inputs, outputs) and bias (outputs,)."""
    weight = _matrix(part).detach().T
    bias = weight.new_zeros(weight.shape[1]) if part.bias is None else part.bias.detach()
    return weight, bias


def _matrix(part: nn.Linear | UnitNormLinear | TiedLinear) -> Tensor:
    """(outputs, inputs), as `F.linear` takes it."""
    return part.weight if isinstance(part, nn.Linear) else part.matrix


def _scale_and_shift(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """What batch normalization multiplies by and adds in evaluation, float64 (units,) each."""
    mean, variance = cast(Tensor, norm.running_mean).double(), cast(Tensor, norm.running_var).double()
    scale = (variance + norm.eps).rsqrt()
    if not norm.affine:
        return scale, -mean * scale
    scale = scale * norm.weight.detach().double()
    return scale, norm.bias.detach().double() - mean * scale


def _elementwise(model: Autoencoder, part: nn.Module) -> Elementwise:
    if isinstance(part, _IGNORED):
        return IDENTITY
    name = _ACTIVATIONS.get(type(part))
    if name is None:
        raise _not_dense(model, f"it has a {type(part).__name__}")
    return Elementwise(name, getattr(part, "lambd", None))


def _named(layers: list[DenseLayer], depth: int) -> list[DenseLayer]:
    """The layers with names, the first so many of which are the encoder's."""
    names = [*(f"encoder {number}" for number in range(1, depth)), CODE]
    names += [*(f"decoder {number}" for number in range(1, len(layers) - depth)), RECONSTRUCTION]
    return [replace(layer, name=name) for layer, name in zip(layers, names, strict=True)]


def _not_dense(model: Autoencoder, why: str) -> ConfigError:
    return ConfigError(
        f"the explorer computes chains of fully connected layers and can show the units of those, but not those of "
        f"this {type(model).__name__}: {why}; `ae-lightning report` and `ae-lightning latent` draw its "
        "reconstructions, its layers and its latent space"
    )

"""Layers one after the other that tell what each of them gives."""

from torch import Tensor, nn

from ae_lightning.nn.activations import ACTIVATIONS


class Layers(nn.Sequential):
    """Layers in their order, each an `nn.Sequential`: a linear or convolutional part, its activation, what follows."""

    def layer_outputs(self, x: Tensor, after_activation: bool = False) -> list[Tensor]:
        """What each layer gives, in their order; the last is what the whole gives.

        Args:
            x: Input (batch, …).
            after_activation: Whether to take all but the last right after their activation, before batch
                normalization, dropout and pooling.
        """
        *hidden, last = self
        outputs = []
        for layer in hidden:
            activated, x = _through_activation(layer, x) if after_activation else (layer(x),) * 2
            outputs.append(activated)
        return [*outputs, last(x)]


def _through_activation(layer: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """What a layer gives right after its activation, and at its end."""
    weighted, *others = layer.children()
    x = activated = weighted(x)
    for part in others:
        x = part(x)
        if isinstance(part, ACTIVATIONS):
            activated = x
    return activated, x

"""The shallow pair of one linear encoder and one linear decoder that every dictionary learner shares."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ae_lightning.nn.activations import ActivationName, activation


class Dictionary(nn.Module):
    """Encoder z = activation(x W_enc + b_enc) and decoder x̂ = z W_dec + b_dec.

    With `instances` the weights carry a leading dimension and a whole population is computed by the same
    matrix products; x may then be (batch, input), shared by all, or (instances, batch, input).

    Weights start as `torch.nn.Linear` starts them: uniform within ±1/√fan_in.

    Args:
        input_dim: Width of the input.
        latent_dim: Number of latents.
        activation_name: Activation of the code.
        instances: Number of independent copies, or None for a single one without the extra dimension.

    Shapes:
        W_enc (…, input, latent), b_enc (…, latent), W_dec (…, latent, input), b_dec (…, input), where … is
        nothing or (instances,).
    """

    def __init__(
        self,
        input_dim: int,
        latent_dim: int,
        activation_name: ActivationName = "relu",
        instances: int | None = None,
    ) -> None:
        super().__init__()
        lead = () if instances is None else (instances,)
        self.W_enc = nn.Parameter(torch.empty(*lead, input_dim, latent_dim))
        self.b_enc = nn.Parameter(torch.empty(*lead, latent_dim))
        self.W_dec = nn.Parameter(torch.empty(*lead, latent_dim, input_dim))
        self.b_dec = nn.Parameter(torch.empty(*lead, input_dim))
        self.activation = activation(activation_name)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw all weights and biases anew from uniform(−1/√fan_in, 1/√fan_in)."""
        for weight, bias in ((self.W_enc, self.b_enc), (self.W_dec, self.b_dec)):
            bound = 1 / math.sqrt(weight.shape[-2])
            weight.uniform_(-bound, bound)
            bias.uniform_(-bound, bound)

    def encode(self, x: Tensor) -> Tensor:
        """Code of x: (…, batch, input) to (…, batch, latent)."""
        return self.activation(_affine(x, self.W_enc, self.b_enc))

    def decode(self, z: Tensor) -> Tensor:
        """Reconstruction from codes: (…, batch, latent) to (…, batch, input)."""
        return _affine(z, self.W_dec, self.b_dec)

    @property
    def encoder_vectors(self) -> Tensor:
        """A view (…, latent, input) of the encoder: row i is what latent i reads."""
        return self.W_enc.mT

    @property
    def decoder_vectors(self) -> Tensor:
        """A view (…, latent, input) of the decoder: row i is what latent i writes."""
        return self.W_dec


def _affine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Compute x W + b over optional instances, under autocast in the precision that `torch.nn.Linear` has."""
    if weight.ndim == 2:  # one product that adds the bias as it goes, a tenth of the time saved
        return F.linear(x, weight.mT, bias)
    product = x @ weight
    return product + bias.unsqueeze(-2).to(product.dtype)

"""β-TCVAE: a variational autoencoder that is asked for latents independent of each other."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ae_lightning.losses.total_correlation import total_correlation
from ae_lightning.models.variational import VariationalAutoencoder
from ae_lightning.nn.posterior import Posterior
from ae_lightning.training.coefficients import Coefficient, Ramp


class BetaTCVAE(VariationalAutoencoder):
    """A variational autoencoder with a penalty on the total correlation of its codes, and on nothing else of the KL.

    The objective is −E log p(x|z) + KL(q(z|x) ‖ p(z)) + (β − 1) TC: terms `reconstruction`, `kl` and
    `total_correlation`, in nats a sample. It is that of FactorVAE (Kim and Mnih 2018) with γ = β − 1, without a second
    network: TC is estimated from the batch, see `total_correlation`, so that its value follows the size of batches. The
    larger they are, the better the estimate.

    Source: Chen et al. (2018), "Isolating Sources of Disentanglement in VAEs", arXiv 1802.04942.

    Args:
        input_shape: Shape of one sample. The command line takes it from the data.
        beta: Coefficient β of the total correlation within the KL divergence, at least 1, or how it changes over the
            run, such as {start: 1, end: 6, until: 0.1}. Evaluation always has the final one.
        **kwargs: Arguments of `VariationalAutoencoder`.
    """

    def __init__(self, input_shape: tuple[int, ...], beta: float | Ramp = 6.0, **kwargs: Any) -> None:
        super().__init__(input_shape, beta=None, capacity=None, importance_samples=1, **kwargs)
        self.total_beta = Coefficient("beta", beta, least=1.0)

    def code_terms(self, posterior: Posterior, z: Tensor) -> dict[str, Tensor]:
        """`kl`, `free_bits` if there are any, and `total_correlation`, in nats a sample."""
        numbers = (z, posterior.mean, posterior.log_variance)
        correlation = total_correlation(*(part.flatten(1) for part in numbers))
        return {**super().code_terms(posterior, z), "total_correlation": correlation}

    @property
    def loss_weights(self) -> Mapping[str, float | Tensor]:
        """β − 1 at the present step."""
        return {**super().loss_weights, "total_correlation": self.total_beta.present(self) - 1}

    def on_train_start(self) -> None:
        """Check that β arrives before the run ends."""
        super().on_train_start()
        self.total_beta.require_within(self.trainer)

"""Variational autoencoders: a posterior over codes in place of a code, and a likelihood in place of an error."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ae_lightning.analysis.samplers import Sampler, StandardNormal
from ae_lightning.errors import ConfigError
from ae_lightning.losses.reconstruction import ReconstructionLossName
from ae_lightning.models.networked import NetworkAutoencoder
from ae_lightning.nn.draws import SampleDraws
from ae_lightning.nn.likelihoods import Bernoulli, LikelihoodName, likelihood_of
from ae_lightning.nn.network import Network
from ae_lightning.nn.networks import NetworkName
from ae_lightning.nn.posterior import Posterior, importance_bound
from ae_lightning.nn.precision import like_weights
from ae_lightning.training.batch import AutoencoderOutput
from ae_lightning.training.checks import check_support, require_not_negative, require_positive
from ae_lightning.training.coefficients import Coefficient, Ramp
from ae_lightning.training.trainer import trainer_of


class VariationalAutoencoder(NetworkAutoencoder):
    """A Gaussian posterior q(z|x), a standard normal prior and a likelihood p(x|z); the code is the posterior's mean.

    The objective is −E log p(x|z) + β KL(q(z|x) ‖ p(z)), with one z drawn for each sample: terms `reconstruction` and
    `kl`, sums over pixels and latents and means over the batch, so that all are nats a sample. With β = 1 it is an
    upper bound on −log p(x).

    Noise in training follows torch's random state, which checkpoints hold. In evaluation it follows from the sample
    itself, see `SampleDraws`: `val/loss` is the same for the same weights, whatever the size of batches. `encode`,
    `forward`, and all that is measured by them, take the mean of the posterior and the mean of the likelihood.

    Source: Kingma and Welling (2014), arXiv 1312.6114; β: Higgins et al. (2017), ICLR.

    Args:
        input_shape: Shape of one sample. The command line takes it from the data.
        latent_dim: Width of a vector code, or channels of a map.
        network: Encoder and decoder.
        likelihood: bernoulli and continuous_bernoulli, of data within [0, 1]; gaussian, of real numbers, with the
            standard deviation `std` for all; learned_gaussian, with one that the decoder gives of each pixel.
        std: Standard deviation of the likelihood gaussian, in the units of the data.
        beta: Coefficient β of the KL divergence, or how it changes over the run, such as {start: 0, end: 1, until:
            0.1}; 1 unless given. Evaluation always has the final one.
        free_bits: Nats that each latent may tell for nothing: a KL below it, as the mean of a batch, counts as it is.
        capacity: Nats a sample at which β |KL − capacity| holds the KL divergence, or how they change over the run.
        importance_samples: Codes k drawn for each sample. More than one train the importance-weighted bound, −log 1/k
            Σ p(x, z) / q(z|x), in the term `bound` alone.
        reconstruction_loss: Refused; the likelihood stands in its place.
        **kwargs: Arguments of `NetworkAutoencoder`.
    """

    numbers_per_latent = 2

    def __init__(
        self,
        input_shape: tuple[int, ...],
        latent_dim: int = 20,
        network: NetworkName | Network = "mlp",
        likelihood: LikelihoodName = "bernoulli",
        std: float = 1.0,
        beta: float | Ramp | None = None,
        free_bits: float = 0.0,
        capacity: float | Ramp | None = None,
        importance_samples: int = 1,
        reconstruction_loss: ReconstructionLossName | None = None,
        **kwargs: Any,
    ) -> None:
        if reconstruction_loss is not None:
            raise ConfigError(
                f"{type(self).__name__} has a likelihood in place of --model.reconstruction_loss: leave that out, and "
                "choose --model.likelihood (gaussian for a squared error)"
            )
        require_positive(importance_samples=importance_samples)
        require_not_negative(free_bits=free_bits)
        _require_together(beta, capacity, free_bits, importance_samples)
        self.likelihood = likelihood_of(likelihood, std)
        super().__init__(
            input_shape,
            latent_dim=latent_dim,
            network=network,
            output_activation="none",
            reconstruction_loss="mse_sum",
            _numbers_per_output=self.likelihood.outputs_per_pixel,
            **kwargs,
        )
        self.beta = Coefficient("beta", 1.0 if beta is None else beta)
        self.free_bits = free_bits
        self.capacity = None if capacity is None else Coefficient("capacity", capacity)
        self.importance_samples = importance_samples

    def posterior(self, x: Tensor) -> Posterior:
        """q(z|x) of a batch (batch, *input_shape)."""
        return Posterior.of(self.encoder(x))

    def encode(self, x: Tensor) -> Tensor:
        """Mean of the posterior: x (batch, *input_shape) to (batch, *code_shape)."""
        return self.encoder(x).chunk(2, 1)[0]

    def decode(self, z: Tensor) -> Tensor:
        """Mean of the likelihood: z (batch, *code_shape) to (batch, *input_shape)."""
        return self.likelihood.mean(self.decoder(z))

    @property
    def output_activation(self) -> nn.Module:
        """Sigmoid of a Bernoulli likelihood, whose decoder gives logits."""
        return nn.Sigmoid() if isinstance(self.likelihood, Bernoulli) else nn.Identity()

    def terms(self, x: Tensor, target: Tensor) -> tuple[dict[str, Tensor], AutoencoderOutput]:
        """Terms of the objective in nats a sample, and the output: x̂ of the first code drawn, and the mean code."""
        numbers = self.encoder(x)
        posterior = Posterior.of(numbers)
        noise = self._noise(x, (self.importance_samples, *posterior.mean.shape))
        z = posterior.sample(noise)
        outputs = self.decoder(z.flatten(0, 1).to(numbers.dtype))
        log_densities = self._log_densities(outputs, target)
        terms = {"reconstruction": -log_densities.mean(), **self.code_terms(posterior, z[0])}
        if self.importance_samples > 1:
            bound = -importance_bound(log_densities + posterior.log_ratio(z, noise)).mean()
            terms = {"bound": bound} | {name: term.detach() for name, term in terms.items()}
        x_hat = self.likelihood.mean(outputs[: len(x)].detach())
        return terms, AutoencoderOutput(x_hat, posterior.mean.to(numbers.dtype))

    def code_terms(self, posterior: Posterior, z: Tensor) -> dict[str, Tensor]:
        """Terms of the loss that the decoder has no part in, in nats a sample.

        Args:
            posterior: q(z|x) of a batch.
            z: A code drawn for each sample (batch, *code_shape).

        Returns:
            `kl`, the KL divergence; with free bits, `free_bits`, what it lacks of them, to be added; with a capacity,
            `capacity`, the distance from it, which stands in the place of `kl` in the objective.

        Source: free bits: Kingma et al. (2016), arXiv 1606.04934; capacity: Burgess et al. (2018), arXiv 1804.03599.
        """
        divergences = posterior.divergences().mean(0)
        kl = divergences.sum()
        if self.capacity is not None:
            return {"kl": kl.detach(), "capacity": (kl - self.capacity.present(self)).abs()}
        if self.free_bits > 0:
            return {"kl": kl, "free_bits": (self.free_bits - divergences).relu().sum()}
        return {"kl": kl}

    def log_weights(self, posterior: Posterior, target: Tensor, noise: Tensor) -> Tensor:
        """Log p(x|z) + log p(z) − log q(z|x) in nats, (k, batch).

        Args:
            posterior: q(z|x) of a batch.
            target: Its samples, (batch, *output_shape).
            noise: Standard normal numbers (k, batch, *code_shape), which codes are drawn by.
        """
        z = posterior.sample(noise)
        outputs = self.decoder(like_weights(self, z.flatten(0, 1)))
        return self._log_densities(outputs, target) + posterior.log_ratio(z, noise)

    @property
    def loss_weights(self) -> Mapping[str, float | Tensor]:
        """β at the present step. What the bound, or the distance from the capacity, replaces has the weight 0."""
        if self.importance_samples > 1:
            return {"reconstruction": 0.0, "kl": 0.0}
        beta = self.beta.present(self)
        if self.capacity is not None:
            return {"kl": 0.0, "capacity": beta}
        return {"kl": beta, "free_bits": beta} if self.free_bits > 0 else {"kl": beta}

    def on_train_start(self) -> None:
        """Check that β and the capacity arrive before the run ends."""
        super().on_train_start()
        for coefficient in filter(None, (self.beta, self.capacity)):
            coefficient.require_within(self.trainer)

    def check_data(self, x: Tensor, target: Tensor | None = None) -> None:
        """Check the data, first of all that the likelihood is one of such numbers.

        Raises:
            ConfigError: They lie outside [0, 1], or are not what a model of these settings takes.
        """
        if not self._data_checked and self.likelihood.is_bounded:
            check_support(x if target is None else target, self.likelihood.title)
        super().check_data(x, target)

    @property
    def prior(self) -> Sampler:
        """A standard normal."""
        return StandardNormal(self.latent_shape)

    @property
    def output_range(self) -> tuple[float, float]:
        """Lowest and highest mean of the likelihood."""
        return self.likelihood.output_range

    def _noise(self, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Standard normal numbers (k, batch, *code_shape).

        Of several processes each draws the noise of all, and takes that of its own samples: what one process with the
        same random state would give them. Their states stay alike, so that a checkpoint need hold but one.
        """
        samples, batch, *rest = shape
        if not self.training:
            return SampleDraws(x, 0).normal(samples, *rest).movedim(1, 0)
        trainer = trainer_of(self)
        rank, processes = (0, 1) if trainer is None else (trainer.global_rank, trainer.world_size)
        # On the CPU, whose random state checkpoints hold; these are few numbers.
        noise = torch.randn(samples, batch * processes, *rest, device="cpu")[:, rank::processes]
        return noise.to(x.device, non_blocking=True)

    def _log_densities(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Log p(x|z) in nats, (k, batch), of decoder's outputs (k × batch, …) of each of k codes a sample."""
        samples = len(outputs) // len(target)
        repeated = target.expand(samples, *target.shape).flatten(0, 1)
        return self.likelihood.log_density(outputs, repeated).unflatten(0, (samples, len(target)))


def _require_together(
    beta: float | Ramp | None, capacity: float | Ramp | None, free_bits: float, importance_samples: int
) -> None:
    """Check that options can be had together.

    Raises:
        ConfigError: They cannot.
    """
    if capacity is not None and beta is None:
        raise ConfigError(
            "--model.capacity needs --model.beta, which says how hard the KL divergence is held at it: Burgess et al. "
            "(2018) have 1000"
        )
    if capacity is not None and free_bits > 0:
        raise ConfigError("--model.capacity and --model.free_bits both say how large the KL divergence is: choose one")
    if importance_samples > 1 and (beta is not None or free_bits > 0):
        raise ConfigError(
            f"--model.importance_samples {importance_samples} bounds log p(x), which has no --model.beta, "
            "--model.capacity or --model.free_bits: leave them out"
        )

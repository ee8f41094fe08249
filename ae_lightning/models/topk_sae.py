"""Sparse autoencoders that keep a fixed number of latents: of each sample, or of a sample in the mean over a batch."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from ae_lightning.losses.reconstruction import ReconstructionLossName
from ae_lightning.models.selecting import SelectingDictionary, final_k
from ae_lightning.nn.active_latents import ActiveLatents
from ae_lightning.nn.batch_topk import BatchTopK
from ae_lightning.nn.topk import TopK
from ae_lightning.training.coefficients import Ramp
from ae_lightning.training.population import count_of


class SelectingSAE(SelectingDictionary):
    """A sparse dictionary whose code is a selection of the k largest; what it selects from, a variant says.

    The coefficient of AuxK belongs to a reconstruction loss that is 1 where nothing is explained: `mse` of inputs of
    mean norm √d is. Beside `mse_sum` AuxK would be d times weaker.

    Args:
        input_shape: Shape of one sample.
        latent_dim: Number of latents.
        activation: The selection.
        k: Active latents of a sample, or how they change over the run, or a list with a number for each instance.
        reconstruction_loss: As `Autoencoder` has it.
        **kwargs: Arguments of `SparseDictionary`.
    """

    @abstractmethod
    def __init__(
        self,
        input_shape: tuple[int, ...],
        latent_dim: int,
        activation: ActiveLatents,
        k: float | Sequence[float] | Ramp,
        reconstruction_loss: ReconstructionLossName = "mse",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            input_shape,
            latent_dim,
            activation,
            norm_weighted=activation.weighted,
            target_l0=None,  # there is no penalty to hold it by
            output_activation="none",
            reconstruction_loss=reconstruction_loss,
            **kwargs,
        )
        self.k = self.coefficient("k", k, most=latent_dim)


class TopKSAE(SelectingSAE):
    """z = ReLU(TopK(W_enc (x − b_dec) + b_enc)), x̂ = W_dec z + b_dec, with the k largest latents of each sample.

    The loss is the squared error alone: no penalty is needed. With AuxK dead latents learn to explain what the living
    leave over. `k: {start: 512, end: 32, until: 0.1}` lowers k over the first tenth of the run.

    Source: Gao et al. (2024), "Scaling and evaluating sparse autoencoders", arXiv 2406.04093.

    Args:
        input_shape: Shape of one sample. The command line takes it from the data.
        latent_dim: Number of latents.
        k: Latents of a sample that may be active, or how they change over the run, or a list with a number for each
            instance.
        groups: Whether the largest of each of k groups of neighboring latents is kept, in place of the k largest.
        instances: Independent copies trained side by side, or None for a single one.
        norm_weighted: Whether latents are compared by what they write, pre-activation × norm of the decoder's row.
        auxk_weight: Coefficient of AuxK, 1/32 after the paper, beside a loss that is 1 where nothing is explained; 0
            for none.
        **kwargs: Arguments of `SparseDictionary`.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        latent_dim: int = 4096,
        k: int | list[int] | Ramp = 32,
        groups: bool = False,
        instances: int | None = None,
        norm_weighted: bool = True,
        auxk_weight: float = 1 / 32,
        **kwargs: Any,
    ) -> None:
        copies, moving = count_of(instances, k=k, **kwargs), isinstance(k, dict)
        activation = TopK(final_k(k, latent_dim, whole=True), latent_dim, copies, groups, norm_weighted, moving)
        super().__init__(input_shape, latent_dim, activation, k, instances=copies, auxk_weight=auxk_weight, **kwargs)


class BatchTopKSAE(SelectingSAE):
    """A TopK autoencoder that keeps the k · n largest latents of a batch of n samples, more of some than of others.

    In evaluation a code does not depend on its batch: latents fire above a threshold that follows the smallest value
    kept in training, or with the callback `CalibrateThreshold` one at which samples held out have k active latents.
    Over several processes each selects from its part of the batch, and their thresholds are averaged.

    Source: Bussmann et al. (2024), "BatchTopK sparse autoencoders", arXiv 2412.06410.

    Args:
        input_shape: Shape of one sample. The command line takes it from the data.
        latent_dim: Number of latents.
        k: Active latents of a sample in the mean over a batch, or how they change over the run, or a list with a number
            for each instance; it may be a fraction.
        momentum: Share of the past that a step leaves in the running threshold.
        instances: Independent copies trained side by side, or None for a single one.
        norm_weighted: Whether latents are compared by what they write, pre-activation × norm of the decoder's row.
        auxk_weight: Coefficient of AuxK; 0 for none.
        **kwargs: Arguments of `SparseDictionary`.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        latent_dim: int = 4096,
        k: float | list[float] | Ramp = 32,
        momentum: float = 0.9,
        instances: int | None = None,
        norm_weighted: bool = True,
        auxk_weight: float = 1 / 32,
        **kwargs: Any,
    ) -> None:
        copies, moving = count_of(instances, k=k, **kwargs), isinstance(k, dict)
        activation = BatchTopK(final_k(k, latent_dim), latent_dim, copies, momentum, norm_weighted, moving)
        super().__init__(input_shape, latent_dim, activation, k, instances=copies, auxk_weight=auxk_weight, **kwargs)

"""Transcoders: what a layer does to its input, written as a sparse dictionary."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ae_lightning.errors import ConfigError
from ae_lightning.models.any_code import AnyCodeDictionary, CodeName
from ae_lightning.models.scaled_dictionary import ScaledDictionary
from ae_lightning.models.shallow import dictionary_for
from ae_lightning.nn.affine import product
from ae_lightning.nn.dictionary import Dictionary
from ae_lightning.nn.scaling import InputScaling, InputScalingName, make_scaling
from ae_lightning.training.batch import Batch

TranscoderInit = Literal["directions", "linear", "kaiming", "kaiming_joint", "xavier", "xavier_joint"]
"""How weights start, as `DictionaryInit` says: nothing is transposed, for the two sides live in different spaces."""


class Transcoder(AnyCodeDictionary):
    """ŷ = W_dec act(W_enc x + b_enc) + b_dec, where y is not x, such as a layer's output; with `skip` also + W_skip x.

    It learns from batches (x, y, target), such as the input and the output of a layer: `ActivationsDataModule` takes
    targets from another array of the store, by `--data.target LAYER`, and `ArraysDataModule` from `--data.target FILE`.
    Inputs and targets are scaled each by numbers of their own. The encoder reads x itself, from which nothing of the
    decoder is subtracted. Errors and explained variance are those of the target.

    A skip starts at zero and learns what is linear in the layer, so that latents are left with what is not. It reaches
    ŷ past the code: `decode` gives what latents and the bias write, and `forward` the sum.

    Source: Dunefsky et al. (2024), "Transcoders find interpretable LLM feature circuits", arXiv 2406.11944; Paulo et
    al. (2025), "Transcoders beat sparse autoencoders for interpretability", arXiv 2501.18823, for the skip.

    Args:
        input_shape: Shape of one sample x. The command line takes it from the data.
        latent_dim: Number of latents.
        activation: What makes the code sparse: topk, batch_topk, jumprelu or relu; see `CodeName`.
        skip: Whether a linear map from x to y runs beside the latents.
        target_shape: Shape of a target; null is that of a sample. The command line takes it from the data.
        target_scaling: How targets are scaled, as `input_scaling` says; not standardized, for the deviation of a target
            is not known where it is to be produced.
        init: How weights start: directions, encoder and decoder rows of random directions, norm `start_norm`; linear,
            as `torch.nn.Linear` does; or kaiming, xavier, kaiming_joint, xavier_joint, as torch's functions do.
        instances: Independent copies trained side by side, or None for a single one.
        **kwargs: Arguments of `AnyCodeDictionary`.

    Raises:
        ConfigError: Targets are to be standardized, or an option is given that the activation has no use for.
    """

    needs_targets = True

    W_skip: nn.Parameter | None

    def __init__(
        self,
        input_shape: tuple[int, ...],
        latent_dim: int = 4096,
        activation: CodeName = "topk",
        skip: bool = False,
        target_shape: Sequence[int] | None = None,
        target_scaling: InputScalingName = "centered_mean_norm",
        init: TranscoderInit = "directions",
        instances: int | None = None,
        **kwargs: Any,
    ) -> None:
        # Before there is a module: its constructor makes the weights, which have this width.
        self.target_shape = tuple(input_shape if target_shape is None else target_shape)
        super().__init__(input_shape, latent_dim, activation, instances=instances, init=init, tied=False, **kwargs)
        self.output_shape = self.target_shape
        if target_scaling == "standardized":
            raise ConfigError(
                "--model.target_scaling standardized needs the target that is to be produced: choose centered_mean_norm"
            )
        self.target_scaling = make_scaling(target_scaling, torch.Size(self.output_shape).numel(), self._lead)
        weights = self.dictionary.W_enc
        zeros = weights.new_zeros(*self._lead, self.input_size, self.dictionary.b_dec.shape[-1])
        self.register_parameter("W_skip", nn.Parameter(zeros) if skip else None)

    def make_dictionary(self, *arguments: Any, **options: Any) -> Dictionary:
        """The weights: as wide at the output as a target, with an encoder that reads x as it is."""
        return dictionary_for(*arguments, output_dim=torch.Size(self.target_shape).numel(), **options)

    @property
    def output_scaling(self) -> InputScaling:
        """How targets are scaled."""
        return self.target_scaling

    @property
    def decodes_to_data(self) -> bool:  # type: ignore[override]
        """Whether `decode` gives what `forward` does: where nothing runs past the code."""
        return self.W_skip is None

    def pair(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """What is encoded, x (batch, *input_shape), and the target.

        Raises:
            ConfigError: The batch has none.
        """
        if len(batch) < 3:
            raise _no_targets()
        return super().pair(batch)

    def setup(self, stage: str) -> None:
        """Refuse data without targets before anything starts from them."""
        if stage == "fit" and getattr(self.trainer.datamodule, "target_shape", ()) is None:  # type: ignore[attr-defined]
            raise _no_targets()
        super().setup(stage)

    def fold(self, norms: bool = True) -> ScaledDictionary:
        """A copy with the same output that reads and writes the data as they are, as `ScaledDictionary.fold` says."""
        folded = super().fold(norms)
        assert isinstance(folded, Transcoder)
        folded.target_scaling = InputScaling()
        folded.hparams.update(target_scaling="none")
        if folded.W_skip is not None:
            with torch.no_grad():
                weight = self.target_scaling.fold_writing(self.scaling.fold_reading(folded.W_skip.double()))
                folded.W_skip.copy_(weight)
                if self.scaling.center is not None:
                    shift = self.scaling.center.double().unsqueeze(-2) @ weight
                    folded.dictionary.b_dec.sub_(shift.squeeze(-2))
        return folded

    def _past(self, vectors: Tensor, x_hat: Tensor) -> Tensor:
        """ŷ with what the skip adds, both in scaled units."""
        return x_hat if self.W_skip is None else x_hat + product(vectors, self.W_skip)


def _no_targets() -> ConfigError:
    return ConfigError(
        "a Transcoder produces something else than what it reads, but these data have no targets: name them with "
        "--data.target, or choose an autoencoder such as TopKSAE"
    )

"""Stacked autoencoders: layers trained one after the other, then all of them together."""

import warnings
from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate
from typing import Any

import torch
from lightning.pytorch.callbacks import LearningRateFinder
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor, nn

from ae_lightning.errors import ConfigError, Notice
from ae_lightning.losses.reconstruction import reconstruction_loss
from ae_lightning.models.base import AutoencoderOutput
from ae_lightning.models.fully_connected import FullyConnectedAutoencoder
from ae_lightning.nn.activations import ActivationName
from ae_lightning.nn.mlp import MLP
from ae_lightning.training.batch import StepOutput
from ae_lightning.upstream import private

FINE_TUNING = "fine_tuning"


class StackedAutoencoder(FullyConnectedAutoencoder):
    """Greedy layer-wise pre-training, then fine-tuning end to end: 784-512-256-128-32 and back by default on MNIST.

    One fit goes through the phases `layer_1`, `layer_2`, …, `fine_tuning`. In phase `layer_k` an autoencoder of one
    hidden layer learns to reproduce the code of the layers before it, which stay as they are. Then all are trained
    as one network until the trainer stops. Each phase has an optimizer of its own, which holds the parameters of
    that phase only, and a learning-rate schedule of its own.

    In training, `train/loss` is the loss of the present phase, logged under the phase's name too (`train/layer_1`).
    `val/loss` is always that of the whole stack, so that it can be compared between phases and the best checkpoint is
    the best autoencoder; `val/layer_k` is the phase's own. Early stopping waits for
    fine-tuning.

    Source: Hinton and Salakhutdinov (2006), and Bengio et al. (2007), "Greedy layer-wise training of deep networks".

    Args:
        input_shape: Shape of one sample, such as (1, 28, 28). The command line takes it from the data.
        latent_dim: Width of the innermost code.
        hidden_dims: Widths of the layers before it, from the input on.
        pretrain_epochs: Epochs of each pre-training phase: one number for all, or one for each layer from the input on;
            0 leaves a phase out. Fine-tuning takes what is left of `trainer.max_epochs`.
        activation: Activation of every code, and of the reconstruction of every code.
        output_activation: Activation of the reconstruction of the input; sigmoid asks for pixels within [0, 1].
        **kwargs: Arguments of `Autoencoder`. The reconstruction loss is that of the input; codes are reproduced in mean
            squared error, per unit of the code.
    """

    encoder: MLP
    decoder: MLP

    def __init__(
        self,
        input_shape: tuple[int, ...],
        latent_dim: int = 32,
        hidden_dims: tuple[int, ...] = (512, 256, 128),
        pretrain_epochs: int | tuple[int, ...] = 2,
        activation: ActivationName = "relu",
        output_activation: ActivationName = "sigmoid",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            input_shape,
            latent_dim,
            hidden_dims,
            activation=activation,
            latent_activation=activation,
            batch_norm=False,
            dropout=0.0,
            output_activation=output_activation,
            **kwargs,
        )
        layers = len(self.encoder)
        self.pretrain_epochs = _epochs_of_each(pretrain_epochs, layers)
        self.phases = [f"layer_{number}" for number in range(1, layers + 1)] + [FINE_TUNING]
        self._phase = layers
        self._fitting = False

    @property
    def phase(self) -> str | None:
        """Name of the present phase, None outside a fit."""
        return self.phases[self._phase] if self._fitting else None

    def phase_of(self, epoch: int) -> str:
        """Name of the phase that an epoch, counted from 0, belongs to."""
        return self.phases[self._phase_number(epoch)]

    def trained_parameters(self) -> Iterable[nn.Parameter]:
        """Parameters of the present phase: those of one encoder and its decoder, or all."""
        if self.phase in (None, FINE_TUNING):
            return self.parameters()
        encoder, decoder = self._pair()
        return [*encoder.parameters(), *decoder.parameters()]

    def loss(self, x: Tensor, target: Tensor | None = None) -> tuple[dict[str, Tensor], StepOutput]:
        """Loss of the present phase in training; in evaluation that of the whole stack, the phase's beside it."""
        if self.phase in (None, FINE_TUNING):
            losses, output = super().loss(x, target)
            return losses | ({} if self.phase is None else {FINE_TUNING: losses["loss"]}), output
        assert self.phase is not None
        own, layer_output = self._layer_loss(x)
        if self.training:
            return {"loss": own, self.phase: own}, layer_output
        losses, output = super().loss(x, target)
        return losses | {self.phase: own}, output

    def setup(self, stage: str) -> None:
        """Begin with the first phase, unless a checkpoint says otherwise; refuse what cannot go through phases."""
        self._fitting = stage == "fit"
        if self._fitting and any(isinstance(c, LearningRateFinder) for c in self.trainer.callbacks):  # type: ignore[attr-defined]
            raise ConfigError(
                "LearningRateFinder looks for a single learning rate, but each phase of a StackedAutoencoder has an "
                "optimizer of its own: take it out of trainer.callbacks, and set --model.optimizer.lr"
            )
        self._phase = self._phase_number(0)
        strategy = self.trainer.strategy
        if (
            self._fitting
            and isinstance(strategy, DDPStrategy)
            # Where it cannot be asked, PyTorch's own error says it in the first step.
            and not private(strategy, "_ddp_kwargs", {"find_unused_parameters": True}).get("find_unused_parameters")
        ):
            raise ConfigError(
                "StackedAutoencoder trains a part of its parameters at a time, which several processes must be told: "
                "set --trainer.strategy ddp_find_unused_parameters_true"
            )

    def on_train_start(self) -> None:
        """Warn of a run that ends before the layers are trained together."""
        super().on_train_start()
        epochs, planned = self.trainer.max_epochs, sum(self.pretrain_epochs)
        if epochs is not None and 0 <= epochs <= planned:
            warnings.warn(
                f"pre-training takes {planned} epochs and --trainer.max_epochs is {epochs}, so that the run stops "
                "before fine-tuning: raise it, or lower --model.pretrain_epochs",
                Notice,
                stacklevel=2,
            )

    def on_train_epoch_start(self) -> None:
        """Go on to the next phase when its first epoch comes, with a new optimizer."""
        super().on_train_epoch_start()
        self._hold_early_stopping()
        number = self._phase_number(self.current_epoch)
        if number != self._phase:
            self._phase = number
            self.trainer.strategy.setup_optimizers(self.trainer)

    def on_validation_start(self) -> None:
        """Let early stopping begin with fine-tuning."""
        self._hold_early_stopping()

    def on_fit_end(self) -> None:
        """Be the whole stack again."""
        self._fitting = False

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the phase, whose optimizer the checkpoint holds."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["autoencoder"]["phase"] = self._phase

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take back the phase before the optimizer is built that the checkpoint's state fits."""
        super().on_load_checkpoint(checkpoint)
        self._phase = checkpoint["autoencoder"]["phase"]

    def _hold_early_stopping(self) -> None:
        """Make every validation before fine-tuning look like the first one to early stopping.

        It would end the run in the phase where the whole stack, which is not trained yet, gets no better.
        """
        if self.phase in (None, FINE_TUNING):
            return
        for callback in self.trainer.early_stopping_callbacks:
            callback.wait_count = 0
            callback.best_score = torch.tensor(torch.inf if callback.monitor_op == torch.lt else -torch.inf)

    def _phase_number(self, epoch: int) -> int:
        return bisect_right(list(accumulate(self.pretrain_epochs)), epoch)

    def _pair(self) -> tuple[nn.Module, nn.Module]:
        """Encoder and decoder of the present layer."""
        return self.encoder[self._phase], self.decoder[-1 - self._phase]

    def _layer_loss(self, x: Tensor) -> tuple[Tensor, StepOutput]:
        self.check_data(x)
        encoder, decoder = self._pair()
        with torch.no_grad():
            target = x.flatten(1)
            for earlier in range(self._phase):
                target = self.encoder[earlier](target)
        z = encoder(target)
        output = AutoencoderOutput(decoder(z), z)
        name = self.reconstruction_loss if self._phase == 0 else "mse"
        return reconstruction_loss(name, output.x_hat, target), output


def _epochs_of_each(epochs: int | Iterable[int], layers: int) -> list[int]:
    each = [epochs] * layers if isinstance(epochs, int) else list(epochs)
    if len(each) != layers:
        raise ConfigError(
            f"--model.pretrain_epochs has {len(each)} numbers for {layers} layers: give one for each, or one for all"
        )
    if min(each) < 0:
        raise ConfigError(f"--model.pretrain_epochs is {min(each)} for one layer; it must be at least 0")
    return each

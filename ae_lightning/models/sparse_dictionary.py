"""What sparse dictionaries share beside the pass: options, coefficients that move, a held L0, a rate by rule."""

import math
import warnings
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn

from ae_lightning.errors import Notice
from ae_lightning.losses.reconstruction import ReconstructionLossName
from ae_lightning.models.dictionary_pass import DictionaryPass
from ae_lightning.nn.arithmetic import Arithmetic, checked, require_device
from ae_lightning.nn.code_activation import CodeActivation
from ae_lightning.nn.elementwise import mean_l0
from ae_lightning.nn.l0_controller import L0Controller
from ae_lightning.nn.scaling import InputScalingName
from ae_lightning.nn.sparse_code import SparseCode
from ae_lightning.training.coefficients import Coefficient, Ramp
from ae_lightning.training.default_rate import optimizer_with_rate, warmup_and_decay
from ae_lightning.training.population import count_of
from ae_lightning.training.rows import is_due_after
from ae_lightning.training.run_length import RunLength
from ae_lightning.training.trainer import trainer_of


class SparseDictionary(DictionaryPass):
    """An overcomplete layer between scaled inputs and their reconstruction, with a code that few latents take part in.

    A variant chooses the activation of the code, and adds terms to the loss. Losses are in the units that the
    dictionary reads, after `input_scaling`; x̂, and all that `evaluate` measures, is in the data's.

    An optimizer whose rate is 0, as the default, gets the one that `training.default_rate` has for the width and the
    length of the run. Without `lr_scheduler` the rate rises over the first twentieth of the run and falls to zero over
    its last fifth.

    Several processes train as one would on all their batches together, with counts of dead latents, thresholds and
    controllers of all. Of its own batch each has what is no mean over samples: a selection from the batch, and the
    ratios AuxK and fvu, whose gradients are averaged.

    Args:
        input_shape: Shape of one sample. The command line takes it from the data.
        latent_dim: Number of latents.
        activation: Activation of the code.
        instances: Independent copies trained side by side, or None for a single one.
            Options that may be lists, with an entry for each of them, say how many by themselves.
        input_scaling: How inputs are scaled, estimated from 10,000 training samples: none; mean_norm, by one factor to
            a mean norm of √d for d dimensions; mean_square, by one to a mean squared norm of 1; centered, by
            subtracting the mean; centered_mean_norm and centered_mean_square, first the mean and then the factor;
            whitened, each principal direction to variance 1; standardized, each sample by itself to mean 0 and
            deviation 1.
        norm_weighted: Whether penalties and selections take a latent for as large as what it writes, its activation
            times the norm of its decoder row. It stands in place of rows of norm 1, as `DecoderNorm` keeps them.
        target_l0: Active latents of a sample, on average, that the penalty's coefficient is held to by a factor that
            follows L0, or a list with one for each instance; null leaves the coefficient as it is.
        arithmetic: How codes are computed with that keep a fixed number of latents, k or k of a sample in the mean:
            dense; sparse, as indices and values, on a CPU, with the same results but for rounding; or auto, the faster.
        reconstruction_loss: mse_sum, the squared error summed over pixels, mean over the batch, to which coefficients
            of SAELens and dictionary_learning belong; mse, mae or bce, means over pixels and batch; or fvu, the
            fraction of the batch's variance that is unexplained.
        optimizer: Builds the optimizer from the parameters; a rate (lr) of 0 stands for one that follows from the
            number of latents and the length of the run.
        lr_scheduler: Builds a learning-rate schedule from the optimizer; null is one that rises over the first
            twentieth of the run and falls to zero over its last fifth (in a StandardSAE none).
        **kwargs: Arguments of `ScaledDictionary`.
    """

    #: Whether a rate of 0 stands for one by width and run, and the rate rises and falls where no schedule is named.
    has_default_rate = True

    @abstractmethod
    def __init__(
        self,
        input_shape: tuple[int, ...],
        latent_dim: int,
        activation: nn.Module,
        instances: int | None = None,
        input_scaling: InputScalingName = "centered_mean_norm",
        norm_weighted: bool = True,
        target_l0: float | list[float] | None = None,
        arithmetic: Arithmetic = "auto",
        reconstruction_loss: ReconstructionLossName = "mse_sum",
        optimizer: OptimizerCallable = lambda params: torch.optim.Adam(params, lr=0.0, fused=True),
        lr_scheduler: LRSchedulerCallable | None = None,
        **kwargs: Any,
    ) -> None:
        copies = count_of(instances, target_l0=target_l0, **kwargs)
        super().__init__(
            input_shape,
            latent_dim,
            activation,
            copies,
            input_scaling=input_scaling,
            norm_weighted=norm_weighted,
            reconstruction_loss=reconstruction_loss,
            optimizer=optimizer,
            lr_scheduler=lr_scheduler,
            **kwargs,
        )
        if self.has_default_rate:
            self.build_optimizer = optimizer_with_rate(self.build_optimizer, self, latent_dim)
            if self.build_lr_scheduler is None:
                self.build_lr_scheduler, self.lr_scheduler_interval = warmup_and_decay(self), "step"
        self.arithmetic: Arithmetic = checked(arithmetic, activation)
        self.coefficients: list[Coefficient] = []
        self.controller = None if target_l0 is None else L0Controller(target_l0, latent_dim, copies)
        self.total_steps = math.inf

    def coefficient(
        self, name: str, option: float | Sequence[float] | Ramp, least: float = 0.0, most: float = math.inf
    ) -> Coefficient:
        """An option of a variant that may move over the run, or differ among instances, by its name."""
        self.coefficients.append(Coefficient(name, option, least, most))
        return self.coefficients[-1]

    @property
    def asked_l0(self) -> dict[str, float]:
        """Options that say how many latents of a sample shall be active; none where a coefficient decides.

        Where instances have their own, it is their mean.
        """
        return {} if self.controller is None else {"target_l0": self.controller.mean_target}

    @property
    def is_settled(self) -> bool:
        """Whether the controller, if there is one, holds its target; all other coefficients have their final value."""
        return self.controller is None or self.controller.is_settled

    def controlled(self, weight: float | Tensor) -> float | Tensor:
        """The coefficient of a penalty with the factor that holds the target L0, if there is one."""
        return weight if self.controller is None else weight * self.controller.multiplier

    # --- starting, and moving on ---------------------------------------------------------------------------------

    def configure_optimizers(self) -> Any:
        """Refuse coefficients that would not arrive before the run ends; build the optimizer and its schedule.

        It is called for the run that was asked for, and not for the shorter ones of a search. Sparse arithmetic that
        was asked for is refused on another device than a CPU, where training would be dense.
        """
        require_device(self.arithmetic, self.dictionary.W_enc.device)
        if trainer := trainer_of(self):
            for coefficient in self.coefficients:
                coefficient.require_within(trainer)
        return super().configure_optimizers()

    def on_fit_start(self) -> None:
        """Train in the mode of training, where a code may be another one; measure the run."""
        super().on_fit_start()
        self._measure_run()

    def on_train_start(self) -> None:
        """Measure the run again, which may be a search's."""
        super().on_train_start()
        self._measure_run()

    def _measure_run(self) -> None:
        self.total_steps = RunLength.of(self.trainer).total_steps

    @property
    def advances(self) -> bool:
        """Whether the activation, a count of silence or a controller moves with each step."""
        activation = self.dictionary.activation
        return isinstance(activation, CodeActivation) or self.silence is not None or self.controller is not None

    @torch.no_grad()
    def observe(self, output: Any) -> None:
        """Gather which latents fire, and what the activation and the controller move by."""
        super().observe(output)
        activation = self.dictionary.activation
        # Norms of many rows are not computed for an activation that gathers nothing.
        if isinstance(activation, CodeActivation) and type(activation).observe is not CodeActivation.observe:
            activation.observe(output.z, self.selection_norms if activation.weighted else None)
        if self.controller is not None:
            z = output.z
            self.controller.observe(z.active().float().mean(-1) if isinstance(z, SparseCode) else mean_l0(z))

    @torch.no_grad()
    def advance(self) -> None:
        """Take up what the batches of a step told, all processes together."""
        super().advance()
        if isinstance(activation := self.dictionary.activation, CodeActivation):
            activation.advance(self._reduce)
        if self.controller is not None:
            self.controller.advance(self._reduce)
            # As rarely as rows are logged, since it waits for the device.
            trainer = trainer_of(self)
            if trainer and is_due_after(trainer.global_step + 1, trainer) and (told := self.controller.saturation()):
                warnings.warn(told, Notice, stacklevel=2)

    def forget(self) -> None:
        """Drop what the batches of a step told that was skipped."""
        super().forget()
        for part in (self.dictionary.activation, self.controller):
            if isinstance(part, (CodeActivation, L0Controller)):
                part.forget()

    def measures(self) -> dict[str, Tensor]:
        """Thresholds, dead latents, the controller's factor: what there is of them, means over instances."""
        activation = self.dictionary.activation
        found = activation.measures() if isinstance(activation, CodeActivation) else {}
        return found | super().measures() | ({} if self.controller is None else self.controller.measures())

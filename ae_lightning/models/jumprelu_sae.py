"""JumpReLU sparse autoencoders: a learned threshold for each latent, and a penalty on how many are active."""

from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor

from ae_lightning.errors import ConfigError
from ae_lightning.losses.jumprelu import l0_of_counts, l0_step, l0_tanh, l0_target, pre_activation_loss
from ae_lightning.models.sparse_dictionary import SparseDictionary
from ae_lightning.nn.jumprelu import JumpCode, JumpReLU
from ae_lightning.training.batch import Pass
from ae_lightning.training.checks import require_not_negative
from ae_lightning.training.coefficients import Ramp
from ae_lightning.training.population import count_of

SparsityLoss = Literal["step", "tanh", "target"]
"""What is penalized: `step`, the number of active latents (Rajamanoharan et al. 2024); `tanh`, a smooth one (Anthropic,
January 2025); `target`, the squared relative distance of a batch's mean L0 from `l0` (dictionary_learning)."""


class JumpReLUSAE(SparseDictionary):
    """z = pre where pre = W_enc (x − b_dec) + b_enc exceeds θ, else 0, x̂ = W_dec z + b_dec, with a penalty on L0.

    Thresholds θ learn from pre-activations within half a `bandwidth` of them. Both have the units of pre-activations of
    scaled inputs: the defaults, and what Anthropic and SAELens publish, belong to inputs of d dimensions with mean norm
    √d, and are to be divided by √d where `input_scaling` makes the mean square 1.

    Source: Rajamanoharan et al. (2024), "Jumping ahead", arXiv 2407.14435.

    Args:
        input_shape: Shape of one sample. The command line takes it from the data.
        latent_dim: Number of latents.
        penalty_weight: Coefficient of the penalty, or how it changes over the run, or a list with a number for each
            instance. It belongs to the sum of squares over dimensions (mse_sum) of inputs of mean norm √d.
        penalty: What is penalized: step, the number of active latents; tanh, a smooth stand-in for it; or target, the
            squared relative distance of a batch's mean number of active latents from `l0`.
        l0: Active latents that `penalty` target asks for.
        threshold: Where thresholds start, or a list with a number for each instance.
        bandwidth: Width of the window whose pre-activations tell a threshold its gradient.
        gradient_to_encoder: Whether pre-activations in the window get the thresholds' gradient too (Anthropic).
        preactivation_weight: Coefficient of how far dead latents are below their thresholds; 0 for none. Anthropic's
            3e-6 belongs to mse_sum and mean norm √d, as `penalty_weight` does.
        instances: Independent copies trained side by side, or None for a single one.
        **kwargs: Arguments of `SparseDictionary`.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        latent_dim: int = 4096,
        penalty_weight: float | list[float] | Ramp = 1.3,
        penalty: SparsityLoss = "step",
        l0: float | None = None,
        threshold: float | list[float] = 1.0,
        bandwidth: float = 1.0,
        gradient_to_encoder: bool = False,
        preactivation_weight: float = 0.0,
        instances: int | None = None,
        **kwargs: Any,
    ) -> None:
        require_not_negative(preactivation_weight=preactivation_weight)
        copies = count_of(instances, penalty_weight=penalty_weight, threshold=threshold, **kwargs)
        activation = JumpReLU(latent_dim, copies, threshold, bandwidth, gradient_to_encoder)
        super().__init__(input_shape, latent_dim, activation, copies, output_activation="none", **kwargs)
        self.penalty_weight = self.coefficient("penalty_weight", penalty_weight)
        self.penalty: SparsityLoss = penalty
        self.l0 = _l0(l0, latent_dim, penalty)
        self.preactivation_weight = preactivation_weight
        if preactivation_weight > 0:
            self.count_silence()

    def sparsity_terms(self, done: Pass) -> dict[str, Tensor]:
        """`l0`, and for dead latents `pre_activation`."""
        terms = {"l0": self._penalty(done)}
        if self.preactivation_weight > 0 and self.training:
            assert self.silence is not None
            assert done.pre is not None
            dead = self.silence.dead(self.dead_after_samples)
            threshold = self._jump.threshold
            terms["pre_activation"] = pre_activation_loss(done.pre, threshold, dead, self.penalty_norms)
        return terms

    @property
    def loss_weights(self) -> Mapping[str, float | Tensor]:
        """Coefficients at the present step."""
        weight = self.controlled(self.penalty_weight.present(self))
        return {**super().loss_weights, "l0": weight, "pre_activation": self.preactivation_weight}

    @property
    def asked_l0(self) -> dict[str, float]:
        """Options that say how many latents of a sample shall be active."""
        return super().asked_l0 | ({"l0": self.l0} if self.penalty == "target" else {})

    @property
    def _jump(self) -> JumpReLU:
        assert isinstance(self.dictionary.activation, JumpReLU)
        return self.dictionary.activation

    def _penalty(self, done: Pass) -> Tensor:
        if self.penalty == "tanh":
            return l0_tanh(done.z, self.penalty_norms)
        l0 = l0_of(done, self._jump)
        return l0 if self.penalty == "step" else l0_target(l0, self.l0)


def l0_of(done: Pass, jump: JumpReLU) -> Tensor:
    """L0 of a JumpReLU's code, with the gradient of thresholds, of each instance."""
    if done.blocked is not None and isinstance(counts := done.blocked.code, JumpCode):
        return l0_of_counts(counts.active, counts.near, jump.threshold, counts.samples, jump.bandwidth)
    assert done.pre is not None
    return l0_step(done.pre, jump.threshold, jump.bandwidth, jump.to_pre)


def _l0(l0: float | None, latent_dim: int, penalty: str) -> float:
    if penalty not in ("step", "tanh", "target"):
        raise ConfigError(f"--model.penalty is {penalty!r}; it can be step, tanh or target")
    if penalty == "target" and not (l0 is not None and 0 < l0 <= latent_dim):
        raise ConfigError(
            f"--model.penalty target holds L0 at --model.l0, which must be above 0 and at most the {latent_dim} "
            f"latents, but it is {'not given' if l0 is None else l0}"
        )
    return float("nan") if l0 is None else l0

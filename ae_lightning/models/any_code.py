"""Sparse dictionaries whose code is an option: of the k largest latents, or held sparse by a penalty."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor, nn

from ae_lightning.errors import ConfigError
from ae_lightning.losses.reconstruction import ReconstructionLossName
from ae_lightning.models.jumprelu_sae import l0_of
from ae_lightning.models.selecting import SelectingDictionary, final_k
from ae_lightning.nn.batch_topk import BatchTopK
from ae_lightning.nn.jumprelu import JumpReLU
from ae_lightning.nn.topk import TopK
from ae_lightning.training.batch import Pass
from ae_lightning.training.coefficients import Coefficient, Ramp
from ae_lightning.training.population import count_of

CodeName = Literal["topk", "batch_topk", "jumprelu", "relu"]
"""What makes a code sparse, each as the autoencoder of its name has it.

`topk`: the k largest latents of each sample (`TopKSAE`). `batch_topk`: the k · n largest of a batch of n samples
(`BatchTopKSAE`). `jumprelu`: a threshold for each latent, and a penalty on how many are active (`JumpReLUSAE`).
`relu`: a penalty on their sum, each times the norm of its decoder row (`StandardSAE` with `norm_weighted`).
"""

_SELECTING = ("topk", "batch_topk")
_K = 32
# Options that not all have, and what stands for None.
_OWN: dict[CodeName, dict[str, Any]] = {
    "topk": {"k": _K},
    "batch_topk": {"k": _K},
    "jumprelu": {"penalty_weight": 1.3, "threshold": 1.0, "bandwidth": 1.0, "target_l0": None},
    # Without the rise more directions are lost before latents have found them.
    "relu": {"penalty_weight": Ramp(start=0.0, end=2.0, until=0.1), "target_l0": None},
}


class AnyCodeDictionary(SelectingDictionary):
    """A sparse dictionary whose activation is chosen by its name; a variant says what it reads and writes.

    Abstract: see `Transcoder` and `Crosscoder`.

    Args:
        input_shape: Shape of one sample.
        latent_dim: Number of latents.
        activation: What makes the code sparse: topk, batch_topk, jumprelu or relu; see `CodeName`.
        k: Active latents of a sample, for topk and batch_topk (null is 32), or how they change over the run, or a list
            with a number for each instance.
        penalty_weight: Coefficient of the penalty, for jumprelu (null is 1.3) and relu (null is 2, to which it rises
            over a tenth of the run), or how it changes over the run, or a list with a number for each instance. It
            belongs to the sum of squares over dimensions (mse_sum) of targets of mean norm √d.
        threshold: Where thresholds of jumprelu start (null is 1), or a list with a number for each instance.
        bandwidth: Width of the window whose pre-activations tell a threshold of jumprelu its gradient (null is 1).
        target_l0: Active latents of a sample that the penalty of jumprelu or relu is held to, as `SparseDictionary` has
            it.
        instances: Independent copies trained side by side, or None for a single one.
        norm_weighted: Whether latents are compared, and penalized, by what they write: times the norm of their row.
        auxk_weight: Coefficient of AuxK; null is 1/32 for topk and batch_topk, and 0 for the others.
        reconstruction_loss: As `Autoencoder` has it; null is mse for topk and batch_topk, and mse_sum for the others.
        **kwargs: Arguments of `SparseDictionary`.

    Raises:
        ConfigError: An option is given that the activation has no use for.
    """

    @abstractmethod
    def __init__(
        self,
        input_shape: tuple[int, ...],
        latent_dim: int,
        activation: CodeName,
        k: float | list[float] | Ramp | None = None,
        penalty_weight: float | list[float] | Ramp | None = None,
        threshold: float | list[float] | None = None,
        bandwidth: float | None = None,
        target_l0: float | list[float] | None = None,
        instances: int | None = None,
        norm_weighted: bool = True,
        auxk_weight: float | None = None,
        reconstruction_loss: ReconstructionLossName | None = None,
        **kwargs: Any,
    ) -> None:
        own = _own(
            activation,
            k=k,
            penalty_weight=penalty_weight,
            threshold=threshold,
            bandwidth=bandwidth,
            target_l0=target_l0,
        )
        selects = activation in _SELECTING
        copies = count_of(instances, **own, **kwargs)
        super().__init__(
            input_shape,
            latent_dim,
            _module(activation, latent_dim, copies, norm_weighted, own),
            copies,
            norm_weighted=norm_weighted,
            target_l0=own.get("target_l0"),
            auxk_weight=(1 / 32 if selects else 0.0) if auxk_weight is None else auxk_weight,
            reconstruction_loss=reconstruction_loss or ("mse" if selects else "mse_sum"),
            output_activation="none",
            **kwargs,
        )
        self.activation: CodeName = activation
        self.penalty_weight: Coefficient | None = None
        if selects:
            self.k = self.coefficient("k", own["k"], most=latent_dim)
        else:
            self.penalty_weight = self.coefficient("penalty_weight", own["penalty_weight"])

    @property
    def reads_sparse_codes(self) -> bool:
        """Of codes that can be sparse no term reads any."""
        return True

    def sparsity_terms(self, done: Pass) -> dict[str, Tensor]:
        """`l0`, active latents, of a jumprelu code; `l1`, the sum of what they write, of a relu code; else nothing."""
        activation = self.dictionary.activation
        if isinstance(activation, JumpReLU):
            return {"l0": l0_of(done, activation)}
        if self.penalty_weight is not None:
            return {"l1": self.weighted_l1(done)}
        return {}

    @property
    def loss_weights(self) -> Mapping[str, float | Tensor]:
        """The penalty's coefficient at the present step."""
        if self.penalty_weight is None:
            return super().loss_weights
        name = "l0" if self.activation == "jumprelu" else "l1"
        return {**super().loss_weights, name: self.controlled(self.penalty_weight.present(self))}


def _own(activation: CodeName, **given: Any) -> dict[str, Any]:
    """The options that an activation has, with what stands for None.

    Raises:
        ConfigError: There is no such activation, or another's option is given.
    """
    if activation not in _OWN:
        raise ConfigError(f"--model.activation is {activation!r}; it can be {', '.join(_OWN)}")
    own = _OWN[activation]
    for name, value in given.items():
        if value is not None and name not in own:
            those = " or ".join(other for other, options in _OWN.items() if name in options)
            raise ConfigError(
                f"--model.{name} is given, but a code by {activation} has none: leave it out, or set "
                f"--model.activation {those}"
            )
    return {name: default if given[name] is None else given[name] for name, default in own.items()}


def _module(
    activation: CodeName, latent_dim: int, instances: int | None, weighted: bool, own: Mapping[str, Any]
) -> nn.Module:
    if activation == "relu":
        return nn.ReLU(inplace=True)
    if activation == "jumprelu":
        return JumpReLU(latent_dim, instances, own["threshold"], own["bandwidth"])
    moving = isinstance(own["k"], dict)
    if activation == "topk":
        return TopK(final_k(own["k"], latent_dim, whole=True), latent_dim, instances, False, weighted, moving)
    return BatchTopK(final_k(own["k"], latent_dim), latent_dim, instances, weighted=weighted, moving=moving)

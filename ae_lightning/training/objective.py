"""The objective of training: the weighted sum of a variant's terms, checked against the data, and compiled if asked."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ae_lightning.errors import Notice
from ae_lightning.losses.reconstruction import ReconstructionLossName
from ae_lightning.training.batch import StepOutput
from ae_lightning.training.checks import check_range, check_shape, check_target


class Objective(nn.Module, ABC):
    """A module whose objective is Σ weight × term, over the terms and weights that a variant gives."""

    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    instances: int | None
    reconstruction_loss: ReconstructionLossName
    #: Objective of each instance (instances,) in the last evaluated batch, where all terms tell them apart.
    loss_of_each: Tensor | None = None
    _data_checked: bool
    _compiled_terms: Callable[..., Any] | None

    @abstractmethod
    def as_target(self, x: Tensor) -> Tensor:
        """Samples as they are compared with the reconstruction."""

    @abstractmethod
    def terms(self, x: Tensor, target: Tensor) -> tuple[dict[str, Tensor], StepOutput]:
        """The unweighted terms, and the output."""

    @property
    @abstractmethod
    def loss_weights(self) -> Mapping[str, float | Tensor]:
        """Coefficients of the terms."""

    @property
    @abstractmethod
    def output_range(self) -> tuple[float, float]:
        """Lowest and highest value of a reconstruction."""

    @property
    @abstractmethod
    def untraceable(self) -> str:
        """Why the terms cannot be compiled; empty where they can."""

    def loss(self, x: Tensor, target: Tensor | None = None) -> tuple[dict[str, Tensor], StepOutput]:
        """Forward pass and objective of x (batch, *input_shape).

        Args:
            x: What is encoded.
            target: What x̂ is compared with, as `pair` gives it; x itself if there is none.

        Returns:
            `loss`, the weighted total, followed by the unweighted terms; and the output they were computed from.
        """
        self.check_data(x, target)
        target = self.as_target(x) if target is None else target
        terms, output = (self._compiled_terms or self.terms)(x, target)
        weights = self.loss_weights
        weighted = [_times(weights.get(name, 1.0), term) for name, term in terms.items()]
        if self.tells_apart:
            self.loss_of_each = _of_each(weighted)
        first, *others = map(_summed, weighted)
        return {"loss": sum(others, first)} | {name: _summed(term) for name, term in terms.items()}, output

    @property
    def tells_apart(self) -> bool:
        """Whether the terms of a population are those of each instance, (instances,), and not their sum.

        They are in evaluation, where the best state of each is looked for. In training sums take fewer passes.
        """
        return self.instances is not None and not self.training

    def compile_loss(self, **options: Any) -> None:
        """Let torch compile the forward pass and the loss terms, with their gradients, at the first batch.

        The names of weights and buffers do not change, so that checkpoints are those of the model as it is, and load
        with or without it. Random numbers, as for dropout, are drawn otherwise.

        A variant whose pass cannot be traced stays as it is, which a notice says.

        Args:
            **options: Of `torch.compile`.
        """
        if self.untraceable:
            warnings.warn(
                f"{type(self).__name__} is trained without --compile: {self.untraceable}", Notice, stacklevel=2
            )
            return
        self._compiled_terms = torch.compile(self.terms, **options)

    def check_data(self, x: Tensor, target: Tensor | None = None) -> None:
        """Check, on the first batch that is seen, that the data have the model's shape and values it can reach.

        Args:
            x: What is encoded.
            target: What is to be produced, as `pair` gives it; x itself if there is none.

        Raises:
            ConfigError: They have not, or the loss is not defined for them.
        """
        if not self._data_checked:
            variant = type(self).__name__
            check_shape(x, self.input_shape, self.instances, variant)
            if target is not None:
                check_target(target, self.output_shape, variant)
            self._data_checked = True
            check_range(x if target is None else target, self.output_range, self.reconstruction_loss, variant)


def _times(weight: float | Tensor, term: Tensor) -> Tensor:
    if not isinstance(weight, Tensor):
        return term if weight == 1 else weight * term
    if weight.ndim > term.ndim:
        raise ValueError("a term that is a sum over instances cannot have a weight for each: give one term for each")
    return weight * term


def _of_each(weighted: list[Tensor]) -> Tensor | None:
    """The sum of terms for each instance; None where a term is a sum over them."""
    if any(term.ndim == 0 for term in weighted):
        return None
    first, *others = weighted
    return sum(others, first).detach()


def _summed(term: Tensor) -> Tensor:
    return term.sum() if term.ndim else term

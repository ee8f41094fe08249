"""Sparse dictionaries that may keep a fixed number of latents, which may change over the run."""

import math
from typing import Any

from torch import Tensor

from ae_lightning.models.sparse_dictionary import SparseDictionary
from ae_lightning.nn.active_latents import ActiveLatents
from ae_lightning.training.coefficients import Coefficient
from ae_lightning.training.population import is_listed
from ae_lightning.training.trainer import trainer_of


class SelectingDictionary(SparseDictionary):
    """A sparse dictionary that moves the k of its activation from step to step, if that selects the k largest.

    Abstract: a variant's constructor makes the activation, and `k` a coefficient by that name.
    """

    #: Active latents of a sample, now and over the run; None where nothing is selected.
    k: Coefficient | None = None

    @property
    def untraceable(self) -> str:
        """Why the loss cannot be compiled."""
        return "it would be compiled anew for each k of its schedule" if self._moves else super().untraceable

    def on_fit_start(self) -> None:
        """Begin with the first k, before anything looks at the untrained model."""
        super().on_fit_start()
        if self.images_seen == 0:  # the number of steps of a run that goes on is not yet known
            self._set_k(0)

    def on_train_start(self) -> None:
        """Begin with the k of the present step."""
        super().on_train_start()
        self._set_k(self.trainer.global_step)

    def advance(self) -> None:
        """Go on to the k of the next step."""
        super().advance()
        if trainer := trainer_of(self):
            self._set_k(trainer.global_step + 1)  # which the trainer counts after this

    def scores(self, x: Tensor) -> Tensor:
        """What latents are selected by, (…, batch, latent), of samples x (batch, *input_shape); it has no gradient."""
        assert isinstance(self.dictionary.activation, ActiveLatents)
        return self.dictionary.activation.scored(self.dictionary.pre_activations(self.inputs(x)), self.selection_norms)

    @property
    def is_settled(self) -> bool:
        """Whether k has arrived."""
        trainer = trainer_of(self) if self._moves else None
        if trainer is None or self.k is None:
            return super().is_settled
        return self.k.at(trainer.global_step, self.total_steps) == self.k.final and super().is_settled

    @property
    def asked_l0(self) -> dict[str, float]:
        """The number of active latents, in the end; where instances have their own, their mean."""
        return super().asked_l0 if self.k is None else {"k": self.k.final}

    @property
    def _moves(self) -> bool:
        return self.k is not None and self.k.moves

    def _set_k(self, step: int) -> None:
        if self.k is not None and self.k.moves:
            assert isinstance(self.dictionary.activation, ActiveLatents)
            self.dictionary.activation.set_k(self.k.at(step, self.total_steps))


def final_k(k: Any, latent_dim: int, whole: bool = False) -> Any:
    """The number of active latents that an option ends with, or a list of each instance's.

    Args:
        k: The option: a number, a list or a ramp.
        latent_dim: Number of latents.
        whole: Whether it is rounded to a whole number.
    """
    if is_listed(k):
        return [final_k(each, latent_dim, whole) for each in k]
    if isinstance(k, dict) or not math.isfinite(k):
        k = Coefficient("k", k, most=latent_dim).final
    return round(k) if whole else k  # which the activation checks

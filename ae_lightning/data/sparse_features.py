"""Sparse features: most are zero in most samples, and each is present on its own or together with a partner."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor

from ae_lightning.data.generated import GeneratedDataModule
from ae_lightning.data.in_memory import Batch
from ae_lightning.errors import ConfigError
from ae_lightning.per_feature import PerFeature, per_feature

Magnitude = Literal["uniform", "normal"]
"""How large a present feature is: uniform on [0, 1], or the magnitude of a standard normal number."""

# Random numbers are multiples of 2⁻²⁴: below this probability too few of them are left to give magnitudes as well.
_ONE_DRAW = 0.001


class SparseFeaturesDataModule(GeneratedDataModule):
    """Vectors of features, each of which is present with a small probability, and then has a random magnitude above 0.

    The first `correlated` features come in pairs, 0 with 1, 2 with 3, …, that are always present together, with
    magnitudes of their own. The next `anticorrelated` ones come in pairs that are never present together: the first of
    a pair with probability p, the second with p too, that is with p / (1 − p) where the first is absent. All others
    are independent.

    Source: Elhage et al. (2022), "Toy Models of Superposition".

    Args:
        features: Numbers in a sample.
        probability: Probability that a feature is present: a number, a list with one for each feature, or a list of
            lists for each instance.
        magnitude: uniform on [0, 1], or normal for the magnitude of a standard normal number.
        correlated: Features in correlated pairs, an even number.
        anticorrelated: Features in anticorrelated pairs, an even number; their probability is at most 0.5.
        instances: Instances of a model that get samples of their own, as many as `--model.instances`; None where all
            share them.
        batch_size: Samples in a training batch, per device.
        eval_batch_size: Samples in a validation or test batch, per device.
        steps_per_epoch: Training batches an epoch, after which the validation set is measured.
        num_val: Validation samples.
        num_test: Test samples.
        seed: Seed of all samples.

    Raises:
        ConfigError: If an option is out of range.
    """

    def __init__(
        self,
        features: int = 5,
        probability: PerFeature = 0.025,
        magnitude: Magnitude = "uniform",
        correlated: int = 0,
        anticorrelated: int = 0,
        instances: int | None = None,
        batch_size: int = 1024,
        eval_batch_size: int = 1024,
        steps_per_epoch: int = 500,
        num_val: int = 4096,
        num_test: int = 8192,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, steps_per_epoch, num_val, num_test, seed)
        for option, size in (("features", features), ("instances", instances)):
            if size is not None and size < 1:
                raise ConfigError(f"--data.{option} is {size}; it must be at least 1.")
        if magnitude not in ("uniform", "normal"):
            raise ConfigError(f"--data.magnitude is {magnitude!r}; it can be uniform or normal.")
        self.features = features
        self.magnitude: Magnitude = magnitude
        self.correlated = correlated
        self.anticorrelated = anticorrelated
        self._instances = instances
        self.probability = per_feature("--data.probability", probability, features, instances)
        _check_pairs(self.probability, correlated, anticorrelated)
        self._partner, self._low = _pairing(self.probability, correlated, anticorrelated)

    @property
    def instances(self) -> int | None:
        """Instances that have samples of their own."""
        return self._instances

    @property
    def distribution(self) -> dict[str, Any]:
        """How the features of the first instance are distributed, as the options of a module without instances."""
        probability = self.probability if self.probability.ndim == 1 else self.probability[0]
        return {
            "features": self.features,
            "probability": [float(f"{p:.7g}") for p in probability.tolist()],
            "magnitude": self.magnitude,
            "correlated": self.correlated,
            "anticorrelated": self.anticorrelated,
        }

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(features,)."""
        return (self.features,)

    @property
    def value_range(self) -> tuple[float, float]:
        """From 0 to 1, or without a bound where magnitudes are normal."""
        return 0.0, 1.0 if self.magnitude == "uniform" else math.inf

    def draw(self, n: int, generator: torch.Generator) -> Batch:
        """Draw n samples x (n, features), or (n, instances, features); y is empty."""
        x = self.draw_features(n, generator)
        return x, x.new_empty(n, 0)

    def draw_features(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw n vectors of features, (n, features), or (n, instances, features), on the generator's device."""
        device = generator.device
        lead = () if self.instances is None else (self.instances,)
        chance = torch.rand((*lead, n, self.features), generator=generator, device=device)
        probability, low = (part.to(device).unsqueeze(-2) for part in (self.probability, self._low))
        if self._partner is None and self.magnitude == "uniform" and bool((self.probability >= _ONE_DRAW).all()):
            # The chances of the features that are present are uniform themselves; drawing takes half of a small step.
            x = chance.mul_(1 / probability).add_(1 - 1 / probability).clamp_(min=0)
        else:
            if self._partner is not None:
                chance = chance.index_select(-1, self._partner.to(device))
            draw = torch.rand if self.magnitude == "uniform" else torch.randn
            magnitude = draw(chance.shape, generator=generator, device=device).abs_()
            x = magnitude.mul_((chance >= low) & (chance < low + probability))
        return x.movedim(-2, 0)


def _check_pairs(probability: Tensor, correlated: int, anticorrelated: int) -> None:
    if not bool(((probability >= 0) & (probability <= 1)).all()):
        worst = next(p for p in probability.flatten().tolist() if not 0 <= p <= 1)
        raise ConfigError(f"--data.probability is {worst:g} for a feature; it must lie between 0 and 1.")
    for option, number in (("correlated", correlated), ("anticorrelated", anticorrelated)):
        if number < 0 or number % 2:
            raise ConfigError(
                f"--data.{option} is {number}; features come in pairs, so it must be an even number, at least 0."
            )
    features, paired = probability.shape[-1], correlated + anticorrelated
    if paired > features:
        raise ConfigError(
            f"--data.correlated and --data.anticorrelated ask for {paired} paired features, but there are {features}."
        )
    pairs = probability[..., :paired].unflatten(-1, (-1, 2)) if paired else probability[..., :0]
    if paired and bool((pairs[..., 0] != pairs[..., 1]).any()):
        raise ConfigError("--data.probability differs within a pair; the two features of a pair have the same.")
    if bool((probability[..., correlated:paired] > 0.5).any()):
        raise ConfigError(
            "--data.probability is above 0.5 for anticorrelated features, which can be present half of the time at "
            "most, since the two of a pair never are together."
        )


def _pairing(probability: Tensor, correlated: int, anticorrelated: int) -> tuple[Tensor | None, Tensor]:
    """Whose chance each feature shares, None where all have their own; and where its interval of chances begins.

    A feature is present where its chance, uniform on [0, 1), lies in the interval from `low` on that is `probability`
    long. The second of a pair shares the chance of the first: with the same interval the two are present together,
    with the one next to it never.
    """
    low = torch.zeros_like(probability)
    paired = correlated + anticorrelated
    if not paired:
        return None, low
    partner = torch.arange(probability.shape[-1])
    partner[1:paired:2] -= 1
    low[..., correlated + 1 : paired : 2] = probability[..., correlated:paired:2]
    return partner, low

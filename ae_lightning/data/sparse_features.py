"""Sparse features: most are zero in most samples, and each is present on its own or together with a partner."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from ae_lightning.data.generated import GeneratedDataModule
from ae_lightning.errors import ConfigError
from ae_lightning.per_feature import PerFeature, per_feature
from ae_lightning.training.batch import LabeledBatch

Magnitude = Literal["uniform", "normal", "clipped_normal"]
"""How large a present feature is.

`uniform` on [0, 1]; `normal`, the magnitude |N| of a standard normal number N; or `clipped_normal`, 0.5 + 0.2 N cut to
[0, 1], as in ARENA's exercises on superposition.
"""

# Between these probabilities it is faster to go from one present feature to the next than to ask each of them. Below,
# distances become coarse, since random numbers are multiples of 2⁻²⁴.
_SPARSE = (1e-5, 0.1)


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
        magnitude: uniform on [0, 1], normal for the magnitude |N| of a standard normal number, or clipped_normal for
            0.5 + 0.2 N, cut to [0, 1].
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
        if magnitude not in get_args(Magnitude):
            raise ConfigError(f"--data.magnitude is {magnitude!r}; it can be {', '.join(get_args(Magnitude))}.")
        self.features = features
        self.magnitude: Magnitude = magnitude
        self.correlated = correlated
        self.anticorrelated = anticorrelated
        self._instances = instances
        self.probability = per_feature("--data.probability", probability, features, instances)
        _check_pairs(self.probability, correlated, anticorrelated)
        self._lowest, self._highest = (float(bound) for bound in self.probability.aminmax())
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
        return 0.0, math.inf if self.magnitude == "normal" else 1.0

    def draw(self, n: int, generator: torch.Generator) -> LabeledBatch:
        """Draw n samples x (n, features), or (n, instances, features); y is empty."""
        return self.draw_steps(1, n, generator)[0]

    def draw_steps(self, steps: int, n: int, generator: torch.Generator) -> Sequence[LabeledBatch]:
        """Draw the batches of several steps in one call."""
        empty = torch.empty(n, 0, device=generator.device)
        return [(x, empty) for x in self.draw_features(steps, n, generator)]

    def draw_features(self, steps: int, n: int, generator: torch.Generator) -> Tensor:
        """Draw features (steps, n, features), or (steps, n, instances, features), on the generator's device.

        With instances the samples lie side by side in memory, (steps, instances, features, n): products and sums over
        the few features of an instance are then fast.
        """
        if self._instances is None:
            return self._drawn((steps, self.features, n), generator).mT.contiguous()
        return self._drawn((steps, self._instances, self.features, n), generator).movedim(-1, 1)

    def _drawn(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Features (…, features, n)."""
        fewest, most = _SPARSE
        sparse = self._partner is None and fewest <= self._highest <= most
        return (self._one_by_one if sparse else self._all_at_once)(shape, generator)

    def _one_by_one(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Go from each present feature to the next, which takes as few random numbers as there are of them.

        Where features are present with probability p, the distance to the next has a geometric distribution. Those that
        are rarer than the most frequent one are found by its probability, and kept in proportion.
        """
        device, total = generator.device, math.prod(shape)
        expected = total * self._highest
        count = int(expected + 10 * math.sqrt(expected)) + 20  # ten standard deviations: it never falls short
        chance, part = torch.rand(2, count, generator=generator, device=device)
        distance = chance.neg_().log1p_().div_(math.log1p(-self._highest)).floor_().long() + 1
        place = (distance.cumsum(0) - 1).clamp_(max=total)
        values = self._magnitudes((count,), generator)
        if self._lowest < self._highest:
            probability = self.probability.to(device).flatten()
            of_place = probability[(place // shape[-1]) % len(probability)]
            values.mul_(part * self._highest < of_place)
        # What lies beyond the last feature goes into a place of its own.
        return values.new_zeros(total + 1).scatter_(0, place, values)[:-1].view(shape)

    def _all_at_once(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Draw for each feature whether it is present, and its magnitude."""
        device = generator.device
        chance = torch.rand(shape, generator=generator, device=device)
        if self._partner is not None:
            chance = chance.index_select(-2, self._partner.to(device))
        probability, low = (part.to(device).unsqueeze(-1) for part in (self.probability, self._low))
        return self._magnitudes(shape, generator).mul_((chance >= low) & (chance < low + probability))

    def _magnitudes(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        draw = torch.rand if self.magnitude == "uniform" else torch.randn
        drawn = draw(shape, generator=generator, device=generator.device)
        return drawn.mul_(0.2).add_(0.5).clamp_(0, 1) if self.magnitude == "clipped_normal" else drawn.abs_()


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

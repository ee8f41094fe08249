"""Sparse sums of known directions: data whose features a dictionary is to find again."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Trainer, seed_everything
from torch import Tensor

from ae_lightning.data.loader import seeded_generator
from ae_lightning.data.sparse_features import SparseFeaturesDataModule
from ae_lightning.metrics.recovery import fraction_recovered
from ae_lightning.models.gated_sae import GatedSAE
from ae_lightning.models.jumprelu_sae import JumpReLUSAE
from ae_lightning.models.matryoshka_sae import MatryoshkaSAE
from ae_lightning.models.sparse_dictionary import SparseDictionary
from ae_lightning.models.standard_sae import StandardSAE
from ae_lightning.models.topk_sae import BatchTopKSAE, TopKSAE
from ae_lightning.nn.affine import affine
from ae_lightning.training.batch import LabeledBatch
from ae_lightning.training.default_rate import default_rate

# The stream of random numbers that directions are drawn from, beside those of the samples.
_DIRECTIONS = 1000


class KnownDirections(SparseFeaturesDataModule):
    """Samples f D: each of the features f is present by itself with one probability, and then |N(1, ¼²)| large.

    The rows of D are random directions of norm 1. A batch follows from the seeds and the number of its step.

    Args:
        features: Directions.
        width: Dimensions of a sample.
        active: Features of a sample that are present, on average.
        **options: Arguments of `SparseFeaturesDataModule`.
    """

    def __init__(self, features: int, width: int, active: float, **options: Any) -> None:
        super().__init__(features, active / features, **options)
        drawn = torch.randn(features, width, generator=seeded_generator(self.seed, _DIRECTIONS))
        self.directions = F.normalize(drawn, dim=1)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(width,)."""
        return (self.directions.shape[1],)

    @property
    def value_range(self) -> tuple[float, float]:
        """Unbounded."""
        return -math.inf, math.inf

    def draw_steps(self, steps: int, n: int, generator: torch.Generator) -> Sequence[LabeledBatch]:
        """Samples (n, width) of several steps, and their features."""
        features = self.draw_features(steps, n, generator)
        return list(zip(affine(features, self.directions.expand(steps, -1, -1)), features, strict=True))

    def _magnitudes(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        return torch.randn(shape, generator=generator).mul_(0.25).add_(1).abs_()


class World(NamedTuple):
    """How many directions there are in how many dimensions, how many a sample has, and how long a run is."""

    features: int
    width: int
    active: int
    steps: int


class Found(NamedTuple):
    """What a dictionary has found after its run."""

    recovered: float  #: Part of the directions that a decoder row has a cosine above 0.9 with.
    l0: float  #: Active latents of a sample held out.
    fvu: float  #: Squared error of samples held out over their variance.


class Case(NamedTuple):
    """A variant, and what it is given beside its defaults."""

    kind: type[SparseDictionary]
    takes_k: bool = False
    names_rate: bool = False  #: Whether the rate by width and run is not its default.
    #: Options of which the best counts.
    choices: tuple[dict[str, Any], ...] = ({},)

    def train(self, world: World, seed: int) -> Found:
        """Train with each of the choices, in batches of 1,024, and answer the best; the seed is the data's too.

        Twice as many latents as directions: with fewer, two directions may be left to share one.
        """
        given: dict[str, Any] = {"latent_dim": 2 * world.features}
        if self.takes_k:
            given["k"] = world.active
        if self.names_rate:
            rate = default_rate(given["latent_dim"], world.steps)
            given["optimizer"] = partial(torch.optim.Adam, lr=rate, fused=True)
        return max(train(self.kind, world, seed, **given, **choice) for choice in self.choices)


def _standard(penalty_weight: float) -> dict[str, Any]:
    """A coefficient, and what the others have by default: those of StandardSAE are of earlier versions."""
    return {
        "penalty_weight": penalty_weight,
        "norm_weighted": True,
        "input_scaling": "centered_mean_norm",
        "reconstruction_loss": "mse_sum",
        "init": "transpose",
    }


CASES = {
    "topk": Case(TopKSAE, takes_k=True),
    "batch_topk": Case(BatchTopKSAE, takes_k=True),
    "matryoshka": Case(MatryoshkaSAE, takes_k=True),
    "jumprelu": Case(JumpReLUSAE),
    "gated": Case(GatedSAE),
    "standard": Case(StandardSAE, names_rate=True, choices=tuple(_standard(weight) for weight in (0.5, 1.0, 2.0))),
}


def train(kind: type[SparseDictionary], world: World, seed: int, **options: Any) -> Found:
    """Train a variant in batches of 1,024; the seed is that of data and weights."""
    with pytest.MonkeyPatch.context() as environment:  # puts back what Lightning writes its seed into
        environment.setenv("PL_GLOBAL_SEED", str(seed))
        seed_everything(seed, verbose=False)
        data = KnownDirections(*world[:3], steps_per_epoch=world.steps, seed=seed)
        model = kind(data.input_shape, **options)
        trainer = Trainer(
            max_epochs=1,
            limit_val_batches=0,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(model, data)
    return found(model, data)


@torch.no_grad()
def found(model: SparseDictionary, data: KnownDirections) -> Found:
    """Compare the decoder's rows, and the reconstruction of samples held out, with the truth."""
    model.eval()
    x = data.test_set.take(4096)[0]
    x_hat, z = model(x)
    error = (x - x_hat).square().sum() / (x - x.mean(0)).square().sum()
    rows = model.dictionary.decoder_vectors
    recovered = fraction_recovered(rows, data.directions, threshold=0.9)
    return Found(float(recovered), float((z > 0).sum(1).float().mean()), float(error))

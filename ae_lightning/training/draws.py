"""Random numbers of a model's objective: new ones at each step, and the same at each evaluation."""

import torch
from torch import Tensor

from ae_lightning.nn.draws import Draws, SampleDraws, StreamDraws
from ae_lightning.training.seeds import run_seed, seeded_generator
from ae_lightning.training.steps import Steps
from ae_lightning.training.trainer import trainer_of


def is_step(model: Steps) -> bool:
    """Whether what is computed now is a step of training, and not an evaluation.

    A model that was loaded for evaluation is trained in that mode; then the trainer tells, and that there are
    gradients, for callbacks look at a model while it is trained.
    """
    trainer = trainer_of(model)
    return model.training or (trainer is not None and trainer.training and torch.is_grad_enabled())


def draws_for(model: Steps, x: Tensor, seed: int = 0) -> Draws:
    """Random numbers for the samples of a batch.

    In a trainer's step they follow from the seed, the run's seed, the samples seen before and the process, so that a
    run that is resumed goes on with the numbers of one that was not interrupted. In a loop of your own they are torch's
    next ones. In evaluation a sample's numbers follow from the seed and what the sample holds: see `SampleDraws`.

    Args:
        model: What is trained or evaluated.
        x: Samples (batch, *input_shape).
        seed: Another seed gives other numbers.
    """
    if not is_step(model):
        return SampleDraws(x, seed)
    trainer = trainer_of(model)
    if trainer is None or not trainer.training:
        return StreamDraws(x)
    seeds = (seed, run_seed(), model.images_seen, trainer.global_rank, _STREAM)
    return StreamDraws(x, seeded_generator(*seeds, device=x.device))


# No other generator of a run's has its numbers from five seeds; and zeros at the end would not count.
_STREAM = 1

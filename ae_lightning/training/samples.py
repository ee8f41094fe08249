"""Training samples for a model that starts from them, such as a bias in their middle."""

from lightning.pytorch import Trainer
from torch import Tensor


def first_training_samples(trainer: Trainer, n: int) -> Tensor | None:
    """The first n samples (n, *input_shape) of the training set, after the data module's `setup`.

    None where the fit has no data module, or one without a `train_set` that samples can be taken from.
    """
    train_set = getattr(trainer.datamodule, "train_set", None)  # type: ignore[attr-defined]
    return None if train_set is None else train_set.take(n)[0]

"""Which of a run's logged scalars are the terms of its loss."""

import numpy as np

from ae_lightning.run.history import loss_formula, loss_history

NAN = np.nan


def test_the_history_takes_whichever_training_values_are_more():
    table = {
        "step": np.array([1.0, 2, 3, 4]),
        "train/l1": np.array([5, NAN, 6, NAN]),
        "train/l1_epoch": np.array([NAN, NAN, NAN, 7]),
        "train/reconstruction": np.array([1, NAN, NAN, NAN]),
        "train/reconstruction_epoch": np.array([NAN, 2, NAN, 3]),
        "train/loss": np.array([9, NAN, NAN, NAN]),
        "val/loss": np.array([NAN, 8, NAN, NAN]),
        "val/empty": np.array([NAN] * 4),
        "optim/lr": np.ones(4),
    }
    found = {name: (steps.tolist(), values.tolist()) for name, (steps, values) in loss_history(table).items()}
    assert found == {
        "train/loss": ([1], [9]),
        "val/loss": ([2], [8]),
        "train/reconstruction": ([2, 4], [2, 3]),
        "train/l1": ([1, 3], [5, 6]),
    }
    assert loss_formula({"l1": 0.5}, found) == "loss = reconstruction + 0.5 × l1"
    assert loss_formula({"l1": 0.5}, ["val/loss", "val/reconstruction"]) is None
    assert loss_history({"step": np.empty(0)}) == {}

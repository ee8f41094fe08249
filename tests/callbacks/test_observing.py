import random

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback
from torch import nn

from ae_lightning.callbacks.observing import log_now, observing
from ae_lightning.models.overcomplete import OvercompleteAutoencoder


class WithDropout(OvercompleteAutoencoder):
    def __init__(self) -> None:
        super().__init__((1, 8, 8), 5)
        self.extra = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(5))


def test_random_state_modes_and_gradients_are_put_back(make_trainer):
    model, trainer = WithDropout().train(), make_trainer()
    model.extra[1].eval()  # frozen by the user
    before = (torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate())  # noqa: NPY002
    with observing(trainer, model):
        assert not model.training
        assert not model.extra[0].training
        assert not torch.is_grad_enabled()
        torch.rand(3)
        np.random.rand(3)  # noqa: NPY002
        random.random()
    assert model.training
    assert model.extra[0].training
    assert not model.extra[1].training
    assert torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    assert random.getstate() == before[2]


def test_modes_and_gradients_are_put_back_after_an_error_too(make_trainer):
    model, trainer = WithDropout().train(), make_trainer()
    with pytest.raises(ZeroDivisionError), observing(trainer, model):
        raise ZeroDivisionError
    assert all(part.training for part in model.modules())
    assert torch.is_grad_enabled()


def test_it_looks_in_the_precision_of_the_run(make_trainer):
    model = OvercompleteAutoencoder((1, 8, 8), 5)
    x = torch.rand(2, 1, 8, 8)
    with observing(make_trainer(precision="bf16-mixed"), model):
        assert (model.flatten(x) @ model.dictionary.W_enc).dtype == torch.bfloat16
    with observing(make_trainer(), model):
        assert (model.flatten(x) @ model.dictionary.W_enc).dtype == torch.float32


def test_log_now_works_in_hooks_where_lightning_does_not(make_trainer, recorder, digits):
    class Speaks(Callback):
        def on_train_start(self, trainer, pl_module) -> None:
            log_now(trainer, {"word": 1.0})
            log_now(trainer, {})

        def on_train_end(self, trainer, pl_module) -> None:
            log_now(trainer, {"word": 2.0})

    make_trainer(Speaks(), logger=recorder).fit(OvercompleteAutoencoder((1, 8, 8), 5), digits)
    spoken = [(step, metrics) for step, metrics in recorder.rows if "word" in metrics]
    assert [(step, metrics["word"]) for step, metrics in spoken] == [(0, 1.0), (6, 2.0)]
    assert all("epoch" in metrics for _, metrics in spoken)
    assert all(metrics.keys() != {"epoch"} for _, metrics in recorder.rows)

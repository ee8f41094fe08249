"""MNIST as Burda et al. (2015) have it, the first of their stages, an epoch; tests/evidence has five of them."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer

from ae_lightning.data.mnist import MNISTDataModule
from ae_lightning.evaluation.posterior import bound
from ae_lightning.models.variational import VariationalAutoencoder
from ae_lightning.nn.networks import MLPNetwork

AT_MOST = 128.0  # nats an image, 124 when it was written; each pixel by itself has 206


@pytest.mark.slow
def test_an_epoch_of_five_codes_comes_below_a_threshold(
    mnist_root: Path, make_trainer: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")
    torch.manual_seed(0)
    data = MNISTDataModule(root=str(mnist_root), binarize=True, batch_size=20, val_fraction=1 / 60)
    network = MLPNetwork(hidden_dims=(200, 200), activation="tanh")
    adam = partial(torch.optim.Adam, lr=1e-3, eps=1e-4, fused=True)
    model = VariationalAutoencoder((1, 28, 28), 50, network, importance_samples=5, optimizer=adam)
    make_trainer(max_epochs=1, limit_val_batches=0, log_every_n_steps=10_000).fit(model, data)
    found = bound(model, data.test_set, 64, 1000)
    print(found)
    assert found["nats"] < AT_MOST

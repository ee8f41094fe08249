"""L0 on samples that were held out is k, by the threshold alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from ae_lightning.callbacks.calibrate_threshold import CalibrateThreshold
from ae_lightning.data.digits import DigitsDataModule
from ae_lightning.data.sparse_features import SparseFeaturesDataModule
from ae_lightning.errors import ConfigError
from ae_lightning.models.checkpoint import load_autoencoder
from ae_lightning.models.jumprelu_sae import JumpReLUSAE
from ae_lightning.models.matryoshka_sae import MatryoshkaSAE
from ae_lightning.models.topk_sae import BatchTopKSAE, TopKSAE
from ae_lightning.testing.building import quiet_trainer
from ae_lightning.testing.outputs import evaluated

SHAPE, K = (1, 8, 8), 6.5


def batch_topk(**options: Any) -> BatchTopKSAE:
    torch.manual_seed(0)
    return BatchTopKSAE(SHAPE, 96, **{"k": K, **options})


def l0(model: Any, x: Tensor) -> Tensor:
    return (evaluated(model, x).z != 0).sum(-1).float().mean(-1)


@pytest.fixture
def data() -> DigitsDataModule:
    """Six steps an epoch; 144 samples are for validation, 360 for the test."""
    data = DigitsDataModule(batch_size=256)
    data.setup()
    return data


class Seen(Callback):
    """The thresholds that a validation was made with."""

    def __init__(self) -> None:
        self.thresholds: list[Tensor] = []

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        self.thresholds.append(pl_module.dictionary.activation.inference_threshold.clone())


@pytest.fixture(scope="module")
def sparse() -> SparseFeaturesDataModule:
    """Samples that never repeat, so that those held out are like those of training."""
    data = SparseFeaturesDataModule(40, 0.25, batch_size=256, steps_per_epoch=400, num_val=1000, num_test=10_000)
    data.setup()
    return data


@pytest.fixture(scope="module")
def running(sparse, made_once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """Checkpoint of 400 steps, whose threshold is the running one."""

    def fit(folder: Path) -> None:
        torch.manual_seed(0)
        trainer = quiet_trainer(folder, max_epochs=1, limit_val_batches=0)
        trainer.fit(BatchTopKSAE((40,), 96, k=K), sparse)
        trainer.save_checkpoint(folder / "end.ckpt")

    return made_once("batch_topk_of_sparse_features", fit) / "end.ckpt"


def test_the_running_threshold_alone_gives_l0_within_two_percent_on_the_test_set(running, sparse):
    x, _ = sparse.test_set.take(10_000)
    assert float(l0(load_autoencoder(running), x)) == pytest.approx(K, rel=0.02)


def test_calibrated_it_is_closer_on_the_validation_set(running, sparse, make_trainer):
    model = load_autoencoder(running)
    model.build_optimizer = lambda params: torch.optim.SGD(params, lr=1e-12)
    x, _ = sparse.val_set.take(1000)
    before = abs(float(l0(model, x)) - K)
    make_trainer(CalibrateThreshold(), max_steps=1, limit_train_batches=1).fit(model, sparse)
    after = abs(float(l0(model, x)) - K)
    assert after <= 0.5 / len(x) + 1e-6 < before
    test, _ = sparse.test_set.take(10_000)
    assert float(l0(model, test)) == pytest.approx(K, rel=0.03)  # 1,000 samples tell L0 to 1 %


@pytest.mark.parametrize(
    "make",
    [
        batch_topk,
        lambda: batch_topk(norm_weighted=False, instances=2),
        lambda: MatryoshkaSAE(SHAPE, 96, k=K, prefixes=[16, 32]),
    ],
    ids=["batch_topk", "unweighted population", "matryoshka"],
)
def test_each_model_s_l0_is_k(make, data, make_trainer):
    model, seen = make(), Seen()
    make_trainer(CalibrateThreshold(), seen, max_epochs=2, num_sanity_val_steps=1).fit(model, data)
    x, _ = data.val_set.take(len(data.val_set))
    assert l0(model, x).flatten().tolist() == pytest.approx([K] * (model.instances or 1), abs=0.5 / len(x) + 1e-6)
    activation = model.dictionary.activation
    assert torch.equal(seen.thresholds[-1], activation.calibrated)  # what is validated is what is saved
    assert not torch.equal(seen.thresholds[-2], seen.thresholds[-1])


def test_training_does_not_know_of_it(data, make_trainer):
    with_it, without = batch_topk(), batch_topk()
    make_trainer(CalibrateThreshold(), max_epochs=2).fit(with_it, data)
    make_trainer(max_epochs=2).fit(without, data)
    found, expected = with_it.state_dict(), without.state_dict()
    assert found["dictionary.activation.calibrated"] >= 0
    assert expected.pop("dictionary.activation.calibrated") < 0
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []


def test_saved_loaded_and_resumed_it_gives_the_same_codes(data, make_trainer, tmp_path):
    def fit(folder: Path, **options: Any) -> BatchTopKSAE:
        model, saves = batch_topk(), ModelCheckpoint(folder, filename="{epoch}", save_top_k=-1)
        trainer = make_trainer(CalibrateThreshold(), saves, max_epochs=2, enable_checkpointing=True)
        trainer.fit(model, data, weights_only=True if options else None, **options)
        return model

    x, _ = data.test_set.take(360)
    whole = fit(tmp_path / "whole")
    resumed = fit(tmp_path / "resumed", ckpt_path=tmp_path / "whole" / "epoch=0.ckpt")
    loaded = [load_autoencoder(tmp_path / run / "epoch=1.ckpt") for run in ("whole", "resumed")]
    for model in (resumed, *loaded):
        assert torch.equal(evaluated(model, x).z, evaluated(whole, x).z)


def test_an_epoch_without_a_validation_is_saved_calibrated_too(data, make_trainer):
    model = batch_topk()
    make_trainer(CalibrateThreshold(), max_epochs=1, check_val_every_n_epoch=2).fit(model, data)
    x, _ = data.val_set.take(len(data.val_set))
    assert float(l0(model, x)) == pytest.approx(K, abs=0.5 / len(x) + 1e-6)


@pytest.mark.parametrize("kind", [TopKSAE, JumpReLUSAE])
def test_a_model_without_such_a_threshold_is_refused(kind, data, make_trainer):
    message = f"^CalibrateThreshold needs codes that are selected from a batch.*those of {kind.__name__} are not: take"
    with pytest.raises(ConfigError, match=message):
        make_trainer(CalibrateThreshold()).fit(kind(SHAPE, 96), data)


def test_a_fit_without_validation_samples_is_refused(data, make_trainer):
    with pytest.raises(ConfigError, match=r"^CalibrateThreshold needs validation samples"):
        make_trainer(CalibrateThreshold(), limit_val_batches=0).fit(batch_topk(), data)

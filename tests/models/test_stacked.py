"""Phases: what is trained, by which optimizer, under which name, and that a run carries on in the middle of them."""

import re
import warnings

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping
from torch import nn

from ae_lightning.data.digits import DigitsDataModule
from ae_lightning.errors import ConfigError, Notice
from ae_lightning.models.checkpoint import load_autoencoder
from ae_lightning.models.stacked import StackedAutoencoder

SHAPE = (1, 8, 8)


def small(**options):
    torch.manual_seed(0)
    return StackedAutoencoder(SHAPE, 6, (32, 16), **{"pretrain_epochs": 2, **options})


@pytest.fixture
def data():
    return DigitsDataModule(batch_size=256)


class Watch(Callback):
    """Remembers the phase, what the optimizer holds, and the weights after each epoch."""

    def __init__(self):
        self.phases, self.held, self.weights, self.optimizers = [], [], [], []

    def on_train_epoch_end(self, trainer, pl_module):
        names = {parameter: name for name, parameter in pl_module.named_parameters()}
        (optimizer,) = trainer.optimizers
        self.phases.append(pl_module.phase)
        self.held.append({names[p].rpartition(".")[0] for group in optimizer.param_groups for p in group["params"]})
        self.weights.append({name: value.clone() for name, value in pl_module.state_dict().items()})
        self.optimizers.append(id(optimizer))


def changed(before, after):
    """Layers, such as encoder.0, whose weights differ."""
    return {".".join(name.split(".")[:2]) for name in before if not torch.equal(before[name], after[name])}


def test_each_phase_trains_its_own_layer_and_the_last_one_all(make_trainer, data):
    model, watch = small(), Watch()
    start = {name: value.clone() for name, value in model.state_dict().items()}
    make_trainer(watch, max_epochs=8).fit(model, data)
    assert watch.phases == ["layer_1"] * 2 + ["layer_2"] * 2 + ["layer_3"] * 2 + ["fine_tuning"] * 2
    every = {f"{side}.{number}" for side in ("encoder", "decoder") for number in range(3)}
    pairs = [{"encoder.0", "decoder.2"}, {"encoder.1", "decoder.1"}, {"encoder.2", "decoder.0"}, every]
    weights = [start, *watch.weights]
    for epoch, phase in enumerate((0, 0, 1, 1, 2, 2, 3, 3)):
        assert changed(weights[epoch], weights[epoch + 1]) == pairs[phase], epoch
        assert watch.held[epoch] == {f"{layer}.0" for layer in pairs[phase]}, epoch
    assert model.phase is None


def test_it_is_the_greedy_recipe_written_out(make_trainer, data):
    """The same steps by plain loops, one for each phase, with the batches that the trainer saw."""
    batches = []

    class Keep(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            batches.append((pl_module.phase, batch[0].clone()))

    model, twin = small(pretrain_epochs=1), small(pretrain_epochs=1)
    make_trainer(Keep(), max_epochs=4).fit(model, data)

    linears = [part for part in twin.modules() if isinstance(part, nn.Linear)]
    encoders, decoders = linears[:3], linears[:2:-1]
    relu, sigmoid = torch.relu, torch.sigmoid
    for k in range(3):
        optimizer = torch.optim.Adam([*encoders[k].parameters(), *decoders[k].parameters()], lr=1e-3, fused=True)
        for _, x in filter(lambda batch: batch[0] == f"layer_{k + 1}", batches):
            target = x.flatten(1)
            for earlier in encoders[:k]:
                target = relu(earlier(target)).detach()
            out = (sigmoid if k == 0 else relu)(decoders[k](relu(encoders[k](target))))
            optimizer.zero_grad()
            ((out - target) ** 2).mean().backward()
            optimizer.step()
    optimizer = torch.optim.Adam(twin.parameters(), lr=1e-3, fused=True)
    for _, x in filter(lambda batch: batch[0] == "fine_tuning", batches):
        h = x.flatten(1)
        for encoder in encoders:
            h = relu(encoder(h))
        for k in (2, 1, 0):
            h = (sigmoid if k == 0 else relu)(decoders[k](h))
        optimizer.zero_grad()
        ((h - x.flatten(1)) ** 2).mean().backward()
        optimizer.step()
    for name, value in twin.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, rtol=1e-4, atol=1e-6, msg=name)


def test_losses_are_logged_under_the_name_of_their_phase(make_trainer, data, recorder):
    model = small(pretrain_epochs=(1, 0, 2))
    make_trainer(max_epochs=5, logger=recorder).fit(model, data)
    steps = {"layer_1": range(1, 7), "layer_3": range(7, 19), "fine_tuning": range(19, 31)}
    for phase, expected in steps.items():
        assert list(recorder.series(f"train/{phase}")) == list(expected), phase
        assert list(recorder.series(f"val/{phase}").values()), phase
    assert not recorder.series("train/layer_2")
    total, parts = recorder.series("train/loss"), [recorder.series(f"train/{phase}") for phase in steps]
    assert total == parts[0] | parts[1] | parts[2]
    assert recorder.series("val/loss") == recorder.series("val/reconstruction")
    assert len(recorder.series("val/loss")) == 5  # of the whole stack, in every phase


def test_the_validation_loss_is_that_of_the_whole_stack(make_trainer, data, recorder):
    model = small(pretrain_epochs=1)
    make_trainer(max_epochs=1, logger=recorder).fit(model, data)
    x, _ = data.val_set.take(10_000)
    with torch.no_grad():
        whole = float(((model.decode(model.encode(x)) - x) ** 2).mean())
        first = model.decoder[2](model.encoder[0](x.flatten(1)))
        own = float(((first - x.flatten(1)) ** 2).mean())
    assert recorder.series("val/loss").popitem()[1] == pytest.approx(whole, rel=1e-5)
    assert recorder.series("val/layer_1").popitem()[1] == pytest.approx(own, rel=1e-5)


def test_outside_a_fit_it_is_one_autoencoder(make_trainer, data):
    model = small()
    (results,) = make_trainer().test(model, data, verbose=False)
    assert set(results) == {"test/loss", "test/reconstruction"}


class SaveAt(Callback):
    """Saves a checkpoint after a step, in the middle of an epoch or at its end."""

    def __init__(self, step, path):
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer, *args):
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


@pytest.mark.parametrize("step", [1, 8, 14, 27])  # 6 an epoch, and an epoch a phase
def test_a_resumed_run_carries_on_in_its_phase(make_trainer, tmp_path, step):
    whole, watch = small(pretrain_epochs=1), Watch()
    save = SaveAt(step, tmp_path / "part.ckpt")
    make_trainer(watch, save, max_epochs=5).fit(whole, DigitsDataModule(batch_size=256))

    resumed, resumed_watch = small(pretrain_epochs=1), Watch()
    make_trainer(resumed_watch, max_epochs=5).fit(
        resumed, DigitsDataModule(batch_size=256), ckpt_path=tmp_path / "part.ckpt", weights_only=True
    )
    assert len(resumed_watch.phases) == 5 - step // 6
    assert watch.phases[-len(resumed_watch.phases) :] == resumed_watch.phases
    assert watch.held[-len(resumed_watch.held) :] == resumed_watch.held
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name


def test_a_run_resumed_between_two_phases_begins_the_next(make_trainer, tmp_path):
    whole = small(pretrain_epochs=1)
    make_trainer(max_epochs=3).fit(whole, DigitsDataModule(batch_size=256))
    trainer = make_trainer(max_epochs=2)
    trainer.fit(small(pretrain_epochs=1), DigitsDataModule(batch_size=256))
    trainer.save_checkpoint(tmp_path / "two.ckpt")
    resumed, watch = small(pretrain_epochs=1), Watch()
    make_trainer(watch, max_epochs=3).fit(
        resumed, DigitsDataModule(batch_size=256), ckpt_path=tmp_path / "two.ckpt", weights_only=True
    )
    assert watch.phases == ["layer_3"]
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name


def test_a_loaded_model_is_whole_and_not_in_a_phase(make_trainer, data, tmp_path):
    trainer = make_trainer(max_epochs=1)
    trainer.fit(model := small(), data)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    loaded = load_autoencoder(tmp_path / "a.ckpt")
    assert loaded.phase is None
    assert loaded.pretrain_epochs == [2, 2, 2]
    x, _ = data.test_set.take(5)
    assert set(loaded.loss(x)[0]) == {"loss", "reconstruction"}
    assert torch.equal(loaded.encode(x), model.encode(x))


def test_each_phase_has_its_own_learning_rate_schedule(make_trainer, data, recorder):
    model = small(
        pretrain_epochs=2, lr_scheduler=lambda optimizer: torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.1)
    )
    make_trainer(max_epochs=4, logger=recorder).fit(model, data)
    rates = list(recorder.series("optim/lr").values())
    assert rates == pytest.approx([1e-3] * 6 + [1e-4] * 6 + [1e-3] * 6 + [1e-4] * 6)


def test_a_run_that_ends_before_fine_tuning_says_so(make_trainer, data):
    with pytest.warns(Notice, match=r"pre-training takes 6 epochs and --trainer.max_epochs is 3"):
        make_trainer(max_epochs=3).fit(small(), data)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*pre-training takes.*")
        make_trainer(max_epochs=2, max_steps=3).fit(small(pretrain_epochs=(0, 1, 0)), data)


def test_pre_training_beats_none_in_the_first_epoch_of_fine_tuning(make_trainer, recorder):
    """What greedy pre-training is for: the stack starts from a place from which it learns at once."""
    data = DigitsDataModule(batch_size=16)
    make_trainer(max_epochs=13, logger=recorder).fit(small(pretrain_epochs=4), data)
    pre_trained = list(recorder.series("val/loss").values())[12]
    recorder.rows.clear()
    make_trainer(max_epochs=1, logger=recorder).fit(small(pretrain_epochs=0), DigitsDataModule(batch_size=16))
    assert pre_trained < 0.9 * next(iter(recorder.series("val/loss").values()))


@pytest.mark.parametrize(
    ("epochs", "message"),
    [
        ((1, 2), "--model.pretrain_epochs has 2 numbers for 3 layers: give one for each, or one for all"),
        ((1, -1, 1), "--model.pretrain_epochs is -1 for one layer; it must be at least 0"),
        (-2, "--model.pretrain_epochs is -2 for one layer"),
    ],
)
def test_epochs_that_fit_no_phase_are_refused(epochs, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        small(pretrain_epochs=epochs)


def test_several_processes_need_a_strategy_that_knows_of_unused_parameters(make_trainer, data):
    trainer = make_trainer(strategy="ddp", devices=1)
    with pytest.raises(ConfigError, match=r"set --trainer.strategy ddp_find_unused_parameters_true"):
        trainer.fit(small(), data)


def test_early_stopping_waits_for_fine_tuning(make_trainer, data):
    watch = Watch()
    # Nothing is ever good enough: without waiting, the run would end in its first phase.
    stop = EarlyStopping("val/loss", patience=2, min_delta=100.0)
    make_trainer(watch, stop, max_epochs=40).fit(small(pretrain_epochs=3), data)
    assert watch.phases[:9] == ["layer_1"] * 3 + ["layer_2"] * 3 + ["layer_3"] * 3
    assert watch.phases[9:] == ["fine_tuning"] * 3  # a first value, and two that are no better


def test_a_trained_stack_is_tested_under_any_strategy(make_trainer, data):
    make_trainer(strategy="ddp", devices=1).test(small(), data, verbose=False)

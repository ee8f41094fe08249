import csv
import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping, LambdaCallback, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.cli import ReduceLROnPlateau
from torch.optim import lr_scheduler
from torch.optim.optimizer import register_optimizer_step_post_hook

from ae_lightning import (
    FullyConnectedAutoencoder,
    OvercompleteAutoencoder,
    SparseFeaturesDataModule,
    StackedAutoencoder,
    StandardSAE,
    ToyModel,
    upstream,
)
from ae_lightning.callbacks.decoder_norm import DecoderNorm
from ae_lightning.callbacks.initial_validation import InitialValidation
from ae_lightning.callbacks.linear_probe import LinearProbe
from ae_lightning.callbacks.resampling import ResampleDeadLatents
from ae_lightning.callbacks.save_on_stop import SaveOnStop
from ae_lightning.callbacks.schedule import Schedule
from ae_lightning.callbacks.scheduled_validation import ScheduledValidation
from ae_lightning.callbacks.snapshots import WeightSnapshots
from ae_lightning.callbacks.throughput import Throughput
from ae_lightning.data.digits import DigitsDataModule
from ae_lightning.lean_loop import LeanEpochLoop, use_lean_loop
from ae_lightning.run.loggers import run_loggers

# 1,293 digits in batches of 64: 21 steps an epoch.
STEPS = 21


class Hooks(Callback):
    """Notes which hooks are called around batches, at which step, and with which loss."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.calls.append(("start", trainer.global_step, batch_idx, float(batch[0].sum())))

    def on_before_zero_grad(self, trainer, pl_module, optimizer):
        self.calls.append(("zero", trainer.global_step, type(optimizer).__name__))

    def on_before_backward(self, trainer, pl_module, loss):
        self.calls.append(("before backward", float(loss)))

    def on_after_backward(self, trainer, pl_module):
        self.calls.append(
            ("after backward", [float(p.grad.norm()) for p in pl_module.parameters() if p.grad is not None])
        )

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.calls.append(("before step", float(next(pl_module.parameters()).norm())))

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        counts = trainer.fit_loop.epoch_loop.batch_progress.current
        self.calls.append(("end", trainer.global_step, batch_idx, float(outputs["loss"]), sorted(outputs), str(counts)))


Hooks.__module__ = "ae_lightning.callbacks.hooks"  # as one of ours, for others keep to Lightning's loop


class Fit:
    """What there is to compare of a fit."""

    def __init__(self, trainer: Trainer, model: Any, hooks: Hooks, short: int) -> None:
        self.model, self.hooks, self.short = model, hooks, short
        self.checkpoint = trainer._checkpoint_connector.dump_checkpoint()
        self.monitored = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.random = torch.get_rng_state()


@pytest.fixture
def fit(make_trainer: Callable[..., Trainer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Fit]:
    """Train one model by either loop; counts the short steps."""
    steps: list[int] = []
    short_step = LeanEpochLoop._short_step
    monkeypatch.setattr(
        LeanEpochLoop, "_short_step", lambda loop, *rest: (steps.append(loop.global_step), short_step(loop, *rest))
    )

    def run(
        lean: bool, model: Any = None, data: Any = None, callbacks: Any = (), ckpt_path=None, **options: Any
    ) -> Fit:
        steps.clear()
        torch.manual_seed(0)
        model = model() if model else OvercompleteAutoencoder((1, 8, 8), 16)
        hooks = Hooks()
        folder = tmp_path / "runs" / ("lean" if lean else "plain") / "version_0"
        trainer = make_trainer(
            *[make() for make in callbacks],
            hooks,
            **{"max_epochs": 2, "log_every_n_steps": 8, "logger": run_loggers(folder), **options},
        )
        if lean:
            use_lean_loop(trainer)
        trainer.fit(model, data() if data else DigitsDataModule(batch_size=64), ckpt_path=ckpt_path, weights_only=True)
        return Fit(trainer, model, hooks, len(steps))

    return run


def assert_same(one: Any, other: Any, where: str = "") -> None:
    """Equal bit for bit, whatever it is made of."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_same(one[key], other[key], f"{where}/{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), where
        for place, pair in enumerate(zip(one, other, strict=True)):
            assert_same(*pair, f"{where}/{place}")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    else:
        assert one == other or one != one, where


def without_clocks(checkpoint: dict[str, Any]) -> dict[str, Any]:
    checkpoint["callbacks"].pop("Throughput", None)
    return checkpoint


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    return [{name: value for name, value in row.items() if not name.startswith("speed/")} for row in table]


def assert_both_loops_do_the_same(fit: Callable[..., Fit], folder: Path, **options: Any) -> Fit:
    lean, plain = fit(True, **options), fit(False, **options)
    assert plain.short == 0
    assert lean.hooks.calls == plain.hooks.calls
    assert_same(without_clocks(lean.checkpoint), without_clocks(plain.checkpoint))
    assert lean.monitored == plain.monitored
    assert torch.equal(lean.random, plain.random)
    if options.get("logger", True) is True and (folder / "runs").is_dir():
        assert rows(folder / "runs" / "lean" / "version_0") == rows(folder / "runs" / "plain" / "version_0")
    return lean


@pytest.mark.parametrize(
    ("options", "short"),
    [
        # The last step of each epoch is Lightning's.
        pytest.param({}, 2 * STEPS - 2, id="rows"),
        pytest.param({"log_every_n_steps": 0}, 2 * STEPS - 2, id="no rows"),
        pytest.param({"log_every_n_steps": 1}, 2 * STEPS - 2, id="a row at each step"),
        pytest.param({"max_steps": 13}, 13 - 1, id="max_steps"),
        pytest.param({"limit_train_batches": 5}, 2 * (5 - 1), id="limited"),
        pytest.param({"overfit_batches": 3}, 2 * (3 - 1), id="overfitting"),
        pytest.param({"val_check_interval": 7, "log_every_n_steps": 0}, 2 * STEPS - 6, id="validation inside"),
        pytest.param(
            {"val_check_interval": 10, "check_val_every_n_epoch": None, "log_every_n_steps": 0},
            2 * STEPS - 4 - 2,
            id="validation across",
        ),
        pytest.param({"check_val_every_n_epoch": 2, "log_every_n_steps": 0}, 2 * STEPS - 2, id="validation skipped"),
        pytest.param({"gradient_clip_val": 0.05}, 2 * STEPS - 2, id="clipped"),
        pytest.param({"gradient_clip_val": 0.001, "gradient_clip_algorithm": "value"}, 2 * STEPS - 2, id="by value"),
        pytest.param({"precision": "bf16-mixed"}, 2 * STEPS - 2, id="bf16-mixed"),
        pytest.param({"precision": "64-true"}, 2 * STEPS - 2, id="64-true"),
        pytest.param({"accumulate_grad_batches": 2}, 0, id="accumulated"),
        pytest.param({"profiler": "simple"}, 0, id="profiled"),
        pytest.param({"fast_dev_run": 3, "logger": False}, 2, id="fast_dev_run"),
    ],
)
def test_the_short_way_is_lightning_s_bit_for_bit(fit, tmp_path, options, short):
    assert assert_both_loops_do_the_same(fit, tmp_path, **options).short == short


def toy() -> ToyModel:
    return ToyModel((5,), 2, instances=3)


def sae() -> StandardSAE:
    return StandardSAE((1, 8, 8), 24, penalty_weight=0.05)


class Shrinks(OvercompleteAutoencoder):
    """Halves its biases before or after each step of the optimizer."""

    def __init__(self, when: str) -> None:
        super().__init__((1, 8, 8), 16)
        self.when = when

    def configure_optimizers(self) -> Any:
        optimizer = super().configure_optimizers()
        getattr(optimizer, f"register_step_{self.when}_hook")(self.shrink)
        return optimizer

    def shrink(self, *_: Any) -> None:
        self.dictionary.b_enc.data.mul_(0.5)


class EverySecondStep(OvercompleteAutoencoder):
    def __init__(self) -> None:
        super().__init__((1, 8, 8), 16)

    def configure_optimizers(self) -> Any:
        optimizer = super().configure_optimizers()
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step", "frequency": 2}}


# A kind of each way in which PyTorch steps schedules; in a rate that falls too fast the losses show a step too many.
SCHEDULES: dict[str, Callable[[Any], Any]] = {
    "ExponentialLR": lambda optimizer: lr_scheduler.ExponentialLR(optimizer, 0.9),
    "LambdaLR": lambda optimizer: lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step)),
    "CosineAnnealingWarmRestarts": lambda optimizer: lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 5),
    "OneCycleLR": lambda optimizer: lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=2 * STEPS),
    "SequentialLR": lambda optimizer: lr_scheduler.SequentialLR(
        optimizer,
        [lr_scheduler.LinearLR(optimizer, 0.1, total_iters=9), lr_scheduler.ExponentialLR(optimizer, 0.9)],
        milestones=[9],
    ),
    "ReduceLROnPlateau": lambda optimizer: lr_scheduler.ReduceLROnPlateau(optimizer, patience=3, factor=0.5),
    "plateau of a batch's loss": lambda optimizer: ReduceLROnPlateau(optimizer, "train/loss", patience=0, factor=0.5),
}


def scheduled_by_step(make: Callable[[Any], Any]) -> Callable[[], OvercompleteAutoencoder]:
    return lambda: OvercompleteAutoencoder((1, 8, 8), 16, lr_scheduler=make, lr_scheduler_interval="step")


class ByEpoch(OvercompleteAutoencoder):
    def configure_optimizers(self) -> Any:
        optimizer = super().configure_optimizers()
        return {"optimizer": optimizer, "lr_scheduler": torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)}


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(
            {
                "model": toy,
                "data": lambda: SparseFeaturesDataModule(instances=3, batch_size=32, steps_per_epoch=20, num_val=50),
            },
            id="generated",
        ),
        pytest.param(
            {
                "model": sae,
                "callbacks": [
                    lambda: DecoderNorm(project_gradient=True),
                    lambda: ResampleDeadLatents(every=11, window=6, stop_after=40),
                    lambda: WeightSnapshots(Schedule(every=3, unit="steps")),
                    ScheduledValidation,
                    lambda: LinearProbe(Schedule(every=9, unit="steps")),
                    Throughput,
                    SaveOnStop,
                ],
                "enable_checkpointing": True,
            },
            id="callbacks",
        ),
        pytest.param(
            {"model": lambda: FullyConnectedAutoencoder((1, 8, 8), 4, (16,), batch_norm=True, dropout=0.3)},
            id="random numbers and buffers",
        ),
        pytest.param(
            {
                "model": lambda: StackedAutoencoder((1, 8, 8), 4, (8,), pretrain_epochs=1, output_activation="none"),
                "max_epochs": 3,
            },
            id="an optimizer for each phase",
        ),
        pytest.param({"model": lambda: Shrinks("post")}, id="hook after the optimizer's step"),
        pytest.param({"model": lambda: ByEpoch((1, 8, 8), 16)}, id="schedule by epoch"),
        *(
            pytest.param(
                {"model": scheduled_by_step(make), "callbacks": [InitialValidation, LearningRateMonitor]},
                id=f"{name} by step",
            )
            for name, make in SCHEDULES.items()
        ),
        pytest.param({"model": EverySecondStep, "val_check_interval": 7}, id="schedule by every second step"),
        pytest.param(
            {
                "model": lambda: StackedAutoencoder(
                    *((1, 8, 8), 4, (8,)),
                    pretrain_epochs=1,
                    output_activation="none",
                    lr_scheduler=lambda optimizer: torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9),
                    lr_scheduler_interval="step",
                ),
                "max_epochs": 3,
            },
            id="a schedule by step for each phase",
        ),
        pytest.param({"callbacks": [LearningRateMonitor]}, id="learning-rate monitor"),
        pytest.param(
            {"callbacks": [lambda: EarlyStopping("val/loss", patience=1, min_delta=1.0)], "max_epochs": 5},
            id="early stopping",
        ),
    ],
)
def test_models_and_callbacks_see_no_difference(fit, tmp_path, options):
    assert assert_both_loops_do_the_same(fit, tmp_path, **options).short > 0


@pytest.mark.parametrize("resumes", [True, False], ids=["lean goes on", "Lightning goes on"])
@pytest.mark.parametrize(("steps", "schedule"), [(13, None), (STEPS + 9, None), (STEPS + 9, "OneCycleLR")])
def test_each_loop_goes_on_where_the_other_stopped(fit, tmp_path, steps, schedule, resumes):
    options = {} if schedule is None else {"model": scheduled_by_step(SCHEDULES[schedule])}
    whole = fit(False, **options)
    options |= {"callbacks": [SaveOnStop], "enable_checkpointing": True}
    fit(not resumes, max_steps=steps, max_epochs=-1, **options)
    (saved,) = (tmp_path / "runs").rglob("last.ckpt")
    rest = fit(resumes, ckpt_path=saved, **options)
    assert (rest.short > 0) == resumes
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, rest.model.state_dict()[name]), name


class Stranger(Callback):
    """A callback of somebody else's, which logs."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        pl_module.log("seen", float(batch_idx))


class OwnStep(OvercompleteAutoencoder):
    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)


class Logs(OvercompleteAutoencoder):
    def loss_terms(self, x: Any, output: Any) -> Any:
        terms = super().loss_terms(x, output)
        self.log("mine", terms["reconstruction"])
        return terms


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"callbacks": [Stranger]}, id="callback of others"),
        pytest.param({"callbacks": [lambda: LambdaCallback(on_train_batch_end=lambda *_: None)]}, id="lambda"),
        pytest.param({"model": lambda: OwnStep((1, 8, 8), 16)}, id="optimizer_step"),
        pytest.param(
            {
                "model": lambda: OvercompleteAutoencoder(
                    (1, 8, 8), 16, optimizer=lambda p: torch.optim.LBFGS(p, lr=0.1, max_iter=2)
                )
            },
            id="LBFGS",
        ),
        # Lightning computes the loss within the step, after such a hook.
        pytest.param({"model": lambda: Shrinks("pre")}, id="hook before the optimizer's step"),
        pytest.param({"val_check_interval": datetime.timedelta(hours=1)}, id="validation by the clock"),
    ],
)
def test_what_the_short_way_does_not_know_is_left_to_lightning(fit, tmp_path, options):
    assert assert_both_loops_do_the_same(fit, tmp_path, **options).short == 0


def test_a_variant_may_log_from_its_loss(fit, tmp_path):
    lean = assert_both_loops_do_the_same(fit, tmp_path, model=lambda: Logs((1, 8, 8), 16))
    assert lean.short > 0
    assert [int(row["step"]) for row in rows(tmp_path / "runs" / "lean" / "version_0") if row.get("mine")] != []


class StopAtFive(Callback):
    def on_train_batch_end(self, trainer, *args: Any, **kwargs: Any) -> None:
        trainer.should_stop = trainer.global_step == 5


class NoMoreThanFive(Callback):
    def on_train_batch_end(self, trainer, *args: Any, **kwargs: Any) -> None:
        if trainer.global_step == 5:
            trainer.fit_loop.epoch_loop.max_steps = 5


StopAtFive.__module__ = NoMoreThanFive.__module__ = "ae_lightning.callbacks.stop"


@pytest.mark.parametrize("callback", [StopAtFive, NoMoreThanFive])
def test_a_callback_can_stop_the_run_between_two_rows(fit, tmp_path, callback):
    lean = assert_both_loops_do_the_same(fit, tmp_path, callbacks=[callback])
    assert (lean.checkpoint["global_step"], lean.short) == (5, 5)


def test_hooks_of_all_optimizers_are_called(fit):
    seen: list[str] = []
    handle = register_optimizer_step_post_hook(lambda optimizer, *_: seen.append(type(optimizer).__name__))
    try:
        assert fit(True).short > 0
    finally:
        handle.remove()
    assert seen == ["Adam"] * 2 * STEPS


def test_torch_s_profiler_finds_the_optimizer_s_steps(fit):
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        assert fit(True, limit_train_batches=5).short > 0
    counts = {event.key: event.count for event in profile.key_averages()}
    assert counts["Optimizer.step#Adam.step"] == 2 * 5


def test_checkpoints_by_steps_are_written_at_these_steps(fit, tmp_path):
    names = {}
    for lean in (True, False):
        folder = tmp_path / str(lean)
        checkpoints = [lambda folder=folder: ModelCheckpoint(folder, "{step}", save_top_k=-1, every_n_train_steps=5)]
        fit(lean, callbacks=checkpoints, logger=False, enable_checkpointing=True)
        names[lean] = sorted(path.name for path in folder.iterdir())
    assert names[True] == names[False] == sorted(f"step={step}.ckpt" for step in range(5, 2 * STEPS + 1, 5))


@pytest.fixture
def unseen(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let a package be of a release that was not tested; the others stay what they are."""
    installed = upstream._installed

    def make(package: str) -> None:
        monkeypatch.setattr(upstream, "_installed", lambda name: (999, 0) if name == package else installed(name))

    return make


@pytest.mark.parametrize("package", ["lightning", "torch"])
def test_beside_a_release_that_was_not_tested_lightning_s_loop_stays(unseen, make_trainer, package):
    unseen(package)
    trainer = make_trainer()
    loop = trainer.fit_loop.epoch_loop
    use_lean_loop(trainer)
    assert trainer.fit_loop.epoch_loop is loop


@pytest.mark.parametrize("package", ["lightning", "torch"])
def test_a_loop_that_was_put_in_before_takes_no_short_step_either(unseen, fit, package):
    class SeesANewRelease(Callback):
        def on_train_start(self, trainer, pl_module):
            assert type(trainer.fit_loop.epoch_loop) is LeanEpochLoop
            unseen(package)

    assert fit(True, callbacks=[SeesANewRelease]).short == 0


def test_other_packages_do_not_matter_to_the_loop(unseen, fit):
    unseen("jsonargparse")
    assert fit(True, limit_train_batches=5).short > 0

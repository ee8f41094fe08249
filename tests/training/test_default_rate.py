"""The learning rate where the user names none, and how it rises and decays over a run."""

import copy
import math
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import LearningRateFinder
from lightning.pytorch.cli import LightningArgumentParser, LRSchedulerCallable, OptimizerCallable

from ae_lightning.data.digits import DigitsDataModule
from ae_lightning.models.base import Autoencoder
from ae_lightning.models.overcomplete import OvercompleteAutoencoder
from ae_lightning.training.default_rate import (
    default_rate,
    optimizer_with_rate,
    rate_factor,
    warmup_and_decay,
)

STEPS = 40


class Rated(OvercompleteAutoencoder):
    """A shallow autoencoder whose rate is that of the rule, unless the user names one."""

    def __init__(
        self,
        input_shape: tuple[int, ...] = (1, 8, 8),
        latent_dim: int = 8,
        optimizer: OptimizerCallable = lambda params: torch.optim.Adam(params, lr=0.0, fused=True),
        lr_scheduler: LRSchedulerCallable | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(input_shape, latent_dim=latent_dim, optimizer=optimizer, lr_scheduler=lr_scheduler, **kwargs)
        self.build_optimizer = optimizer_with_rate(self.build_optimizer, self, latent_dim)
        if self.build_lr_scheduler is None:
            self.build_lr_scheduler, self.lr_scheduler_interval = warmup_and_decay(self), "step"


class Rates(Callback):
    """The rate of each step."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_before_zero_grad(self, trainer: Trainer, pl_module: Any, optimizer: Any) -> None:
        self.seen.append(optimizer.param_groups[0]["lr"])


def trainer_for(steps: int, *callbacks: Callback) -> Trainer:
    return Trainer(
        max_steps=steps,
        max_epochs=-1,
        callbacks=list(callbacks),
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )


def rates_of(model: Autoencoder, steps: int = STEPS, **fit: Any) -> list[float]:
    seen = Rates()
    trainer_for(steps, seen).fit(model, DigitsDataModule(batch_size=512), **fit)
    return seen.seen


def expected(rate: float, step: int, total: int = STEPS) -> float:
    """Up over a twentieth, level, and down over the last fifth."""
    up, down = total // 20, total // 5
    if step < up:
        return rate * (step + 1) / (up + 1)
    return rate * min(1.0, (total - step) / down)


def test_the_rate_falls_with_the_root_of_width_and_length():
    assert default_rate(512, 4000) == pytest.approx(default_rate(512, 1000) / 2)
    assert default_rate(8192, 1000) == pytest.approx(default_rate(512, 1000) / 4)
    assert default_rate(8, 10) == default_rate(64, 100) == 0.02
    assert default_rate(1 << 20, 1e6) == default_rate(1 << 30, math.inf) == 1e-4


def test_a_fit_without_a_rate_has_that_of_the_rule_and_decays_it():
    assert rates_of(Rated()) == pytest.approx([expected(0.02, step) for step in range(STEPS)])


def test_a_rate_that_is_named_is_kept_and_decays_too():
    model = Rated(optimizer=lambda params: torch.optim.SGD(params, lr=0.5))
    assert rates_of(model) == pytest.approx([expected(0.5, step) for step in range(STEPS)])


def test_a_schedule_that_is_named_begins_with_the_rate_of_the_rule():
    model = Rated(lr_scheduler=lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5))  # in epochs
    epoch = 3
    assert rates_of(model, 15) == pytest.approx([0.02 * 0.5 ** (step // epoch // 2) for step in range(15)])


def test_a_copy_of_a_model_measures_its_own_run():
    model = Rated()
    rates_of(model, 10)
    assert rates_of(copy.deepcopy(model)) == pytest.approx([expected(0.02, step) for step in range(STEPS)])


def test_a_resumed_run_goes_on_with_the_rates_of_one_that_was_not_interrupted(tmp_path):
    class Leave(Callback):
        def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
            if trainer.global_step == 35:
                trainer.save_checkpoint(tmp_path / "35.ckpt")

    trainer_for(STEPS, Leave()).fit(Rated(), DigitsDataModule(batch_size=512))
    rest = rates_of(Rated(), ckpt_path=tmp_path / "35.ckpt", weights_only=True)
    assert rest == pytest.approx([expected(0.02, step) for step in range(35, STEPS)])


def test_without_a_run_the_rate_does_not_move():
    configured = Rated().configure_optimizers()
    assert configured["optimizer"].param_groups[0]["lr"] == pytest.approx(default_rate(8, math.inf))
    assert rate_factor(0, math.inf) == rate_factor(10**9, math.inf) == 1


def test_beyond_the_end_of_the_run_the_rate_is_zero():
    assert [rate_factor(step, 100) for step in (99, 100, 101)] == [pytest.approx(1 / 20), 0, 0]


def test_a_rate_that_was_searched_for_is_that_of_the_run():
    seen = Rates()
    finder = LearningRateFinder(num_training_steps=30, early_stop_threshold=None)
    model = Rated()
    trainer_for(STEPS, finder, seen).fit(model, DigitsDataModule(batch_size=512))
    found = finder.optimal_lr.suggestion()
    assert seen.seen[1:] == pytest.approx([expected(found, step) for step in range(1, STEPS)])


@pytest.mark.parametrize(
    ("options", "rate"),
    [
        ([], 0.02),
        (["--model.optimizer.lr", "1e-3"], 1e-3),
        (["--model.optimizer.betas", "[0.0, 0.999]"], 0.02),
        (["--model.optimizer", "{class_path: torch.optim.SGD, init_args: {lr: 0.3}}"], 0.3),
    ],
)
def test_a_rate_on_the_command_line_is_the_users_and_other_settings_leave_it_to_the_rule(options, rate):
    parser = LightningArgumentParser()
    parser.add_subclass_arguments(Autoencoder, "model", required=True)
    config = parser.parse_args([f"--model={__name__}.Rated", *options])
    assert parser.parse_string(parser.dump(config)) == config  # what --print_config writes reads back the same
    model = parser.instantiate_classes(config).model
    assert max(rates_of(model)) == pytest.approx(rate)

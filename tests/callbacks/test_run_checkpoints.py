"""`last.ckpt` is the newest state, and `best.ckpt` is chosen among losses of one objective."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from ae_lightning.callbacks.run_checkpoints import RunCheckpoints
from ae_lightning.data.digits import DigitsDataModule
from ae_lightning.models.overcomplete import OvercompleteAutoencoder
from ae_lightning.models.standard_sae import StandardSAE
from ae_lightning.models.topk_sae import TopKSAE

STEPS = 6  # an epoch of the digits in batches of 256


class Worsens(OvercompleteAutoencoder):
    """Its loss, in evaluation alone, is the number of steps done: the first validation is the best."""

    def loss_terms(self, target: Tensor, output: Any) -> dict[str, Tensor]:
        found = super().loss_terms(target, output)
        return found if self.training else {"reconstruction": torch.tensor(float(self.trainer.global_step))}


class Seen(Callback):
    """Notes the steps that `last.ckpt` and `best.ckpt` are of, before each epoch but the first, and in the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.steps: list[tuple[int, int]] = []

    def on_train_epoch_start(self, trainer: Trainer, *args: Any) -> None:
        if trainer.current_epoch:
            self.steps.append(steps(self.folder))

    def on_train_end(self, *args: Any) -> None:
        self.steps.append(steps(self.folder))


def steps(folder: Path) -> tuple[int, int]:
    last, best = (torch.load(folder / f"{name}.ckpt", weights_only=True)["global_step"] for name in ("last", "best"))
    return last, best


def keep(folder: Path, **options: Any) -> RunCheckpoints:
    return RunCheckpoints(folder, "best", monitor="val/loss", save_last=True, enable_version_counter=False, **options)


def fit(make_trainer, folder: Path, model, *, ckpt: Path | None = None, saving=None, **options: Any) -> Seen:
    seen = Seen(folder)
    trainer = make_trainer(saving or keep(folder), seen, enable_checkpointing=True, **options)
    trainer.fit(model, DigitsDataModule(batch_size=256), ckpt_path=ckpt, weights_only=True)
    return seen


def model_of(kind=Worsens, **options: Any):
    torch.manual_seed(0)
    return kind((1, 8, 8), 70, **options)


def test_the_last_checkpoint_is_of_the_last_step_however_the_loss_goes(make_trainer, tmp_path):
    seen = fit(make_trainer, tmp_path, model_of(), max_epochs=3)
    assert seen.steps == [(6, 6), (12, 6), (18, 6)]


def test_lightnings_own_stays_at_the_best_epoch(make_trainer, tmp_path):
    """What this callback is for; when it fails, Lightning has mended it."""
    own = ModelCheckpoint(tmp_path, "best", monitor="val/loss", save_last=True, enable_version_counter=False)
    assert fit(make_trainer, tmp_path, model_of(), saving=own, max_epochs=3).steps[-1] == (6, 6)


@pytest.mark.parametrize(
    ("options", "trainer_options", "last"),
    [
        ({}, {"val_check_interval": 2}, [6, 12, 18]),
        ({}, {"check_val_every_n_epoch": 2}, [6, 12, 18]),
        ({"every_n_epochs": 3}, {}, [18]),
        ({"every_n_train_steps": 4}, {}, [4, 12, 16]),
    ],
    ids=["validated within epochs", "validated every second epoch", "every third epoch", "every four steps"],
)
def test_it_is_saved_when_the_options_say(options, trainer_options, last, make_trainer, tmp_path):
    class Last(Seen):
        def on_train_epoch_start(self, trainer: Trainer, *args: Any) -> None:
            if (self.folder / "last.ckpt").exists():
                self.on_train_end()

        def on_train_end(self, *args: Any) -> None:
            self.steps.append(torch.load(self.folder / "last.ckpt", weights_only=True)["global_step"])

    seen = Last(tmp_path)
    trainer = make_trainer(keep(tmp_path, **options), seen, enable_checkpointing=True, max_epochs=3, **trainer_options)
    trainer.fit(model_of(), DigitsDataModule(batch_size=256))
    assert seen.steps == last


def test_within_an_epoch_each_validation_has_its_checkpoint(make_trainer, tmp_path):
    found: list[int] = []

    class AfterValidation(Callback):
        def on_train_batch_start(self, trainer: Trainer, *args: Any) -> None:
            if (tmp_path / "last.ckpt").exists():
                found.append(torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"])

    trainer = make_trainer(keep(tmp_path), AfterValidation(), enable_checkpointing=True, val_check_interval=2)
    trainer.fit(model_of(), DigitsDataModule(batch_size=256))
    assert found == [2, 2, 4, 4]


@pytest.mark.parametrize("trainer_options", [{}, {"val_check_interval": 2}], ids=["after an epoch", "within one"])
def test_a_run_whose_loss_rises_goes_on_from_where_it_was(trainer_options, make_trainer, tmp_path):
    options = {"max_epochs": 3, **trainer_options}
    fit(make_trainer, tmp_path / "whole", whole := model_of(), **options)
    fit(make_trainer, tmp_path / "parts", model_of(), **options | {"max_epochs": 2})
    last = tmp_path / "parts" / "last.ckpt"
    seen = fit(make_trainer, tmp_path / "parts", model := model_of(), ckpt=last, **options)
    assert seen.steps[-1] == (18, 2 if trainer_options else 6)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name


def test_nothing_is_written_by_a_validation_outside_a_fit(make_trainer, tmp_path):
    trainer = make_trainer(keep(tmp_path), enable_checkpointing=True)
    trainer.validate(OvercompleteAutoencoder((1, 8, 8), 70), DigitsDataModule(batch_size=256), verbose=False)
    assert not list(tmp_path.iterdir())


def test_while_k_falls_the_newest_is_the_best(make_trainer, tmp_path):
    """The error rises with each epoch in which k falls, and falls again from the third, in which k stays at 2."""
    k = {"start": 60, "end": 2, "until": 2 * STEPS, "unit": "steps"}
    model = model_of(TopKSAE, k=k, auxk_weight=0.0, optimizer=lambda p: torch.optim.Adam(p, lr=0.001))
    seen = fit(make_trainer, tmp_path, model, max_epochs=4)
    assert seen.steps == [(6, 6), (12, 12), (18, 18), (24, 24)]
    losses = [float(model.trainer.callback_metrics["val/loss"]), best_score(tmp_path)]
    assert losses[0] == losses[1]


def best_score(folder: Path) -> float:
    states = torch.load(folder / "best.ckpt", weights_only=True)["callbacks"]
    (state,) = (state for name, state in states.items() if name.startswith("ModelCheckpoint"))
    return float(state["best_model_score"])


class Settling(Worsens):
    """Worsens, too, and counts as settled from the third epoch on."""

    @property
    def is_settled(self) -> bool:
        return self.trainer.global_step > 2 * STEPS


def test_the_lowest_loss_counts_once_the_objective_has_settled(make_trainer, tmp_path):
    seen = fit(make_trainer, tmp_path, model_of(Settling), max_epochs=4)
    assert seen.steps == [(6, 6), (12, 12), (18, 18), (24, 18)]


def test_a_resumed_run_knows_that_the_objective_was_moving(make_trainer, tmp_path):
    fit(make_trainer, tmp_path, model_of(Settling), max_epochs=2)
    seen = fit(make_trainer, tmp_path, model_of(Settling), ckpt=tmp_path / "last.ckpt", max_epochs=4)
    assert seen.steps[1:] == [(18, 18), (24, 18)]


def test_a_controlled_penalty_is_settled_near_its_target():
    model = model_of(StandardSAE, target_l0=10.0)
    assert model.controller is not None
    for l0, settled in ((10.4, True), (10.6, False), (9.6, True), (9.4, False)):
        model.controller.smoothed_l0.fill_(l0)
        assert model.is_settled == settled


def test_a_population_is_settled_when_all_its_instances_are():
    model = model_of(StandardSAE, target_l0=10.0, instances=2)
    assert model.controller is not None
    model.controller.smoothed_l0.copy_(torch.tensor([10.1, 12.0]))
    assert not model.is_settled


def test_checkpoints_of_lightnings_own_callback_are_gone_on_from(make_trainer, tmp_path):
    own = ModelCheckpoint(tmp_path, "best", monitor="val/loss", save_last=True, enable_version_counter=False)
    fit(make_trainer, tmp_path, model_of(), saving=own, max_epochs=1)
    seen = fit(make_trainer, tmp_path, model_of(), ckpt=tmp_path / "last.ckpt", max_epochs=2)
    assert seen.steps[1:] == [(12, 6)]

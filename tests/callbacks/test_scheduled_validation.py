"""Validations on a schedule. What they give beside each way to train, bit for bit, stands in test_pairings.py."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from ae_lightning.callbacks.initial_validation import InitialValidation
from ae_lightning.callbacks.schedule import Schedule
from ae_lightning.callbacks.scheduled_validation import ScheduledValidation
from ae_lightning.callbacks.snapshots import WeightSnapshots
from ae_lightning.data.digits import DigitsDataModule
from ae_lightning.errors import ConfigError
from ae_lightning.models.fully_connected import FullyConnectedAutoencoder
from ae_lightning.models.overcomplete import OvercompleteAutoencoder
from ae_lightning.models.stacked import StackedAutoencoder
from ae_lightning.models.standard_sae import StandardSAE


def small(**options: Any) -> OvercompleteAutoencoder:
    torch.manual_seed(0)
    return OvercompleteAutoencoder((1, 8, 8), 70, **options)


def still(params: Any) -> torch.optim.Optimizer:
    """An optimizer that leaves the weights as good as unchanged."""
    return torch.optim.SGD(params, lr=1e-12)


@pytest.mark.parametrize("others", [[], [InitialValidation]], ids=["alone", "beside the first"])
def test_there_is_one_row_for_each_moment(others, make_trainer, recorder, digits):
    callbacks = [*(other() for other in others), ScheduledValidation(Schedule(count=5))]
    make_trainer(*callbacks, logger=recorder, max_epochs=2).fit(small(), digits)
    assert sorted(recorder.series("val/loss")) == [0, 3, 6, 9, 12]


def test_moments_are_those_of_the_snapshots_unless_told(make_trainer, recorder, digits):
    snapshots = WeightSnapshots(Schedule(count=4))
    make_trainer(ScheduledValidation(), snapshots, logger=recorder, max_epochs=2).fit(small(), digits)
    assert sorted(recorder.series("val/loss")) == [0, 4, 6, 8, 12]  # after 6 steps an epoch ends
    with pytest.raises(ConfigError, match="no snapshots to go by: give it a schedule, or add WeightSnapshots"):
        make_trainer(ScheduledValidation()).fit(small(), digits)


def test_a_run_that_ends_early_has_a_row_of_its_end(make_trainer, recorder, digits):
    class Enough(Callback):
        def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
            if trainer.global_step == 4:
                trainer.fit_loop.epoch_loop.max_steps = 4

    make_trainer(Enough(), ScheduledValidation(Schedule()), logger=recorder).fit(small(), digits)
    assert sorted(recorder.series("val/loss")) == [0, 4]


def test_who_monitors_the_loss_goes_by_lightning_s_validations_alone(make_trainer, recorder, digits, tmp_path):
    """Where a falling loss is no improvement, each row within an epoch would count against patience."""

    def fit(*callbacks: Callback) -> tuple[float, str, int]:
        folder = tmp_path / str(len(callbacks))
        best = ModelCheckpoint(
            folder, "{step}", monitor="val/loss", every_n_train_steps=1, save_on_train_epoch_end=False
        )
        patience = EarlyStopping("val/loss", patience=2, mode="max")
        trainer = make_trainer(*callbacks, patience, best, max_epochs=9, enable_checkpointing=True, logger=recorder)
        trainer.fit(small(), digits)
        return float(best.best_model_score), Path(best.best_model_path).name, trainer.global_step

    expected = fit()
    assert expected[2] == 18
    recorder.rows.clear()
    assert fit(ScheduledValidation(Schedule(every=1, unit="steps"))) == expected
    assert len(recorder.series("val/loss")) == 19


def test_a_run_that_goes_on_has_the_rows_of_one_that_was_never_stopped(make_trainer, recorder, digits, tmp_path):
    def rows(steps: int, start: Path | None = None) -> dict[int | None, float]:
        recorder.rows.clear()
        validation = ScheduledValidation(Schedule(every=2, unit="steps", last=False))
        trainer = make_trainer(validation, logger=recorder, max_steps=steps, max_epochs=-1)
        trainer.fit(small(), digits, ckpt_path=start, weights_only=True)
        trainer.save_checkpoint(tmp_path / f"{steps}.ckpt")
        return recorder.series("val/loss")

    whole, first, rest = rows(12), rows(8), rows(12, tmp_path / "8.ckpt")
    assert (sorted(first), sorted(rest)) == ([0, 2, 4, 6, 8], [10, 12])
    assert first | rest == whole


@pytest.mark.parametrize(("limit", "images"), [(1.0, 144), (2, 100), (0.7, 100), (0, 0)])
def test_a_part_of_the_set_is_the_part_that_lightning_takes(limit, images, make_trainer, recorder):
    data = DigitsDataModule(batch_size=256, eval_batch_size=50)
    callbacks = [InitialValidation(), ScheduledValidation(Schedule(count=3))]
    model = small(optimizer=still)
    make_trainer(*callbacks, logger=recorder, limit_val_batches=limit).fit(model, data)
    x, _ = data.val_set.take(images)
    with torch.no_grad():
        expected = pytest.approx(float((model(x).x_hat - x).square().mean()), rel=1e-5) if images else None
    assert recorder.series("val/loss") == ({0: expected, 3: expected, 6: expected} if images else {})


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda **how: StandardSAE((1, 8, 8), 24, penalty_warmup=1000, **how), id="penalty warmed up"),
        pytest.param(
            lambda **how: StackedAutoencoder((1, 8, 8), 4, (8,), pretrain_epochs=1, output_activation="none", **how),
            id="phases",
        ),
        pytest.param(lambda **how: FullyConnectedAutoencoder((1, 8, 8), 4, (16,), dropout=0.5, **how), id="dropout"),
    ],
)
@pytest.mark.filterwarnings("ignore:pre-training takes")
def test_it_says_what_lightning_s_own_validation_says_in_the_middle_of_training(make, make_trainer, recorder, digits):
    torch.manual_seed(0)
    callbacks = [InitialValidation(), ScheduledValidation(Schedule(count=3))]
    make_trainer(*callbacks, logger=recorder).fit(make(optimizer=still), digits)
    names = {name for step, row in recorder.rows if step == 6 for name in row if name.startswith("val/")}
    for name in names:
        losses = recorder.series(name)
        assert sorted(losses) == [0, 3, 6], name
        assert list(losses.values()) == [pytest.approx(losses[6], rel=1e-5)] * 3, name


class Logs(OvercompleteAutoencoder):
    """A variant that logs from its loss."""

    def loss_terms(self, x: Any, output: Any) -> dict[str, torch.Tensor]:
        terms = super().loss_terms(x, output)
        self.log("mine", terms["reconstruction"], on_step=False, on_epoch=True)
        return terms


def test_what_a_variant_logs_itself_is_not_mixed_with_it(make_trainer, recorder, digits):
    means = []
    for callbacks in ([], [ScheduledValidation(Schedule(every=1, unit="steps"))]):
        recorder.rows.clear()
        torch.manual_seed(0)
        make_trainer(*callbacks, logger=recorder).fit(Logs((1, 8, 8), 16), digits)
        means.append([row["mine"] for _, row in recorder.rows if "mine" in row])
    assert len(means[0]) > 0
    assert means[0] == means[1]

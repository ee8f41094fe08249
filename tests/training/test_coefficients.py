"""Options that move over a run: their values step by step, and what is refused."""

import math
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor

from ae_lightning.data.digits import DigitsDataModule
from ae_lightning.errors import ConfigError
from ae_lightning.models.overcomplete import OvercompleteAutoencoder
from ae_lightning.training.coefficients import Coefficient, Ramp


@pytest.mark.parametrize(
    ("ramp", "total", "values"),
    [
        (Ramp(start=0, end=8), 8, {0: 0, 1: 1, 7: 7, 8: 8, 9: 8}),
        (Ramp(start=1, end=0.2, begin=0.25, until=0.75), 8, {0: 1, 2: 1, 4: 0.6, 6: 0.2, 8: 0.2}),
        (Ramp(start=64, end=16, begin=10, until=20, unit="steps"), 100, {10: 64, 15: 40, 20: 16, 99: 16}),
        (Ramp(start=64, end=16, begin=10, unit="steps"), 100, {10: 64, 55: 40, 100: 16}),
        (Ramp(start=0, end=2, shape="cosine"), 6, {0: 0, 1: 1 - math.sqrt(3) / 2, 2: 0.5, 3: 1, 4: 1.5, 6: 2}),
        (Ramp(start=0, end=5, until=3, unit="steps"), math.inf, {0: 0, 3: 5, 1000: 5}),
        (0.5, 8, {0: 0.5, 8: 0.5}),
    ],
)
def test_a_coefficient_goes_from_start_to_end(ramp, total, values):
    coefficient = Coefficient("weight", ramp)
    assert {step: coefficient.at(step, total) for step in values} == pytest.approx(values)


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ({"start": 0}, "--model.weight is a schedule without end: give --model.weight.end, or one number"),
        ({"end": 0}, "--model.weight is a schedule without start: give --model.weight.start, or one number"),
        (
            {"start": 0, "end": 1, "stop": 3},
            "--model.weight has no setting 'stop'; a schedule has start, end, begin, until, unit and shape",
        ),
        (
            {"start": 0, "end": 1, "begin": 0.5, "until": 0.5},
            "--model.weight moves from 0.5 until 0.5; until must be larger than begin",
        ),
        (
            {"start": 0, "end": 1, "until": 100},
            "--model.weight.until is 100 of the run; it must be at most 1, or optimizer steps with "
            "--model.weight.unit steps",
        ),
        ({"start": 0, "end": 1, "begin": -1}, "--model.weight.begin is -1; it must be at least 0"),
        ({"start": 0, "end": 1, "unit": "epochs"}, "--model.weight.unit is 'epochs'; it can be fraction or steps"),
        ({"start": 0, "end": 1, "shape": "log"}, "--model.weight.shape is 'log'; it can be linear or cosine"),
        ({"start": 0, "end": -1}, "--model.weight.end is -1; it must be between 0 and 9"),
        ({"start": 10, "end": 1}, "--model.weight.start is 10; it must be between 0 and 9"),
        (math.nan, "--model.weight is nan; it must be between 0 and 9"),
    ],
)
def test_what_is_no_schedule_is_refused_in_one_sentence(option, sentence):
    with pytest.raises(ConfigError) as refused:
        Coefficient("weight", option, most=9)
    assert str(refused.value) == sentence


class Weighted(OvercompleteAutoencoder):
    """A shallow autoencoder with one more term, whose weight is an option."""

    def __init__(self, input_shape: tuple[int, ...], weight: float | Ramp = 0.0, **kwargs: Any) -> None:
        super().__init__(input_shape, **kwargs)
        self.weight = Coefficient("weight", weight)

    def on_fit_start(self) -> None:
        self.weight.require_within(self.trainer)

    def loss_terms(self, x: Tensor, output: Any) -> dict[str, Tensor]:
        return {**super().loss_terms(x, output), "size": output.z.abs().mean()}

    @property
    def loss_weights(self) -> dict[str, float]:
        return {"size": self.weight.present(self)}


class Weights(Callback):
    """What the coefficient is in each training step, and in each validation."""

    def __init__(self) -> None:
        self.in_training: list[float] = []
        self.in_validation: list[float] = []

    def on_before_zero_grad(self, trainer: Trainer, pl_module: Any, optimizer: Any) -> None:
        self.in_training.append(pl_module.loss_weights["size"])

    def on_validation_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        self.in_validation.append(pl_module.loss_weights["size"])


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


def small_model(weight: float | Ramp) -> Weighted:
    return Weighted((1, 8, 8), weight, latent_dim=4, optimizer=lambda p: torch.optim.SGD(p, lr=0.01))


def test_training_has_the_value_of_its_step_and_evaluation_the_final_one(tmp_path):
    seen = Weights()
    model = small_model(Ramp(start=4, end=2, until=0.5))
    data = DigitsDataModule(batch_size=512)  # three batches an epoch
    trainer = trainer_for(8, seen)
    trainer.fit(model, data)
    assert seen.in_training == [4, 3.5, 3, 2.5, 2, 2, 2, 2]
    assert set(seen.in_validation) == {2}
    assert model.loss_weights == {"size": 2}
    assert model.hparams["weight"] == {"start": 4, "end": 2, "until": 0.5}
    trainer.save_checkpoint(tmp_path / "plain.ckpt")
    saved = torch.load(tmp_path / "plain.ckpt", weights_only=True)
    assert saved["hyper_parameters"]["weight"] == {"start": 4, "end": 2, "until": 0.5}


@pytest.mark.parametrize(
    ("weight", "steps", "sentence"),
    [
        (
            Ramp(start=0, end=1, until=9, unit="steps"),
            8,
            "--model.weight moves from step 0 until step 9, but the run ends at step 8: lower --model.weight.until, "
            "or train longer",
        ),
        (
            Ramp(start=0, end=1, begin=9, unit="steps"),
            8,
            "--model.weight moves from step 9 until step 8, but the run ends at step 8: lower --model.weight.until, "
            "or train longer",
        ),
        (
            Ramp(start=0, end=1, until=0.5),
            -1,
            "--model.weight moves over parts of a run that has no known end: set --trainer.max_epochs or "
            "--trainer.max_steps, or give --model.weight.until in optimizer steps, with unit steps",
        ),
    ],
)
def test_a_schedule_that_does_not_end_within_the_run_is_refused_before_the_first_step(weight, steps, sentence):
    model = small_model(weight)
    with pytest.raises(ConfigError) as refused:
        trainer_for(steps).fit(model, DigitsDataModule(batch_size=512))
    assert str(refused.value) == sentence
    assert model.images_seen == 0

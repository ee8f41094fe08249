import functools
import math
from collections.abc import Mapping

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import ReduceLROnPlateau
from torch import Tensor, nn

from ae_lightning.data.digits import DigitsDataModule
from ae_lightning.errors import ConfigError, TrainingError
from ae_lightning.models.base import Autoencoder, AutoencoderOutput
from ae_lightning.models.fully_connected import FullyConnectedAutoencoder
from ae_lightning.models.overcomplete import OvercompleteAutoencoder

WEIGHTS = {"l1": 0.25}


class TwoTerms(Autoencoder):
    """A linear autoencoder with a penalty on the code; `reconstruction` has no weight of its own."""

    def __init__(self, input_shape: tuple[int, ...] = (1, 8, 8), width: int = 3, **kwargs: object) -> None:
        super().__init__(input_shape, **kwargs)
        self.encoder = nn.Linear(self.input_size, width)
        self.decoder = nn.Linear(width, self.input_size)

    def encode(self, x: Tensor) -> Tensor:
        return self.encoder(x.flatten(1))

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z).unflatten(-1, self.input_shape)

    def loss_terms(self, x: Tensor, output: AutoencoderOutput) -> dict[str, Tensor]:
        return super().loss_terms(x, output) | {"l1": output.z.abs().mean()}

    @property
    def loss_weights(self) -> Mapping[str, float]:
        return WEIGHTS


class TwoTermsTwice(TwoTerms):
    """The same with a leading dimension of two identical instances."""

    instances = 2

    def encode(self, x: Tensor) -> Tensor:
        return super().encode(x).expand(2, -1, -1)

    def loss_terms(self, x: Tensor, output: AutoencoderOutput) -> dict[str, Tensor]:
        return super().loss_terms(x, output) | {"l1": output.z.abs().mean((1, 2)).sum()}


def terms_by_hand(model: TwoTerms, x: Tensor) -> dict[str, float]:
    """Loss and terms with nothing but the weights and torch's own functions."""
    with torch.no_grad():
        z = F.linear(x.flatten(1), model.encoder.weight, model.encoder.bias)
        x_hat = F.linear(z, model.decoder.weight, model.decoder.bias)
        reconstruction, l1 = float(F.mse_loss(x_hat, x.flatten(1))), float(z.abs().mean())
    return {"loss": reconstruction + 0.25 * l1, "reconstruction": reconstruction, "l1": l1}


class Frozen(Callback):
    """Keeps the batches of an epoch, and the weights before each."""

    def __init__(self) -> None:
        self.batches: list[Tensor] = []
        self.by_hand: list[dict[str, float]] = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        self.batches.append(batch[0].clone())
        self.by_hand.append(terms_by_hand(pl_module, batch[0]))


# --- the objective -------------------------------------------------------------------------------------------------


def test_the_total_is_the_weighted_sum_of_the_terms():
    torch.manual_seed(0)
    model, x = TwoTerms(), torch.rand(5, 1, 8, 8)
    losses, output = model.loss(x)
    assert list(losses) == ["loss", "reconstruction", "l1"]
    for name, value in terms_by_hand(model, x).items():
        assert float(losses[name].detach()) == pytest.approx(value, rel=1e-5)
    assert output.x_hat.shape == x.shape


def test_gradients_are_those_of_the_weighted_sum():
    torch.manual_seed(0)
    model, x = TwoTerms(), torch.rand(5, 1, 8, 8)
    model.loss(x)[0]["loss"].backward()
    found = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    z = model.encoder(x.flatten(1))
    (F.mse_loss(model.decoder(z), x.flatten(1)) + 0.25 * z.abs().mean()).backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad)


def test_with_instances_the_objective_is_a_sum_and_what_is_logged_a_mean():
    torch.manual_seed(0)
    model, x = TwoTermsTwice(), torch.rand(5, 1, 8, 8)
    by_hand = terms_by_hand(model, x)
    losses, _ = model.loss(x)
    for name, value in model.per_instance(losses).items():
        assert float(losses[name].detach()) == pytest.approx(2 * by_hand[name], rel=1e-5)
        assert float(value) == pytest.approx(by_hand[name], rel=1e-5)
        assert not value.requires_grad


# --- what a fit logs -----------------------------------------------------------------------------------------------


def test_every_step_s_losses_are_logged_at_the_number_of_completed_steps(make_trainer, recorder, digits):
    frozen = Frozen()
    make_trainer(frozen, logger=recorder, max_epochs=2).fit(TwoTerms(), digits)
    assert len(frozen.by_hand) == 12
    for name in ("loss", "reconstruction", "l1"):
        series = recorder.series(f"train/{name}")
        assert list(series) == list(range(1, 13))
        for (_, logged), by_hand in zip(series.items(), frozen.by_hand, strict=True):
            assert logged == pytest.approx(by_hand[name], rel=1e-4)
    assert list(recorder.series("optim/lr").values()) == pytest.approx([1e-3] * 12)
    images = [1293 * epoch + min(256 * step, 1293) for epoch in (0, 1) for step in range(1, 7)]
    assert list(recorder.series("progress/images_seen").values()) == images


def test_rows_are_as_far_apart_as_log_every_n_steps_says(make_trainer, recorder, digits):
    make_trainer(logger=recorder, max_epochs=2, log_every_n_steps=5).fit(TwoTerms(), digits)
    assert list(recorder.series("train/loss")) == [5, 10]
    assert list(recorder.series("val/loss")) == [6, 12]


def test_accumulated_batches_make_one_step(make_trainer, recorder, digits):
    model = TwoTerms()
    trainer = make_trainer(logger=recorder, accumulate_grad_batches=4)
    trainer.fit(model, digits)
    assert trainer.global_step == 2
    assert {step for step, metrics in recorder.rows if "val/loss" in metrics} == {2}
    assert {step for step, metrics in recorder.rows if "train/loss" in metrics} == {1, 2}
    assert model.images_seen == 1293


def test_the_epoch_mean_weights_every_image_equally(make_trainer, recorder, digits):
    frozen = Frozen()
    make_trainer(frozen, logger=recorder, max_epochs=2).fit(TwoTerms(), digits)
    sizes = [len(batch) for batch in frozen.batches]
    assert sizes == 2 * ([256] * 5 + [13])
    for name in ("loss", "reconstruction", "l1"):
        sums = [n * terms[name] for n, terms in zip(sizes, frozen.by_hand, strict=True)]
        first, second = sum(sums[:6]) / 1293, sum(sums[6:]) / 1293
        expected = {6: pytest.approx(first, rel=1e-5), 12: pytest.approx(second, rel=1e-5)}
        assert recorder.series(f"train/{name}_epoch") == expected


def test_validation_and_test_errors_are_means_over_all_images(make_trainer, recorder):
    data = DigitsDataModule(batch_size=256, eval_batch_size=100)
    model = TwoTerms()
    trainer = make_trainer(logger=recorder)
    trainer.fit(model, data)
    trainer.test(model, data, verbose=False)
    assert (len(data.val_set), len(data.test_set)) == (144, 360)  # the last batch is smaller
    for stage, images in (("val", data.val_set), ("test", data.test_set)):
        for name, value in terms_by_hand(model, images.take(1000)[0]).items():
            assert recorder.series(f"{stage}/{name}") == {6: pytest.approx(value, rel=1e-5)}


def test_nothing_else_is_logged(make_trainer, recorder, digits):
    trainer = make_trainer(logger=recorder)
    model = TwoTerms()
    trainer.fit(model, digits)
    trainer.test(model, digits, verbose=False)
    logged = {name for _, metrics in recorder.rows for name in metrics}
    terms = {"loss", "reconstruction", "l1"}
    expected = {f"{stage}/{term}" for stage in ("train", "val", "test") for term in terms}
    expected |= {f"train/{term}_epoch" for term in terms}
    assert logged == expected | {"optim/lr", "progress/images_seen", "epoch"}


def test_predictions_are_reconstructions_and_codes(make_trainer, digits):
    model = TwoTerms()
    predictions = make_trainer().predict(model, digits)
    x, _ = digits.test_set.take(1000)
    with torch.no_grad():
        expected = model(x)
    assert torch.equal(torch.cat([p.z for p in predictions]), expected.z)
    assert torch.equal(torch.cat([p.x_hat for p in predictions]), expected.x_hat)


def test_one_epoch_is_that_of_a_plain_loop_bit_for_bit(make_trainer, digits):
    torch.manual_seed(3)
    plain = nn.ModuleDict({"encoder": nn.Linear(64, 3), "decoder": nn.Linear(3, 64)})
    model = TwoTerms()
    model.load_state_dict(plain.state_dict())
    frozen = Frozen()
    make_trainer(frozen).fit(model, digits)

    optimizer = torch.optim.Adam(plain.parameters(), lr=1e-3, fused=True)
    for x in frozen.batches:
        z = plain["encoder"](x.flatten(1))
        loss = F.mse_loss(plain["decoder"](z), x.flatten(1)) + 0.25 * z.abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for name, parameter in plain.state_dict().items():
        assert torch.equal(parameter, model.state_dict()[name]), name
    assert sorted(float(image.sum()) for batch in frozen.batches for image in batch) == sorted(
        float(image.sum()) for image in digits.train_set.take(2000)[0]
    )


# --- what does not fit together --------------------------------------------------------------------------------------


def first_batch_of(model: Autoencoder, low: float, high: float) -> None:
    model.loss(torch.linspace(low, high, 2 * model.input_size).view(2, *model.input_shape))


def test_a_sigmoid_output_on_standardised_data_names_the_option_that_mends_it(make_trainer):
    model = FullyConnectedAutoencoder((1, 8, 8), output_activation="sigmoid")
    data = DigitsDataModule(normalize="standard")
    with pytest.raises(ConfigError, match=r"output of Fully.*covers \[0, 1\].*spans \[-0\.8.*--data\.normalize unit"):
        make_trainer().fit(model, data)


def test_bce_needs_a_bounded_output():
    model = OvercompleteAutoencoder((20,), 30, output_activation="none", reconstruction_loss="bce")
    with pytest.raises(ConfigError, match=r"bce .* within \[0, 1\].*--model\.output_activation sigmoid"):
        first_batch_of(model, 0, 1)


@pytest.mark.parametrize("span", [(-0.5, 1), (0, 255), (0, 1.001)])
def test_bce_needs_data_within_0_and_1(span):
    model = FullyConnectedAutoencoder((20,), 3, reconstruction_loss="bce")
    with pytest.raises(ConfigError, match=r"the bce loss covers \[0, 1\].*--data\.normalize unit"):
        first_batch_of(model, *span)


def test_a_relu_output_cannot_reach_negative_data():
    model = OvercompleteAutoencoder((20,), 30, output_activation="relu")
    with pytest.raises(ConfigError, match=r"covers \[0, inf\], but the first batch spans \[-1, 100\]"):
        first_batch_of(model, -1, 100)


@pytest.mark.parametrize(
    ("output", "loss", "span"),
    [
        ("none", "mse", (-1e6, 1e6)),
        ("none", "mae", (-3, 3)),
        ("relu", "mse", (0, 255)),
        ("tanh", "mse", (-1, 1)),
        ("sigmoid", "bce", (0, 1)),
        ("sigmoid", "mse", (-1e-5, 1 + 1e-5)),  # rounding is no mistake
    ],
)
def test_what_fits_is_accepted(output, loss, span):
    model = OvercompleteAutoencoder((20,), 30, output_activation=output, reconstruction_loss=loss)
    first_batch_of(model, *span)
    assert math.isfinite(float(model.loss(torch.zeros(1, 20))[0]["loss"].detach()))


# --- divergence ------------------------------------------------------------------------------------------------------


class Poison(Callback):
    """Makes one batch of the epoch NaN, and keeps the weights before and after it."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.before: dict[str, Tensor] = {}

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        if trainer.global_step == self.at:
            self.before = {name: value.clone() for name, value in pl_module.state_dict().items()}
            batch[0][0] = math.nan


@pytest.mark.parametrize("log_every_n_steps", [1, 50])
def test_a_loss_that_is_not_finite_stops_training_before_it_touches_the_weights(
    log_every_n_steps, make_trainer, digits
):
    model, poison = TwoTerms(), Poison(at=3)
    with pytest.raises(TrainingError, match=r"step 3 of epoch 0: .* is nan.*lr.*last good checkpoint: none was saved"):
        make_trainer(poison, log_every_n_steps=log_every_n_steps).fit(model, digits)
    for name, value in model.state_dict().items():
        assert torch.equal(value, poison.before[name])


def test_the_error_names_the_term_that_broke(make_trainer, digits):
    class BrokenPenalty(TwoTerms):
        def loss_terms(self, x: Tensor, output: AutoencoderOutput) -> dict[str, Tensor]:
            terms = super().loss_terms(x, output)
            return {"l1": terms["l1"] / 0, "reconstruction": terms["reconstruction"]}

    with pytest.raises(TrainingError, match=r"step 0 of epoch 0: l1 is inf"):
        make_trainer().fit(BrokenPenalty(), digits)


def test_a_learning_rate_that_is_far_too_high_ends_in_that_error_with_the_checkpoint_to_go_back_to(
    make_trainer, digits, tmp_path
):
    class Explode(Callback):
        def on_train_epoch_start(self, trainer, pl_module) -> None:
            trainer.optimizers[0].param_groups[0]["lr"] = 1e30 if trainer.current_epoch == 1 else 1e-3

    keep = ModelCheckpoint(tmp_path, filename="best", save_last=True)
    with pytest.raises(TrainingError) as caught:
        make_trainer(keep, Explode(), enable_checkpointing=True, max_epochs=3).fit(TwoTerms(), digits)
    assert "of epoch 1" in str(caught.value)
    assert str(tmp_path / "last.ckpt") in str(caught.value)
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert saved["global_step"] == 6
    assert all(bool(value.isfinite().all()) for value in saved["state_dict"].values())


def test_useless_weights_do_not_replace_the_best_checkpoint(make_trainer, digits, tmp_path):
    class BreakAfterTheLastStep(Callback):
        def on_validation_start(self, trainer, pl_module) -> None:
            if trainer.current_epoch == 1:
                with torch.no_grad():
                    pl_module.decoder.weight.fill_(math.nan)

    keep = ModelCheckpoint(tmp_path, filename="best", monitor="val/loss", save_last=True)
    with pytest.raises(TrainingError, match=r"val/loss is nan"):
        make_trainer(keep, BreakAfterTheLastStep(), enable_checkpointing=True, max_epochs=3).fit(TwoTerms(), digits)
    for name in ("best.ckpt", "last.ckpt"):
        saved = torch.load(tmp_path / name, weights_only=True)
        assert all(bool(value.isfinite().all()) for value in saved["state_dict"].values())


# --- shapes and sizes ------------------------------------------------------------------------------------------------


def test_sizes_of_784_400_20():
    model = FullyConnectedAutoencoder((1, 28, 28), 20, (400,))
    # 784·400+400 + 400·20+20 + 20·400+400 + 400·784+784
    assert model.num_parameters == 644_804
    assert (model.input_size, model.latent_shape, model.latent_size) == (784, (20,), 20)
    assert model.compression_ratio == pytest.approx(39.2)
    assert model.is_undercomplete


def test_sizes_of_784_1024():
    model = OvercompleteAutoencoder((1, 28, 28), 1024)
    assert model.num_parameters == 784 * 1024 + 1024 + 1024 * 784 + 784 == 1_607_440
    assert model.compression_ratio == pytest.approx(0.765625)
    assert not model.is_undercomplete
    assert OvercompleteAutoencoder((1, 28, 28), 1024, instances=3).num_parameters == 3 * 1_607_440
    assert not OvercompleteAutoencoder((8,), 8).is_undercomplete


def test_frozen_parameters_are_not_counted_as_trainable():
    model = OvercompleteAutoencoder((4,), 5)
    model.dictionary.b_dec.requires_grad_(False)
    assert model.num_parameters == 4 * 5 + 5 + 5 * 4


def test_latent_shape_leaves_instances_out():
    assert OvercompleteAutoencoder((1, 4, 4), 7, instances=3).latent_shape == (7,)


class Normed(TwoTerms):
    """With batch norm and dropout, of which a blank image must leave no trace."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))


def test_asking_for_the_latent_shape_leaves_no_trace():
    model = Normed().train()
    model.encoder[1].eval()  # as someone does who freezes the statistics
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    assert model.latent_shape == (3,)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    assert model.training
    assert model.encoder[2].training
    assert not model.encoder[1].training


def test_a_snapshot_is_every_parameter_by_name_unless_a_variant_says_otherwise():
    model = TwoTerms()
    assert list(model.snapshot()) == ["encoder.weight", "encoder.bias", "decoder.weight", "decoder.bias"]
    assert model.snapshot()["encoder.weight"].shape == (3, 64)
    assert torch.equal(model.snapshot()["decoder.bias"], model.decoder.bias)
    assert not any(value.requires_grad for value in model.snapshot().values())


# --- optimizers and schedules ----------------------------------------------------------------------------------------


def test_adam_fused_is_the_default():
    optimizer = TwoTerms().configure_optimizers()
    assert type(optimizer) is torch.optim.Adam
    assert optimizer.defaults["lr"] == 1e-3
    assert optimizer.defaults["fused"] is True


@pytest.mark.parametrize(
    "optimizer",
    [lambda params: torch.optim.SGD(params, lr=0.5), functools.partial(torch.optim.SGD, lr=0.5)],
    ids=["lambda", "partial"],
)
def test_an_injected_optimizer_makes_the_steps(optimizer, make_trainer, digits):
    torch.manual_seed(0)
    model = TwoTerms(optimizer=optimizer)
    x = next(iter(digits.train_dataloader()))[0]
    plain = TwoTerms()
    plain.load_state_dict(model.state_dict())
    make_trainer(max_steps=1).fit(model, digits)
    plain.loss(x)[0]["loss"].backward()
    for name, parameter in plain.named_parameters():
        expected = parameter.detach() - 0.5 * parameter.grad
        torch.testing.assert_close(model.get_parameter(name), expected)


def test_a_schedule_is_stepped_once_an_epoch(make_trainer, recorder, digits):
    model = TwoTerms(lr_scheduler=lambda optimizer: torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.1))
    make_trainer(logger=recorder, max_epochs=3).fit(model, digits)
    rates = recorder.series("optim/lr")
    assert [rates[step] for step in (1, 6, 7, 12, 13, 18)] == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5])


def one_cycle(optimizer, steps=18):
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=steps)


def test_a_schedule_can_be_stepped_at_each_batch(make_trainer, recorder, digits):
    """The rates are those of torch's own schedule in a plain loop: three epochs of six steps."""
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])
    schedule, by_hand = one_cycle(optimizer), []
    for _ in range(18):
        by_hand.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    model = TwoTerms(lr_scheduler=one_cycle, lr_scheduler_interval="step")
    make_trainer(logger=recorder, max_epochs=3).fit(model, digits)
    assert list(recorder.series("optim/lr").values()) == pytest.approx(by_hand)
    assert len(set(by_hand)) == 18


def test_a_schedule_by_step_goes_on_after_accumulated_batches_only(make_trainer, recorder, digits):
    model = TwoTerms(
        lr_scheduler=lambda optimizer: torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.1),
        lr_scheduler_interval="step",
    )
    make_trainer(logger=recorder, accumulate_grad_batches=3).fit(model, digits)
    assert list(recorder.series("optim/lr").values()) == pytest.approx([1e-3, 1e-4])


def test_a_schedule_that_is_shorter_than_the_run_is_told(make_trainer, digits):
    model = TwoTerms(lr_scheduler=lambda optimizer: one_cycle(optimizer, 9), lr_scheduler_interval="step")
    with pytest.raises(ConfigError, match=r"--model.lr_scheduler ends before the run does, at step 10 of epoch 1 .* 9"):
        make_trainer(max_epochs=3).fit(model, digits)


# By this threshold every epoch but the first looks like a plateau.
ALWAYS_FLAT = {"patience": 0, "threshold": 1e9, "threshold_mode": "abs", "factor": 0.1}


@pytest.mark.parametrize(
    "scheduler",
    [
        lambda optimizer: ReduceLROnPlateau(optimizer, monitor="val/l1", **ALWAYS_FLAT),
        lambda optimizer: torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **ALWAYS_FLAT),
    ],
    ids=["lightning", "torch"],
)
def test_a_plateau_schedule_follows_the_validation_loss(scheduler, make_trainer, recorder, digits):
    model = TwoTerms(lr_scheduler=scheduler)
    make_trainer(logger=recorder, max_epochs=3).fit(model, digits)
    rates = recorder.series("optim/lr")
    assert [rates[step] for step in (6, 7, 12)] == pytest.approx([1e-3, 1e-3, 1e-3])
    assert rates[13] == pytest.approx(1e-4)


def test_a_plateau_schedule_watches_what_it_was_told_to():
    model = TwoTerms(lr_scheduler=lambda optimizer: ReduceLROnPlateau(optimizer, monitor="val/l1"))
    assert model.configure_optimizers()["lr_scheduler"]["monitor"] == "val/l1"


def test_the_base_itself_cannot_be_built():
    with pytest.raises(TypeError, match="abstract"):
        Autoencoder((1, 8, 8))  # type: ignore[abstract]


def test_a_fit_in_python_warns_of_nothing_the_user_could_mend(make_trainer, digits, recwarn):
    model = FullyConnectedAutoencoder((1, 8, 8), 3, optimizer=lambda params: torch.optim.SGD(params, lr=0.1))
    make_trainer(max_steps=1).fit(model, digits)
    make_trainer(max_steps=1).fit(TwoTerms(), digits)
    assert not [str(warning.message) for warning in recwarn if "pickled" in str(warning.message)]

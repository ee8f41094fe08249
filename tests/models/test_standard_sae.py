import math
import warnings
from functools import partial

import numpy as np
import pytest
import torch

from ae_lightning.analysis.centers import geometric_median
from ae_lightning.callbacks.initial_validation import InitialValidation
from ae_lightning.data.arrays import ArraysDataModule
from ae_lightning.data.digits import DigitsDataModule
from ae_lightning.errors import ConfigError, Notice
from ae_lightning.models.standard_sae import StandardSAE

SHAPE = (1, 8, 8)


def small(**options):
    torch.manual_seed(0)
    return StandardSAE(SHAPE, 20, **options)


@pytest.mark.parametrize("tied", [False, True])
def test_it_is_the_published_formula(tied):
    model = small(penalty_weight=0.2, tied=tied)
    d = model.dictionary
    with torch.no_grad():
        d.b_dec.normal_()
        d.b_enc.normal_()
    x = torch.rand(7, *SHAPE)
    flat, w_dec = x.flatten(1), d.W_enc.T if tied else d.W_dec
    z = torch.relu((flat - d.b_dec) @ d.W_enc + d.b_enc)
    x_hat = z @ w_dec + d.b_dec
    losses, output = model.loss(x)
    torch.testing.assert_close(output.z, z)
    torch.testing.assert_close(output.x_hat.flatten(1), x_hat)
    reconstruction = (x_hat - flat).square().sum(1).mean() / 64  # per input dimension
    penalty = sum(float(row.sum()) for row in z.detach()) / 7  # a sum over latents, a mean over the batch
    torch.testing.assert_close(losses["reconstruction"], reconstruction)
    assert float(losses["l1"].detach()) == pytest.approx(penalty, rel=1e-5)
    assert float(losses["loss"].detach()) == pytest.approx(float(reconstruction.detach()) + 0.2 * penalty, rel=1e-5)


def test_each_instance_learns_as_it_would_alone():
    many = small(instances=3, penalty_weight=0.1)
    x = torch.rand(9, *SHAPE)
    many.loss(x)[0]["loss"].backward()
    for i in range(3):
        alone = small(penalty_weight=0.1)
        alone.load_state_dict({name: value[i] for name, value in many.state_dict().items()})
        alone.loss(x)[0]["loss"].backward()
        for (name, one), several in zip(alone.named_parameters(), many.parameters(), strict=True):
            torch.testing.assert_close(several.grad[i], one.grad, msg=name)


def test_the_penalty_s_weight_rises_linearly_and_goes_on_after_a_resume(make_trainer, recorder, tmp_path):
    data = DigitsDataModule(batch_size=256)  # 6 steps an epoch
    trainer = make_trainer(max_epochs=1, logger=recorder)
    trainer.fit(small(penalty_weight=0.5, penalty_warmup=10), data)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    make_trainer(max_epochs=2, logger=recorder).fit(
        small(penalty_weight=0.5, penalty_warmup=10), data, ckpt_path=tmp_path / "a.ckpt", weights_only=True
    )
    total, parts = recorder.series("train/loss"), recorder.series("train/reconstruction")
    l1 = recorder.series("train/l1")
    weights = [(total[step] - parts[step]) / l1[step] for step in range(1, 13)]
    expected = [0.5 * min(1, done / 10) for done in range(12)]  # done steps before each
    assert weights == pytest.approx(expected, abs=1e-4)
    assert small(penalty_weight=0.5, penalty_warmup=10).loss_weights == {"l1": 0.5}  # outside a fit


def test_validation_has_the_whole_penalty_from_the_first_one_on(make_trainer, recorder, digits):
    make_trainer(InitialValidation(), logger=recorder).fit(small(penalty_weight=0.5, penalty_warmup=10), digits)
    total, parts, l1 = (recorder.series(f"val/{name}") for name in ("loss", "reconstruction", "l1"))
    assert list(total) == [0, 6]
    for step in total:
        assert total[step] == pytest.approx(parts[step] + 0.5 * l1[step], rel=1e-5)


@pytest.mark.filterwarnings("ignore:Found .* module.* in eval mode")
def test_the_penalty_rises_for_a_model_that_was_loaded_for_evaluation_too(make_trainer, recorder, digits):
    make_trainer(logger=recorder).fit(small(penalty_weight=0.5, penalty_warmup=10).eval(), digits)
    total, parts, l1 = (recorder.series(f"train/{name}") for name in ("loss", "reconstruction", "l1"))
    weights = [(total[step] - parts[step]) / l1[step] for step in (1, 3, 6)]
    assert weights == pytest.approx([0.0, 0.1, 0.25], abs=1e-4)


@pytest.mark.parametrize("center", ["zero", "mean", "geometric_median"])
def test_the_decoder_s_bias_starts_where_it_was_asked_to(make_trainer, center):
    data = DigitsDataModule(batch_size=256)
    model = small(center=center, optimizer=lambda params: torch.optim.SGD(params, lr=0.0))
    make_trainer(max_steps=1).fit(model, data)
    x = torch.cat([x for x, _ in data.train_set.batches(100)]).flatten(1)
    truth = {"zero": torch.zeros(64), "mean": x.mean(0), "geometric_median": geometric_median(x)}
    torch.testing.assert_close(model.dictionary.b_dec.detach(), truth[center])


@pytest.fixture
def sorted_data(tmp_path) -> ArraysDataModule:
    """30,000 samples of two numbers in a file that is mapped: first those of 0, then twice as many of 7.5."""
    np.save(tmp_path / "sorted.npy", np.repeat(np.float32([0.0, 7.5, 7.5]), 10_000)[:, None].repeat(2, axis=1))
    return ArraysDataModule(train=str(tmp_path / "sorted.npy"))


def centered(make_trainer, data, center: str = "mean") -> StandardSAE:
    model = StandardSAE((2,), 3, center=center, optimizer=lambda params: torch.optim.SGD(params, lr=0.0))
    make_trainer(max_steps=1, limit_val_batches=0).fit(model, data)
    return model


def test_the_center_is_that_of_samples_drawn_by_the_run_s_seed(make_trainer, sorted_data, monkeypatch):
    found = []
    for seed in ("3", "3", "4"):
        monkeypatch.setenv("PL_GLOBAL_SEED", seed)
        found.append(centered(make_trainer, sorted_data).dictionary.b_dec.detach())
    for center in found:
        # Of 10,000 draws of standard deviation 7.5 √2 / 3 the mean is off by no more than 4.5 / 100 of that.
        torch.testing.assert_close(center, torch.full((2,), 5.0), rtol=0, atol=0.16)
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    median = centered(make_trainer, sorted_data, "geometric_median").dictionary.b_dec.detach()
    torch.testing.assert_close(median, torch.full((2,), 7.5))  # most samples lie there


def test_of_a_mapped_file_no_more_rows_are_read_than_the_center_needs(make_trainer, sorted_data):
    class Counted(np.memmap):
        rows = 0

        def __getitem__(self, key):
            found = super().__getitem__(key)
            Counted.rows += len(found)
            return found

    sorted_data.setup()
    assert isinstance(sorted_data.train_set.x, np.memmap)
    sorted_data.train_set.x = sorted_data.train_set.x.view(Counted)
    centered(make_trainer, sorted_data)
    assert 10_000 <= Counted.rows <= 10_000 + 2 * sorted_data.batch_size  # and a batch is fetched ahead


def test_a_second_fit_keeps_the_bias_that_was_trained(make_trainer, digits):
    model = small(center="mean")
    make_trainer().fit(model, digits)
    trained = model.dictionary.b_dec.detach().clone()
    model.build_optimizer = lambda params: torch.optim.SGD(params, lr=0.0)
    make_trainer(max_steps=1).fit(model, digits)
    assert torch.equal(model.dictionary.b_dec.detach(), trained)


def test_without_samples_to_draw_a_center_is_refused(make_trainer, digits):
    with pytest.raises(ConfigError, match=r"^--model\.center starts from training samples of a data module of ours"):
        make_trainer().fit(small(center="mean"), digits.train_dataloader())


def test_a_stronger_penalty_gives_sparser_codes_and_larger_errors(make_trainer):
    errors, active = [], []
    for weight in (0.0, 0.003):
        data = DigitsDataModule(batch_size=64)
        adam = partial(torch.optim.Adam, lr=5e-3)
        model = small(penalty_weight=weight, init="transpose", optimizer=adam)
        make_trainer(max_epochs=3).fit(model, data)
        x, _ = data.test_set.take(360)
        with torch.no_grad():
            x_hat, z = model(x)
        errors.append(float((x_hat - x).square().mean()))
        active.append(float((z > 0).float().sum(1).mean()))
    assert active[1] < 0.8 * active[0]
    assert errors[1] > errors[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"penalty_weight": -1.0}, "--model.penalty_weight is -1; it must be at least 0"),
        ({"penalty_warmup": -3}, "--model.penalty_warmup is -3; it must be at least 0"),
        ({"instances": 0}, "--model.instances is 0; it must be at least 1"),
    ],
)
def test_what_makes_no_sense_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        small(**options)


def test_an_output_activation_is_applied_where_inputs_are_not_scaled_and_refused_where_they_are():
    model = StandardSAE((6,), 8, output_activation="sigmoid", reconstruction_loss="bce")
    x = torch.rand(5, 6)
    losses, output = model.loss(x)
    expected = (model.encode(x) @ model.dictionary.W_dec + model.dictionary.b_dec).sigmoid()
    torch.testing.assert_close(output.x_hat, expected)
    torch.testing.assert_close(model(x).x_hat, expected)
    torch.testing.assert_close(losses["reconstruction"], torch.nn.functional.binary_cross_entropy(expected, x))
    with pytest.raises(ConfigError, match=r"--model\.output_activation sigmoid .* --model\.input_scaling mean_norm"):
        StandardSAE((6,), 8, output_activation="sigmoid", input_scaling="mean_norm")


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_coefficient_at_its_bound_is_told_of_also_where_gradients_accumulate(accumulate, make_trainer):
    """Ten steps suffice here, as a run of 200 at the bound is written into the count."""
    model = StandardSAE((1, 8, 8), 16, penalty_weight=1e-6, target_l0=0.5)
    model.controller.log_multiplier.fill_(math.log(1000))
    model.controller.steps_at_bound.fill_(250)
    trainer = make_trainer(limit_train_batches=10, accumulate_grad_batches=accumulate, log_every_n_steps=2)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        trainer.fit(model, DigitsDataModule(batch_size=64))
    (sentence,) = [str(each.message) for each in told if issubclass(each.category, Notice)]
    assert sentence.startswith("--model.target_l0 is 0.5, but L0 stays at")

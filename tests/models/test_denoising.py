"""Denoising autoencoders: what they read and are compared with, in training and in evaluation."""

import copy
import math
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Callback

from ae_lightning.callbacks.observing import validation_losses
from ae_lightning.data.digits import DigitsDataModule
from ae_lightning.errors import UserError
from ae_lightning.evaluation import evaluate
from ae_lightning.gallery import Gallery
from ae_lightning.models.checkpoint import load_autoencoder
from ae_lightning.models.denoising import DenoisingAutoencoder
from ae_lightning.nn.corruption import Blocks, Corruption, GaussianNoise, MaskingNoise
from ae_lightning.nn.draws import SampleDraws
from ae_lightning.nn.networks import MLPNetwork
from ae_lightning.report.sections.reconstructions import ReconstructionsSection
from ae_lightning.testing.building import build_variant, quiet_trainer

SHAPE = (1, 8, 8)

FADED = """
from ae_lightning.nn.corruption import Corruption

class Faded(Corruption):
    def __init__(self, most: float):
        super().__init__()
        self.most = most

    def forward(self, x, draws):
        return x * (1 - self.most * draws.uniform(1, 1, 1))
"""


class Halved(Corruption):
    """Without luck, and with a memory of the draws it was given."""

    def __init__(self, factor=0.5):
        super().__init__()
        self.factor = factor
        self.seen = []

    def forward(self, x, draws):
        self.seen.append(draws.uniform(1))
        return self.factor * x


def denoising(corruption="gaussian", **settings):
    torch.manual_seed(0)
    return DenoisingAutoencoder(SHAPE, corruption, latent_dim=4, network=MLPNetwork((16,)), **settings)


@pytest.fixture(scope="module")
def digits():
    data = DigitsDataModule(batch_size=256)
    data.setup()
    return data


def mse(model, read, target):
    with torch.no_grad():
        return float((copy.deepcopy(model).eval()(read).x_hat - target).square().mean())


def test_corrupted_samples_are_read_and_clean_ones_are_to_be_produced(digits):
    model = denoising(Halved())
    x, _ = digits.val_set.take(32)
    losses, output = model.loss(x)
    assert set(losses) == {"loss", "reconstruction"}
    assert float(losses["loss"].detach()) == pytest.approx(mse(model, x / 2, x))
    torch.testing.assert_close(output.z, model.encode(x / 2))
    torch.testing.assert_close(model(x).z, model.encode(x))
    target = 1 - x
    assert float(model.loss(x, target)[0]["loss"].detach()) == pytest.approx(mse(model, x / 2, target))


def test_in_evaluation_the_clean_loss_stands_beside_the_sum_and_not_in_it(digits):
    model = denoising(GaussianNoise(0.5), noise_seed=3).eval()
    x, _ = digits.val_set.take(32)
    losses, _ = model.loss(x)
    corrupted = x + 0.5 * SampleDraws(x, 3).normal(*SHAPE)
    assert float(losses["loss"].detach()) == pytest.approx(mse(model, corrupted, x))
    assert float(losses["reconstruction"].detach()) == pytest.approx(mse(model, corrupted, x))
    assert float(losses["clean"].detach()) == pytest.approx(mse(model, x, x))
    other, _ = denoising(GaussianNoise(0.5), noise_seed=4).eval().loss(x)
    assert float(other["loss"].detach()) != pytest.approx(float(losses["loss"].detach()), rel=1e-6)


def test_validation_is_the_same_each_time_for_any_batch_size_and_as_callbacks_see_it(digits, tmp_path):
    model = denoising()
    trainer = quiet_trainer(tmp_path)

    def validated(batch_size):
        digits.eval_batch_size = batch_size
        return trainer.validate(model, digits, verbose=False)[0]

    first, again, small = validated(1000), validated(1000), validated(37)
    assert set(first) == {"val/loss", "val/reconstruction", "val/clean"}
    assert first == again
    assert small == pytest.approx(first, rel=1e-5)
    assert validation_losses(trainer, model, digits) == pytest.approx(first, rel=1e-5)
    x, _ = digits.val_set.take(10_000)
    corrupted = x + 0.5 * SampleDraws(x, 0).normal(*SHAPE)
    assert first["val/loss"] == pytest.approx(mse(model, corrupted, x), rel=1e-5)
    assert first["val/clean"] == pytest.approx(mse(model, x, x), rel=1e-5)


def draws_of_a_fit(digits, folder, monkeypatch, seed=0, steps=4, callbacks=()):
    """What the corruption was given at each step."""
    monkeypatch.setenv("PL_GLOBAL_SEED", str(seed))
    model = denoising(Halved())
    trainer = quiet_trainer(folder, max_steps=steps, limit_val_batches=0, callbacks=[*callbacks])
    trainer.fit(model, digits)
    return model.corruption.seen


def test_noise_in_training_follows_the_runs_seed_and_the_step_alone(digits, tmp_path, monkeypatch):
    class Drawing(Callback):
        def on_train_batch_start(self, *args):
            torch.rand(3)

    seen = draws_of_a_fit(digits, tmp_path, monkeypatch)
    disturbed = draws_of_a_fit(digits, tmp_path, monkeypatch, callbacks=[Drawing()])
    assert all(torch.equal(one, two) for one, two in zip(seen, disturbed, strict=True))
    other = draws_of_a_fit(digits, tmp_path, monkeypatch, seed=1)
    assert not any(torch.equal(one, two) for one, two in zip(seen, other, strict=True))
    assert len({float(draws[0]) for draws in seen}) == 4


def test_in_a_loop_of_ones_own_noise_is_another_one_at_each_step(digits):
    model = denoising()
    x, _ = digits.val_set.take(8)
    assert not torch.equal(model.corrupted(x), model.corrupted(x))
    model.eval()
    assert torch.equal(model.corrupted(x), model.corrupted(x))


@pytest.mark.parametrize("corruption", [MaskingNoise(0.3, value=0.5), Blocks(3, count=2)])
def test_a_checkpoint_knows_the_corruption(corruption, digits, tmp_path):
    model = denoising(corruption)
    trainer = quiet_trainer(tmp_path, max_steps=1, limit_val_batches=0)
    trainer.fit(model, digits)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    torch.load(tmp_path / "model.ckpt", weights_only=True)
    loaded = load_autoencoder(tmp_path / "model.ckpt")
    assert repr(loaded.corruption) == repr(corruption)
    x, _ = digits.val_set.take(8)
    assert torch.equal(loaded.corrupted(x), model.eval().corrupted(x))


def test_corruptions_are_named_as_a_config_names_them(tmp_path, monkeypatch):
    (tmp_path / "fading.py").write_text(FADED)
    monkeypatch.syspath_prepend(tmp_path)

    def build(corruption):
        part = {"class_path": "DenoisingAutoencoder", "init_args": {"corruption": corruption}}
        return build_variant(part, SHAPE)

    assert repr(build("salt_and_pepper").corruption) == "SaltAndPepper(rate=0.5, low=0.0, high=1.0)"
    masking = build({"class_path": "MaskingNoise", "init_args": {"rate": 0.1}})
    assert repr(masking.corruption) == "MaskingNoise(rate=0.1, value=0.0)"
    own = build({"class_path": "fading.Faded", "init_args": {"most": 0.25}})
    assert float(own.corrupted(torch.ones(100, *SHAPE)).min()) == pytest.approx(0.75, abs=0.02)


def test_what_cannot_be_corrupted_so_is_refused_in_a_sentence():
    with pytest.raises(UserError, match=r"--model\.corruption\.size 8 need images .* is 20"):
        DenoisingAutoencoder((20,), "blocks")
    with pytest.raises(UserError, match=r"--model\.corruption is 'gausian'; it can be gaussian, masking"):
        DenoisingAutoencoder(SHAPE, "gausian")


def test_a_corruption_that_cannot_be_built_again_is_refused():
    class Forgetful(Halved):
        def __init__(self, power):
            super().__init__()

    with pytest.raises(UserError, match=r"Forgetful does not keep its argument power .* write self\.power = power"):
        denoising(Forgetful(2))


def test_pictures_show_clean_corrupted_and_reconstructed(digits):
    model = denoising(Halved()).eval()
    figure = Gallery(model, digits).reconstructions(n=3)
    rows = [ax.get_ylabel() for ax in figure.axes if ax.get_ylabel()]
    assert rows[:4] == ["clean", "corrupted", "reconstruction", "error"]
    clean, corrupted = (figure.axes[row * 3].images[0].get_array()[..., 0].astype(int) for row in (0, 1))
    assert abs(corrupted - clean / 2).max() <= 1
    assert clean.max() > 200


def test_evaluation_measures_corrupted_samples_beside_clean_ones(digits):
    model = denoising(Halved()).eval()
    results = evaluate(model, digits)
    x, _ = digits.test_set.take(10_000)
    corrupted = results["corrupted"]
    assert corrupted["autoencoder"]["mse_per_pixel"] == pytest.approx(mse(model, x / 2, x), rel=1e-5)
    assert corrupted["samples"]["mse_per_pixel"] == pytest.approx(float((x / 2).square().mean()), rel=1e-5)
    assert results["errors"]["test"]["autoencoder"]["mse_per_pixel"] == pytest.approx(mse(model, x, x), rel=1e-5)
    section = ReconstructionsSection(SimpleNamespace(model=model, results=results))
    assert "corrupted" in section.reading("reconstructions")[1]
    (table,) = section.tables()
    numbers = [float(row[1]) for row in table.rows]
    assert numbers == pytest.approx([float((x / 2).square().mean()), mse(model, x / 2, x), mse(model, x, x)], rel=1e-3)
    assert not math.isnan(sum(numbers))

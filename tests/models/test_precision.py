"""Every variant in every precision that a CPU has: it learns, as in float32 within the format's error, and reloads."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import yaml
from lightning.pytorch import Callback, Trainer
from torch import Tensor

from ae_lightning.data.digits import DigitsDataModule
from ae_lightning.errors import ConfigError
from ae_lightning.evaluation.errors import model_errors
from ae_lightning.evaluation.latents import LatentMeter
from ae_lightning.models.base import Autoencoder
from ae_lightning.models.checkpoint import load_autoencoder
from ae_lightning.models.overcomplete import OvercompleteAutoencoder
from ae_lightning.nn.precision import at_least_float32, like_weights
from ae_lightning.testing.building import build_variant
from ae_lightning.testing.digits import ReshapedDigits
from ae_lightning.training.epoch_means import EpochMeans

PATHS = sorted((Path(__file__).parents[2] / "configs" / "model").glob("*.yaml"))

WEIGHTS = {"bf16-mixed": torch.float32, "bf16-true": torch.bfloat16, "64-true": torch.float64}
#: How far val/loss may lie from that in float32, as a part of what was learned. A bfloat16 has eight bits, and ten
#: steps of batch normalization make a few percent of the last bits of a float32, which are lost in sums over pixels.
ROOM = {"bf16-mixed": 0.1, "bf16-true": 0.2, "64-true": 0.05}

SMALL: dict[str, dict[str, Any]] = {
    # Without dropout, whose masks are other ones in another format.
    "deep": {"hidden_dims": (48, 40), "latent_dim": 32, "dropout": 0.0},
    "overcomplete": {"latent_dim": 96},
    "standard_sae": {"latent_dim": 96},
    # Scaled units begin with the fit, and losses before it would have others.
    **{f"{name}_sae": {"latent_dim": 96, "input_scaling": "none"} for name in ("gated", "p_anneal")},
    **{
        f"{name}_sae": {"latent_dim": 96, "k": 8, "input_scaling": "none"}
        for name in ("topk", "batch_topk", "matryoshka")
    },
    "crosscoder": {"latent_dim": 96, "k": 8, "input_scaling": "none"},
    "transcoder": {"latent_dim": 96, "k": 8, "input_scaling": "none", "target_scaling": "none"},
    # Ten steps do not bring L0 down.
    "jumprelu_sae": {"latent_dim": 96, "penalty_weight": 0.01, "input_scaling": "none"},
    "stacked": {"hidden_dims": (48,), "latent_dim": 32, "pretrain_epochs": (1, 0)},
    "toy_model": {"latent_dim": 16},
}


class Trained(NamedTuple):
    """A model after two epochs, its validation losses before and after, and its checkpoint."""

    model: Autoencoder
    trainer: Trainer
    before: float
    after: float
    checkpoint: Path


@pytest.fixture(scope="module")
def data() -> DigitsDataModule:
    """1,293 digits in five training batches."""
    module = DigitsDataModule(batch_size=256, drop_last=True)
    module.setup()
    return module


@functools.cache
def digits_to_produce() -> ReshapedDigits:
    """The digits with themselves for targets."""
    module = ReshapedDigits((1, 8, 8), has_targets=True)
    module.setup()
    return module


@pytest.fixture(scope="module")
def trained(data: DigitsDataModule, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Trained]:
    """Train the variant of a config in a precision, once."""

    @functools.cache
    def train(name: str, precision: str) -> Trained:
        folder = tmp_path_factory.mktemp(f"{name}_{precision}")
        config = yaml.safe_load((PATHS[0].parent / f"{name}.yaml").read_text())
        torch.manual_seed(0)
        settings = {**(config.get("init_args") or {}), **SMALL.get(name, {})}
        model = build_variant({**config, "init_args": settings}, data.input_shape)
        model.build_optimizer = functools.partial(torch.optim.Adam, lr=0.01, fused=True)
        trainer = Trainer(
            accelerator="cpu",
            max_epochs=2,
            precision=precision,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            default_root_dir=folder,
        )
        own = digits_to_produce() if model.needs_targets else data
        (before,) = trainer.validate(model, own, verbose=False)
        trainer.fit(model, own)
        trainer.save_checkpoint(folder / "last.ckpt")
        after = float(trainer.callback_metrics["val/loss"])
        return Trained(model, trainer, before["val/loss"], after, folder / "last.ckpt")

    return train


each = pytest.mark.parametrize("precision", WEIGHTS)
every_config = pytest.mark.parametrize("name", [path.stem for path in PATHS])


@each
@every_config
def test_it_learns_as_in_float32(trained, name, precision):
    run, exact = trained(name, precision), trained(name, "32-true")
    # Thresholds and gates, whose steps are small, stay wide.
    wide = torch.promote_types(WEIGHTS[precision], torch.float32)
    formats = {
        value: wide if name.startswith("dictionary.activation.") else WEIGHTS[precision]
        for name, value in run.model.named_parameters()
    }
    assert {value: value.dtype for value in formats} == formats
    (optimizer,) = run.trainer.optimizers
    moments = {value: state["exp_avg_sq"].dtype for value, state in optimizer.state.items()}
    assert moments == {value: formats[value] for value in optimizer.param_groups[0]["params"]}
    assert exact.after < 0.95 * exact.before
    learned = exact.before - exact.after
    assert run.before == pytest.approx(exact.before, rel=0.02)
    assert run.after == pytest.approx(exact.after, abs=ROOM[precision] * learned)


@each
@every_config
def test_a_checkpoint_gives_the_same_weights_and_can_be_measured(trained, data, name, precision):
    run = trained(name, precision)
    loaded = load_autoencoder(run.checkpoint)
    expected = torch.float64 if precision == "64-true" else torch.float32
    assert {value.dtype for value in loaded.parameters()} == {expected}
    for own, back in zip(run.model.state_dict().values(), loaded.state_dict().values(), strict=True):
        torch.testing.assert_close(back, own.to(back.dtype), rtol=0, atol=0, equal_nan=True)
    data = digits_to_produce() if loaded.needs_targets else data
    errors = model_errors(loaded, data.val_set, 256).compute()
    x = data.val_set.take(len(data.val_set))[0].double().numpy()
    with torch.no_grad():
        x_hat = loaded(torch.from_numpy(x).to(expected)).x_hat.double().numpy()
    assert errors["mse_per_pixel"] == pytest.approx(np.square(x_hat - x).mean(), rel=1e-5)
    meter = LatentMeter(loaded)
    meter.measure(data.val_set, 256)
    assert 0 < meter.statistics()["l0"] <= loaded.latent_size


@pytest.mark.parametrize("precision", ["bf16-true", "64-true"])
def test_validation_losses_are_summed_in_float32_at_least(trained, data, precision):
    run = trained("overcomplete", precision)
    x = like_weights(run.model, data.val_set.take(len(data.val_set))[0])
    with torch.no_grad():
        x_hat = run.model(x).x_hat.double()
    truth = float((x_hat - x.double()).square().mean())
    assert run.after == pytest.approx(truth, rel=1e-6 if precision == "bf16-true" else 1e-12)


def test_means_over_an_epoch_keep_the_digits_of_float64_and_do_not_add_up_in_bfloat16():
    double, half = EpochMeans(), EpochMeans()
    for _ in range(1000):
        double.add({"loss": torch.tensor(1 / 3, dtype=torch.float64)}, 7)
        half.add({"loss": torch.tensor(0.5, dtype=torch.bfloat16)}, 7)
    assert float(double.compute()["loss"]) == pytest.approx(1 / 3, rel=1e-13)
    assert float(half.compute()["loss"]) == 0.5  # in bfloat16 the sum would stop at 1024


def test_float16_weights_are_refused(digits, make_trainer):
    model = OvercompleteAutoencoder((1, 8, 8), 16)
    with pytest.raises(ConfigError, match=r"float16 cannot be trained.*bf16-true"):
        make_trainer(precision="16-true").fit(model, digits)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_narrow_formats_are_widened_and_others_left_alone(given: torch.dtype, expected: torch.dtype):
    x: Tensor = torch.tensor([1.0, -0.5], dtype=given)
    assert at_least_float32(x).dtype == expected
    assert at_least_float32(x).tolist() == [1.0, -0.5]


@pytest.mark.parametrize("algorithm", ["norm", "value"])
def test_gradients_are_clipped_in_bfloat16_beside_a_fused_optimizer(algorithm, make_trainer, digits):
    class Largest(Callback):
        def on_train_batch_end(self, trainer, pl_module, *args):
            gradients = [p.grad.flatten() for p in pl_module.parameters()]
            self.norm, self.value = float(torch.cat(gradients).norm()), float(torch.cat(gradients).abs().max())

    seen = Largest()
    options = {"gradient_clip_val": 1e-3, "gradient_clip_algorithm": algorithm, "max_steps": 2, "max_epochs": -1}
    make_trainer(seen, precision="bf16-mixed", **options).fit(OvercompleteAutoencoder((1, 8, 8), 32), digits)
    assert getattr(seen, algorithm) == pytest.approx(1e-3, rel=1e-3)

"""A folded model, scaling and norms in its weights, biases and thresholds, gives what the model gave."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from ae_lightning.data.digits import DigitsDataModule
from ae_lightning.errors import ConfigError
from ae_lightning.models.checkpoint import load_autoencoder
from ae_lightning.models.gated_sae import GatedSAE
from ae_lightning.models.jumprelu_sae import JumpReLUSAE
from ae_lightning.models.matryoshka_sae import MatryoshkaSAE
from ae_lightning.models.scaled_dictionary import ScaledDictionary
from ae_lightning.models.sparse_dictionary import SparseDictionary
from ae_lightning.models.standard_sae import StandardSAE
from ae_lightning.models.topk_sae import BatchTopKSAE, TopKSAE
from ae_lightning.nn.batch_topk import BatchTopK
from ae_lightning.nn.code_activation import CodeActivation
from ae_lightning.training.trainer import trainer_of

SHAPE, LATENTS, OFFSET = (3, 4), 30, 100.0
SCALINGS = ["none", "mean_norm", "mean_square", "centered", "centered_mean_norm", "centered_mean_square", "whitened"]
# Options with which some latents fire and some do not, also where an offset of 100 leaves scaled data little spread.
VARIANTS: dict[str, Callable[..., SparseDictionary]] = {
    "standard": lambda **options: StandardSAE(SHAPE, LATENTS, **{"init": "transpose", "norm_weighted": True} | options),
    "topk": lambda **options: TopKSAE(SHAPE, LATENTS, k=4, **options),
    "group max": lambda **options: TopKSAE(SHAPE, LATENTS, k=6, groups=True, **options),
    "batch_topk": lambda **options: BatchTopKSAE(SHAPE, LATENTS, k=3.5, momentum=0.5, **options),
    "matryoshka": lambda **options: MatryoshkaSAE(SHAPE, LATENTS, k=4, **options),
    "matryoshka of topk": lambda **options: MatryoshkaSAE(SHAPE, LATENTS, k=4, select="sample", **options),
    "jumprelu": lambda **options: JumpReLUSAE(SHAPE, LATENTS, threshold=0.002, penalty_weight=1e-3, **options),
    "gated": lambda **options: GatedSAE(SHAPE, LATENTS, penalty_weight=1e-3, **options),
}
SELECTING = ["topk", "group max", "batch_topk", "matryoshka", "matryoshka of topk"]


def data(*lead: int) -> Tensor:
    """Correlated samples with deviations about 1, which lie at 100; of each instance, with `lead`, its own."""
    g = torch.Generator().manual_seed(0)
    mixing = torch.eye(12) + 0.3 * torch.randn(*lead, 12, 12, generator=g)
    x = (torch.randn(*lead, 400, 12, generator=g) @ mixing + OFFSET).unflatten(-1, SHAPE)
    return x.transpose(0, 1) if lead else x


def trained(model: SparseDictionary, x: Tensor) -> SparseDictionary:
    """The model after some steps, each with the bookkeeping that a trainer does."""
    model.start_from(model.flatten(x), torch.Generator().manual_seed(1))
    spread = float(model.inputs(x).std(dim=-2).mean())  # small beside 1 where a factor alone scales what lies far off
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3 * min(1, spread))
    activation = model.dictionary.activation
    for batch in x.to(model.dictionary.b_dec).split(50):
        optimizer.zero_grad()
        losses, output = model.loss(batch)
        losses["loss"].backward()
        optimizer.step()
        model.observe(output)
        if isinstance(activation, CodeActivation):
            activation.advance(lambda value, operation: value)
    return model.eval()


def unlike(model: ScaledDictionary, folded: ScaledDictionary, x: Tensor, flips: float = 0.01) -> tuple[float, float]:
    """How far the folded output is off, in parts of the norm of the output, and of what of it varies.

    A pre-activation within rounding of a threshold may fall on its other side: such samples, no more than a part
    `flips`, are not compared.
    """
    with torch.no_grad():
        (x_hat, z), (found, found_z) = (one(x.to(one.dictionary.b_dec)) for one in (model, folded))
    assert 0.02 < float((z > 0).double().mean()) < 0.98
    same = ((z > 0) == (found_z > 0)).all(-1)
    assert float((~same).double().mean()) <= flips
    off = (found - x_hat)[same].double().norm()
    varies = x_hat - x_hat.mean(-3, keepdim=True)
    norms = model.dictionary.decoder_norms.detach().unsqueeze(-2)
    torch.testing.assert_close(found_z[same], (z * norms)[same], rtol=1e-3, atol=1e-4 * float((z * norms).max()))
    return float(off / x_hat[same].double().norm()), float(off / varies[same].double().norm())


def build(variant: str, seed: int = 0, **options: Any) -> SparseDictionary:
    torch.manual_seed(seed)
    return VARIANTS[variant](**options)


@pytest.fixture
def in_float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_output_stays_for_each_scaling_of_data_that_lie_far_from_zero(variant: str) -> None:
    x = data()
    for name in SCALINGS:
        center = "zero" if name.startswith(("centered", "whitened")) else "mean"
        model = trained(build(variant, input_scaling=name, center=center), x)
        folded = model.fold()
        of_output, of_spread = unlike(model, folded, x)
        assert of_output < 1e-6, name
        assert of_spread < 1e-4, name
        assert folded.hparams["input_scaling"] == "none"


@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(
    "options",
    [{"tied": True}, {"unit_norm": True}, {"tied": True, "unit_norm": True}, {"instances": 3}],
    ids=["tied", "unit norm", "tied unit norm", "instances"],
)
def test_the_output_stays_to_the_last_digits_in_float64(variant: str, options: dict[str, Any]) -> None:
    x = data(3) if "instances" in options else data()
    model = trained(build(variant, input_scaling="whitened", **options), x.double())
    folded = model.fold()
    assert unlike(model, folded, x, flips=0)[1] < 1e-11
    assert folded.dictionary.W_dec is not None
    assert not folded.dictionary.unit_norm


@pytest.mark.parametrize("variant", SELECTING)
def test_a_selection_without_norms_is_folded_where_these_are_equal(variant: str) -> None:
    x = data()
    model = trained(build(variant, norm_weighted=False, unit_norm=True), x)
    assert unlike(model, model.fold(), x)[0] < 1e-6
    unequal = trained(build(variant, norm_weighted=False), x)
    with pytest.raises(ConfigError, match=r"cannot be folded .* weigh the selection by the norms, or hold them equal"):
        unequal.fold()
    with torch.no_grad():
        unequal.dictionary.W_dec.div_(unequal.dictionary.decoder_norms.unsqueeze(-1) / 3)
    folded = unequal.fold()
    assert unlike(unequal, folded, x)[0] < 1e-6
    torch.testing.assert_close(folded.encode(x), 3 * unequal.encode(x), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("variant", VARIANTS)
def test_samples_that_are_scaled_each_by_itself_cannot_be_folded(variant: str) -> None:
    with pytest.raises(ConfigError, match=r"^an input scaling that depends on each sample \(standardized\) cannot be"):
        build(variant, input_scaling="standardized").fold()


def test_a_calibrated_threshold_is_folded_too() -> None:
    x = data()
    for weighted in (True, False):
        model = trained(build("batch_topk", norm_weighted=weighted), x)
        with torch.no_grad():
            model.dictionary.decoder_rows.div_(model.dictionary.decoder_norms.unsqueeze(-1) / 3)
        activation = model.dictionary.activation
        assert isinstance(activation, BatchTopK)
        activation.calibrate(1.5 * activation.threshold)
        assert unlike(model, model.fold(), x)[0] < 1e-6


class FoldsAtEachStep(Callback):
    """Compares the model in a fit with its folded copy, and trains on with nothing of it changed."""

    off: list[float]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.off = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, SparseDictionary)
        folded = pl_module.fold()
        assert folded._trainer is None
        x = batch[0]
        with torch.no_grad():
            found, truth = folded.eval()(x).x_hat, pl_module.eval()(x).x_hat
            pl_module.train()
        self.off.append(float((found - truth).norm() / truth.norm()))


@pytest.mark.parametrize("variant", ["topk", "batch_topk", "matryoshka", "jumprelu", "gated", "standard"])
def test_a_model_in_a_fit_is_folded_and_saved_and_trains_on(
    variant: str, make_trainer: Callable[..., Trainer], digits: DigitsDataModule, tmp_path: Path
) -> None:
    kinds: dict[str, Callable[..., SparseDictionary]] = {
        "topk": lambda: TopKSAE((1, 8, 8), 90, k={"start": 20, "end": 5, "until": 0.9}),
        "batch_topk": lambda: BatchTopKSAE((1, 8, 8), 90, k={"start": 20, "end": 5.5, "until": 0.9}, momentum=0.5),
        "matryoshka": lambda: MatryoshkaSAE((1, 8, 8), 96, k=5),
        "jumprelu": lambda: JumpReLUSAE((1, 8, 8), 90, target_l0=20),
        "gated": lambda: GatedSAE((1, 8, 8), 90, instances=2),
        "standard": lambda: StandardSAE((1, 8, 8), 90, tied=True, unit_norm=True, input_scaling="whitened"),
    }
    torch.manual_seed(0)
    plain, model, looked_at = kinds[variant](), kinds[variant](), FoldsAtEachStep()
    model.load_state_dict(plain.state_dict())
    make_trainer().fit(plain, digits)
    make_trainer(looked_at).fit(model, digits)
    torch.testing.assert_close(model.state_dict(), plain.state_dict(), rtol=0, atol=0, equal_nan=True)
    # A latent near its threshold may fire in one of them alone.
    assert max(looked_at.off) < 1e-2
    assert sorted(looked_at.off)[3] < 1e-5

    folded = model.fold()
    x = digits.test_set.take(100)[0]
    trainer = make_trainer()
    trainer.validate(folded, digits, verbose=False)
    trainer.save_checkpoint(tmp_path / "folded.ckpt")
    loaded = load_autoencoder(tmp_path / "folded.ckpt")
    assert isinstance(loaded, ScaledDictionary)
    with torch.no_grad():
        assert torch.equal(loaded(x).x_hat, folded.eval()(x).x_hat)
        assert float((loaded(x).x_hat - model.eval()(x).x_hat).norm() / loaded(x).x_hat.norm()) < 1e-5
    assert (loaded.dictionary.unit_norm, loaded.norm_weighted, loaded.scaling.is_fitted) == (False, False, True)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    make_trainer(max_steps=2).fit(loaded, digits)
    assert all(bool(value.isfinite().all()) for value in loaded.parameters())
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0, equal_nan=True)


def test_a_folded_copy_of_a_compiled_model_computes_its_own_loss() -> None:
    x = data()
    model = trained(build("topk", input_scaling="centered_mean_norm"), x)
    model.compile_loss(backend="eager")
    folded = model.fold()
    with torch.no_grad():
        folded.dictionary.b_dec.add_(1)
        error = (folded(x).x_hat - x).square().mean()
        assert float(folded.loss(x)[0]["reconstruction"]) == pytest.approx(float(error), rel=1e-5)


def test_the_copy_is_in_no_trainer(make_trainer, digits):
    """Nor is the trainer copied, which may hold what cannot be, as the lock of a group of processes."""
    model = TopKSAE((1, 8, 8), 70, k=4)
    trainer = make_trainer(max_steps=1, limit_val_batches=0)
    trainer.fit(model, digits)
    trainer.lock = threading.Lock()
    folded = model.fold()
    assert trainer_of(folded) is None
    assert trainer_of(model) is trainer

"""An instance of a population is what a fit of its settings alone gives: its start, its steps, what is loaded of it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from torch import Tensor

from ae_lightning.callbacks.calibrate_threshold import CalibrateThreshold
from ae_lightning.callbacks.decoder_norm import DecoderNorm
from ae_lightning.callbacks.resampling import ResampleDeadLatents
from ae_lightning.data.gaussian import GaussianDataModule
from ae_lightning.data.sparse_features import SparseFeaturesDataModule
from ae_lightning.errors import ConfigError
from ae_lightning.models import (
    BatchTopKSAE,
    GatedSAE,
    JumpReLUSAE,
    MatryoshkaSAE,
    OvercompleteAutoencoder,
    PAnnealSAE,
    StandardSAE,
    TopKSAE,
    ToyModel,
)
from ae_lightning.models.checkpoint import load_autoencoder

INPUT, LATENTS = 6, 16
SEEDS = [3, 0, 3]
LISTS: dict[str, dict[str, list[Any]]] = {
    "standard": {"penalty_weight": [0.01, 0.1, 0.3]},
    "standard_l0": {"target_l0": [2.0, 4.5, 8.0]},
    "jumprelu": {"penalty_weight": [0.1, 0.4, 0.1], "threshold": [0.1, 0.2, 0.4]},
    "gated": {"penalty_weight": [0.1, 0.4, 1.0]},
    "p_anneal": {"penalty_weight": [0.1, 0.4, 1.0]},
    "topk": {"k": [2, 4, 8]},
    "topk_sparse": {"k": [2, 4, 8]},
    "batch_topk": {"k": [2.0, 3.5, 8.0]},
    "matryoshka": {"k": [2.0, 3.5, 8.0]},
}
OTHERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "standard": (StandardSAE, {}),
    "standard_l0": (StandardSAE, {}),
    "jumprelu": (JumpReLUSAE, {}),
    "gated": (GatedSAE, {}),
    "p_anneal": (PAnnealSAE, {"p_steps": 3}),
    "topk": (TopKSAE, {"dead_after": 40, "auxk_weight": 0.1}),
    "topk_sparse": (TopKSAE, {"arithmetic": "sparse"}),
    "batch_topk": (BatchTopKSAE, {}),
    "matryoshka": (MatryoshkaSAE, {"random_prefixes": 3}),
    "overcomplete": (OvercompleteAutoencoder, {}),
    "from_samples": (StandardSAE, {"init": "samples", "center": "mean", "input_scaling": "mean_norm"}),
}


def made(name: str, **options: Any) -> Any:
    """A population of three, of the variant's lists and SEEDS."""
    kind, others = OTHERS[name]
    return kind((INPUT,), LATENTS, **{**others, **LISTS.get(name, {}), "seed": SEEDS, **options})


def alone(name: str, number: int, **options: Any) -> Any:
    """The single model with the settings of an instance."""
    own = {key: values[number] for key, values in {**LISTS.get(name, {}), "seed": SEEDS}.items()}
    return made(name, **own, **options)


def data() -> GaussianDataModule:
    return GaussianDataModule(dim=INPUT, rank=3, num_train=120, num_val=30, num_test=12, batch_size=24)


def fitted(
    make_trainer: Any, model: LightningModule, *callbacks: Any, ckpt_path: Path | None = None, **options: Any
) -> Trainer:
    torch.manual_seed(5)
    trainer = make_trainer(*callbacks, **{"max_epochs": 3, "precision": "64-true"} | options)
    trainer.fit(model, data(), ckpt_path=ckpt_path, weights_only=True)
    return trainer


def distance(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    assert one.keys() == other.keys()
    return max(float((value.double() - other[name].double()).abs().max()) for name, value in one.items())


@pytest.mark.parametrize("name", OTHERS)
def test_an_instance_is_what_a_fit_of_its_settings_alone_gives(name, make_trainer):
    population = made(name)
    fitted(make_trainer, population, gradient_clip_val=0.3)
    own = population.validation_loss_of_each()
    for number in range(3):
        single = alone(name, number)
        trainer = fitted(make_trainer, single, gradient_clip_val=0.3)
        assert distance(single.state_dict(), population.instance(number).state_dict()) < 1e-8, number
        assert float(own[number]) == pytest.approx(float(trainer.callback_metrics["val/loss"]), rel=1e-6)


def test_callbacks_that_edit_weights_do_it_for_each_instance_alone(make_trainer):
    def callbacks() -> list[Any]:
        return [DecoderNorm(), ResampleDeadLatents(every=6, window=3, examples=40, stop_after=12)]

    def build(weight: Any, seed: Any) -> StandardSAE:
        return StandardSAE((INPUT,), LATENTS, penalty_weight=weight, seed=seed, init="transpose", optimizer=fast)

    population = build([0.1, 3.0, 1.0], [3, 0, 1])
    start = population.state_dict()["dictionary.W_enc"].clone()
    fitted(make_trainer, population, *callbacks())
    assert not torch.equal(start, population.state_dict()["dictionary.W_enc"])
    for number, (weight, seed) in enumerate([(0.1, 3), (3.0, 0), (1.0, 1)]):
        fitted(make_trainer, single := build(weight, seed), *callbacks())
        assert distance(single.state_dict(), population.instance(number).state_dict()) < 1e-8, number


def fast(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=0.03)


def test_a_calibrated_threshold_gives_each_instance_its_own_k(make_trainer):
    population = made("batch_topk", k=[1.0, 2.0, 3.5])
    trainer = fitted(make_trainer, population, CalibrateThreshold())
    population.eval()
    x = trainer.datamodule.val_set.take(30)[0].double()
    l0 = (population(x).z != 0).sum(-1).double().mean(-1)
    torch.testing.assert_close(l0, torch.tensor([1.0, 2.0, 3.5], dtype=torch.float64), atol=0.02, rtol=0)


class SavesAmidAnEpoch(Callback):
    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        if trainer.global_step == 7:
            trainer.save_checkpoint(self.path)


@pytest.mark.parametrize("name", ["topk", "jumprelu", "standard_l0"])
def test_a_run_that_goes_on_from_amid_an_epoch_ends_the_same(name, make_trainer, tmp_path):
    fitted(make_trainer, whole := made(name), SavesAmidAnEpoch(tmp_path / "seven.ckpt"))
    fitted(make_trainer, resumed := made(name, seed=[9, 9, 9]), ckpt_path=tmp_path / "seven.ckpt")
    assert distance(whole.state_dict(), resumed.state_dict()) == 0


def gradients(model: Any, x: Tensor, mixed: bool) -> dict[str, Tensor]:
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
        loss = model.loss(x)[0]["loss"]
    loss.backward()
    return {name: parameter.grad.double() for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("name", ["standard", "topk", "topk_sparse", "batch_topk", "jumprelu", "gated"])
def test_in_mixed_precision_gradients_are_as_exact_as_alone(name):
    """Beside those in float32: small differences grow with the steps, so that ends of fits differ by more than this."""
    x = torch.randn(24, INPUT, generator=torch.Generator().manual_seed(0))
    together = gradients(made(name), x, mixed=True)
    ours = theirs = 0.0
    for number in range(3):
        single, exact = (gradients(alone(name, number), x, mixed) for mixed in (True, False))
        for key, value in exact.items():
            size = float(value.norm()) or 1.0
            ours += float((together[key][number] - value).norm()) / size
            theirs += float((single[key] - value).norm()) / size
    assert 0 < ours <= 1.2 * theirs


@pytest.mark.parametrize("name", ["standard", "topk", "jumprelu"])
def test_in_mixed_precision_it_ends_where_a_fit_alone_does(name, make_trainer):
    fitted(make_trainer, population := made(name), precision="bf16-mixed")
    for number, loss in enumerate(population.validation_loss_of_each().tolist()):
        trainer = fitted(make_trainer, alone(name, number), precision="bf16-mixed")
        assert loss == pytest.approx(float(trainer.callback_metrics["val/loss"]), rel=0.03), number


@pytest.mark.parametrize("name", OTHERS)
def test_an_instance_starts_bit_for_bit_as_a_single_model_of_its_seed(name):
    torch.manual_seed(1)
    population = made(name)
    samples = torch.randn(60, INPUT, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(2)  # which plays no part
    if name == "from_samples":
        population.start_from(samples, [torch.Generator().manual_seed(seed) for seed in SEEDS])
    for number, seed in enumerate(SEEDS):
        single = alone(name, number)
        if name == "from_samples":
            single.start_from(samples, torch.Generator().manual_seed(seed))
        for key, value in single.state_dict().items():
            assert torch.equal(population.instance(number).state_dict()[key], value), key
    assert not torch.equal(population.encoder_vectors[0], population.encoder_vectors[1])


@pytest.mark.parametrize("init", ["linear", "kaiming", "xavier", "transpose"])
@pytest.mark.parametrize("tied", [False, True])
def test_seeds_draw_what_torch_draws_from_that_seed(init, tied):
    """A single model without a seed, built right after torch was seeded, has the same weights."""
    population = StandardSAE((INPUT,), LATENTS, init=init, tied=tied, seed=[4, 8])
    for number, seed in enumerate([4, 8]):
        torch.manual_seed(seed)
        single = StandardSAE((INPUT,), LATENTS, init=init, tied=tied)
        for key, value in single.state_dict().items():
            assert torch.equal(population.state_dict()[key][number], value), key


def test_a_seed_leaves_the_global_random_numbers_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    ToyModel((5,), seed=[1, 2])
    assert torch.equal(torch.rand(3), expected)


def test_settings_are_told_for_each_instance():
    model = TopKSAE((INPUT,), LATENTS, k=[2, 4], seed=[0, 1])
    assert model.instances == 2
    assert model.instance_settings == [{"k": 2, "seed": 0}, {"k": 4, "seed": 1}]
    assert TopKSAE((INPUT,), LATENTS, k=2, seed=5, instances=2).instance_settings == [{}, {}]
    assert TopKSAE((INPUT,), LATENTS, k=2, seed=5).instance_settings == []


def test_one_instance_is_loaded_as_a_single_model(make_trainer, tmp_path):
    population = made("jumprelu", target_l0=[2.0, 4.0, 6.0])
    fitted(make_trainer, population, precision="32-true").save_checkpoint(tmp_path / "last.ckpt")
    single = load_autoencoder(tmp_path / "last.ckpt", instance=1)
    assert single.instances is None
    assert (single.hparams["seed"], single.hparams["target_l0"], single.hparams["penalty_weight"]) == (0, 4.0, 0.4)
    assert single.images_seen == 360
    assert not single.training
    x = torch.randn(9, INPUT)
    population.eval()
    torch.testing.assert_close(single(x).x_hat, population(x).x_hat[1])
    assert float(single.controller.multiplier) == float(population.controller.multiplier[1])
    for number in (3, -1):
        with pytest.raises(ConfigError, match=f"asked for is {number}, but the JumpReLUSAE has 3 instances, 0 to 2"):
            load_autoencoder(tmp_path / "last.ckpt", instance=number)


def test_an_instance_of_a_toy_model_keeps_its_importance():
    model = ToyModel((3,), importance=[[1.0], [1.0, 0.5, 0.25]], instances=2, seed=[0, 1])
    x = torch.rand(7, 3)
    losses = [float(model.instance(number).loss(x)[0]["loss"]) for number in range(2)]
    assert sum(losses) == pytest.approx(float(model.loss(x)[0]["loss"]))
    assert losses[0] != pytest.approx(losses[1], rel=1e-3)


@pytest.mark.parametrize(
    ("options", "callbacks", "named"),
    [
        ({"optimizer": lambda p: torch.optim.LBFGS(p)}, [], "--model.optimizer LBFGS"),
        ({"optimizer": lambda p: torch.optim.Adafactor(p)}, [], "--model.optimizer Adafactor"),
        ({"lr_scheduler": torch.optim.lr_scheduler.ReduceLROnPlateau}, [], "--model.lr_scheduler ReduceLROnPlateau"),
        ({}, [EarlyStopping("val/loss")], "EarlyStopping"),
    ],
)
def test_what_acts_on_all_instances_together_is_refused(options, callbacks, named, make_trainer):
    with pytest.raises(ConfigError, match=f"as if alone, but {named} acts on all of them together"):
        fitted(make_trainer, made("standard", **options), *callbacks, precision="32-true")
    one = StandardSAE((INPUT,), LATENTS, instances=1, **options)
    fitted(make_trainer, one, *callbacks, max_epochs=1, precision="32-true")


def test_a_start_of_all_instances_as_one_tensor_has_no_seeds():
    with pytest.raises(ConfigError, match=r"draws each by itself: set --model.init kaiming, or leave the seed out"):
        StandardSAE((INPUT,), LATENTS, init="kaiming_joint", seed=[0, 1])


class SummedPenalty(StandardSAE):
    """A variant of somebody's whose penalty is a sum over instances."""

    def sparsity_terms(self, done: Any) -> dict[str, Tensor]:
        return {name: term.sum() for name, term in super().sparsity_terms(done).items()}


def test_a_sum_over_instances_has_no_weight_for_each():
    x = torch.rand(4, INPUT)
    SummedPenalty((INPUT,), LATENTS, penalty_weight=0.1, instances=2).loss(x)
    with pytest.raises(ValueError, match="a sum over instances cannot have a weight for each: give one term for each"):
        SummedPenalty((INPUT,), LATENTS, penalty_weight=[0.1, 0.2]).loss(x)


@pytest.mark.slow
def test_eight_sparsities_in_one_fit_lie_on_the_frontier_of_eight_fits(make_trainer):
    """On sparse sums of known features: L0 and fraction of variance unexplained on the test set, written out.

    In float64: in float32 a latent that fires on one side of a rounding alone leads the two apart by a hundredth.
    """
    sparsities = [1, 2, 3, 4, 6, 8, 12, 16]

    def point(k: Any) -> Tensor:
        model = TopKSAE((48,), 96, k=k, seed=1)
        world = SparseFeaturesDataModule(
            features=48, probability=0.1, batch_size=256, steps_per_epoch=60, num_val=64, num_test=2048
        )
        torch.manual_seed(0)
        make_trainer(max_epochs=2, limit_val_batches=0, precision="64-true").fit(model, world)
        world.setup("test")
        x = world.test_set.take(2048)[0].double()
        with torch.no_grad():
            output = model.eval()(x)
        l0 = (output.z > 0).sum(-1).double().mean(-1)
        unexplained = (output.x_hat - x).square().sum((-2, -1)) / (x - x.mean(0)).square().sum()
        return torch.stack((l0, unexplained), dim=-1)

    together = point(sparsities)
    alone = torch.stack([point(k) for k in sparsities])
    torch.testing.assert_close(together, alone, rtol=1e-7, atol=0)
    assert bool((alone[1:, 1] < alone[:-1, 1]).all())

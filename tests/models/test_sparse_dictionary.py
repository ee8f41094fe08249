"""What all sparse dictionaries share, in training on digits: 6 batches of 256 an epoch."""

from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from ae_lightning.data.digits import DigitsDataModule
from ae_lightning.errors import ConfigError
from ae_lightning.models.checkpoint import load_autoencoder
from ae_lightning.models.gated_sae import GatedSAE
from ae_lightning.models.jumprelu_sae import JumpReLUSAE
from ae_lightning.models.matryoshka_sae import MatryoshkaSAE
from ae_lightning.models.p_anneal_sae import PAnnealSAE
from ae_lightning.models.sparse_dictionary import SparseDictionary
from ae_lightning.models.standard_sae import StandardSAE
from ae_lightning.models.topk_sae import BatchTopKSAE, TopKSAE
from ae_lightning.nn.scaling import InputScalingName
from ae_lightning.testing.outputs import evaluated

SHAPE, LATENTS, STEPS = (1, 8, 8), 96, 6
#: Latents die within two steps, so that AuxK has some.
DYING = {"dead_after": 300, "auxk_weight": 1 / 32}
VARIANTS: dict[str, tuple[type[SparseDictionary], dict[str, Any]]] = {
    "standard": (StandardSAE, {"penalty_weight": 0.001, **DYING}),
    "topk": (TopKSAE, {"k": 4, **DYING}),
    "topk of groups": (TopKSAE, {"k": 4, "groups": True}),
    "batch topk": (BatchTopKSAE, {"k": 4.5, **DYING}),
    "matryoshka": (MatryoshkaSAE, {"k": 4, **DYING}),
    "matryoshka of topk": (MatryoshkaSAE, {"k": 4, "select": "sample"}),
    "jumprelu": (JumpReLUSAE, {"target_l0": 5.0, "preactivation_weight": 0.01, "dead_after": 300}),
    "gated": (GatedSAE, {**DYING}),
    "p-annealing": (PAnnealSAE, {**DYING}),
}

every_variant = pytest.mark.parametrize("name", VARIANTS)


def adam(params: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(params, lr=0.01)


def made(name: str, seed: int = 0, **options: Any) -> SparseDictionary:
    torch.manual_seed(seed)
    kind, own = VARIANTS[name]
    return kind(SHAPE, LATENTS, **{"optimizer": adam, **own, **options})


@pytest.fixture
def data() -> DigitsDataModule:
    return DigitsDataModule(batch_size=256)


@pytest.fixture
def error(data: DigitsDataModule) -> Callable[[SparseDictionary], float]:
    """Squared error of the digits of the test, relative to their variance."""
    data.setup()
    x, _ = data.test_set.take(360)

    def measure(model: SparseDictionary) -> float:
        return float((evaluated(model, x).x_hat - x).square().sum() / (x - x.mean(0)).square().sum())

    return measure


def of_instance(state: dict[str, Tensor], number: int, like: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value if value.shape == like[name].shape else value[number] for name, value in state.items()}


@every_variant
def test_an_instance_learns_in_a_fit_as_it_would_alone(name, data, make_trainer):
    """Weights, thresholds, counts, controllers, the factors of p: all that is kept.

    In float64, since a power of p below 1 makes much of a rounding near zero.
    """
    many, alone = made(name, instances=2), [made(name), made(name)]
    for number, member in enumerate(alone):
        member.load_state_dict(of_instance(many.state_dict(), number, member.state_dict()))
    make_trainer(max_epochs=2, precision="64-true").fit(many, data)
    for number, member in enumerate(alone):
        make_trainer(max_epochs=2, precision="64-true").fit(member, data)
        expected = member.state_dict()
        for part, value in of_instance(many.state_dict(), number, expected).items():
            torch.testing.assert_close(value, expected[part], rtol=1e-6, atol=1e-8, equal_nan=True, msg=part)


@every_variant
def test_resumed_it_ends_bit_for_bit_as_uninterrupted(name, data, make_trainer, tmp_path):
    options = {"k": {"start": 20, "end": 4, "until": 0.9}} if "topk" in name and "groups" not in name else {}
    whole = make_trainer(max_epochs=2)
    whole.fit(ended := made(name, **options), data)
    first = make_trainer(max_epochs=2)
    model = made(name, **options)
    stop_after(first, model, data, steps=STEPS, path=tmp_path / "a.ckpt")
    resumed = made(name, seed=1, **options)
    make_trainer(max_epochs=2).fit(resumed, data, ckpt_path=tmp_path / "a.ckpt", weights_only=True)
    expected = ended.state_dict()
    different = [part for part, value in resumed.state_dict().items() if not same(value, expected[part])]
    assert different == []


def stop_after(trainer: Any, model: Any, data: Any, steps: int, path: Any) -> None:
    """Train as if to the end, and save when so many steps are done."""

    def save(*args: Any) -> None:
        if trainer.global_step == steps and not path.exists():
            trainer.save_checkpoint(path)

    model.on_train_epoch_end = save  # of the first epoch
    trainer.fit(model, data)


def same(one: Tensor, other: Tensor) -> bool:
    return torch.equal(one.nan_to_num(-1), other.nan_to_num(-1))


@every_variant
@pytest.mark.parametrize("options", [{"tied": True}, {"norm_weighted": False}], ids=["tied", "unweighted"])
def test_it_learns(name, options, data, make_trainer, error):
    model = made(name, **options)
    make_trainer(max_epochs=6).fit(model, data)
    assert error(model) < 0.75  # the mean of all is 1
    if options.get("tied"):
        assert torch.equal(model.encoder_vectors, model.decoder_vectors)


@pytest.mark.parametrize("name", ["topk", "jumprelu"])
@pytest.mark.parametrize("init", ["samples", "active_subspace"])
def test_it_learns_from_each_start(name, init, data, make_trainer, error):
    model = made(name, init=init)
    make_trainer(max_epochs=6).fit(model, data)
    assert error(model) < 0.75


@pytest.mark.parametrize("scaling", get_args(InputScalingName))
def test_it_learns_in_the_units_of_each_input_scaling(scaling, data, make_trainer, error):
    model = made("topk", input_scaling=scaling)
    make_trainer(max_epochs=6).fit(model, data)
    assert error(model) < 0.75
    assert model.scaling.is_fitted


@pytest.mark.parametrize("init", ["samples", "active_subspace"])
def test_a_start_from_data_is_that_of_the_first_fit_alone(init, data, make_trainer):
    model = made("batch topk", init=init, optimizer=lambda params: torch.optim.SGD(params, lr=1e-12))
    drawn = model.decoder_vectors.detach().clone()
    make_trainer().fit(model, data)
    started = model.decoder_vectors.detach().clone()
    assert not torch.equal(started, drawn)
    torch.testing.assert_close(model.encoder_vectors.detach(), started)
    make_trainer().fit(model, data)
    torch.testing.assert_close(model.decoder_vectors.detach(), started)


@pytest.mark.filterwarnings("ignore:Found .* module.* in eval mode")
@pytest.mark.parametrize("name", ["batch topk", "matryoshka", "p-annealing"])
def test_a_model_that_was_loaded_trains_in_the_mode_of_training(name, data, make_trainer, tmp_path):
    """Its codes are those of a batch, and its losses those of the present step."""
    trainer = make_trainer(max_steps=1)
    trainer.fit(made(name), data)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    loaded = load_autoencoder(tmp_path / "a.ckpt")
    assert not loaded.training
    fresh = made(name)
    fresh.load_state_dict(loaded.state_dict())
    for model in (loaded, fresh):
        model.images_seen = 0
        model.build_optimizer = adam
        make_trainer(max_steps=3).fit(model, data)
    expected = fresh.state_dict()
    assert [part for part, value in loaded.state_dict().items() if not same(value, expected[part])] == []


@pytest.mark.parametrize("auxk_weight", [-1.0, 0.1])
def test_a_code_without_silent_latents_has_no_auxk(auxk_weight):
    class Sigmoidal(SparseDictionary):
        def __init__(self, input_shape: tuple[int, ...], **kwargs: Any) -> None:
            super().__init__(input_shape, LATENTS, torch.nn.Sigmoid(), **kwargs)

    Sigmoidal(SHAPE)
    with pytest.raises(ConfigError, match=r"^--model.auxk_weight is "):
        Sigmoidal(SHAPE, auxk_weight=auxk_weight)


def test_a_penalty_may_look_at_the_reconstruction():
    class Weighed(SparseDictionary):
        def __init__(self, input_shape: tuple[int, ...], **kwargs: Any) -> None:
            super().__init__(input_shape, LATENTS, torch.nn.ReLU(), **kwargs)

        def sparsity_terms(self, done: Any) -> dict[str, torch.Tensor]:
            return {"size": done.x_hat.square().mean()}

    x = torch.rand(5, *SHAPE)
    losses, output = Weighed(SHAPE, input_scaling="none").loss(x)
    assert list(losses) == ["loss", "reconstruction", "size"]
    torch.testing.assert_close(losses["size"], output.x_hat.square().mean())

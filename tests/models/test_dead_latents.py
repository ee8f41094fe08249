"""The count of silence and AuxK of shallow autoencoders, above all of one that is not made to be sparse."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from comparing import by_formula, computed, unlike
from known_directions import KnownDirections
from lightning.pytorch import Callback, Trainer
from ours import OURS
from peer_cases import Case, aux
from torch import Tensor

from ae_lightning.models.overcomplete import OvercompleteAutoencoder
from ae_lightning.models.topk_sae import TopKSAE

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


@pytest.mark.parametrize("rectified", [False, True])
def test_a_dead_latent_below_zero_learns_unless_auxk_rectifies(rectified):
    torch.manual_seed(0)
    model = TopKSAE((6,), latent_dim=8, k=2, auxk_relu=rectified, dead_after=10, input_scaling="none")
    with torch.no_grad():
        model.dictionary.b_enc[5] = -100.0  # no sample gets it above zero
        model.silence.silent[5] = 1000
    model.loss(torch.randn(16, 6))[0]["loss"].backward()
    assert bool(model.dictionary.b_enc.grad[5] == 0) is rectified
    assert bool(model.dictionary.b_enc.grad.any())


# --- an overcomplete autoencoder ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("rectified", [False, True])
@pytest.mark.parametrize("dead", [0, 3, 6], ids=["none dead", "fewer than k_aux", "more than k_aux"])
def test_a_step_of_an_overcomplete_autoencoder_is_the_papers(dead: int, rectified: bool, dtype: torch.dtype) -> None:
    """Loss, terms, code, reconstruction and every gradient."""
    options = {"aux": aux(dead, rectified=rectified)}
    case = Case("the paper", "auxk", {}, "overcomplete", options)
    found, expected = computed(OURS["overcomplete"], case, dtype), by_formula(case, dtype)
    assert found.keys() == expected.keys()
    assert bool(expected["terms/auxk"] > 0) is (dead > 0)
    assert unlike(found, expected, TOLERANCE[dtype]) == []


def with_dead(shape: tuple[int, ...], instances: int | None = None, **options: Any) -> OvercompleteAutoencoder:
    """A model two of whose ten latents are dead, one of them by its bias, the other as it is counted."""
    torch.manual_seed(0)
    model = OvercompleteAutoencoder(shape, 10, instances=instances, auxk_weight=0.5, k_aux=1, dead_after=5, **options)
    with torch.no_grad():
        model.dictionary.b_enc[..., 3] = -10.0
        model.silence.silent[..., [3, 7]] = 5
    return model


def test_pictures_have_the_loss_of_their_pixels_in_a_row():
    x = torch.rand(9, 1, 2, 3)
    of_pictures, of_vectors = (
        with_dead(shape, output_activation="sigmoid").loss(x.view(9, *shape))[0] for shape in ((1, 2, 3), (6,))
    )
    assert of_vectors["auxk"] > 0
    torch.testing.assert_close(of_pictures, of_vectors, rtol=0, atol=0)


def test_each_of_a_population_revives_by_its_own_residual_and_count():
    population, x = with_dead((2, 3), instances=3), torch.randn(9, 3, 2, 3)
    with torch.no_grad():
        population.silence.silent[1] = 0  # all of them live
    alone = []
    for number in range(3):
        member = with_dead((2, 3))
        member.load_state_dict(
            # The samples that were seen are counted for all together.
            {name: part if name == "silence.seen" else part[number] for name, part in population.state_dict().items()}
        )
        alone.append(member.loss(x[:, number])[0]["loss"])
    torch.testing.assert_close(population.loss(x)[0]["loss"], torch.stack(alone).sum())


@pytest.mark.parametrize("instances", [None, 2])
def test_without_auxk_nothing_is_kept_or_moved(instances, make_trainer, digits):
    model = OvercompleteAutoencoder((1, 8, 8), 70, instances=instances, dead_after=5)
    make_trainer(max_steps=2).fit(model, digits)
    assert model.silence is None
    assert list(model.state_dict()) == [f"dictionary.{name}" for name in ("W_enc", "b_enc", "W_dec", "b_dec")]
    assert model.loss_weights == model.measures() == {}
    assert not model.advances
    assert not model.optimizers().optimizer._optimizer_step_post_hooks


def test_what_a_variant_of_it_moves_by_itself_still_moves(make_trainer, digits):
    class Counting(OvercompleteAutoencoder):
        steps = 0

        def advance(self) -> None:
            self.steps += 1

    model = Counting((1, 8, 8), 5)
    make_trainer(max_steps=4).fit(model, digits)
    assert model.steps == 4


class Terms(Callback):
    """The steps that had AuxK."""

    def __init__(self) -> None:
        self.with_auxk: list[int] = []

    def on_before_backward(self, trainer: Trainer, pl_module: Any, loss: Tensor) -> None:
        if "auxk" in pl_module._epoch_means.sums:
            self.with_auxk.append(trainer.global_step)


def test_auxk_is_there_as_soon_as_a_latent_is_dead_also_for_a_model_in_evaluation_mode(make_trainer, digits):
    model = with_dead((1, 8, 8)).eval()
    model.silence.silent.zero_()
    model.dead_after = 600  # after three steps of 256
    make_trainer(terms := Terms(), limit_val_batches=0).fit(model, digits)
    assert terms.with_auxk == [3, 4, 5]


class FarOff(KnownDirections):
    """Sums of known directions, far from zero: where nothing centers them, many latents never fire."""

    def draw_steps(self, steps: int, n: int, generator: torch.Generator) -> Any:
        return [(x + 2.0, features) for x, features in super().draw_steps(steps, n, generator)]


@pytest.mark.parametrize("seed", range(3))
def test_auxk_leaves_fewer_dead_and_less_unexplained(seed: int, make_trainer: Callable[..., Trainer]) -> None:
    data = FarOff(32, 16, 3, steps_per_epoch=200, batch_size=128, seed=seed)

    def trained(**options: Any) -> tuple[int, float]:
        torch.manual_seed(seed)
        optimizer = partial(torch.optim.Adam, lr=0.003)
        model = OvercompleteAutoencoder(data.input_shape, 64, optimizer=optimizer, **options)
        make_trainer(limit_val_batches=0).fit(model, data)
        x, _ = data.test_set.take(4096)
        with torch.no_grad():
            x_hat, z = model.eval()(x)
        return int((z == 0).all(0).sum()), float((x - x_hat).square().sum() / (x - x.mean(0)).square().sum())

    dead, unexplained = trained()
    assert dead >= 12
    still_dead, still_unexplained = trained(auxk_weight=1 / 32)
    assert still_dead <= 1
    assert still_unexplained < unexplained / 2

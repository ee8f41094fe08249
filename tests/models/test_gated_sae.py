"""Gated autoencoders: what trains the gate, and its penalty in the course of a run."""

from functools import partial
from typing import Any

import pytest
import torch

from ae_lightning.data.digits import DigitsDataModule
from ae_lightning.models.gated_sae import GatedSAE
from ae_lightning.testing.outputs import evaluated

SHAPE, LATENTS = (1, 8, 8), 96


def made(**options: Any) -> GatedSAE:
    torch.manual_seed(0)
    adam = partial(torch.optim.Adam, lr=0.01)
    return GatedSAE(SHAPE, LATENTS, **{"optimizer": adam, **options})


@pytest.fixture
def data() -> DigitsDataModule:
    data = DigitsDataModule(batch_size=64)  # 21 steps an epoch
    data.setup()
    return data


def l0(model: GatedSAE, data: DigitsDataModule) -> float:
    x, _ = data.train_set.take(1024)
    return float((evaluated(model, x).z != 0).sum(-1).float().mean())


def test_the_coefficient_rises_over_three_tenths_of_the_run_unless_one_is_given(data, make_trainer, recorder):
    make_trainer(max_epochs=1, max_steps=20, logger=recorder).fit(made(), data)
    names = ("loss", "reconstruction", "auxiliary", "l1")
    total, error, auxiliary, l1 = (recorder.series(f"train/{name}") for name in names)
    found = [(total[step] - error[step] - auxiliary[step]) / l1[step] for step in range(1, 21)]
    assert found == pytest.approx([4.8 * min(1, step / 6) for step in range(20)], abs=1e-3)
    assert made().loss_weights["l1"] == 4.8
    assert made(penalty_weight=0).loss_weights["l1"] == 0
    assert made(penalty_weight=0.5).loss_weights["l1"] == 0.5


@pytest.mark.parametrize("norm_weighted", [True, False])
def test_a_stronger_penalty_opens_fewer_gates(norm_weighted, data, make_trainer):
    found = []
    for weight in (0.1, 3.0):
        model = made(penalty_weight=weight, norm_weighted=norm_weighted)
        make_trainer(max_epochs=4).fit(model, data)
        found.append(l0(model, data))
    assert 0 < found[1] < 0.7 * found[0]


def test_gates_learn_by_their_own_terms_and_magnitudes_by_the_error():
    model, x = made(input_scaling="none"), torch.rand(20, *SHAPE)
    activation = model.dictionary.activation
    gate, magnitude = activation.b_gate, activation.b_mag
    losses, _ = model.loss(x)
    rows = model.dictionary.W_dec

    def gradient(term: str, parameter: torch.Tensor) -> torch.Tensor | None:
        return torch.autograd.grad(losses[term], parameter, retain_graph=True, allow_unused=True)[0]

    assert gradient("reconstruction", gate) is None
    assert gradient("reconstruction", magnitude).abs().sum() > 0
    for term in ("l1", "auxiliary"):
        assert gradient(term, gate).abs().sum() > 0
        assert gradient(term, magnitude) is None
        assert gradient(term, rows) is None


@pytest.mark.slow
@pytest.mark.parametrize("penalty_weight", [0.1, 10.0])
def test_the_controller_holds_the_target_for_any_coefficient(penalty_weight, data, make_trainer):
    model = made(penalty_weight=penalty_weight, target_l0=8.0)
    make_trainer(max_epochs=45).fit(model, data)
    assert l0(model, data) == pytest.approx(8.0, rel=0.05)

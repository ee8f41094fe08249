"""The controller of L0: that it reaches its target, for any coefficient, and says so where it cannot."""

import math
import re

import pytest
import torch
from torch import Tensor, nn

from ae_lightning.errors import ConfigError
from ae_lightning.nn.l0_controller import L0Controller


def alone(value: Tensor, how: str) -> Tensor:
    assert how == "mean"
    return value


class Plant:
    """Training as a controller sees it: L0 goes, with a lag, to where the coefficient has it, on a log scale.

    Args:
        start: L0 of the untrained model.
        coefficient: (…); at 1 it leads to an L0 of 20, tenfold to 20 / √10.
        lag: Steps in which most of the way is gone.
        floor: L0 that no coefficient gets below.
    """

    def __init__(self, start: float, coefficient: Tensor, lag: float = 100, floor: float = 0.01) -> None:
        self.coefficient, self.lag, self.floor = coefficient, lag, floor
        self.log_l0 = torch.full_like(coefficient, start).log()

    def step(self, multiplier: Tensor) -> Tensor:
        goal = (20 / (self.coefficient * multiplier).sqrt()).clamp_min(self.floor).log()
        self.log_l0 += (goal - self.log_l0) / self.lag
        noise = 1 + 0.02 * torch.randn(self.log_l0.shape)
        return self.log_l0.exp() * noise


def controlled(controller: L0Controller, plant: Plant, steps: int) -> list[Tensor]:
    trace = []
    for _ in range(steps):
        l0 = plant.step(controller.multiplier)
        controller.observe(l0)
        controller.advance(alone)
        trace.append(plant.log_l0.exp().clone())
    return trace


@pytest.mark.parametrize("lag", [30, 200])
@pytest.mark.parametrize(("target", "coefficient"), [(4.0, 0.05), (16.0, 1.0), (100.0, 20.0)])
def test_l0_is_within_five_percent_of_the_target_after_a_thousand_steps(target, coefficient, lag):
    torch.manual_seed(0)
    controller = L0Controller(target, latent_dim=512)
    trace = torch.stack(controlled(controller, Plant(250, torch.tensor(coefficient), lag), 1200))
    assert torch.all((trace[1000:] / target - 1).abs() < 0.05), trace[900::100]
    assert float(controller.multiplier) == pytest.approx((20 / target) ** 2 / coefficient, rel=0.15)


def test_it_keeps_its_digits_in_a_model_of_half_precision():
    controller = L0Controller(4, 64)
    controller.observe(torch.tensor(8.0))
    controller.advance(alone)
    before = controller.log_multiplier.clone()
    nn.Sequential(controller).to(torch.bfloat16)
    assert torch.equal(controller.log_multiplier, before)


def test_each_instance_has_a_multiplier_of_its_own():
    torch.manual_seed(0)
    controller = L0Controller(10, latent_dim=512, instances=2)
    controlled(controller, Plant(250, torch.tensor([0.5, 8.0])), 1000)
    assert controller.multiplier.tolist() == pytest.approx([8, 0.5], rel=0.15)


def test_it_moves_once_for_each_optimizer_step_and_by_the_mean_of_its_batches():
    once, twice = L0Controller(4, 64), L0Controller(4, 64)
    once.observe(torch.tensor(8.0))
    twice.observe(torch.tensor(6.0))
    twice.observe(torch.tensor(10.0))
    assert float(twice.multiplier) == 1  # nothing moves before the step
    for controller in (once, twice):
        controller.advance(alone)
        controller.advance(alone)  # no batch since
    assert float(once.multiplier) == float(twice.multiplier) == pytest.approx(once.multiplier)
    assert float(once.log_multiplier) > 0
    assert int(once.steps) == int(twice.steps) == 1


def test_what_is_forgotten_does_not_count():
    controller = L0Controller(4, 64)
    controller.observe(torch.tensor(60.0))
    controller.forget()
    controller.advance(alone)
    assert int(controller.steps) == 0
    assert float(controller.multiplier) == 1


def test_it_moves_by_what_all_processes_saw():
    controller, asked = L0Controller(4, 64), []
    controller.observe(torch.tensor(2.0))

    def reduce(value: Tensor, how: str) -> Tensor:
        asked.append((float(value), how))
        return torch.tensor(4.0)

    controller.advance(reduce)
    assert asked == [(2.0, "mean")]
    assert float(controller.multiplier) == 1  # all processes together are at the target


def test_a_model_whose_latents_are_all_silent_gets_a_smaller_coefficient():
    controller = L0Controller(4, 64)
    for _ in range(50):
        controller.observe(torch.tensor(0.0))
        controller.advance(alone)
    assert 0 < float(controller.multiplier) < 1


def test_a_state_that_is_loaded_goes_on_the_same():
    torch.manual_seed(0)
    first = L0Controller(4, 64)
    controlled(first, Plant(50, torch.tensor(1.0)), 20)
    second = L0Controller(4, 64)
    second.load_state_dict(first.state_dict())
    for controller in (first, second):
        controller.observe(torch.tensor(7.0))
        controller.advance(alone)
    assert torch.equal(first.multiplier, second.multiplier)


def test_a_coefficient_at_its_bound_is_told_of_once():
    controller = L0Controller(4, 512)
    plant = Plant(250, torch.tensor(1.0), floor=26)
    controlled(controller, plant, 100)
    assert controller.saturation() is None
    controlled(controller, plant, 900)
    told = controller.saturation()
    assert told is not None
    assert re.match("--model.target_l0 is 4, but L0 stays at 26.* with --model.penalty_weight at 1000 times its", told)
    assert "raise --model.penalty_weight" in told
    assert controller.saturation() is None
    assert float(controller.multiplier) == pytest.approx(1000, rel=1e-3)


def test_each_instance_is_held_at_a_target_of_its_own():
    together = L0Controller([4.0, 8.0], 64, 2)
    single = [L0Controller(4.0, 64), L0Controller(8.0, 64)]
    for l0 in (9.0, 7.0, 5.0):
        together.observe(torch.tensor([l0, l0]))
        together.advance(alone)
        for controller in single:
            controller.observe(torch.tensor(l0))
            controller.advance(alone)
    assert together.multiplier.tolist() == [float(controller.multiplier) for controller in single]
    assert together.multiplier[0] != together.multiplier[1]
    together.steps_at_bound.copy_(torch.tensor([0, 500]))
    assert (told := together.saturation()) is not None
    assert told.startswith("--model.target_l0 is 8, but L0 of instance 1 stays at")


@pytest.mark.parametrize("target", [0, -1, 65, math.nan])
def test_a_target_that_no_code_can_have_is_refused(target):
    with pytest.raises(ConfigError, match=f"--model.target_l0 is {target}; it must be above 0 and at most .* 64"):
        L0Controller(target, 64)

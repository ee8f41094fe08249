"""What a variant must satisfy that trains several instances side by side."""

import inspect
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ae_lightning.models.base import Autoencoder
from ae_lightning.testing.building import seeded

INSTANCES = 3


class PopulationTests:
    """Tests of a variant whose constructor takes `instances`; others skip them."""

    def test_a_population_is_its_members_side_by_side(
        self, build: Callable[..., Autoencoder], model: Autoencoder, x: Tensor
    ) -> None:
        """Each instance gives what a model of its weights alone does, and learns the same; losses add up.

        In float64: a penalty that is steep near zero makes much of a rounding.
        """
        if "instances" not in inspect.signature(type(model)).parameters:
            pytest.skip(f"{type(model).__name__} takes no instances")
        shape = tuple(x.shape[1:])
        population, x = build(shape, instances=INSTANCES).double(), x.double()
        members = [build(shape, instances=None).double() for _ in range(INSTANCES)]
        population.load_state_dict(stacked([member.state_dict() for member in members], population.state_dict()))
        losses, output = seeded(population.loss, x)
        losses["loss"].backward()
        alone = [seeded(member.loss, x) for member in members]
        for number, (member, (own, single)) in enumerate(zip(members, alone, strict=True)):
            own["loss"].backward()
            torch.testing.assert_close(output.x_hat[number], single.x_hat)
            torch.testing.assert_close(output.z.to_dense()[number], single.z.to_dense())
            for name, parameter in member.named_parameters():
                if parameter.grad is not None:
                    gradient = population.get_parameter(name).grad
                    assert gradient is not None, name
                    torch.testing.assert_close(gradient[number], parameter.grad, msg=name)
        for term, value in losses.items():
            torch.testing.assert_close(value, torch.stack([own[term] for own, _ in alone]).sum())


def stacked(states: list[dict[str, Tensor]], like: dict[str, Tensor]) -> dict[str, Tensor]:
    """State of a population whose members have these states; what all share has no leading instances."""
    names = {name: torch.stack([state[name] for state in states]) for name in states[0]}
    assert names.keys() == like.keys()
    return {name: value if value.shape == like[name].shape else value[0] for name, value in names.items()}

"""Lists in place of numbers, and gradients that are clipped apart."""

import pytest
import torch
from torch import nn

from ae_lightning.errors import ConfigError
from ae_lightning.training.clipping import clip_each
from ae_lightning.training.population import count_of, seeds_of


@pytest.mark.parametrize(
    ("instances", "settings", "count"),
    [
        (None, {"k": 4, "prefixes": [0.5, 0.5]}, None),
        (3, {"k": 4, "seed": 1}, 3),
        (None, {"k": [4, 8], "seed": 1}, 2),
        (2, {"k": [4, 8], "seed": (0, 1)}, 2),
    ],
)
def test_lists_say_how_many_instances_there_are(instances, settings, count):
    assert count_of(instances, **settings) == count


@pytest.mark.parametrize(
    ("instances", "settings", "sentence"),
    [
        (3, {"k": [4, 8]}, "--model.k has 2 entries, but --model.instances is 3: give one for each, or leave"),
        (None, {"k": [4, 8], "seed": [1]}, "--model.k has 2 entries and --model.seed has 1 entry: give both one"),
        (None, {"target_l0": []}, "--model.target_l0 is an empty list: give one number for all, or one for each"),
    ],
)
def test_lists_that_do_not_fit_are_told(instances, settings, sentence):
    with pytest.raises(ConfigError) as refused:
        count_of(instances, **settings)
    assert str(refused.value).startswith(sentence)


def test_one_seed_is_that_of_all():
    assert seeds_of(None, 3) is None
    assert seeds_of(7, 3) == [7, 7, 7]
    assert seeds_of(7, None) == [7]
    assert seeds_of([1, 2], 2) == [1, 2]
    with pytest.raises(ConfigError, match=r"--model.seed is -1; it must be a whole number from 0 to 4294967295"):
        seeds_of([3, -1], 2)


@pytest.mark.parametrize("largest", [0.5, 3.0, 1e3])
def test_each_instance_is_clipped_as_torch_clips_it_alone(largest):
    generator = torch.Generator().manual_seed(0)
    shapes = [(4, 3), (5,), (3, 4)]
    scale = torch.tensor([0.01, 1.0, 30.0])
    together = []
    for shape in shapes:
        parameter = nn.Parameter(torch.zeros(3, *shape))
        draws = torch.randn(3, *shape, generator=generator)
        parameter.grad = draws * scale.view(-1, *[1] * len(shape))
        together.append(parameter)
    alone = []
    for number in range(3):
        alone.append([nn.Parameter(torch.zeros(shape)) for shape in shapes])
        for own, parameter in zip(alone[-1], together, strict=True):
            own.grad = parameter.grad[number].clone()
        torch.nn.utils.clip_grad_norm_(alone[-1], largest)
    clip_each([*together, nn.Parameter(torch.zeros(3, 1))], largest)  # the last has no gradient
    for number in range(3):
        for own, parameter in zip(alone[number], together, strict=True):
            torch.testing.assert_close(parameter.grad[number], own.grad)

import copy

import pytest
import torch
from torch import nn

from ae_lightning.nn.precision import KeepsPrecision, wide_dtype


class Kept(KeepsPrecision):
    def __init__(self):
        super().__init__()
        self.threshold = nn.Parameter(torch.tensor([0.1, 1 / 3], dtype=wide_dtype()))
        self.inner = nn.Linear(2, 2)
        self.register_buffer("rate", torch.tensor(0.7, dtype=wide_dtype()))
        self.register_buffer("absent", None)
        self.register_buffer("count", torch.tensor(3))


def dtypes(module):
    return {name: tensor.dtype for name, tensor in module.state_dict().items()}


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_own_tensors_stay_as_they_are_when_a_model_around_them_is_cast(half):
    model = nn.Sequential(Kept(), nn.Linear(2, 2))
    before = model[0].threshold.detach().clone()
    model[0].threshold.grad, model[0].inner.bias.grad = torch.tensor([0.1, 0.2]), torch.tensor([0.1, 0.2])
    model.to(half)
    assert dtypes(model[0]) == {
        "threshold": torch.float32,
        "inner.weight": half,
        "inner.bias": half,
        "rate": torch.float32,
        "count": torch.int64,
    }
    assert model[1].weight.dtype == half
    assert torch.equal(model[0].threshold, before), "no digit is lost on the way"
    assert (model[0].threshold.grad.dtype, model[0].inner.bias.grad.dtype) == (torch.float32, half)
    assert isinstance(model[0].threshold, nn.Parameter)


def test_double_widens_and_half_of_that_is_float32():
    kept = Kept().double()
    assert kept.threshold.dtype == kept.rate.dtype == kept.inner.weight.dtype == torch.float64
    kept.half()
    assert kept.threshold.dtype == kept.rate.dtype == torch.float32
    assert kept.inner.weight.dtype == torch.float16


def test_they_move_with_the_module():
    kept = Kept().to("meta", torch.bfloat16)
    assert kept.threshold.device.type == kept.rate.device.type == kept.inner.weight.device.type == "meta"
    assert (kept.threshold.dtype, kept.inner.weight.dtype) == (torch.float32, torch.bfloat16)


def test_one_made_in_half_precision_is_wide():
    torch.set_default_dtype(torch.bfloat16)
    try:
        kept = Kept()
    finally:
        torch.set_default_dtype(torch.float32)
    assert kept.threshold.dtype == kept.rate.dtype == torch.float32
    assert kept.inner.weight.dtype == torch.bfloat16


def test_a_copy_keeps_its_own():
    kept = copy.deepcopy(Kept()).bfloat16()
    assert kept.threshold.dtype == torch.float32

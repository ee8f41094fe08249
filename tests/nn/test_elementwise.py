import pytest
import torch

from ae_lightning.nn.elementwise import any_fires, in_blocks, mean_l0, where_positive

NAN = float("nan")


def test_values_pass_where_the_gate_is_above_zero_or_no_number():
    values, gate = torch.tensor([[1.0, 2.0, 3.0, NAN, 5.0]]), torch.tensor([[0.5, 0.0, -1.0, 1.0, NAN]])
    out = torch.full_like(values, 9.0)
    assert where_positive(values, gate, out) is out
    assert out[0, :3].tolist() == [1, 0, 0]
    assert bool(out[0, 3].isnan())
    assert float(out[0, 4]) == 5


def test_entries_of_either_sign_count_and_so_does_what_is_no_number():
    z = torch.tensor([[[0.0, -1.0, NAN], [0.0, 0.0, 2.0]], [[0.0, 0.0, 0.0], [-0.0, 0.0, 3.0]]])
    assert mean_l0(z).tolist() == [1.5, 0.5]
    assert any_fires(z).tolist() == [[False, True, True], [False, False, True]]


@pytest.mark.parametrize("shape", [(1000, 700), (3, 500, 700), (1, 300_000), (0, 4)])
def test_blocks_are_all_samples_once_of_every_instance(shape):
    x = torch.arange(torch.Size(shape).numel()).view(shape)
    y = x.mT.contiguous().mT
    blocks = list(in_blocks(x, y))
    assert all(torch.equal(some, other) for some, other in blocks)
    assert torch.equal(torch.cat([some for some, _ in blocks], -2), x)
    assert len(blocks) > 1 or x.shape[-2] < 2


def test_a_wide_code_in_half_precision_is_counted_exactly():
    l0 = mean_l0(torch.ones(2, 1001, dtype=torch.bfloat16))
    assert l0.dtype == torch.float32
    assert float(l0) == 1001


def test_spare_arrays_are_of_each_block_s_shape_and_one_memory():
    blocks = list(in_blocks(torch.zeros(1000, 700), spare=[torch.float64, torch.bool]))
    assert len(blocks) > 1
    assert all(some.shape == wide.shape == flags.shape for some, wide, flags in blocks)
    assert {(wide.dtype, flags.dtype) for _, wide, flags in blocks} == {(torch.float64, torch.bool)}
    assert len({wide.data_ptr() for _, wide, _ in blocks}) == 1

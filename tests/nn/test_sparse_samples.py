"""Samples of sparse codes, taken one by one, by instance and on another device."""

import pytest
import torch

from ae_lightning.nn.sparse_code import Places, SparseCode


@pytest.mark.parametrize("lead", [(), (3,)])
def test_samples_are_those_of_the_dense_code(lead: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    dense = torch.randn(*lead, 7, 5, generator=generator)
    dense *= torch.rand(dense.shape, generator=generator) < 0.4
    flat = dense.flatten().nonzero().flatten()
    code = SparseCode(dense.flatten()[flat], Places.of_flat(flat, dense.shape))
    rows = torch.tensor([6, 0, 0, 3])
    assert torch.equal(code.to_dense(), dense)
    assert torch.equal(code.take(rows).to_dense(), dense[..., rows, :])
    assert torch.equal(code.take(rows[:0]).to_dense(), dense[..., :0, :])
    assert len(code) == 7
    assert torch.equal(code.to("cpu").to_dense(), dense)
    assert code.to("meta").device.type == code.to("meta").places.latents.device.type == "meta"
    if lead:
        assert torch.equal(code.instance(1).to_dense(), dense[1])
        assert torch.equal(code.instance(1).take(rows).to_dense(), dense[1][rows])

"""Codes as indices and values: where entries stand, and what is read from them."""

import pytest
import torch
from torch.autograd import gradcheck

from ae_lightning.nn.sparse_code import Places, SparseCode

#: Two instances of three samples of four latents.
Z = torch.tensor(
    [
        [[0.0, 2.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0], [3.0, 4.0, 5.0, 6.0]],
        [[0.0, 0.0, 0.0, 7.0], [0.0, -8.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]],
    ]
)


def code_of(z: torch.Tensor) -> SparseCode:
    flat = z.flatten()
    places = flat.nonzero().squeeze(-1)
    return SparseCode(flat[places], Places.of_flat(places, z.shape))


def test_latents_and_samples_are_counted_through_all_instances():
    places = code_of(Z).places
    assert places.latents.tolist() == [1, 3, 0, 1, 2, 3, 4 + 3, 4 + 1]
    assert places.samples.tolist() == [0, 0, 2, 2, 2, 2, 3 + 0, 3 + 1]
    assert places.offsets.tolist() == [0, 2, 2, 6, 7, 8, 8]
    assert places.flat.tolist() == [1, 3, 8, 9, 10, 11, 15, 17]


def test_entries_are_found_by_their_latent():
    places = code_of(Z).places
    order, offsets = places.by_latent
    assert offsets.tolist() == [0, 1, 3, 4, 6, 6, 7, 7, 8]
    assert places.latents[order].tolist() == [0, 1, 1, 2, 3, 3, 5, 7]
    assert places.samples[order].tolist() == [2, 0, 2, 2, 0, 2, 4, 3]


def test_samples_are_split_where_widths_end():
    parts = code_of(Z).places.split([1, 3, 4])
    # Of six samples three parts: latent 0, latents 1 and 2, latent 3.
    assert parts.offsets.diff().unflatten(0, (6, 3)).tolist() == [
        *([0, 1, 1], [0, 0, 0], [1, 2, 1]),
        *([0, 0, 1], [0, 1, 0], [0, 0, 0]),
    ]
    assert parts.bags.tolist() == [1, 2, 6, 7, 7, 8, 11, 13]
    assert parts.samples.tolist() == code_of(Z).places.samples.tolist()


@pytest.mark.parametrize("z", [Z, Z[0], Z[:, 1:2], Z[:1, :1], torch.zeros(2, 3, 4)], ids=str)
def test_it_is_the_code_that_it_was_made_of(z):
    code = code_of(z)
    assert torch.equal(code.to_dense(), z)
    assert (code.shape, code.ndim, code.dtype, code.device) == (z.shape, z.ndim, z.dtype, z.device)
    assert torch.equal(code.fired(), (z != 0).any(-2))
    assert torch.equal(code.active(), (z != 0).sum(-1))
    assert torch.equal(code.places.over_batch(code.values), z.sum(-2))
    assert torch.equal(code.places.over_latents(code.values), z.sum(-1))


def test_a_value_of_zero_does_not_fire():
    code = SparseCode(torch.tensor([0.0, 2.0]), Places.of_flat(torch.tensor([1, 5]), (2, 3)))
    assert code.fired().tolist() == [False, False, True]
    assert code.active().tolist() == [0, 1]


def test_gradients_come_back_from_the_dense_code():
    code = code_of(Z.double())
    assert gradcheck(
        lambda values: SparseCode(values, code.places).to_dense(), code.values.detach().requires_grad_(), fast_mode=True
    )
    values = code.values.requires_grad_()
    assert SparseCode(values, code.places).to_dense().requires_grad
    assert not SparseCode(values, code.places).detach().values.requires_grad

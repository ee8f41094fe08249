"""Commitment and codebook term beside equation 3 of van den Oord et al. (2017), written out."""

import torch

from ae_lightning.losses.quantization import codebook, commitment


def test_both_are_the_squared_distance_and_draw_one_side_each():
    torch.manual_seed(0)
    vectors, codes = torch.randn(2, 1, 6, 3, requires_grad=True), torch.randn(2, 1, 6, 3, requires_grad=True)
    truth = sum(((vectors[depth] - codes[depth]) ** 2).sum() / (6 * 3) for depth in range(2))
    torch.testing.assert_close(commitment(vectors, codes), truth)
    torch.testing.assert_close(codebook(vectors, codes), truth)

    of_vectors, of_codes = torch.autograd.grad(truth, [vectors, codes])
    drawn = torch.autograd.grad(commitment(vectors, codes), [vectors, codes], allow_unused=True)
    torch.testing.assert_close(drawn[0], of_vectors)
    assert drawn[1] is None
    drawn = torch.autograd.grad(codebook(vectors, codes), [vectors, codes], allow_unused=True)
    assert drawn[0] is None
    torch.testing.assert_close(drawn[1], of_codes)

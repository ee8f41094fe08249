import numpy as np
import torch
from torch import nn

from ae_lightning.analysis.traversal import traverse


class Linear(nn.Module):
    """Codes (n, 1, 3) of samples (n, 2, 3): the sum of their rows; a code is decoded as itself and its double."""

    input_shape = (2, 3)
    instances = None

    def encode(self, x):
        return x.sum(dim=1, keepdim=True)

    def decode(self, z):
        return torch.cat([z, 2 * z], dim=1)


def test_one_latent_moves_from_the_first_percentile_to_the_last() -> None:
    x = torch.tensor([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]])
    codes = np.stack([np.zeros(101), np.arange(101.0), -np.arange(101.0)], axis=1)
    images = traverse(Linear(), x, codes, [1, 2], steps=3)
    assert images.shape == (2, 3, 2, 3)
    assert images[0, :, 0].tolist() == [[11, 1, 33], [11, 50, 33], [11, 99, 33]]
    assert images[1, :, 0].tolist() == [[11, 22, -99], [11, 22, -50], [11, 22, -1]]
    assert torch.equal(images[:, :, 1], 2 * images[:, :, 0])

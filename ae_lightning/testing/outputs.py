"""What models give in evaluation mode, and how it is compared."""

import numpy as np
import torch
from torch import Tensor

from ae_lightning.models.base import Autoencoder, AutoencoderOutput
from ae_lightning.nn.modes import evaluation_mode


def evaluated(model: Autoencoder, x: Tensor) -> AutoencoderOutput:
    """Code and reconstruction in evaluation mode."""
    with evaluation_mode(model):
        return model(x)


def error_in_evaluation(model: Autoencoder, x: Tensor) -> float:
    """Squared error per pixel without dropout and batch statistics, mean over instances."""
    return float((evaluated(model, x).x_hat - x).square().mean())


def best_linear_error(x: Tensor, width: int) -> float:
    """Squared error per pixel of as many principal components, by numpy."""
    rows = x.flatten(1).double().numpy()
    return float((np.linalg.svd(rows - rows.mean(0), compute_uv=False)[width:] ** 2).sum() / rows.size)


def assert_same_output(model: Autoencoder, other: Autoencoder, x: Tensor) -> None:
    """Both give the same codes and reconstructions, bit for bit."""
    found, expected = evaluated(model, x), evaluated(other, x)
    assert torch.equal(found.x_hat, expected.x_hat)
    assert torch.equal(found.z, expected.z)


def assert_same_state(model: Autoencoder, other: Autoencoder) -> None:
    """All parameters and buffers are the same, bit for bit."""
    found, expected = model.state_dict(), other.state_dict()
    assert found.keys() == expected.keys()
    assert [name for name in found if not torch.equal(found[name], expected[name])] == []

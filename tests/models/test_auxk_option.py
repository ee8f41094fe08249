"""AuxK of a dictionary: the option that rectifies what it takes."""

import pytest
import torch

from ae_lightning.models.topk_sae import TopKSAE


@pytest.mark.parametrize("rectified", [False, True])
def test_a_dead_latent_below_zero_learns_unless_auxk_rectifies(rectified):
    torch.manual_seed(0)
    model = TopKSAE((6,), latent_dim=8, k=2, auxk_relu=rectified, dead_after=10, input_scaling="none")
    with torch.no_grad():
        model.dictionary.b_enc[5] = -100.0  # no sample gets it above zero
        model.silence.silent[5] = 1000
    model.loss(torch.randn(16, 6))[0]["loss"].backward()
    assert bool(model.dictionary.b_enc.grad[5] == 0) is rectified
    assert bool(model.dictionary.b_enc.grad.any())

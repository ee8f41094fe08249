"""Defaults of sparse dictionaries that belong together: coefficients, and the units of what they weigh."""

import pytest
import torch

from ae_lightning.models.matryoshka_sae import MatryoshkaSAE
from ae_lightning.models.topk_sae import BatchTopKSAE, TopKSAE


@pytest.mark.parametrize("kind", [TopKSAE, BatchTopKSAE, MatryoshkaSAE])
def test_auxk_weighs_a_thirty_second_of_all_that_is_to_be_explained(kind):
    """Gao et al. (2024) divide the squared error by the data's variance: where nothing is explained it is 1."""
    x = 3 + 5 * torch.randn(4096, 64, generator=torch.Generator().manual_seed(0))
    model = kind((64,), 32, k=4)
    model.start_from(x, torch.Generator().manual_seed(0))
    for weights in model.dictionary.parameters():
        weights.data.zero_()
    losses = model.terms(x, x)[0]
    explained_nothing = sum(model.loss_weights.get(name, 1) * value for name, value in losses.items())
    assert explained_nothing.item() == pytest.approx(1, rel=0.02)
    assert model.loss_weights["auxk"] == 1 / 32


def test_a_prefix_weighs_as_much_as_the_latents_that_it_adds():
    assert MatryoshkaSAE((4,), 32).prefix_weights == [1 / 16, 1 / 16, 1 / 8, 1 / 4, 1 / 2]
    assert MatryoshkaSAE((4,), 32, prefixes=(4, 12)).prefix_weights == [0.125, 0.25, 0.625]
    assert MatryoshkaSAE((4,), 32, prefix_weights=(1, 1, 1, 1, 1)).prefix_weights == [1, 1, 1, 1, 1]


def test_random_prefixes_weigh_together_as_much_as_all_latents():
    x = torch.randn(16, 4, generator=torch.Generator().manual_seed(0))
    model = MatryoshkaSAE((4,), 32, k=2, random_prefixes=3, auxk_weight=0.0)
    losses = model.terms(x, x)[0]
    assert losses.keys() == {"reconstruction", "prefixes"}
    assert model.loss_weights["prefixes"] == model.loss_weights["reconstruction"] == 0.5

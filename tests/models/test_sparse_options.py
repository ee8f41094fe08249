"""Options of sparse dictionaries that do not go together, and what the output's activation is for."""

import re

import pytest
import torch
import torch.nn.functional as F

from ae_lightning.errors import ConfigError
from ae_lightning.models.jumprelu_sae import JumpReLUSAE
from ae_lightning.models.matryoshka_sae import MatryoshkaSAE
from ae_lightning.models.standard_sae import StandardSAE
from ae_lightning.models.topk_sae import TopKSAE


@pytest.mark.parametrize(
    ("variant", "options", "sentence"),
    [
        (TopKSAE, {"k": 5000}, "--model.k is 5000; it has to be from 1 to the 32 latents"),
        (MatryoshkaSAE, {"k": float("nan"), "select": "sample"}, "--model.k is nan"),
        (JumpReLUSAE, {"penalty": "target"}, "--model.l0, which must be above 0 and at most the 32 latents, but it is "
                                             "not given"),
        (StandardSAE, {"output_activation": "relu", "input_scaling": "mean_norm"}, "set one of them to none"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(variant, options, sentence):
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        variant((8,), 32, **options)


def test_the_output_passes_its_activation():
    torch.manual_seed(0)
    x = torch.rand(16, 8)
    options = {"input_scaling": "none", "output_activation": "sigmoid", "reconstruction_loss": "bce"}
    model = StandardSAE((8,), 32, **options)
    losses, (x_hat, z) = model.loss(x)
    expected = torch.sigmoid(z @ model.dictionary.W_dec + model.dictionary.b_dec)
    torch.testing.assert_close(x_hat, expected)
    torch.testing.assert_close(model.decode(z), expected)
    torch.testing.assert_close(model(x).x_hat, expected)
    torch.testing.assert_close(losses["reconstruction"], F.binary_cross_entropy(expected, x))
    losses["loss"].backward()

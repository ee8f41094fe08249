"""Rows that start as directions have the norm that was asked for, in the decoder and in the encoder."""

import pytest
import torch

from ae_lightning.errors import ConfigError
from ae_lightning.models.standard_sae import StandardSAE


@pytest.mark.parametrize("init", ["transpose", "samples", "active_subspace"])
@pytest.mark.parametrize("instances", [None, 2])
def test_rows_start_with_it(init, instances):
    model = StandardSAE((6,), latent_dim=9, init=init, start_norm=0.1, instances=instances)
    model.start_from(torch.randn(50, 6), torch.Generator().manual_seed(0))
    for rows in (model.decoder_vectors, model.encoder_vectors):
        torch.testing.assert_close(rows.norm(dim=-1), torch.full(rows.shape[:-1], 0.1))
    assert torch.equal(model.decoder_vectors, model.encoder_vectors)


@pytest.mark.parametrize(("init", "norm", "sentence"), [("kaiming", 0.1, "init kaiming"), ("transpose", 0, "above 0")])
def test_where_it_means_nothing_it_is_refused(init, norm, sentence):
    with pytest.raises(ConfigError, match=sentence):
        StandardSAE((6,), latent_dim=9, init=init, start_norm=norm)

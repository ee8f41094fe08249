"""A start from another run: all of its latents, and the model's own beside them."""

import pytest
import torch
from lightning.pytorch import seed_everything

from ae_lightning.callbacks.start_from import StartFrom, start_from
from ae_lightning.errors import ConfigError
from ae_lightning.models.gated_sae import GatedSAE
from ae_lightning.models.jumprelu_sae import JumpReLUSAE
from ae_lightning.models.matryoshka_sae import MatryoshkaSAE
from ae_lightning.models.standard_sae import StandardSAE
from ae_lightning.models.topk_sae import BatchTopKSAE, TopKSAE

KINDS = [TopKSAE, BatchTopKSAE, MatryoshkaSAE, JumpReLUSAE, GatedSAE, StandardSAE]


@pytest.mark.parametrize("instances", [None, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_the_first_latents_are_those_of_the_run(kind, instances):
    options = {"instances": instances} | ({"k": 3} if "TopK" in kind.__name__ or kind is MatryoshkaSAE else {})
    trained, model = (kind((6,), latent_dim=width, **options) for width in (16, 20))
    with torch.no_grad():
        for value in trained.state_dict().values():
            if value.is_floating_point():
                value.uniform_(0.1, 0.9)
    before = {name: value.clone() for name, value in model.snapshot().items()}
    start_from(model, trained, "run")
    after, given = model.snapshot(), trained.snapshot()
    for name, value in after.items():
        axis = next((axis for axis, size in enumerate(given[name].shape) if size != value.shape[axis]), None)
        if axis is None:
            assert torch.equal(value, given[name])
        else:
            assert torch.equal(value.narrow(axis, 0, 16), given[name])
            assert torch.equal(value.narrow(axis, 16, 4), before[name].narrow(axis, 16, 4))
    rows = model.decoder_vectors
    assert torch.equal(rows[..., :16, :], trained.decoder_vectors)


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (TopKSAE((6,), latent_dim=4, k=2), r"only latents may be added"),
        (TopKSAE((7,), latent_dim=8, k=2), r"only latents may be added"),
        (BatchTopKSAE((6,), latent_dim=8, k=2), "run holds a TopKSAE, and the model is a BatchTopKSAE"),
    ],
)
def test_another_model_is_refused_and_nothing_written(model, sentence):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ConfigError, match=sentence):
        start_from(model, TopKSAE((6,), latent_dim=8, k=2), "run")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_new_fit_starts_there_and_one_that_goes_on_does_not(tmp_path, make_trainer, digits):
    seed_everything(0, verbose=False)
    first = TopKSAE((1, 8, 8), latent_dim=8, k=2)
    trainer = make_trainer(max_steps=1)
    trainer.fit(first, digits)
    trainer.save_checkpoint(tmp_path / "first.ckpt")
    wider = TopKSAE((1, 8, 8), latent_dim=12, k=2, optimizer=lambda parameters: torch.optim.SGD(parameters, lr=1e-12))
    trainer = make_trainer(StartFrom(str(tmp_path / "first.ckpt")), max_steps=1)
    trainer.fit(wider, digits)
    torch.testing.assert_close(wider.decoder_vectors[:8], first.decoder_vectors)
    with torch.no_grad():
        wider.dictionary.W_dec.zero_()
    trainer.save_checkpoint(tmp_path / "wider.ckpt")
    trainer = make_trainer(StartFrom(str(tmp_path / "first.ckpt")), max_steps=2)
    trainer.fit(wider, digits, ckpt_path=tmp_path / "wider.ckpt")
    assert float(wider.decoder_vectors.detach().abs().max()) < 1e-6

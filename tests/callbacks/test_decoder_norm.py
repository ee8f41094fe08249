"""Decoder rows keep norm 1, in every kind of fit, and nothing else is changed."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Callback
from lightning.pytorch.strategies import FSDPStrategy

from ae_lightning.callbacks.decoder_norm import DecoderNorm
from ae_lightning.data.gaussian import GaussianDataModule
from ae_lightning.errors import ConfigError
from ae_lightning.models.fully_connected import FullyConnectedAutoencoder
from ae_lightning.models.overcomplete import OvercompleteAutoencoder
from ae_lightning.models.sparse import SparseAutoencoder
from ae_lightning.models.standard_sae import StandardSAE

LR = 0.05


@pytest.fixture
def data() -> GaussianDataModule:
    """Vectors of 6 numbers in five batches of 12."""
    data = GaussianDataModule(dim=6, rank=3, num_train=60, num_val=12, num_test=12, batch_size=12)
    data.setup()
    return data


def overcomplete(instances: int | None = None, **options) -> OvercompleteAutoencoder:
    torch.manual_seed(3)
    return OvercompleteAutoencoder(
        (6,), 10, instances=instances, optimizer=lambda p: torch.optim.Adam(p, lr=LR), **options
    )


class Rows(Callback):
    """Norms of the rows that the dictionary keeps, before the first step."""

    def __init__(self) -> None:
        self.norms = []

    def on_train_start(self, trainer, pl_module):
        self.norms.append(pl_module.dictionary.W_dec.detach().norm(dim=-1).numpy())


def row_norms(model) -> np.ndarray:
    return np.sqrt((model.decoder_vectors.detach().double().numpy() ** 2).sum(-1))


def by_hand(model, data, accumulate: int, project: bool, clip: float | None) -> list[torch.Tensor]:
    """The weights after one epoch of a plain loop: W_enc, b_enc, W_dec, b_dec."""
    d = model.dictionary
    weights = [p.detach().clone().requires_grad_() for p in (d.W_enc, d.b_enc, d.W_dec, d.b_dec)]
    w_enc, b_enc, w_dec, b_dec = weights
    optimizer = torch.optim.Adam(weights, lr=LR)
    copies = model.instances or 1
    with torch.no_grad():
        w_dec.copy_(F.normalize(w_dec, dim=-1))
    batches = [x for x, _ in data.train_dataloader()]
    for number, x in enumerate(batches, 1):
        z = F.relu(torch.matmul(x, w_enc) + b_enc[..., None, :])
        error = (torch.matmul(z, w_dec) + b_dec[..., None, :] - x).square().mean() * copies
        (error / accumulate).backward()
        if number % accumulate and number < len(batches):
            continue
        if project:
            with torch.no_grad():
                for row, grad in zip(w_dec.reshape(-1, 6), w_dec.grad.view(-1, 6), strict=True):
                    grad -= torch.dot(grad, row) * row
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(weights, clip)
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            w_dec.copy_(F.normalize(w_dec, dim=-1))
    return weights


@pytest.mark.parametrize(
    ("instances", "accumulate", "project", "clip"),
    [(None, 1, False, None), (2, 1, False, None), (None, 2, False, None), (2, 2, True, None), (None, 1, True, 0.02)],
    ids=["plain", "instances", "accumulated", "projected, accumulated instances", "projected and clipped"],
)
def test_a_fit_is_a_plain_loop_that_divides_rows_after_each_step(
    instances, accumulate, project, clip, make_trainer, data
):
    model = overcomplete(instances)
    expected = by_hand(model, data, accumulate, project, clip)
    without = by_hand(model, data, accumulate, False, clip)
    options = {"accumulate_grad_batches": accumulate, "gradient_clip_val": clip}
    make_trainer(DecoderNorm(project_gradient=project), **options).fit(model, data)
    d = model.dictionary
    for found, wanted in zip((d.W_enc, d.b_enc, d.W_dec, d.b_dec), expected, strict=True):
        torch.testing.assert_close(found.detach(), wanted.detach(), rtol=1e-4, atol=1e-5)
    assert project != torch.allclose(d.W_dec, without[2], atol=1e-3)


def test_rows_have_norm_1_and_columns_have_not(make_trainer, data):
    model = overcomplete()
    make_trainer(DecoderNorm()).fit(model, data)
    weight = model.state_dict()["dictionary.W_dec"].double().numpy()
    assert weight.shape == (10, 6)
    np.testing.assert_allclose(np.sqrt((weight**2).sum(1)), 1, atol=1e-6)
    assert (abs(np.sqrt((weight**2).sum(0)) - 1) > 0.01).any()
    assert (abs(model.encoder_vectors.detach().norm(dim=-1) - 1) > 1e-4).all()


def test_rows_have_norm_1_before_anyone_looks_at_a_new_run_and_after_each_step(make_trainer, data):
    class Look(Callback):
        def __init__(self):
            self.norms = []

        def on_train_start(self, trainer, pl_module):
            self.norms.append(row_norms(pl_module))

        def on_train_batch_end(self, trainer, pl_module, *args):
            self.norms.append(row_norms(pl_module))

    first, then = Look(), Look()
    make_trainer(first, DecoderNorm(), then).fit(overcomplete(), data)
    np.testing.assert_allclose(first.norms[0], 1, atol=1e-6)
    np.testing.assert_allclose(then.norms, 1, atol=1e-6)
    assert (abs(np.array(first.norms[1:]) - 1).max(1) > 1e-3).all()  # the steps do change norms


@pytest.mark.parametrize("tied", [False, True])
def test_the_projected_gradient_is_orthogonal_to_the_row(tied, make_trainer, data):
    class Look(Callback):
        def __init__(self):
            self.along, self.size = [], []

        def on_before_optimizer_step(self, trainer, pl_module, optimizer):
            rows = pl_module.decoder_vectors.detach()
            grad = pl_module.dictionary.W_enc.grad.mT if tied else pl_module.dictionary.W_dec.grad
            self.along.append(float((rows * grad).sum(-1).abs().max()))
            self.size.append(float(grad.norm(dim=-1).max()))

    torch.manual_seed(3)
    model = StandardSAE((6,), 10, tied=tied)
    before, after = Look(), Look()
    make_trainer(before, DecoderNorm(project_gradient=True), after).fit(model, data)
    assert min(before.along) > 1e-3
    assert max(after.along) < 1e-6
    assert min(after.size) > 1e-3


def test_projection_is_the_default_where_there_is_a_dictionary(make_trainer, data):
    found = {}
    for project in (None, True, False):
        model = overcomplete()
        make_trainer(DecoderNorm() if project is None else DecoderNorm(project)).fit(model, data)
        found[project] = model.dictionary.W_dec.detach()
    assert torch.equal(found[None], found[True])
    assert not torch.allclose(found[None], found[False], atol=1e-3)
    make_trainer(DecoderNorm(), fast_dev_run=True).fit(SparseAutoencoder((6,), latent_dim=4), data)


def test_of_rows_that_decoding_divides_those_kept_are_divided_after_each_step_only(make_trainer, data):
    torch.manual_seed(3)
    model = StandardSAE((6,), 10, unit_norm=True)
    first = Rows()
    make_trainer(first, DecoderNorm()).fit(model, data)
    assert (abs(first.norms[0] - 1) > 1e-3).all()  # the first step starts from the lengths that were drawn
    np.testing.assert_allclose(model.dictionary.W_dec.detach().norm(dim=-1), 1, atol=1e-6)


@pytest.mark.parametrize("project", [None, True])
def test_tied_rows_that_decoding_divides_keep_their_lengths_and_gradients(project, make_trainer, data):
    trained = []
    for callbacks in ([], [DecoderNorm(project)]):
        torch.manual_seed(3)
        model = StandardSAE((6,), 10, tied=True, unit_norm=True)
        make_trainer(*callbacks).fit(model, data)
        trained.append(model.dictionary.W_enc.detach())
    assert torch.equal(*trained)
    assert (abs(trained[0].norm(dim=0) - 1) > 1e-3).all()


def test_a_row_of_zeros_stays_and_makes_no_nan(make_trainer, data):
    model = overcomplete()
    with torch.no_grad():
        model.dictionary.W_dec[4] = 0
        model.dictionary.b_enc[4] = -100  # it never fires, so that its row gets no gradient
    make_trainer(DecoderNorm(project_gradient=True)).fit(model, data)
    norms = row_norms(model)
    assert norms[4] == 0
    np.testing.assert_allclose(np.delete(norms, 4), 1, atol=1e-6)
    assert all(p.isfinite().all() for p in model.parameters())


def test_a_step_that_changes_nothing_leaves_the_rows(make_trainer, data):
    model = overcomplete()
    expected = F.normalize(model.dictionary.W_dec.detach(), dim=-1)
    model.build_optimizer = lambda params: torch.optim.SGD(params, lr=0.0)
    make_trainer(DecoderNorm(), max_epochs=20).fit(model, data)
    torch.testing.assert_close(model.dictionary.W_dec.detach(), expected, rtol=0, atol=3e-7)


def test_with_tied_weights_the_encoder_has_rows_of_norm_1_too(make_trainer, data):
    torch.manual_seed(3)
    model = StandardSAE((6,), 10, tied=True)
    make_trainer(DecoderNorm()).fit(model, data)
    assert list(model.dictionary._parameters) == ["W_enc", "b_enc", "W_dec", "b_dec"]
    assert model.dictionary.W_dec is None
    np.testing.assert_allclose(model.dictionary.W_enc.detach().norm(dim=0), 1, atol=1e-6)  # (input, latent)


def test_a_deep_variant_has_rows_of_norm_1_in_every_layer_of_its_decoder(make_trainer, data):
    torch.manual_seed(3)
    model = SparseAutoencoder((6,), latent_dim=4)
    make_trainer(DecoderNorm()).fit(model, data)
    weights = [w.double() for name, w in model.state_dict().items() if name.startswith("decoder") and w.ndim == 2]
    assert len(weights) == 3
    for weight in weights:  # (output, unit), as torch.nn.Linear has it
        np.testing.assert_allclose(weight.norm(dim=0), 1, atol=1e-6)
        assert (abs(weight.norm(dim=1) - 1) > 1e-3).any()


def test_a_resumed_run_ends_as_one_that_was_not_interrupted(make_trainer, data, tmp_path):
    whole = overcomplete()
    make_trainer(DecoderNorm(True), max_epochs=3).fit(whole, data)
    half = overcomplete()
    trainer = make_trainer(DecoderNorm(True))
    trainer.fit(half, data)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    resumed = overcomplete()
    make_trainer(DecoderNorm(True), max_epochs=3).fit(resumed, data, ckpt_path=tmp_path / "a.ckpt", weights_only=True)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


@pytest.mark.parametrize(
    ("model", "project", "message"),
    [
        (
            FullyConnectedAutoencoder,
            False,
            "DecoderNorm needs a variant with a dictionary, such as OvercompleteAutoencoder, or with basis vectors, "
            "but FullyConnectedAutoencoder has neither: take it out of trainer.callbacks",
        ),
        (
            SparseAutoencoder,
            True,
            "DecoderNorm: project_gradient needs a variant with a dictionary, but SparseAutoencoder has none: set it "
            "to false",
        ),
    ],
)
def test_variants_without_rows_are_refused_before_training(model, project, message, make_trainer, data):
    with pytest.raises(ConfigError) as caught:
        make_trainer(DecoderNorm(project)).fit(model((6,), latent_dim=4), data)
    assert str(caught.value) == message


def test_split_weights_are_refused():
    with pytest.raises(ConfigError, match=r"^DecoderNorm needs whole weights, which FSDPStrategy splits"):
        DecoderNorm().setup(SimpleNamespace(strategy=FSDPStrategy()), overcomplete(), "fit")

"""The vector-quantized autoencoder beside a plain loop written from the paper, and its codes as integers."""

import copy
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from safetensors.torch import load_file
from torch import Tensor, nn

from ae_lightning.callbacks.predictions import PredictionWriter
from ae_lightning.cli.main import main
from ae_lightning.data.gaussian import GaussianDataModule
from ae_lightning.models.vqvae import VQVAE
from ae_lightning.nn.networks import DeepConvNetwork, MLPNetwork

CODES, GROUPS = 5, 2


@pytest.fixture
def data() -> GaussianDataModule:
    """Vectors of 6 numbers in five batches of 12."""
    data = GaussianDataModule(dim=6, rank=3, num_train=60, num_val=12, num_test=12, batch_size=12)
    data.setup()
    return data


def descent(parameters):
    return torch.optim.SGD(parameters, lr=0.1)


def small(**options: Any) -> VQVAE:
    torch.manual_seed(0)
    settings = {"latent_dim": 8, "codes": CODES, "groups": GROUPS, "output_activation": "none", "optimizer": descent}
    return VQVAE((6,), network=MLPNetwork((12,)), **{**settings, **options})


class Batches(Callback):
    """Keeps what the model was trained on."""

    def __init__(self) -> None:
        self.seen: list[Tensor] = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.seen.append(batch[0].clone())


def from_the_paper(
    encoder: nn.Module, decoder: nn.Module, codes: Tensor, batches: list[Tensor], learned: bool
) -> Tensor:
    """Train on pairs of batches whose gradients accumulate; the codes in the end."""
    codes = codes.clone().requires_grad_(learned)
    counts, sums = torch.ones(CODES), codes.detach().clone()
    optimizer = descent([*encoder.parameters(), *decoder.parameters(), *([codes] if learned else [])])
    for pair in zip(batches[::2], batches[1::2], strict=True):
        chosen, added = torch.zeros(CODES), torch.zeros_like(sums)
        for x in pair:
            vectors = encoder(x).reshape(-1, 8 // GROUPS)
            places = torch.cdist(vectors, codes).argmin(1)
            code = codes[places]
            x_hat = decoder((vectors + (code - vectors).detach()).reshape(len(x), 8))
            loss = ((x_hat - x) ** 2).mean() + 0.25 * ((vectors - code.detach()) ** 2).mean()
            if learned:
                loss = loss + ((vectors.detach() - code) ** 2).mean()
            (loss / 2).backward()
            for place, vector in zip(places.tolist(), vectors.detach(), strict=True):
                chosen[place] += 1
                added[place] += vector
        optimizer.step()
        optimizer.zero_grad()
        if not learned:
            counts, sums = 0.9 * counts + 0.1 * chosen, 0.9 * sums + 0.1 * added
            codes = sums / ((counts + 1e-5) / (counts.sum() + CODES * 1e-5) * counts.sum())[:, None]
    return codes.detach()


@pytest.mark.parametrize("update", ["ema", "gradient"])
def test_a_fit_is_the_papers_recipe(update, data, make_trainer):
    model, batches = small(codebook_update=update, decay=0.9), Batches()
    encoder, decoder = copy.deepcopy(model.encoder), copy.deepcopy(model.decoder)
    start = model.codebook.codes[0].detach().clone()
    make_trainer(batches, max_epochs=4, max_steps=8, accumulate_grad_batches=2, limit_train_batches=4).fit(model, data)
    assert len(batches.seen) == 16
    codes = from_the_paper(encoder, decoder, start, batches.seen, update == "gradient")
    assert float((codes - start).abs().max()) > 0.05
    torch.testing.assert_close(model.codebook.codes[0].detach(), codes, atol=1e-5, rtol=1e-4)
    for ours, theirs in zip(model.parameters(), [*encoder.parameters(), *decoder.parameters()], strict=False):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_without_options_it_has_the_papers_numbers_and_a_code_for_each_place():
    vector, grid = VQVAE((1, 28, 28)), VQVAE((1, 28, 28), network="deep_conv")
    flat = VQVAE((1, 28, 28), network=DeepConvNetwork(flat_code=True))
    assert vector.loss_weights == {"commitment": 0.25}
    assert vector.codebook.codes.shape == (1, 512, 8)
    assert (vector.index_shape, grid.index_shape, flat.index_shape) == ((8,), (1, 3, 3), (8,))
    assert grid.codebook.codes.shape == (1, 512, 64)


@pytest.mark.parametrize("options", [{}, {"product": True, "depth": 2}, {"network": "deep_conv", "groups": 4}])
def test_indices_decode_to_what_the_model_makes_of_the_sample(options):
    torch.manual_seed(0)
    model = VQVAE((1, 8, 8), **options).eval()
    x = torch.rand(5, 1, 8, 8)
    indices = model.indices_of(x)
    assert indices.dtype == torch.int64
    assert indices.shape == (5, *model.index_shape)
    assert len(indices.unique()) > 1
    assert torch.equal(model.decode_indices(indices), model(x).x_hat)
    assert torch.equal(model.predicted(x).z, indices)


def test_predict_writes_codes_as_integers(data, make_trainer, tmp_path):
    model, path = small().eval(), tmp_path / "predictions.safetensors"
    make_trainer(PredictionWriter(path, "here")).predict(model, data, return_predictions=False)
    written, x = load_file(path), data.test_set.take(12)[0]
    assert written["codes"].dtype == torch.int64
    assert torch.equal(written["codes"], model.indices_of(x))
    torch.testing.assert_close(model.decode_indices(written["codes"]), written["reconstructions"])


def test_perplexity_and_usage_are_logged_with_each_row(data, make_trainer, recorder):
    make_trainer(logger=recorder).fit(small(), data)
    for name, most in (("perplexity", CODES), ("usage", 1)):
        values = recorder.series(f"measures/{name}")
        assert len(values) == 5
        assert 0 < values[max(values)] <= most
    assert len(recorder.series("train/commitment")) == 5


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--model.groups", "7"], "--model.groups is 7, which does not divide a code of 64 channels"),
        (
            ["--model.codes", "100000"],
            "but the 1,293 samples of the training set have only 10,344 vectors",
        ),
        (["--model.decay", "1"], "--model.decay is 1; it must be at least 0 and less than 1"),
    ],
)
def test_what_makes_no_codebook_is_refused_in_a_sentence(options, sentence, capsys, tmp_path):
    where = ["--trainer.default_root_dir", str(tmp_path), "--data.batch_size", "64"]
    assert main(["fit", "--model", "vqvae", *options, "--data", "digits", *where]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "lightning_logs").exists()

"""Unused codes of a codebook, and they alone, take the place of training vectors at the right moments."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback

from ae_lightning.callbacks.new_codes import new_codes, samples_to_draw_from
from ae_lightning.callbacks.resampling import ResampleDeadLatents
from ae_lightning.data.digits import DigitsDataModule
from ae_lightning.data.gaussian import GaussianDataModule
from ae_lightning.errors import ConfigError
from ae_lightning.evaluation.codebook import code_counts, codebook_numbers
from ae_lightning.models.vqvae import VQVAE
from ae_lightning.nn.networks import MLPNetwork
from ae_lightning.run.loggers import run_loggers
from ae_lightning.run.tables import read_resampled

CODES = 6
FAR = 1e3


@pytest.fixture
def data() -> GaussianDataModule:
    """Vectors of 6 numbers in five batches of 12."""
    data = GaussianDataModule(dim=6, rank=3, num_train=60, num_val=12, num_test=12, batch_size=12)
    data.setup()
    return data


def still(params):
    return torch.optim.Adam(params, lr=1e-9)


def small(**options: Any) -> VQVAE:
    torch.manual_seed(0)
    settings = {"latent_dim": 8, "codes": CODES, "groups": 2, "output_activation": "none", "optimizer": still}
    return VQVAE((6,), network=MLPNetwork((12,)), **{**settings, **options})


class Only(Callback):
    """Has only the codes of a list chosen in each batch, batches counted from 1: all others are far away."""

    def __init__(self, codes: dict[int, list[int]]) -> None:
        self.codes, self.batch = codes, 0

    def on_train_batch_start(self, trainer, pl_module, *args):
        self.batch += 1
        with torch.no_grad():
            pl_module.codebook.codes.fill_(FAR)
            for code in self.codes[self.batch]:
                pl_module.codebook.codes[:, code] = 0.01 * code


def training_vectors(model: VQVAE, data: GaussianDataModule) -> torch.Tensor:
    with torch.no_grad():
        return model.eval().quantize(data.train_set.take(60)[0]).residuals.flatten(0, 2)


@pytest.mark.parametrize("method", ["simple", "anthropic"])
def test_codes_that_nothing_chose_in_the_window_become_vectors_of_training_samples(
    method, data, make_trainer, tmp_path
):
    """Every 5 steps with a window of 3, so steps 3 to 5."""
    only = Only({1: [0, 1], 2: [0, 1], 3: [0], 4: [0, 2], 5: [0]})
    model, folder = small(codebook_update="gradient"), tmp_path / "a" / "version_0"
    callback = ResampleDeadLatents(5, 3, method, stop_after=5)
    trainer = make_trainer(only, callback, logger=run_loggers(folder))
    trainer.fit(model, data)
    table = read_resampled(folder)
    assert table["step"].tolist() == [5] * 4
    assert table["latent"].tolist() == [1, 3, 4, 5]
    codes = model.codebook.codes[0].detach()
    distances = (codes[:, None] - training_vectors(model, data)).norm(dim=-1)
    assert float(distances[[1, 3, 4, 5]].min(1).values.max()) < 1e-5
    torch.testing.assert_close(codes[0], torch.zeros(4), atol=1e-6, rtol=0)
    torch.testing.assert_close(codes[2], torch.full((4,), FAR))
    assert len(codes[[1, 3, 4, 5]].unique(dim=0)) == 4
    # Code 1 was chosen in the first steps: the optimizer remembered gradients of it.
    memory = trainer.optimizers[0].state[model.codebook.codes]["exp_avg"][0]
    assert bool((memory[1] == 0).all())
    assert bool((memory[2] != 0).any())


def test_running_means_begin_anew_where_a_code_is_revived(data, make_trainer):
    model = small()
    model.codebook.codes[0, 3:] = model.codebook.sums[0, 3:] = FAR
    make_trainer(ResampleDeadLatents(5, 5, "simple", stop_after=5)).fit(model, data)
    book = model.codebook
    revived = book.counts[0] == 1
    assert revived[3:].all()
    assert torch.equal(book.sums[0, 3:], book.codes[0, 3:])
    assert float(book.codes.abs().max()) < FAR / 10


def test_a_run_stopped_amid_a_window_goes_on_bit_for_bit(data, make_trainer, tmp_path, monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")

    class Save(Callback):
        def on_train_batch_end(self, trainer, pl_module, *args):
            if trainer.global_step == 8:
                trainer.save_checkpoint(tmp_path / "a.ckpt")

    def fit(*callbacks: Callback, path: Path | None = None) -> VQVAE:
        model = small(codes=40, product=True, depth=2, optimizer=torch.optim.Adam)
        resample = ResampleDeadLatents(10, 4, "simple", stop_after=10)
        trainer = make_trainer(resample, *callbacks, max_epochs=3, max_steps=14)
        trainer.fit(model, data, ckpt_path=path, weights_only=None if path is None else True)
        return model

    whole = fit(Save())
    resumed = fit(path=tmp_path / "a.ckpt")
    assert int(whole.silence.seen) == 14
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_vectors_are_drawn_by_their_distance_from_their_code_or_each_alike():
    model = small(codes=3, groups=1).eval()
    x = torch.randn(50, 6, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        vectors = model.quantize(x).residuals[0, 0]
        model.codebook.codes[0] = torch.stack([vectors[0], vectors[1], vectors[2]])
        model.codebook.codes[0, 2] += FAR
        # All but the vector at 9 are at their codes.
        near = torch.cat([x[:2]] * 4 + [x[8:10]])
        unused = torch.tensor([[False, True, True]])
        drawn = [new_codes(model, near, unused, torch.Generator().manual_seed(i)) for i in range(3)]
        alike = [new_codes(model, near, unused, torch.Generator().manual_seed(i), by_loss=False) for i in range(20)]
    far = {tuple(row) for row in vectors[8:10].tolist()}
    for rows in drawn:
        assert {tuple(row) for row in rows.tolist()} == far
    assert {tuple(row) for rows in alike for row in rows.tolist()} == {
        tuple(row) for row in vectors[[0, 1, 8, 9]].tolist()
    }


def test_no_more_samples_are_drawn_than_are_needed():
    assert samples_to_draw_from(small(), 100) == 100
    assert samples_to_draw_from(VQVAE((1, 64, 64), network="conv", latent_dim=2), 8192) == 64


def test_what_cannot_be_revived_is_refused(data, make_trainer):
    cases = [
        (ResampleDeadLatents(5, 5, examples=2), data, "--model.codes is 6, but the 2 samples of ResampleDeadLatents"),
        (ResampleDeadLatents(5, 5, scale=1.0), data, "scale is of encoder rows, which codes have not"),
        (ResampleDeadLatents(5, 5, "simple"), data.train_dataloader(), "but the fit has none: give it one$"),
    ]
    for callback, source, sentence in cases:
        with pytest.raises(ConfigError, match=sentence):
            make_trainer(callback).fit(small(), source)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_with_revival_nine_tenths_of_128_codes_are_used_and_without_thirty_points_less(seed, make_trainer):
    data = DigitsDataModule(batch_size=64)
    data.setup()
    usage = []
    for callbacks in ([], [ResampleDeadLatents(25, 25, "simple")]):
        torch.manual_seed(seed)
        model = VQVAE((1, 8, 8), codes=128)
        make_trainer(*callbacks, max_epochs=20, limit_val_batches=0).fit(model, data)
        usage.append(codebook_numbers(model, code_counts(model, data.test_set, 512))["usage"])
    without, with_revival = usage
    assert with_revival >= 0.9
    assert without <= with_revival - 0.3

"""What callbacks write and measure is as exact as the weights' format allows, in every precision that a CPU has."""

import numpy as np
import pytest
import safetensors
import torch
import torch.nn.functional as F
from lightning.pytorch import Callback

from ae_lightning.callbacks.decoder_norm import DecoderNorm, normalize_decoder, project_decoder_gradient
from ae_lightning.callbacks.observing import observing
from ae_lightning.callbacks.resampling import ResampleDeadLatents
from ae_lightning.callbacks.snapshots import WeightSnapshots
from ae_lightning.data.gaussian import GaussianDataModule
from ae_lightning.models.overcomplete import OvercompleteAutoencoder
from ae_lightning.models.standard_sae import StandardSAE
from ae_lightning.nn.activations import latent_activation
from ae_lightning.nn.linear import UnitNormLinear
from ae_lightning.run.loggers import run_loggers
from ae_lightning.run.run import Snapshots

FORMATS = {
    "bf16-mixed": torch.float32,
    "bf16-true": torch.bfloat16,
    "32-true": torch.float32,
    "64-true": torch.float64,
}
#: Unit in the last place of 1.
ROUNDING = {kind: torch.finfo(kind).eps for kind in (torch.bfloat16, torch.float32, torch.float64)}
#: In bfloat16 an entry is rounded once, by half of that at most; in the others what leads to it is rounded as well.
ROOM = {kind: (0.5 if kind == torch.bfloat16 else 4) * eps for kind, eps in ROUNDING.items()}

each_precision = pytest.mark.parametrize("precision", FORMATS)
each_format = pytest.mark.parametrize("kind", ROUNDING)


@pytest.fixture
def data() -> GaussianDataModule:
    """Vectors of 30 numbers in four batches of 16."""
    data = GaussianDataModule(dim=30, rank=5, num_train=64, num_val=16, num_test=16, batch_size=16)
    data.setup()
    return data


class Norms(Callback):
    """Keeps the norms of all decoder rows after each step."""

    def __init__(self) -> None:
        self.seen: list[np.ndarray] = []

    def on_train_batch_end(self, trainer, pl_module, *args):
        self.seen.append(norms(pl_module.decoder_vectors))


def norms(rows: torch.Tensor) -> np.ndarray:
    return np.sqrt((rows.detach().double().numpy() ** 2).sum(-1))


def adam(params):
    return torch.optim.Adam(params, lr=0.02, fused=True)


@each_precision
@pytest.mark.parametrize("project", [False, True])
def test_rows_have_norm_one_after_each_step(data, make_trainer, precision, project):
    torch.manual_seed(0)
    model = OvercompleteAutoencoder((30,), 20, instances=2, optimizer=adam)
    seen = Norms()
    make_trainer(DecoderNorm(project), seen, precision=precision, max_epochs=3).fit(model, data)
    assert model.decoder_vectors.dtype == FORMATS[precision]
    assert len(seen.seen) == 12
    np.testing.assert_allclose(np.array(seen.seen), 1, atol=ROOM[FORMATS[precision]])


@each_format
def test_norms_are_not_rounded_before_rows_are_divided(kind):
    torch.manual_seed(0)
    model = OvercompleteAutoencoder((400,), 50).to(kind)
    truth = F.normalize(model.decoder_vectors.detach().double(), dim=-1)
    normalize_decoder(model)
    error = (model.decoder_vectors.detach().double() - truth).abs() / truth.abs()
    assert float(error.max()) <= 1.01 * ROOM[kind]


@each_format
def test_what_is_left_of_a_gradient_is_orthogonal_to_its_row(kind):
    torch.manual_seed(0)
    model = OvercompleteAutoencoder((30,), 20).to(kind)
    model.dictionary.W_dec.grad = model.decoder_vectors.detach() * 3 + 0.1 * torch.randn(20, 30, dtype=kind)
    before = norms(model.dictionary.W_dec.grad)
    project_decoder_gradient(model)
    rows, left = (part.detach().double() for part in (model.decoder_vectors, model.dictionary.W_dec.grad))
    along = (F.normalize(rows, dim=-1) * left).sum(-1).abs().numpy()
    assert (along <= 2 * ROUNDING[kind] * before).all()


@each_format
def test_a_layer_of_unit_norm_is_rounded_once(kind):
    torch.manual_seed(0)
    layer = UnitNormLinear(torch.nn.Linear(3, 300)).to(kind)
    truth = F.normalize(layer.weight.detach().double(), dim=0)
    assert layer.matrix.dtype == kind
    error = (layer.matrix.detach().double() - truth).abs() / truth.abs()
    assert float(error.max()) <= 1.01 * ROOM[kind]
    np.testing.assert_allclose(norms(layer.matrix.T), 1, atol=ROOM[kind])


@each_precision
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("method", ["simple", "anthropic"])
def test_resampled_rows_have_the_norms_that_are_promised(data, make_trainer, precision, method, tied):
    torch.manual_seed(0)
    model = StandardSAE((30,), 20, tied=tied, optimizer=lambda params: torch.optim.SGD(params, lr=0.0))
    dead = [2, 11, 12]
    with torch.no_grad():
        model.dictionary.b_enc[dead] = -100.0
    living = np.delete(norms(model.encoder_vectors), dead)
    resample = ResampleDeadLatents(every=4, window=4, method=method, stop_after=4)
    make_trainer(resample, precision=precision).fit(model, data)
    room = ROUNDING[FORMATS[precision]]
    assert model.dictionary.b_enc[dead].tolist() == [0, 0, 0]
    np.testing.assert_allclose(norms(model.decoder_vectors[dead]), 1, atol=room)
    scale = 0.5 if method == "simple" else 0.2 * living.mean()
    expected = 1 if tied else scale
    np.testing.assert_allclose(norms(model.encoder_vectors[dead]), expected, rtol=2 * room + 1e-6)
    x = data.train_set.take(64)[0].numpy() - model.dictionary.b_dec.detach().float().numpy()
    cosines = (
        F.normalize(model.decoder_vectors[dead].detach().float(), dim=-1).numpy()
        @ (x / norms(torch.tensor(x))[:, None]).T
    )
    if method == "anthropic":  # each row points to one of the training samples
        np.testing.assert_allclose(cosines.max(-1), 1, atol=2 * room)


def test_the_same_directions_are_drawn_in_every_precision(data, make_trainer):
    rows = []
    for precision in FORMATS:
        torch.manual_seed(0)
        model = OvercompleteAutoencoder((30,), 20, optimizer=lambda params: torch.optim.SGD(params, lr=0.0))
        with torch.no_grad():
            model.dictionary.b_enc[5] = -100.0
        resample = ResampleDeadLatents(every=4, window=4, method="simple", stop_after=4)
        make_trainer(resample, precision=precision).fit(model, data)
        rows.append(model.decoder_vectors[5].detach().double())
    for row in rows:
        torch.testing.assert_close(row, rows[-1], rtol=0.005, atol=0)


@each_precision
def test_who_only_looks_gets_the_default_type_and_gives_the_weights_back(data, make_trainer, precision):
    class Look(Callback):
        def on_train_batch_end(self, trainer, pl_module, *args):
            within = torch.get_default_dtype()
            with observing(trainer, pl_module):
                self.kinds = (torch.zeros(1).dtype, pl_module(data.val_set.take(2)[0].to(pl_module.dtype)).z.dtype)
            assert torch.get_default_dtype() == within

    look = Look()
    make_trainer(look, precision=precision).fit(OvercompleteAutoencoder((30,), 4), data)
    computed = torch.bfloat16 if precision.startswith("bf16") else FORMATS[precision]
    assert look.kinds == (torch.float32, computed)


@each_precision
def test_snapshots_hold_the_weights_as_they_are(data, make_trainer, tmp_path, precision):
    folder = tmp_path / "experiment" / "version_0"
    model = OvercompleteAutoencoder((30,), 4)
    make_trainer(WeightSnapshots(), logger=run_loggers(folder), precision=precision).fit(model, data)
    with safetensors.safe_open(folder / "snapshots" / "step_00000004.safetensors", "pt") as stored:
        assert stored.get_tensor("encoder_vectors").dtype == FORMATS[precision]
    read = Snapshots(folder / "snapshots")[4]
    assert all(torch.equal(read[name], value.to(read[name].dtype)) for name, value in model.snapshot().items())
    assert read["decoder_bias"].numpy().dtype == (np.float64 if precision == "64-true" else np.float32)


@each_format
@pytest.mark.parametrize("name", ["soft_threshold", "hard_threshold"])
def test_thresholds_silence_what_lies_within_them(kind, name):
    threshold = 0.25
    step = ROUNDING[kind] / 4  # a unit in the last place of numbers from 0.25 on
    z = torch.tensor([0.1, 0.25, 0.25 + step, 3.0, -0.25, -0.25 - step], dtype=kind)
    out = latent_activation(name, threshold)(z).double().tolist()
    shift = threshold if name == "soft_threshold" else 0
    assert out == [0, 0, 0.25 + step - shift, 3 - shift, 0, -(0.25 + step - shift)]


def test_a_row_of_zeros_stays_one_in_bfloat16():
    model = OvercompleteAutoencoder((30,), 4).bfloat16()
    with torch.no_grad():
        model.decoder_vectors[1] = 0
    normalize_decoder(model)
    assert norms(model.decoder_vectors)[1] == 0
    assert bool(model.decoder_vectors.isfinite().all())

"""Resampling of sparse dictionaries: by the model's own count of silence, and down to thresholds and gates."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.precision import MixedPrecision
from sparse_cases import CASES, DEAD_AFTER, INPUT, LATENTS, seeded

from ae_lightning import OvercompleteAutoencoder, StandardSAE, TopKSAE
from ae_lightning.callbacks.resampling import ResampleDeadLatents
from ae_lightning.data.gaussian import GaussianDataModule
from ae_lightning.errors import CheckpointError
from ae_lightning.run.tables import read_resampled

BATCH = 12


def vectors(rows: int = 60) -> GaussianDataModule:
    """Vectors of 6 numbers in batches of 12; of 56 the last one has 8."""
    return GaussianDataModule(dim=INPUT, rank=3, num_train=rows, num_val=12, num_test=12, batch_size=BATCH)


def still(params: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(params, lr=1e-30)  # 0 would stand for a rate by rule


class Flicker(Callback):
    """Lets each latent fire for all samples of a batch or for none, by lot, the first three hardly ever."""

    def __init__(self, skipped: int | None = None) -> None:
        self.generator = torch.Generator().manual_seed(0)
        self.chances = torch.tensor([0.0, 0.02, 0.05, *torch.linspace(0.1, 0.9, LATENTS - 3).tolist()])
        self.skipped = skipped

    def on_train_batch_start(self, trainer, pl_module, *args):
        on = torch.rand(LATENTS, generator=self.generator) < self.chances
        pl_module.dictionary.b_enc.data.copy_(torch.where(on, 100.0, -100.0))

    def on_after_backward(self, trainer, pl_module):
        if trainer.global_step == self.skipped:
            pl_module.dictionary.W_enc.grad.fill_(torch.inf)


def table(folder: Path) -> list[tuple[int, int, int]]:
    return list(zip(*(column.tolist() for column in read_resampled(folder).values()), strict=True))


@pytest.mark.parametrize(
    ("variant", "options", "rows"),
    [
        pytest.param(StandardSAE, {}, 60, id="batches of one size"),
        pytest.param(StandardSAE, {}, 56, id="a smaller last batch"),
        pytest.param(StandardSAE, {"accumulate_grad_batches": 2}, 60, id="accumulated"),
        pytest.param(OvercompleteAutoencoder, {"accumulate_grad_batches": 2}, 56, id="overcomplete"),
    ],
)
@pytest.mark.parametrize("when", ["after", "before"])
def test_the_model_s_count_finds_the_latents_that_the_callback_s_does(
    make_trainer, tmp_path, variant, options, rows, when
):
    tables = []
    for weight in (0.0, 1e-3):
        torch.manual_seed(0)
        model = variant((INPUT,), LATENTS, auxk_weight=weight, dead_after=DEAD_AFTER, optimizer=still)
        assert (model.silence is None) == (weight == 0)
        resampling = ResampleDeadLatents(5, 3, "simple", when=when, stop_after=100)
        trainer = make_trainer(Flicker(), resampling, max_epochs=6, default_root_dir=tmp_path / str(weight), **options)
        trainer.fit(model, vectors(rows))
        tables.append(table(tmp_path / str(weight)))
    own, shared = tables
    assert own == shared
    latents = [latent for step, _, latent in own if step == 10 - (when == "before")]
    assert 0 in latents
    assert 1 < len(latents) < LATENTS


def test_a_skipped_step_hides_no_dead_latent(make_trainer, tmp_path):
    model = seeded(CASES["standard"], optimizer=still)
    precision = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=2.0, growth_interval=1000))
    resampling = ResampleDeadLatents(5, 3, "simple", stop_after=5)
    make_trainer(Flicker(skipped=3), resampling, plugins=[precision]).fit(model, vectors())
    assert (5, 0, 0) in table(tmp_path)
    assert int(model.silence.seen) == 4 * BATCH


def test_the_resampled_are_dead_no_longer_nor_is_there_anything_to_revive(make_trainer, recorder, tmp_path):
    """Window and `dead_after` are the same two batches, so that no dead latent is left after step 4."""

    def model() -> TopKSAE:
        torch.manual_seed(0)
        return TopKSAE((INPUT,), LATENTS, k=2, auxk_weight=0.1, dead_after=2 * BATCH, optimizer=still)

    class Silence(Callback):
        def on_train_batch_end(self, trainer, pl_module, *args):
            seen[trainer.global_step] = pl_module.silence.silent.clone()

    seen: dict[int, Any] = {}
    callbacks = [Flicker(), Silence(), ResampleDeadLatents(4, 2, "simple", stop_after=4)]
    saving = ModelCheckpoint(tmp_path, "{step}", save_top_k=-1, every_n_train_steps=1)
    make_trainer(*callbacks, saving, logger=recorder, enable_checkpointing=True).fit(model(), vectors())
    dead = (seen[4] >= 2 * BATCH).nonzero().flatten().tolist()
    assert dead
    saved = torch.load(tmp_path / "step=4.ckpt", weights_only=True)["state_dict"]
    expected = seen[4].clone()
    expected[dead] = 0
    assert torch.equal(saved["silence.silent"], expected)
    assert list(recorder.series("train/auxk")) == [3, 4]
    assert recorder.series("measures/dead_latents")[5] == 0

    resumed, again = model(), type(recorder)()
    make_trainer(logger=again).fit(resumed, vectors(), ckpt_path=tmp_path / "step=4.ckpt", weights_only=True)
    assert again.series("train/auxk") == {}


class Around(Callback):
    """Weights, moments and the count right before and right after a step's resampling."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.seen: list[dict[str, Any]] = []

    def on_train_batch_end(self, trainer, pl_module, *args):
        if trainer.global_step != self.step:
            return
        (optimizer,) = trainer.optimizers
        named = dict(pl_module.named_parameters())
        self.seen.append(
            {name: value.detach().clone() for name, value in pl_module.state_dict().items()}
            | {f"moments of {name}": optimizer.state[value]["exp_avg"].clone() for name, value in named.items()}
        )


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("method", ["simple", "anthropic"])
def test_all_that_belongs_to_a_latent_starts_anew_and_nothing_else(make_trainer, tmp_path, case, method):
    model = seeded(CASES[case])
    around = Around(4)
    resampling = ResampleDeadLatents(4, 4, method, stop_after=4)
    make_trainer(around, resampling, around, max_steps=4).fit(model, vectors())
    before, after = around.seen
    shape = (LATENTS,) if model.instances is None else (model.instances, LATENTS)
    dead = torch.zeros(shape, dtype=torch.bool)
    for _, instance, latent in table(tmp_path):
        dead[(latent,) if model.instances is None else (instance, latent)] = True
    assert dead[..., [1, 6, 11]].all()
    assert not dead.all()
    start = {"dictionary.activation.threshold": 0.4 if case == "jumprelu" else 1.0}
    axes = {name: model.latent_axes.get(parameter) for name, parameter in model.named_parameters()}
    for name, axis in axes.items():
        if axis is None:
            assert torch.equal(after[name], before[name])
            continue
        old, new, moments = (
            one.movedim(axis, dead.ndim - 1) for one in (before[name], after[name], after[f"moments of {name}"])
        )
        assert torch.equal(new[~dead], old[~dead]), name
        assert not moments[dead].any(), name
        assert moments[~dead].any(), name
        if new.ndim == dead.ndim:
            assert (new[dead] == start.get(name, 0.0)).all(), name
    rows = model.decoder_vectors.detach()[dead]
    torch.testing.assert_close(rows.norm(dim=-1), torch.ones(len(rows)))
    if model.silence is not None:
        assert torch.equal(after["silence.silent"], before["silence.silent"].masked_fill(dead, 0))
    if method == "anthropic":
        assert_directions_are_of_samples(model, after, dead)


def assert_directions_are_of_samples(model: Any, after: dict[str, Any], dead: Any) -> None:
    """Each new row points from the decoder's bias to a training sample, in the units that the encoder reads."""
    scaled = model.inputs(vectors_of_training())
    bias = after["dictionary.b_dec"].expand(*dead.shape[:-1], INPUT)
    for place in dead.nonzero().tolist():
        offsets = scaled - bias[tuple(place[:-1])]
        cosines = torch.cosine_similarity(offsets, model.decoder_vectors.detach()[tuple(place)], dim=-1)
        assert float(cosines.max()) > 0.99999


def vectors_of_training() -> torch.Tensor:
    data = vectors()
    data.setup()
    return data.train_set.take(60)[0]


def test_a_damaged_count_is_refused():
    state = {"window_start": 3, "counts": None, "seen": "many"}
    with pytest.raises(CheckpointError, match="what ResampleDeadLatents has counted"):
        ResampleDeadLatents().load_state_dict(state)

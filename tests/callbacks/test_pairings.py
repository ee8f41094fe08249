"""Each way to train, with each callback: what it promises holds in every pair, beside a plain PyTorch loop.

A way to train is given by what comes of it, worked out by hand: which batches make up each optimizer step, and after
which steps the model is validated. The data are five batches of 12 samples, for three epochs.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping, LearningRateFinder
from torch import Tensor

from ae_lightning.callbacks.decoder_norm import DecoderNorm
from ae_lightning.callbacks.feature_recovery import FeatureRecovery
from ae_lightning.callbacks.figures import Figures
from ae_lightning.callbacks.images import TensorBoardImages
from ae_lightning.callbacks.initial_validation import InitialValidation
from ae_lightning.callbacks.latent_statistics import LatentStatistics
from ae_lightning.callbacks.linear_probe import LinearProbe
from ae_lightning.callbacks.resampling import ResampleDeadLatents
from ae_lightning.callbacks.save_on_stop import SaveOnStop
from ae_lightning.callbacks.schedule import Schedule
from ae_lightning.callbacks.scheduled_validation import ScheduledValidation
from ae_lightning.callbacks.snapshots import WeightSnapshots
from ae_lightning.callbacks.throughput import Throughput
from ae_lightning.callbacks.weight_statistics import WeightStatistics
from ae_lightning.data.base import Sets
from ae_lightning.data.gaussian import GaussianDataModule
from ae_lightning.data.in_memory import InMemoryDataset
from ae_lightning.errors import ConfigError
from ae_lightning.models.overcomplete import OvercompleteAutoencoder
from ae_lightning.models.stacked import StackedAutoencoder
from ae_lightning.run.loggers import run_loggers
from ae_lightning.run.run import Snapshots
from ae_lightning.run.tables import read_resampled, read_rows

RATE = 0.01
SILENT = [1, 6]
PARAMETERS = ("W_enc", "b_enc", "W_dec", "b_dec")


@dataclass(frozen=True)
class Way:
    """Options of the trainer, and what follows from them."""

    options: dict[str, Any] = field(default_factory=dict)
    batches: int = 5  # of an epoch
    each: int = 1  # batches a step
    steps: int = 15
    validated: tuple[int, ...] = (5, 10, 15)
    clip: Callable[[list[Tensor]], Any] = lambda parameters: None
    callbacks: Callable[[], list[Callback]] = list
    fixed: bool = False  # the first batches of the data, and the same in each epoch

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.batches // self.each)


WAYS = {
    "plain": Way(),
    "accumulate_2": Way({"accumulate_grad_batches": 2}, each=2, steps=9, validated=(3, 6, 9)),
    "accumulate_3": Way({"accumulate_grad_batches": 3}, each=3, steps=6, validated=(2, 4, 6)),
    "clip_norm": Way(
        {"gradient_clip_val": 0.05}, clip=lambda parameters: torch.nn.utils.clip_grad_norm_(parameters, 0.05)
    ),
    "clip_value": Way(
        {"gradient_clip_val": 0.01, "gradient_clip_algorithm": "value"},
        clip=lambda parameters: torch.nn.utils.clip_grad_value_(parameters, 0.01),
    ),
    "early_stopping": Way(  # a falling loss is no improvement here
        steps=10, validated=(5, 10), callbacks=lambda: [EarlyStopping("val/loss", mode="max", patience=1)]
    ),
    "rate_finder": Way(callbacks=lambda: [LearningRateFinder(1e-4, 0.1, num_training_steps=15)]),
    "overfit_batches": Way({"overfit_batches": 2}, batches=2, steps=6, validated=(2, 4, 6), fixed=True),
    "profiler": Way({"profiler": "simple"}),
    "limit_train_batches": Way({"limit_train_batches": 3}, batches=3, steps=9, validated=(3, 6, 9)),
    "max_steps": Way({"max_steps": 7}, steps=7, validated=(5,)),
    "val_each_2_epochs": Way({"check_val_every_n_epoch": 2}, validated=(10,)),
    "val_each_2_batches": Way({"val_check_interval": 2}, validated=(2, 4, 7, 9, 12, 14)),
}


class Labeled(GaussianDataModule):
    """Vectors of 6 numbers whose class is the sign of the first, and which know directions that they are made of."""

    def __init__(self) -> None:
        super().__init__(dim=6, rank=3, num_train=60, num_val=12, num_test=12, batch_size=12)

    @property
    def num_classes(self) -> int:  # type: ignore[override]
        return 2

    @property
    def feature_directions(self) -> Tensor:
        return self.mixing

    def make_sets(self) -> Sets:
        train, val, test = (InMemoryDataset(s.x, (s.x[:, 0] > 0).long()) for s in super().make_sets())
        return train, val, test


class Watch(Callback):
    """Weights after each step, and for each batch the step that it belongs to and which latents fired in it."""

    def __init__(self) -> None:
        self.weights: dict[int, list[Tensor]] = {}
        self.fired: list[tuple[int, Tensor]] = []
        self._step = 0

    def on_train_batch_end(self, trainer, pl_module, outputs, *args):
        step = trainer.global_step
        self.fired.append((step if step != self._step else step + 1, (outputs["z"] > 0).any(0)))
        self._step = step
        self.weights[step] = [getattr(pl_module.dictionary, name).detach().clone() for name in PARAMETERS]


class Fit(NamedTuple):
    """What came of a fit."""

    watch: Watch
    folder: Path
    trainer: Trainer

    def logged_at(self, name: str) -> list[int]:
        """Steps of the rows that hold a metric."""
        return [int(row["step"]) for row in read_rows(self.folder / "metrics.csv") if row.get(name)]


def small_model() -> OvercompleteAutoencoder:
    torch.manual_seed(3)
    model = OvercompleteAutoencoder((6,), 9, optimizer=lambda params: torch.optim.Adam(params, lr=RATE, fused=True))
    with torch.no_grad():
        model.dictionary.b_enc[SILENT] = -100.0
    return model


def watchers() -> list[Callback]:
    """All callbacks that only look."""
    every_two = Schedule(every=2, unit="steps")
    return [
        InitialValidation(),
        ScheduledValidation(),
        LatentStatistics(),
        FeatureRecovery(),
        Throughput(),
        SaveOnStop(),
        LinearProbe(Schedule(every=1, unit="epochs"), full=False),
        WeightStatistics(every_two),
        Figures(Schedule(count=2), names=["scatter"], projector=False),
        TensorBoardImages(every_two, samples=2, units=2),
        WeightSnapshots(every_two),
    ]


EDITORS: dict[str, Callable[[], list[Callback]]] = {
    "alone": lambda: [WeightSnapshots(Schedule(every=1, unit="epochs"))],
    "watched": watchers,
    "decoder_norm": lambda: [DecoderNorm(project_gradient=False)],
    "projected": lambda: [DecoderNorm()],
    "simple": lambda: [DecoderNorm(), ResampleDeadLatents(every=4, window=2, method="simple", stop_after=9)],
    "anthropic": lambda: [ResampleDeadLatents(every=2, window=2, method="anthropic", stop_after=9)],
}


@pytest.fixture(scope="module")
def fit(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Fit]:
    """Train in one of the ways with some callbacks, once."""

    @functools.cache
    def train(way: str, callbacks: str) -> Fit:
        folder = tmp_path_factory.mktemp(f"{way}_{callbacks}") / "experiment" / "version_0"
        watch, plan = Watch(), WAYS[way]
        trainer = Trainer(
            accelerator="cpu",
            logger=run_loggers(folder),
            callbacks=[*EDITORS[callbacks](), *plan.callbacks(), watch],
            log_every_n_steps=1,
            num_sanity_val_steps=0,
            enable_checkpointing=callbacks == "watched",  # which SaveOnStop is
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=folder,
            **{"max_epochs": 3, **plan.options},
        )
        trainer.fit(small_model(), Labeled())
        return Fit(watch, folder, trainer)

    return train


def steps_of(way: Way) -> list[list[Tensor]]:
    """The batches that make up each optimizer step."""
    data = Labeled()
    data.setup()
    loader, steps = data.train_dataloader(), []
    for epoch in range(3):
        loader.sampler.set_epoch(epoch)
        batches = [x for x, _ in loader][: way.batches]
        if way.fixed:
            batches = [data.train_set.take(24)[0][:12], data.train_set.take(24)[0][12:]]
        steps += [batches[first : first + way.each] for first in range(0, len(batches), way.each)]
    return steps[: way.steps]


def held_out() -> Tensor:
    """The validation set, whole."""
    data = Labeled()
    data.setup()
    return data.val_set.take(100)[0]


def plain_loop(way: Way, rate: float, norm: bool = False, project: bool = False) -> list[list[Tensor]]:
    """Weights after each step of a loop that knows nothing of Lightning."""
    dictionary = small_model().dictionary
    weights = [getattr(dictionary, name).detach().clone().requires_grad_() for name in PARAMETERS]
    w_enc, b_enc, w_dec, b_dec = weights
    optimizer = torch.optim.Adam(weights, lr=rate)
    if norm:
        w_dec.data = F.normalize(w_dec.data, dim=-1)
    states = []
    for batches in steps_of(way):
        for x in batches:
            error = (F.relu(x @ w_enc + b_enc) @ w_dec + b_dec - x).square().mean()
            (error / way.each).backward()
        if project:
            for row, gradient in zip(w_dec.data, w_dec.grad, strict=True):
                gradient -= (gradient @ row) / (row @ row) * row
        way.clip(weights)
        optimizer.step()
        optimizer.zero_grad()
        if norm:
            w_dec.data = F.normalize(w_dec.data, dim=-1)
        states.append([weight.detach().clone() for weight in weights])
    return states


each_way = pytest.mark.parametrize("way", WAYS)


def every(step: int, way: str) -> list[int]:
    """Multiples of so many steps, the first and the last moment, and that of the planned end where it comes."""
    return sorted({*range(0, WAYS[way].steps + 1, step), WAYS[way].steps})


@each_way
@pytest.mark.parametrize("editor", ["alone", "decoder_norm", "projected"])
def test_weights_after_each_step_are_those_of_a_plain_loop(fit, way, editor):
    done = fit(way, editor)
    assert list(done.watch.weights)[-1] == WAYS[way].steps
    truth = plain_loop(WAYS[way], rate_of(done), norm=editor != "alone", project=editor == "projected")
    assert len(truth) == WAYS[way].steps
    for step, expected in enumerate(truth, 1):
        for name, own, value in zip(PARAMETERS, done.watch.weights[step], expected, strict=True):
            torch.testing.assert_close(own, value, rtol=1e-4, atol=1e-5, msg=f"{name} after step {step}")


def rate_of(done: Fit) -> float:
    """The learning rate of a fit: what the finder says, if one was asked."""
    finders = [callback for callback in done.trainer.callbacks if isinstance(callback, LearningRateFinder)]
    return finders[0].optimal_lr.suggestion() if finders else RATE


@each_way
def test_who_only_looks_changes_no_bit(fit, way):
    alone, watched = fit(way, "alone").watch.weights, fit(way, "watched").watch.weights
    assert list(alone) == list(watched)
    assert all(torch.equal(a, b) for step in alone for a, b in zip(alone[step], watched[step], strict=True))


@each_way
@pytest.mark.parametrize("callbacks", ["alone", "watched"])
def test_snapshots_are_taken_at_their_steps_and_count_images(fit, way, callbacks):
    done, batches = fit(way, callbacks), steps_of(WAYS[way])
    taken = Snapshots(done.folder / "snapshots")
    assert list(taken) == every(WAYS[way].steps_per_epoch if callbacks == "alone" else 2, way)
    for entry in taken.index:
        assert entry["images_seen"] == sum(len(x) for step in batches[: entry["step"]] for x in step)
    for step in list(taken)[1:]:
        assert torch.equal(taken[step]["decoder_vectors"], done.watch.weights[step][2])
        assert torch.equal(taken[step]["encoder_bias"], done.watch.weights[step][1])


@each_way
def test_what_looks_acts_at_its_steps(fit, way):
    done, plan = fit(way, "watched"), WAYS[way]
    steps = list(range(1, plan.steps + 1))
    for name in ("sparsity/dead_fraction", "recovery/mcc"):
        assert done.logged_at(name) == list(plan.validated)
    assert done.logged_at("val/loss") == sorted({*plan.validated, *every(2, way)})
    assert done.logged_at("weights/decoder_norm") == every(2, way)
    assert done.logged_at("probe/latent") == every(plan.steps_per_epoch, way)
    assert done.logged_at("speed/images_per_s") == steps
    assert done.logged_at("train/loss") == steps
    assert done.logged_at("speed/train_seconds") == [plan.steps]
    drawn = sorted(int(path.stem[-8:]) for path in (done.folder / "figures").glob("scatter_step_*.png"))
    assert drawn == [0, plan.steps]
    stopped_within = plan.steps % plan.steps_per_epoch > 0
    assert (done.folder / "checkpoints" / "last.ckpt").is_file() == stopped_within


@each_way
def test_logged_values_are_those_of_the_weights_at_that_step(fit, way):
    done, batches = fit(way, "watched"), steps_of(WAYS[way])
    rows = read_rows(done.folder / "metrics.csv")
    start = [getattr(small_model().dictionary, name).detach() for name in PARAMETERS]
    norms = {int(row["step"]): float(row["weights/decoder_norm"]) for row in rows if row.get("weights/decoder_norm")}
    for step in list(norms)[1:]:
        assert norms[step] == pytest.approx(float(done.watch.weights[step][2].norm()), rel=1e-5)
    x = held_out()
    for step, error in ((int(row["step"]), float(row["val/loss"])) for row in rows if row.get("val/loss")):
        w_enc, b_enc, w_dec, b_dec = done.watch.weights[step] if step else start
        x_hat = F.relu(x @ w_enc + b_enc) @ w_dec + b_dec
        assert error == pytest.approx(float((x_hat - x).square().mean()), rel=1e-4), step
    means = {int(row["step"]): float(row["train/loss_epoch"]) for row in rows if row.get("train/loss_epoch")}
    whole = [step for step in range(1, WAYS[way].steps + 1) if step % WAYS[way].steps_per_epoch == 0]
    assert list(means)[: len(whole)] == whole
    for step in whole:
        losses = []
        for number in range(step - WAYS[way].steps_per_epoch, step):
            w_enc, b_enc, w_dec, b_dec = done.watch.weights[number] if number else start
            rebuilt = ((F.relu(x @ w_enc + b_enc) @ w_dec + b_dec, x) for x in batches[number])
            losses += [float((x_hat - x).square().mean()) for x_hat, x in rebuilt]
        assert means[step] == pytest.approx(np.mean(losses), rel=1e-4)


@each_way
@pytest.mark.parametrize(("method", "moments"), [("simple", (4, 8)), ("anthropic", (2, 4, 6, 8))])
def test_dead_latents_are_resampled_at_the_right_steps(fit, way, method, moments):
    done = fit(way, method)
    expected = []
    for moment in moments:
        window = [fired for step, fired in done.watch.fired if moment - 2 < step <= moment]
        if moment <= WAYS[way].steps:
            expected += [(moment, 0, latent) for latent in (~torch.stack(window).any(0)).nonzero().flatten().tolist()]
    table = read_resampled(done.folder)
    assert list(zip(*(column.tolist() for column in table.values()), strict=True)) == expected
    assert [row for row in expected if row[0] == moments[0]][: len(SILENT)]
    assert done.logged_at("resampling/latents") == [moment for moment in moments if moment <= WAYS[way].steps]
    for step, _, latent in expected:
        _, bias, decoder, _ = done.watch.weights[step]
        assert float(bias[latent]) == 0
        assert float(decoder[latent].norm()) == pytest.approx(1, abs=1e-6)


def test_the_profiler_names_what_it_timed(fit):
    summary = fit("profiler", "watched").trainer.profiler.summary()
    assert "[Callback]LinearProbe.on_train_start" in summary
    assert "run_training_batch" in summary


def test_the_rate_finder_found_a_rate_and_the_schedule_begins_with_it(fit, make_trainer):
    assert 1e-4 < rate_of(fit("rate_finder", "alone")) < 0.1
    model = OvercompleteAutoencoder(
        (6,),
        9,
        optimizer=lambda params: torch.optim.Adam(params, lr=0.5),
        lr_scheduler=lambda optimizer: torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.5**epoch),
    )
    finder = LearningRateFinder(1e-4, 0.1, num_training_steps=15)
    make_trainer(finder, max_epochs=3).fit(model, Labeled())
    assert model.learning_rate == pytest.approx(finder.optimal_lr.suggestion() * 0.5**3)


@pytest.mark.parametrize("way", ["plain", "accumulate_2", "clip_value", "overfit_batches", "max_steps"])
def test_a_stack_is_pre_trained_as_by_a_plain_loop(make_trainer, way):
    plan = WAYS[way]
    torch.manual_seed(0)
    model = StackedAutoencoder(
        (6,),
        3,
        (4,),
        pretrain_epochs=5,
        output_activation="none",
        activation="tanh",
        optimizer=lambda params: torch.optim.Adam(params, lr=RATE, fused=True),
    )
    own = [
        p.detach().clone().requires_grad_() for p in [*model.encoder[0].parameters(), *model.decoder[1].parameters()]
    ]
    rest = [p.detach().clone() for p in [*model.encoder[1].parameters(), *model.decoder[0].parameters()]]
    optimizer = torch.optim.Adam(own, lr=RATE)
    for batches in steps_of(plan):
        for x in batches:
            x_hat = F.linear(F.tanh(F.linear(x, *own[:2])), *own[2:])
            ((x_hat - x).square().mean() / plan.each).backward()
        plan.clip(own)
        optimizer.step()
        optimizer.zero_grad()
    with pytest.warns(UserWarning, match="stops before fine-tuning"):
        make_trainer(**{"max_epochs": 3, **plan.options}).fit(model, Labeled())
    trained = [*model.encoder[0].parameters(), *model.decoder[1].parameters()]
    for value, truth in zip(trained, own, strict=True):
        torch.testing.assert_close(value, truth, rtol=1e-4, atol=1e-5)
    for value, before in zip([*model.encoder[1].parameters(), *model.decoder[0].parameters()], rest, strict=True):
        assert torch.equal(value, before)


def test_a_stack_refuses_the_rate_finder(make_trainer):
    with pytest.raises(ConfigError, match="each phase of a StackedAutoencoder"):
        make_trainer(LearningRateFinder()).fit(StackedAutoencoder((6,), 3, (4,), output_activation="none"), Labeled())

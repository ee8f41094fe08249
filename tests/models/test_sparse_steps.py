"""What sparse dictionaries keep beside weights moves once for each optimizer step, is saved with it, and goes on."""

import functools
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import BatchSizeFinder, LearningRateFinder, ModelCheckpoint
from lightning.pytorch.plugins.precision import MixedPrecision
from sparse_cases import CASES, INPUT, seeded
from torch import Tensor

from ae_lightning import TopKSAE
from ae_lightning.callbacks.decoder_norm import DecoderNorm
from ae_lightning.callbacks.initial_validation import InitialValidation
from ae_lightning.callbacks.resampling import ResampleDeadLatents
from ae_lightning.data.gaussian import GaussianDataModule
from ae_lightning.errors import Notice
from ae_lightning.lean_loop import use_lean_loop
from ae_lightning.models.dead_latents import RevivingAutoencoder

BATCH, BATCHES, EPOCHS = 12, 5, 3
STEPS = BATCHES * EPOCHS

each_case = pytest.mark.parametrize("case", CASES)

State = dict[str, Tensor]


def vectors() -> GaussianDataModule:
    """Vectors of 6 numbers in five batches of 12."""
    return GaussianDataModule(dim=INPUT, rank=3, num_train=60, num_val=12, num_test=12, batch_size=BATCH)


def state_of(model: RevivingAutoencoder) -> State:
    """Weights and all that is kept beside them."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def kept_of(model: RevivingAutoencoder) -> State:
    """What is kept beside the weights that the optimizer moves."""
    moved = dict(model.named_parameters())
    return {name: value for name, value in state_of(model).items() if name not in moved}


def assert_same(one: Any, other: Any, where: str = "") -> None:
    """Equal bit for bit, whatever it is made of; NaN is equal to itself."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_same(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), where
        for place, pair in enumerate(zip(one, other, strict=True)):
            assert_same(*pair, f"{where}[{place}]")
    elif isinstance(one, Tensor):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True, msg=lambda text: f"{where}: {text}")
    else:
        assert one == other or one != one, where


class Watch(Callback):
    """The whole state after each step; and it sees that whoever looks at the model leaves it as it was."""

    def __init__(self) -> None:
        self.after: dict[int, State] = {}
        self.present: State = {}
        self.norms: list[Tensor] = []
        self.along: list[float] = []
        self.validations = 0

    def on_train_start(self, trainer, pl_module):
        self.present = state_of(pl_module)

    def on_train_batch_start(self, trainer, pl_module, *args):
        assert_same(self.present, state_of(pl_module))

    def on_before_backward(self, trainer, pl_module, loss):
        assert_same(self.present, state_of(pl_module))

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        rows = pl_module.dictionary.decoder_rows
        gradient = pl_module.dictionary.W_enc.grad.mT if rows.grad is None else rows.grad
        self.along.append(float((gradient * rows).sum(-1).abs().max() / gradient.abs().max()))

    def on_train_batch_end(self, trainer, pl_module, *args):
        self.present = self.after[trainer.global_step] = state_of(pl_module)
        self.norms.append(pl_module.dictionary.decoder_norms.detach())

    def on_validation_end(self, trainer, pl_module):
        self.validations += 1
        if self.present:
            assert_same(self.present, state_of(pl_module))


Watch.__module__ = "ae_lightning.callbacks.watch"  # as one of ours, for others keep to Lightning's loop


class Whole:
    """A run that nothing interrupts, by Lightning's loop, with a checkpoint after each step; and how to go on."""

    def __init__(self, case: str, folder: Path, logger: Any) -> None:
        self.case, self.folder, self.logger_class = case, folder, type(logger)
        self.watch = Watch()
        checkpoints = ModelCheckpoint(folder, "{step}", save_top_k=-1, every_n_train_steps=1, save_last=False)
        self.model, self.end, self.rows = self.fit(False, None, self.watch, checkpoints)

    def fit(self, lean: bool, ckpt_path: Path | None, *callbacks: Callback) -> tuple[RevivingAutoencoder, Any, Any]:
        """Train; the seed of what is new does not matter where a checkpoint is taken up."""
        model = seeded(CASES[self.case])
        torch.manual_seed(0 if ckpt_path is None else 99)
        logger = self.logger_class()
        trainer = Trainer(
            accelerator="cpu",
            max_epochs=EPOCHS,
            logger=logger,
            callbacks=[
                InitialValidation(),
                DecoderNorm(),
                ResampleDeadLatents(every=4, window=3, stop_after=12),
                *callbacks,
            ],
            log_every_n_steps=1,
            enable_checkpointing=any(isinstance(callback, ModelCheckpoint) for callback in callbacks),
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=self.folder,
        )
        if lean:
            use_lean_loop(trainer)
        trainer.fit(model, vectors(), ckpt_path=ckpt_path, weights_only=True)
        checkpoint = trainer._checkpoint_connector.dump_checkpoint()
        end = {part: checkpoint[part] for part in ("state_dict", "optimizer_states", "lr_schedulers", "autoencoder")}
        return model, end | {"resampling": callbacks_state(checkpoint)}, rows_by_step(logger)

    def saved(self, step: int) -> Path:
        """The checkpoint that was written after a step."""
        return self.folder / f"step={step}.ckpt"


def callbacks_state(checkpoint: dict[str, Any]) -> Any:
    return [value for name, value in checkpoint["callbacks"].items() if name.startswith("ResampleDeadLatents")]


def rows_by_step(logger: Any) -> dict[int, dict[str, float]]:
    rows: dict[int, dict[str, float]] = {}
    for step, row in logger.rows:
        rows.setdefault(step, {}).update(row)
    return rows


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Callable[[str], Whole]:
    """The run of a case, once."""
    from lightning.pytorch.loggers.logger import Logger

    class Rows(Logger):
        name, version = "rows", "0"

        def __init__(self) -> None:
            super().__init__()
            self.rows: list[tuple[int, dict[str, float]]] = []

        def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
            self.rows.append((int(step or 0), dict(metrics)))

        def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
            pass

    return functools.cache(lambda case: Whole(case, tmp_path_factory.mktemp(case), Rows()))


@each_case
def test_nobody_who_looks_moves_anything(whole, case):
    """Batches up to their step, validations, the look of resampling: the callback that watches would have failed."""
    run = whole(case)
    assert list(run.watch.after) == list(range(1, STEPS + 1))
    assert run.watch.validations == 1 + EPOCHS  # the sanity check is before the first state
    assert {4, 8, 12} <= {step for step, row in run.rows.items() if "resampling/latents" in row}


@each_case
def test_measuring_and_predicting_move_nothing(make_trainer, case):
    model = seeded(CASES[case]).train()
    before = state_of(model)
    for measure in ("validate", "test"):
        getattr(make_trainer(), measure)(model, vectors(), verbose=False)
    make_trainer().predict(model, vectors())
    with torch.no_grad():
        model(torch.randn(5, INPUT))
        model.train().loss(torch.randn(5, INPUT))
    assert_same(state_of(model), before)
    assert model.images_seen == 0


@each_case
def test_decoder_norm_keeps_rows_at_norm_1_and_gradients_off_them(whole, case):
    watch = whole(case).watch
    for norms in watch.norms:
        torch.testing.assert_close(norms, torch.ones_like(norms))
    assert len(watch.along) == STEPS
    assert max(watch.along) < 1e-5


@each_case
def test_a_checkpoint_written_after_a_step_holds_what_that_step_left(whole, case):
    run = whole(case)
    for step, state in run.watch.after.items():
        assert_same(torch.load(run.saved(step), weights_only=True)["state_dict"], state, f"step {step}")
        if "silence.seen" in state:
            assert int(state["silence.seen"]) == step * BATCH
        if "controller.steps" in state:
            assert int(state["controller.steps"]) == step
        if "dictionary.activation.weight" in state:
            weight, momentum = state["dictionary.activation.weight"], run.model.dictionary.activation.momentum
            torch.testing.assert_close(weight, torch.full_like(weight, 1 - momentum**step), rtol=1e-4, atol=0)
        if case.endswith("k_lowered"):  # from 6 to 3 until 7.5 steps are done
            k = max(3.0, 6 - 0.4 * step)
            expected = round(k) if case.startswith("topk") else k
            assert float(state["dictionary.activation.present_k"]) == pytest.approx(expected)


@each_case
@pytest.mark.parametrize(
    "step",
    [pytest.param(7, id="amid an epoch and a window"), pytest.param(10, id="end of an epoch", marks=pytest.mark.slow)],
)
def test_a_run_goes_on_bit_for_bit_by_either_loop(whole, case, step):
    run = whole(case)
    model, end, rows = run.fit(True, run.saved(step))
    assert_same(end, run.end)
    assert_same(state_of(model), run.watch.after[STEPS])
    later = {number: row for number, row in run.rows.items() if number > step}
    assert_same({number: row for number, row in rows.items() if number > step}, later)
    assert len(later) == STEPS - step


# --- accumulated batches, skipped steps, searches ----------------------------------------------------------------


class Told(Callback):
    """The codes of each batch, the steps done after it, and what is kept then; as the first entry, at the start."""

    def __init__(self) -> None:
        self.codes: list[Tensor] = []
        self.kept: list[State] = []
        self.steps: list[int] = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if not self.kept:
            self.kept.append(kept_of(pl_module))

    def on_train_batch_end(self, trainer, pl_module, outputs, *args):
        self.codes.append(outputs["z"].to_dense())
        self.kept.append(kept_of(pl_module))
        self.steps.append(trainer.global_step)

    def assert_taken_up(self, model: RevivingAutoencoder, steps: list[list[int]]) -> None:
        """What is kept moves after the last batch of each of these steps, by the codes of its batches."""
        ends = {batches[-1]: (number, batches) for number, batches in enumerate(steps, 1)}
        for batch in range(len(self.codes)):
            before, after = self.kept[batch], self.kept[batch + 1]
            if batch not in ends:
                assert_same(after, before, f"batch {batch}")
                continue
            number, batches = ends[batch]
            codes = torch.cat([self.codes[one] for one in batches], dim=-2)
            if "silence.silent" in after:
                silent = (before["silence.silent"] + codes.shape[-2]).masked_fill((codes != 0).any(-2), 0)
                assert_same(after["silence.silent"], silent, f"batch {batch}")
            if "controller.steps" in after:
                assert int(after["controller.steps"]) == number
            if "dictionary.activation.weight" in after:
                weight, momentum = after["dictionary.activation.weight"], model.dictionary.activation.momentum
                torch.testing.assert_close(weight, torch.full_like(weight, 1 - momentum**number), rtol=1e-4, atol=0)


@each_case
def test_batches_whose_gradients_accumulate_are_taken_up_together(make_trainer, case):
    model, told = seeded(CASES[case]), Told()
    make_trainer(told, accumulate_grad_batches=2, max_steps=4, max_epochs=2).fit(model, vectors())
    assert told.steps == [0, 1, 1, 2, 3, 3, 4]
    told.assert_taken_up(model, [[0, 1], [2, 3], [4], [5, 6]])


class Overflow(Callback):
    """Lets the gradients of one batch be infinite, and keeps the weights around its step."""

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.skipped = False

    def on_after_backward(self, trainer, pl_module):
        self.before = [parameter.detach().clone() for parameter in pl_module.parameters()]
        if trainer.fit_loop.epoch_loop.batch_idx == self.batch:
            pl_module.dictionary.W_enc.grad.fill_(torch.inf)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if batch_idx == self.batch:
            self.skipped = all(map(torch.equal, self.before, pl_module.parameters()))


@each_case
@pytest.mark.parametrize("fused", [True, False], ids=["fused", "not fused"])
def test_a_step_that_a_scaled_loss_skips_leaves_nothing_and_its_batch_is_forgotten(make_trainer, case, fused):
    told, overflow = Told(), Overflow(1)
    model = seeded(CASES[case], optimizer=lambda params: torch.optim.Adam(params, lr=0.02, fused=fused))
    precision = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=2.0, growth_interval=1000))
    make_trainer(told, overflow, plugins=[precision], max_epochs=1).fit(model, vectors())
    assert overflow.skipped
    assert told.steps == [1, 2, 3, 4, 5]  # as Lightning counts them
    told.assert_taken_up(model, [[0], [2], [3], [4]])


class AtStart(Callback):
    """State of the model when the fit begins, before searches, and when training does, after them."""

    def on_fit_start(self, trainer, pl_module):
        self.fit = (state_of(pl_module), pl_module.images_seen)

    def on_train_start(self, trainer, pl_module):
        self.training = (state_of(pl_module), pl_module.images_seen)

    def on_train_batch_end(self, trainer, pl_module, *args):
        self.kept = kept_of(pl_module)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=() if case in ("topk_k_lowered", "batch_topk", "jumprelu") else pytest.mark.slow)
        for case in CASES
    ],
)
def test_a_search_leaves_no_trace(make_trainer, case):
    model, start = seeded(CASES[case]), AtStart()
    searches = [
        BatchSizeFinder("power", steps_per_trial=2, init_val=BATCH, max_trials=1),
        LearningRateFinder(1e-4, 0.1, num_training_steps=4, update_attr=False),
    ]
    make_trainer(start, *searches, max_epochs=-1, max_steps=1).fit(model, vectors())
    moved = "dictionary.activation.present_k"  # to what it is at the first step of the run
    before, after = (
        {name: value for name, value in state.items() if name != moved} for state, _ in (start.fit, start.training)
    )
    assert_same(after, before)
    assert start.fit[1] == start.training[1] == 0
    assert model.images_seen == BATCH
    assert all(int(value) == BATCH for name, value in start.kept.items() if name == "silence.seen")
    assert all(int(value) == 1 for name, value in start.kept.items() if name == "controller.steps")
    if case.endswith("k_lowered"):
        assert float(start.training[0]["dictionary.activation.present_k"]) == 6


def test_that_nothing_dies_in_a_run_is_said_of_the_run_and_not_of_a_search(make_trainer):
    search = LearningRateFinder(1e-4, 0.1, num_training_steps=2, update_attr=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error", Notice)
        make_trainer(search, max_epochs=1).fit(TopKSAE((INPUT,), 8, k=2, dead_after=40), vectors())
    with pytest.warns(Notice, match=r"--model.dead_after is 61 samples, more than the 60 of this run"):
        make_trainer(max_epochs=1).fit(TopKSAE((INPUT,), 8, k=2, dead_after=61), vectors())

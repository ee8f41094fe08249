"""Training on two processes is training on one: the same samples, the same weights, everything written once.

A launch takes seconds of imports, so each carries all assertions that it can, and each starter of processes has one.
"""

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

pytestmark = pytest.mark.slow

SAE = ("--model", "StandardSAE", "--model.latent_dim", "48", "--data", "DigitsDataModule")
SHORT = ("--trainer.max_epochs", "4", "--snapshots.schedule.count", "3", "--trainer.log_every_n_steps", "5")
TOY = [
    *("--config", "toy_model", "--data.steps_per_epoch", "20", "--data.batch_size", "16", "--data.num_val", "64"),
    *("--data.num_test", "64", "--trainer.max_epochs", "2", "--data.instances", "2", "--model.instances", "2"),
]
PROBE = "{class_path: LinearProbe, init_args: {full: false}}"
AT_SNAPSHOTS = "{class_path: ScheduledValidation}"


def resampling(method: str) -> str:
    """Resampling of latents that fired on none of the few samples of two steps, some of which are many."""
    options = f"{{every: 6, window: 2, method: {method}, stop_after: 18}}"
    return f"{{class_path: ResampleDeadLatents, init_args: {options}}}"


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def rows_of(batches: list[Tensor]) -> Counter[bytes]:
    """How often each sample was seen."""
    return Counter(row.numpy().tobytes() for batch in batches for row in batch.flatten(1))


#: Without the last batch of an epoch, which two processes share out so that one sample is left over.
WHOLE_BATCHES = (*SAE, *SHORT, "--data.drop_last", "true", "--data.batch_size")


@pytest.fixture(scope="module")
def halves(fit: Callable[..., Any]) -> Any:
    """Two processes that torchrun starts, at half the batch."""
    return fit(*WHOLE_BATCHES, "64", callbacks=(PROBE, AT_SNAPSHOTS), launcher="torchrun")


def test_two_processes_at_half_the_batch_are_one_at_the_whole(fit: Callable[..., Any], halves: Any) -> None:
    whole = fit(*WHOLE_BATCHES, "128", processes=1, callbacks=(AT_SNAPSHOTS,))
    assert same(*halves.weights)
    for name, weight in whole.weights[0].items():
        torch.testing.assert_close(halves.weights[0][name], weight, atol=2e-4, rtol=0, msg=name)
    for step in range(5):  # the batches of a step are together that of the one process
        together = rows_of([halves.seen[0][step], halves.seen[1][step]])
        assert together == rows_of([whole.seen[0][step]])
    steps, loss = whole.run.series("val/loss")
    assert {*whole.run.snapshots} <= {*steps.tolist()}  # 20 of 40 steps is amid an epoch of 10
    steps_of_two, loss_of_two = halves.run.series("val/loss")
    np.testing.assert_array_equal(steps, steps_of_two)
    np.testing.assert_allclose(loss_of_two, loss, rtol=1e-4)
    seen, seen_by_two = (run.series("progress/images_seen")[1] for run in (whole.run, halves.run))
    np.testing.assert_array_equal(seen_by_two, seen)


def test_everything_is_written_once(halves: Any) -> None:
    run = halves.run
    assert run.folder.name == "version_0"
    for name in run.metrics:
        if name not in ("step", "epoch"):
            steps, _ = run.series(name)
            assert len(set(steps.tolist())) == len(steps), f"{name} was logged twice at a step"
    assert len(run.snapshots) == 3
    assert {path.name for path in (run.folder / "snapshots").iterdir()} == {
        "index.json",
        *(entry["file"] for entry in run.snapshots.index),
    }
    assert set(run.last_values("probe/")) >= {"probe/latent", "probe/raw"}
    assert len(list(run.folder.glob("events.out.tfevents*"))) == 1
    final = run.snapshots[max(run.snapshots)]
    torch.testing.assert_close(final["decoder_vectors"], halves.weights[0]["dictionary.W_dec"], atol=0, rtol=0)


@pytest.mark.parametrize("method", ["simple", "anthropic"])
def test_processes_share_an_epoch_and_agree_after_normalizing_and_resampling(
    method: str, fit: Callable[..., Any]
) -> None:
    callbacks = ("{class_path: DecoderNorm}", resampling(method), PROBE)
    outcome = fit(*SAE, *SHORT, "--data.batch_size", "8", callbacks=callbacks)
    assert same(*outcome.weights)
    assert len(outcome.run.resampled["latent"]) > 0
    norms = outcome.weights[0]["dictionary.W_dec"].norm(dim=-1)
    torch.testing.assert_close(norms, torch.ones_like(norms), atol=1e-5, rtol=0)

    outcome.run.data.setup()
    train = rows_of([outcome.run.data.train_set.take(10_000)[0]])
    share = train.total() // 2
    first, second = (rows_of(seen[: math.ceil(share / 8)]) for seen in outcome.seen)  # of the first epoch
    assert first.total() == second.total() == share
    assert not (first + second) - train  # no sample more often than it is there
    assert (train - (first + second)).total() == train.total() % 2


def test_a_stack_trains_layer_by_layer(fit: Callable[..., Any]) -> None:
    model = ("--model", "StackedAutoencoder", "--model.hidden_dims", "[16]", "--model.latent_dim", "8")
    options = ("--model.pretrain_epochs", "1", "--trainer.max_epochs", "4", "--data", "DigitsDataModule")
    outcome = fit(*model, *options, strategy="ddp_find_unused_parameters_true")
    assert same(*outcome.weights)
    assert {"val/layer_1", "val/layer_2", "val/fine_tuning"} <= set(outcome.run.metrics)


def test_generated_data_differ_between_processes_and_can_be_repeated_whoever_starts_them(
    fit: Callable[..., Any],
) -> None:
    first, again = fit(*TOY), fit(*TOY, launcher="srun")
    assert same(*first.weights)
    assert same(*again.weights)
    assert same(first.weights[0], again.weights[0])
    for rank in range(2):
        for batch, repeated in zip(first.seen[rank], again.seen[rank], strict=True):
            assert torch.equal(batch, repeated)
    for of_first, of_second in zip(*first.seen, strict=True):
        assert not torch.equal(of_first, of_second)
    assert again.run.folder.name == "version_0"
    assert list(again.run.snapshots) == list(first.run.snapshots)


@pytest.mark.parametrize("rank", [0, 1])
def test_all_stop_after_the_same_step_whichever_is_asked_to(
    rank: int, launch: Callable[..., Any], tmp_path: Path
) -> None:
    terminated = f"{{class_path: witness.Terminated, init_args: {{rank: {rank}}}}}"
    done = launch(tmp_path, *SAE, "--data.batch_size", "64", callbacks=(terminated,))
    assert done.returncode == 143, done.stderr
    assert done.stderr.count("interrupted at step 4; saved. Go on with:") == 1
    assert "Traceback" not in done.stderr
    last = tmp_path / "lightning_logs" / "shared" / "version_0" / "checkpoints" / "last.ckpt"
    assert torch.load(last, weights_only=True)["global_step"] == 4


def test_what_the_first_process_refuses_ends_all_with_one_sentence(launch: Callable[..., Any], tmp_path: Path) -> None:
    stopping = "{class_path: EarlyStopping, init_args: {monitor: val/los}}"
    done = launch(tmp_path, *SAE, "--data.batch_size", "64", callbacks=(stopping,))
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("ae-lightning: error: ") == 1
    assert "EarlyStopping monitors val/los, which is not logged; did you mean val/loss?" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "lightning_logs").exists()

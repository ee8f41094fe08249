"""Sparse dictionaries on two processes: what is one batch for them together, and what each takes from its own half.

Of every variant the gradient is the mean of the two halves', and thresholds, counts and controllers are of both: it is
a step on two batches that accumulate. Where a loss is a mean over samples, that is a step on the whole batch. It is not
where codes are selected from a batch (BatchTopK, Matryoshka over it), and where a term is a ratio of sums over a batch
(AuxK, fvu): then each process has the ratio, or the selection, of its half.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from sparse_cases import CASES, INPUT
from torch import Tensor

from ae_lightning.data.gaussian import GaussianDataModule

pytestmark = pytest.mark.slow

BATCH, STEPS = 24, 8
WITHOUT_AUXK = {"auxk_weight": 0.0, "dead_after": None, "k_aux": None}
#: Settings, and whether two halves are as good as the whole batch.
FITS: dict[str, tuple[str, dict[str, Any], bool]] = {
    "topk": ("topk", WITHOUT_AUXK, True),
    "jumprelu": ("jumprelu", {"auxk_weight": 0.0}, True),
    "gated": ("gated_tied", {}, True),
    "standard": ("standard", WITHOUT_AUXK, True),
    "auxk": ("topk", {}, False),
    "overcomplete": ("overcomplete", {}, False),
    "fvu": ("standard", {**WITHOUT_AUXK, "reconstruction_loss": "fvu"}, False),
    "batch_topk": ("batch_topk", WITHOUT_AUXK, False),
    "sparse": ("topk", {**WITHOUT_AUXK, "arithmetic": "sparse"}, True),
    "matryoshka": ("matryoshka_random", {"random_prefixes": None, "auxk_weight": 0.1}, False),
}

TRAIN = """
import sys
import torch
from test_sparse_in_two_processes import FITS, Seen, trained
for name in FITS:
    model, seen = trained(name, 2)
    torch.save({**seen.found, "end": model.state_dict()}, f"{sys.argv[1]}/{name}_{seen.rank}.pt")
"""


class Seen(Callback):
    """The state at the start, and the batches."""

    def on_train_start(self, trainer, pl_module):
        self.rank = trainer.global_rank
        self.found = {"start": {name: value.clone() for name, value in pl_module.state_dict().items()}, "batches": []}

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.found["batches"].append(batch[0].clone())


def trained(name: str, processes: int) -> tuple[Any, Seen]:
    """A model after eight steps, of 24 samples each, at one rate."""
    from lightning.pytorch import Trainer

    case, settings, _ = FITS[name]
    model = steady(case, settings)
    data = GaussianDataModule(
        dim=INPUT, rank=3, num_train=96, num_val=12, num_test=12, batch_size=BATCH // processes, drop_last=True
    )
    seen = Seen()
    trainer = Trainer(
        accelerator="cpu",
        devices=processes,
        strategy="ddp" if processes > 1 else "auto",
        max_steps=STEPS,
        callbacks=[seen],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
    )
    torch.manual_seed(0)
    trainer.fit(model, data)
    return model, seen


def steady(case: str, settings: dict[str, Any]) -> Any:
    """A model of a case, all of whose latents can fire, with a rate that stays."""
    torch.manual_seed(3)
    return CASES[case](lr_scheduler=lambda optimizer: torch.optim.lr_scheduler.LambdaLR(optimizer, one), **settings)


def one(step: int) -> float:
    return 1.0


def on_both_halves(name: str, start: dict[str, Tensor], halves: list[list[Tensor]]) -> dict[str, Tensor]:
    """The state that a plain loop ends with: in each step the mean of the halves' gradients, and both their codes."""
    case, settings, _ = FITS[name]
    model = steady(case, settings)
    model.load_state_dict(start)
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for parts in zip(*halves, strict=True):
        for x in parts:
            losses, output = model.loss(x)
            (losses["loss"] / 2).backward()
            model.observe(output)
        optimizer.step()
        optimizer.zero_grad()
        model.advance()
    return model.state_dict()


@pytest.fixture(scope="module")
def ends(run_twice: Callable[[str, list[Path]], Path]) -> dict[str, list[dict[str, Any]]]:
    """What both processes of one launch saw and ended with, for each of the fits."""
    here = Path(__file__).parent
    folder = run_twice(TRAIN, [here, here.parent / "reference"])
    return {name: [torch.load(folder / f"{name}_{rank}.pt", weights_only=True) for rank in range(2)] for name in FITS}


def assert_close(one: dict[str, Tensor], other: dict[str, Tensor], atol: float = 2e-5) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=1e-4, atol=atol, equal_nan=True, msg=name)


@pytest.mark.parametrize("name", FITS)
def test_both_end_with_the_same_which_a_plain_loop_over_the_halves_gives(ends, name):
    first, second = ends[name]
    assert_close(first["end"], second["end"], atol=0)
    assert_close(first["end"], on_both_halves(name, first["start"], [first["batches"], second["batches"]]))
    if "silence.seen" in first["end"]:
        assert int(first["end"]["silence.seen"]) == BATCH * STEPS
    if "controller.steps" in first["end"]:
        assert int(first["end"]["controller.steps"]) == STEPS


@pytest.mark.parametrize("name", FITS)
def test_they_are_one_with_the_whole_batch_where_losses_are_means_over_samples(ends, name):
    model, seen = trained(name, 1)
    first, second = ends[name]
    for whole, *halves in zip(seen.found["batches"], first["batches"], second["batches"], strict=True):
        assert {tuple(row) for row in torch.cat(halves).tolist()} == {tuple(row) for row in whole.tolist()}
    assert_close(first["start"], seen.found["start"])
    is_one = FITS[name][2]
    off = float((model.state_dict()["dictionary.W_enc"] - first["end"]["dictionary.W_enc"]).abs().max())
    assert (off < 1e-5) == is_one, off
    if is_one:
        assert_close(first["end"], model.state_dict())

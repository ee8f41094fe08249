"""Ours: the bare step of a model, a fit's step as the command line builds it, and a step's products alone.

    python with_ours.py bare | fit | products

A bare step is the loss, its gradients, fused Adam, and what a fit does after it (firing counts, thresholds). A fit's
step is timed between two ends of batches within `Trainer.fit`, with default callbacks and loggers, gathering its batch
in the run's own order, and checking that the loss is finite.
"""

import contextlib
import io
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule
from torch import Tensor, nn
from worker import Competitor, Peak, Setup, Worker, peak, quality, read, serve

from ae_lightning.cli.command_line import CommandLine
from ae_lightning.cli.fit.lightning_cli import AutoencoderCLI
from ae_lightning.cli.fit.parsing import prepare
from ae_lightning.models.base import Autoencoder
from ae_lightning.models.gated_sae import GatedSAE
from ae_lightning.models.jumprelu_sae import JumpReLUSAE
from ae_lightning.models.matryoshka_sae import MatryoshkaSAE
from ae_lightning.models.standard_sae import StandardSAE
from ae_lightning.models.topk_sae import BatchTopKSAE, TopKSAE
from ae_lightning.training.default_rate import warmup_and_decay

CLASSES: dict[str, type[Autoencoder]] = {
    "standard": StandardSAE,
    "jumprelu": JumpReLUSAE,
    "gated": GatedSAE,
    "topk": TopKSAE,
    "batch_topk": BatchTopKSAE,
    "matryoshka": MatryoshkaSAE,
}


def options(setup: Setup) -> dict[str, Any]:
    """Options of a model. Samples come scaled as dictionaries want them, so that nothing scales them here or there."""
    found: dict[str, Any] = {"latent_dim": setup.latents, "input_scaling": "none"}
    if setup.instances is not None:
        found["instances"] = setup.instances
    if setup.kind == "standard":
        # As SAELens has it: the penalty weighed by the decoder's norms, the encoder starting as the decoder transposed.
        found |= {"reconstruction_loss": "mse_sum", "norm_weighted": True, "init": "transpose"}
    if setup.kind in ("standard", "gated"):
        found["start_norm"] = 0.1  # as SAELens has it
    if setup.kind in ("standard", "jumprelu", "gated"):
        ramp = {"start": 0.0, "end": setup.coefficient, "until": setup.penalty_rise / setup.steps}
        return found | {"penalty_weight": ramp if setup.penalty_rise else setup.coefficient}
    if setup.kind == "matryoshka":
        found["prefix_weights"] = [1.0] * 5  # as the peers have it
    return found | {"k": setup.k, "dead_after": setup.dead_after}


class Bare:
    """A model of ours in a plain loop."""

    def __init__(self, setup: Setup) -> None:
        self.model = CLASSES[setup.kind]((setup.inputs,), **options(setup))
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=setup.rate, fused=True)

    def parameters(self) -> Iterable[nn.Parameter]:
        return self.model.parameters()

    def step(self, x: Tensor) -> None:
        losses, output = self.model.loss(x, x)
        self.model.observe(output)
        self.optimizer.zero_grad()
        losses["loss"].backward()
        self.optimizer.step()
        self.model.advance()

    def answer(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return answered(self.model, x)


def answered(model: Autoencoder, x: Tensor) -> tuple[Tensor, Tensor]:
    """Reconstruction and code, selected from the batch as in training."""
    output = model.train()(x)
    return output.x_hat, output.z


class FitWorker(Worker):
    """Answers requests by fits: each begins with a new model, and is timed from within."""

    def __init__(self) -> None:
        """Nothing is built before a request."""

    def prepare(self, setup: dict[str, Any], data: str) -> None:
        self.setup, self.data = Setup(**setup), data

    def steps(self, warmup: int, timed: int) -> float:
        clock = Clock(warmup, warmup + timed)
        fit(self.setup, self.data, self.setup.steps, clock)
        return clock.seconds / timed

    def memory(self, warmup: int) -> Peak:
        meter = Meter(warmup)
        fit(self.setup, self.data, self.setup.steps, meter)
        return meter.found[0]

    def train(self, held_out: str) -> dict[str, float]:
        model = fit(self.setup, self.data, self.setup.steps)
        return quality(partial(answered, model), read(held_out), self.setup.batch)

    def command(self, steps: int) -> float:
        """Seconds that a whole `ae-lightning fit` takes, imports, checkpoints and evaluation included."""
        with tempfile.TemporaryDirectory() as folder:
            given = [*arguments(self.setup, self.data, steps), "--trainer.default_root_dir", folder]
            start = time.perf_counter()
            subprocess.run([sys.executable, "-m", "ae_lightning", "fit", *given], check=True, stdout=subprocess.DEVNULL)
            return time.perf_counter() - start


class Clock(Callback):
    """Seconds between the ends of two steps, the last of which ends the run.

    It is the beginning of a run of full length: in one of ten steps each would be a moment for pictures and snapshots.
    """

    def __init__(self, first: int, last: int) -> None:
        self.first, self.last, self.seconds = first, last, 0.0

    def on_train_batch_end(self, trainer: Any, *args: Any) -> None:
        if trainer.global_step == self.first:
            self.seconds = -time.perf_counter()
        elif trainer.global_step == self.last:
            self.seconds += time.perf_counter()
            trainer.should_stop = True


class Meter(Callback):
    """The peak of memory of one step."""

    def __init__(self, after: int) -> None:
        self.after, self.within = after, contextlib.ExitStack()
        self.found: list[Peak] = []

    def on_train_batch_start(self, trainer: Any, pl_module: LightningModule, *args: Any) -> None:
        if trainer.global_step == self.after:
            self.found = self.within.enter_context(peak(pl_module.parameters()))

    def on_train_batch_end(self, trainer: Any, *args: Any) -> None:
        self.within.close()
        trainer.should_stop = trainer.should_stop or bool(self.found)


class _Fit(AutoencoderCLI):
    def __init__(self, arguments: list[str], setup: Setup, listener: Callback | None) -> None:
        self.setup, self.listener = setup, listener
        super().__init__(prepare(CommandLine(["fit", *arguments])))

    def before_fit(self) -> None:
        """Let a `StandardSAE`, which has no schedule by default, have that of the others, as every peer's model has."""
        super().before_fit()
        if self.setup.moves and self.model.build_lr_scheduler is None:
            self.model.build_lr_scheduler, self.model.lr_scheduler_interval = warmup_and_decay(self.model), "step"
        if self.listener is not None:
            listening: Any = self.trainer
            listening.callbacks.append(self.listener)

    def after_fit(self) -> None:
        """Leave the evaluation out."""


def fit(setup: Setup, data: str, steps: int, listener: Callback | None = None) -> Autoencoder:
    """Train as the command line does."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        return _Fit([*arguments(setup, data, steps), "--trainer.default_root_dir", folder], setup, listener).model


def arguments(setup: Setup, data: str, steps: int) -> list[str]:
    """Of `ae-lightning fit`."""
    given = {f"--model.{name}": value for name, value in options(setup).items()}
    given |= {
        "--model.optimizer.lr": setup.rate,
        "--data.batch_size": setup.batch,
        "--trainer.max_steps": steps,
        "--trainer.max_epochs": -1,
        "--trainer.limit_val_batches": 1,
    }
    if setup.moves:  # in a whole run gradients are clipped, as SAELens does and in most kinds dictionary_learning
        given["--trainer.gradient_clip_val"] = 1.0
    return [
        *("--model", CLASSES[setup.kind].__name__, "--data", "ArraysDataModule", "--data.train", data),
        *("--data.val", str(Path(data).with_name("val.npy")), "--trainer.accelerator", "cpu"),
        *itertools.chain.from_iterable(
            (name, value if isinstance(value, str) else json.dumps(value)) for name, value in given.items()
        ),
    ]


class Products:
    """The products of a step and nothing else: 1 is the encoder's, 5 are a standard step's, 7 a gated one's.

    A setup's `k` says how many.
    """

    def __init__(self, setup: Setup) -> None:
        encoder, decoder = torch.randn(setup.inputs, setup.latents), torch.randn(setup.latents, setup.inputs)
        x, z = torch.randn(setup.batch, setup.inputs), torch.randn(setup.batch, setup.latents)
        encode, decode, dz = (x, encoder), (z, decoder), (x, decoder.T)
        # The gate's own reconstruction is decoded too, and its error goes back to the gate.
        every = [encode, decode, dz, (z.T, x), (x.T, z), decode, dz]
        self.pairs = every[: setup.k]

    def parameters(self) -> Iterable[nn.Parameter]:
        return []

    def step(self, x: Tensor) -> None:
        for a, b in self.pairs:
            a @ b

    def answer(self, x: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError("products learn nothing")


if __name__ == "__main__":
    ways: dict[str, Any] = {"bare": Bare, "products": Products}
    built: type[Competitor] | None = ways.get(sys.argv[1])
    serve(FitWorker() if built is None else Worker(built))

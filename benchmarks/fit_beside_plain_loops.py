"""Time `ae-lightning fit` beside the plain PyTorch loop that a notebook would have for the same work.

Both sides of a row are interleaved in one process, and repeated; a row's ratio is the median over the rounds of the
time of `fit`, with its default callbacks and loggers, to the loop's of the same round. The floor is what the products
or convolutions of all steps take alone.

    AE_LIGHTNING_DATA=… python benchmarks/fit_beside_plain_loops.py [--rounds 5] [ROW …]

Rows: overcomplete, experiment, bf16, fully_connected, deep_conv, toy_model, toy_sae, wide_sae.
"""

import functools
import statistics
from collections.abc import Callable
from typing import NamedTuple

import floors
import plain_loops
import torch
from arguments import parts_and_rounds
from plain_loops import Images
from rich.console import Console
from rich.table import Table
from timed_fit import seconds_of_fit

TOY_STEPS, STEPS_PER_EPOCH = 5000, 500
MOMENTS = 51  # as overcomplete_mnist has them
WIDE_SAMPLES, WIDE_INPUT, WIDE_LATENTS, WIDE_BATCH, WIDE_EPOCHS = 65_536, 512, 8192, 1024, 1
ONE_EPOCH = ["--trainer.max_epochs", "1"]
DEFAULTS = ["--trainer.callbacks", "null", "--snapshots.schedule.count", "null"]


class Row(NamedTuple):
    """Work to be done in both ways: the loop, options of `fit`, seconds of the arithmetic alone, the ratio wanted."""

    title: str
    plain: Callable[[], float]
    fit: list[str]
    floor: Callable[[], float]
    wanted: float


@functools.cache
def images(standardized: bool) -> Images:
    """The images of MNIST in memory as float32."""
    from ae_lightning.data import MNISTDataModule

    data = MNISTDataModule(normalize=(0.1307, 0.3081) if standardized else "unit")
    data.prepare_data()
    data.setup("fit")
    return Images(*(torch.cat([x for x, *_ in part.batches(4096)]) for part in (data.train_set, data.val_set)))


def steps(batch: int) -> int:
    """Steps of an epoch on MNIST."""
    return -(-len(images(True).train) // batch)


def one_epoch(model: Callable[[], torch.nn.Module], standardized: bool, batch: int) -> Callable[[], float]:
    """The plain loop over MNIST."""
    return lambda: plain_loops.train_on_images(model(), images(standardized), batch)


def wide_sae() -> float:
    """The plain loop on vectors drawn before."""
    return plain_loops.train_wide_sae(torch.randn(WIDE_SAMPLES, WIDE_INPUT), WIDE_LATENTS, WIDE_BATCH, WIDE_EPOCHS)


def toy_floor(inputs: int, latents: int) -> float:
    """Products of all steps of sixteen shallow autoencoders."""
    return TOY_STEPS * floors.products((plain_loops.INSTANCES,), [inputs, latents, inputs], plain_loops.TOY_BATCH)


WIDE = [
    *("--model", "StandardSAE", "--model.latent_dim", str(WIDE_LATENTS), "--data", "GaussianDataModule"),
    *("--data.dim", str(WIDE_INPUT), "--data.num_train", str(WIDE_SAMPLES), "--data.batch_size", str(WIDE_BATCH)),
    *("--trainer.max_epochs", str(WIDE_EPOCHS), "--experiment", "wide_sae"),
]
TOY_EPOCHS = ["--trainer.max_epochs", str(TOY_STEPS // STEPS_PER_EPOCH)]
ROWS = {
    "overcomplete": Row(
        "784-1024-784, one pass over MNIST",
        one_epoch(plain_loops.overcomplete, True, 256),
        ["--config", "overcomplete_mnist", *DEFAULTS],
        lambda: steps(256) * floors.products((), [784, 1024, 784], 256),
        0.95,
    ),
    "experiment": Row(
        f"the same with {MOMENTS} validations and snapshots",
        lambda: plain_loops.train_at_moments(plain_loops.overcomplete(), images(True), 256, MOMENTS),
        ["--config", "overcomplete_mnist", "--trainer.callbacks", "ScheduledValidation"],
        lambda: (
            steps(256) * floors.products((), [784, 1024, 784], 256)
            + MOMENTS * floors.forward([784, 1024, 784], len(images(True).val))
        ),
        0.95,
    ),
    "bf16": Row(
        "the same in bf16-mixed, beside the float32 loop",
        one_epoch(plain_loops.overcomplete, True, 256),
        ["--config", "overcomplete_mnist", *DEFAULTS, "--trainer.precision", "bf16-mixed"],
        lambda: steps(256) * floors.products((), [784, 1024, 784], 256, torch.bfloat16),
        0.5,
    ),
    "fully_connected": Row(
        "784-400-20, an epoch of MNIST",
        one_epoch(plain_loops.fully_connected, False, 128),
        ["--config", "fully_connected_mnist", *DEFAULTS, *ONE_EPOCH],
        lambda: steps(128) * floors.products((), [784, 400, 20, 400, 784], 128),
        0.95,
    ),
    "deep_conv": Row(
        "deep convolutional, an epoch of MNIST",
        one_epoch(plain_loops.deep_conv, False, 128),
        ["--config", "deep_conv_mnist", *DEFAULTS, *ONE_EPOCH],
        lambda: steps(128) * floors.convolutions(128),
        0.95,
    ),
    "toy_model": Row(
        f"toy model, {TOY_STEPS:,} steps",
        lambda: plain_loops.train_toy_model(TOY_STEPS),
        ["--config", "toy_model", *TOY_EPOCHS],
        lambda: toy_floor(plain_loops.FEATURES, plain_loops.HIDDEN),
        0.5,
    ),
    "toy_sae": Row(
        f"toy sparse autoencoder with resampling, {TOY_STEPS:,} steps",
        lambda: plain_loops.train_toy_sae(TOY_STEPS),
        ["--config", "toy_sae_resample", *TOY_EPOCHS],
        lambda: toy_floor(plain_loops.HIDDEN, plain_loops.LATENTS),
        0.45,
    ),
    "wide_sae": Row(
        f"shallow SAE {WIDE_INPUT}-{WIDE_LATENTS}, batch {WIDE_BATCH:,}",
        wide_sae,
        WIDE,
        lambda: (
            WIDE_EPOCHS
            * (WIDE_SAMPLES // WIDE_BATCH)
            * floors.products((), [WIDE_INPUT, WIDE_LATENTS, WIDE_INPUT], WIDE_BATCH)
        ),
        0.85,
    ),
}


def measure(rows: dict[str, Row], rounds: int, console: Console) -> dict[str, list[tuple[float, float]]]:
    """Seconds of the loop and of `fit` by row, a pair for each round."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in rows}
    for number in range(rounds):
        for name, row in rows.items():
            torch.manual_seed(0)
            times[name].append((row.plain(), seconds_of_fit(row.fit)))
            console.print(
                f"round {number + 1} of {rounds}, {name}: {times[name][-1][0]:.2f} s, {times[name][-1][1]:.2f} s"
            )
    return times


def table(rows: dict[str, Row], times: dict[str, list[tuple[float, float]]]) -> Table:
    """Medians by row."""
    found = Table(title=f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    for heading in ("", "plain loop (s)", "fit (s)", "floor (s)", "ratio", "wanted"):
        found.add_column(heading, justify="right" if heading else "left")
    for name, row in rows.items():
        loop, fit = (statistics.median(pair[side] for pair in times[name]) for side in (0, 1))
        ratio = statistics.median(mine / theirs for theirs, mine in times[name])
        found.add_row(row.title, f"{loop:.2f}", f"{fit:.2f}", f"{row.floor():.2f}", f"{ratio:.2f}", f"≤ {row.wanted}")
    return found


def main() -> None:
    names, rounds = parts_and_rounds(__doc__, ROWS, rounds=5)
    rows = {name: ROWS[name] for name in names}
    console = Console()
    console.print(table(rows, measure(rows, rounds, console)))


if __name__ == "__main__":
    main()

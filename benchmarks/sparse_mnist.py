"""Error over L0 of the sparse dictionaries on MNIST: the gallery's figure, and the numbers in it.

Runs a sweep for each experiment below, at 16, 32 and 64 active latents, and puts FVU and L0 of the test images beside
what so many principal components leave. A sweep goes on where an earlier call stopped.

    AE_LIGHTNING_DATA=… python benchmarks/sparse_mnist.py FOLDER [--seeds 0,1,2] [EXPERIMENT …]

It writes `sparse_mnist.csv`, a row for each run, and `sparse_mnist.png` into the folder.
"""

import argparse
import csv
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ae_lightning.analysis.pca import fit_pca
from ae_lightning.data.mnist import MNISTDataModule
from ae_lightning.plots.frontier import FrontierPoint, frontier
from ae_lightning.run.run import Run

ACTIVE = (16, 32, 64)
RATE = 0.005
"""Of all of them, lest one seem better that learned faster in so short a run."""

LIKE_THE_OTHERS = (
    *("--model.latent_dim", "512", "--model.init", "active_subspace", "--model.norm_weighted", "true"),
    *("--model.input_scaling", "centered_mean_norm", "--model.reconstruction_loss", "mse_sum"),
    *("--model.penalty_weight", "1", "--model.penalty_warmup", "190"),
    *("--model.lr_scheduler", "CosineAnnealingLR", "--model.lr_scheduler.T_max", "633"),
    *("--model.lr_scheduler_interval", "step", "--trainer.max_epochs", "3"),
)
"""What makes the experiment of StandardSAE comparable: width, start, units, and a rate that falls over 633 steps."""

#: Of each experiment the name in the figure, the option that L0 is set by, and what else is given.
EXPERIMENTS: dict[str, tuple[str, str, Sequence[str]]] = {
    "topk_sae_mnist": ("TopK", "k", ()),
    "batch_topk_sae_mnist": ("BatchTopK", "k", ()),
    "matryoshka_sae_mnist": ("Matryoshka", "k", ()),
    "jumprelu_sae_mnist": ("JumpReLU", "target_l0", ()),
    "gated_sae_mnist": ("Gated", "target_l0", ()),
    "p_anneal_sae_mnist": ("p-annealed", "target_l0", ()),
    "standard_sae_mnist": ("Standard", "target_l0", LIKE_THE_OTHERS),
}

Row = dict[str, Any]
COLUMNS = ("experiment", "active", "seed", "fvu", "l0", "dead", "seconds")


def run_sweep(experiment: str, folder: Path, seeds: str) -> list[Row]:
    """Train what is not yet trained, and answer a row for each run."""
    _, option, options = EXPERIMENTS[experiment]
    command = [
        *("sweep", "--config", experiment, "--seeds", seeds, "-o", str(folder / experiment)),
        *("--grid", f"model.init_args.{option}={','.join(map(str, ACTIVE))}"),
        *("--model.optimizer.lr", str(RATE), "--trainer.callbacks", "null", *options),
    ]
    print("$ ae-lightning", *command, flush=True)
    subprocess.run([sys.executable, "-m", "ae_lightning", *command], check=True, stdout=subprocess.DEVNULL)
    with (folder / experiment / "sweep.csv").open(newline="", encoding="utf-8") as file:
        return [measured(experiment, folder / experiment, row, option) for row in csv.DictReader(file)]


def measured(experiment: str, folder: Path, row: Mapping[str, str], option: str) -> Row:
    """What a run of a sweep came to on the test images."""
    results = Run.load(folder / row["run"]).results
    latents = results["latents"]
    return {
        **{"experiment": experiment, "active": int(row[option]), "seed": int(row["seed"])},
        **{"fvu": results["errors"]["test"]["autoencoder"]["fvu"], "l0": latents["l0"], "dead": latents["dead"]},
        "seconds": results["seconds"],
    }


def unexplained_by_pca() -> list[tuple[float, float]]:
    """What so many components, found in the training images, leave of the test images' variance."""
    data = MNISTDataModule()
    data.setup()
    train, test = (each.take(len(each))[0].flatten(1).numpy() for each in (data.train_set, data.test_set))
    pca = fit_pca(train, max(ACTIVE))
    codes, variance = pca.encode(test), np.square(test - test.mean(0), dtype=np.float64).sum()
    left = np.square(test - pca.mean, dtype=np.float64).sum() - np.square(codes, dtype=np.float64).sum(0).cumsum()
    return [(active, float(left[active - 1] / variance)) for active in ACTIVE]


def lines_of(rows: Iterable[Row]) -> dict[str, list[FrontierPoint]]:
    """Points of the figure, by the names in it."""
    runs: dict[str, dict[int, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        runs[EXPERIMENTS[row["experiment"]][0]][row["active"]].append(row)
    return {
        name: [FrontierPoint([row["l0"] for row in seeds], [row["fvu"] for row in seeds]) for seeds in points.values()]
        for name, points in runs.items()
    }


def write(folder: Path, rows: Sequence[Row], pca: Sequence[tuple[float, float]]) -> None:
    """Write the table and the figure."""
    with (folder / "sparse_mnist.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    frontier(lines_of(rows), pca, "PCA, as many components").savefig(folder / "sparse_mnist.png", dpi=110)


def main() -> None:
    """Run the sweeps, print what came out, and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("experiments", nargs="*", metavar="EXPERIMENT", help="which; all by default")
    parser.add_argument("--seeds", default="0,1,2")
    options = parser.parse_intermixed_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    pca = unexplained_by_pca()
    print("PCA", pca)
    rows: list[Row] = []
    for experiment in options.experiments or EXPERIMENTS:
        rows += run_sweep(experiment, options.folder, options.seeds)
        write(options.folder, rows, pca)
        for row in rows[-len(ACTIVE) * len(options.seeds.split(",")) :]:
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()

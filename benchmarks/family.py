"""The objectives beside the plain autoencoder of the same network, on MNIST: the table of the guide on networks.

Each row is trained with each seed and measured on the test images. A call goes on where an earlier one stopped, since
the numbers of each run are kept in the folder.

    AE_LIGHTNING_DATA=… python benchmarks/family.py FOLDER [--seeds 0,1,2] [--epochs 3] [ROW …]

It prints a table in Markdown of the runs that are there: means over seeds, and half the range.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import seed_everything
from torch import Tensor

from ae_lightning.analysis.probing import linear_probe
from ae_lightning.callbacks.resampling import ResampleDeadLatents
from ae_lightning.data.in_memory import InMemoryDataset
from ae_lightning.data.mnist import MNISTDataModule
from ae_lightning.evaluation.codebook import code_counts
from ae_lightning.evaluation.sample_quality import sample_quality
from ae_lightning.files import as_json, write_text
from ae_lightning.gallery import Gallery
from ae_lightning.models.base import Autoencoder
from ae_lightning.models.variational import VariationalAutoencoder
from ae_lightning.models.vqvae import VQVAE
from ae_lightning.testing.building import build_variant, quiet_trainer
from ae_lightning.training.batch import labels_of

LATENTS = 16
"""Width of every code; all have the network 784-400-16-400-784."""

#: Of each row the class, and what is set besides the width and the network.
ROWS: dict[str, tuple[str, Mapping[str, Any]]] = {
    "plain": ("NetworkAutoencoder", {}),
    "denoising, σ 0.5": (
        "DenoisingAutoencoder",
        {"corruption": {"class_path": "GaussianNoise", "init_args": {"sigma": 0.5}}},
    ),
    "contractive": ("ContractiveAutoencoder", {}),
    "VAE": ("VariationalAutoencoder", {}),
    "β-VAE, β 4": ("VariationalAutoencoder", {"beta": 4.0}),
    "β-TCVAE, β 6": ("BetaTCVAE", {"beta": 6.0}),
    "WAE": ("WassersteinAutoencoder", {}),
    "VQ-VAE, 8 of 128": ("VQVAE", {"codes": 128}),
}
NUMBERS = ("error", "kl", "usage", "precision", "recall", "coverage", "probe")
_SAMPLES = 2000
_PROBED = 10_000
_BATCH = 1000


def measured(row: str, seed: int, epochs: int, data: MNISTDataModule, folder: Path) -> dict[str, float]:
    """Train one run and measure it on the test images."""
    seed_everything(seed, verbose=False)
    name, settings = ROWS[row]
    model = build_variant({"class_path": name}, (1, 28, 28), latent_dim=LATENTS, network="mlp", **settings)
    callbacks = [ResampleDeadLatents(every=100, window=100, method="simple")] if isinstance(model, VQVAE) else []
    quiet_trainer(folder, max_epochs=epochs, limit_val_batches=0, callbacks=callbacks).fit(model, data)
    model.eval()
    gallery = Gallery(model, data)
    train = gallery.train_set.drawn(_PROBED, torch.Generator().manual_seed(seed))
    with torch.no_grad():
        codes, labels, error = encoded(model, gallery.test_set)
        train_codes, train_labels, _ = encoded(model, train)
        numbers = {"error": error, "usage": usage(model, gallery.test_set, codes)}
        if isinstance(model, VariationalAutoencoder):
            batches = gallery.test_set.batches(_BATCH)
            numbers["kl"] = float(torch.cat([model.posterior(x).divergences().sum(1) for x, *_ in batches]).mean())
        sampler = gallery.sampler("empirical" if isinstance(model, VQVAE) else "gmm")
        generated = sample_quality(gallery, sampler, _SAMPLES, classifiers=folder)["scores"]["generated"]
    numbers |= {name: generated[name] for name in ("precision", "recall", "coverage")}
    return numbers | {"probe": linear_probe(train_codes, train_labels, codes, labels).accuracy}


def encoded(model: Autoencoder, dataset: InMemoryDataset) -> tuple[Tensor, Tensor, float]:
    """Codes (n, latents), labels (n,), and the squared error per pixel."""
    codes, labels, squares = [], [], []
    for x, y, *_ in dataset.batches(_BATCH):
        x_hat, z = model(x)
        codes.append(z.to_dense().flatten(1))
        labels.append(labels_of(y))
        squares.append((x_hat - x).square().flatten(1).mean(1))
    return torch.cat(codes), torch.cat(labels), float(torch.cat(squares).mean())


def usage(model: Autoencoder, dataset: InMemoryDataset, codes: Tensor) -> float:
    """Part of a codebook that some sample chooses; else of latents, those that spread a tenth as far as the widest."""
    if isinstance(model, VQVAE):
        return float((code_counts(model, dataset, _BATCH).sum(0) > 0).double().mean())
    spread = codes.std(0)
    return float((spread >= 0.1 * spread.max()).double().mean())


def kept(path: Path) -> dict[str, Any]:
    """Numbers of runs that are there, by row and seed."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def table(runs: Mapping[str, Mapping[str, float]]) -> str:
    """The runs in Markdown: means over seeds ± half the range."""
    lines = [f"| | {' | '.join(NUMBERS)} |", f"| --- |{' ---: |' * len(NUMBERS)}"]
    for row in ROWS:
        own = [numbers for key, numbers in runs.items() if key.rpartition(" seed ")[0] == row]
        if own:
            lines.append(f"| {row} | {' | '.join(cell([run[n] for run in own if n in run]) for n in NUMBERS)} |")
    return "\n".join(lines)


def cell(values: Sequence[float]) -> str:
    """Mean ± half the range, in three digits."""
    if not values:
        return ""
    return f"{np.mean(values):.3g} ± {np.ptp(values) / 2:.1g}"


def main() -> None:
    """Train what is not trained yet, and print the table after each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}; all by default")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()
    if unknown := set(options.rows) - ROWS.keys():
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}")
    path = options.folder / f"family_{options.epochs}_epochs.json"
    runs = kept(path)
    data = MNISTDataModule(batch_size=128)
    for seed in options.seeds.split(","):
        for row in options.rows or ROWS:
            key = f"{row} seed {seed}"
            if key not in runs:
                runs[key] = measured(row, int(seed), options.epochs, data, options.folder)
                write_text(path, as_json(runs))
                print(key, runs[key], flush=True)
    print(table(runs))


if __name__ == "__main__":
    main()

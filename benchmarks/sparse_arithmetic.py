"""A training step of a TopK dictionary with sparse arithmetic, as a ratio to the same step with dense arithmetic.

    python benchmarks/sparse_arithmetic.py [--model TopKSAE] [--rounds 9] [--threads 2] [--inputs 512]

Both are timed in turn in one process: forward and backward pass, Adam, and the counts of latents that fired. Rows are
numbers of latents, columns how many there are for each active one; a ratio is the median over the rounds. Where it is
below 1 in all rounds, `arithmetic: auto` is to take the sparse way.
"""

import argparse
import statistics
from collections.abc import Callable

import torch
from steps import bare_step, seconds

from ae_lightning.models.matryoshka_sae import MatryoshkaSAE
from ae_lightning.models.topk_sae import BatchTopKSAE, SelectingSAE, TopKSAE
from ae_lightning.nn.arithmetic import Arithmetic

BATCH = 1024
MODELS: dict[str, Callable[..., SelectingSAE]] = {
    "TopKSAE": TopKSAE,
    "BatchTopKSAE": BatchTopKSAE,
    "MatryoshkaSAE": MatryoshkaSAE,
}


def training_step(model: str, inputs: int, latents: int, k: int, arithmetic: Arithmetic) -> Callable[[], None]:
    torch.manual_seed(0)
    sae = MODELS[model]((inputs,), latents, k, arithmetic=arithmetic, dead_after=1 << 40)
    step, x = bare_step(sae, 1e-4), torch.randn(BATCH, inputs)
    return lambda: step(x)


def ratio(model: str, inputs: int, latents: int, k: int, rounds: int) -> str:
    dense, sparse = (training_step(model, inputs, latents, k, way) for way in ("dense", "sparse"))
    dense(), sparse()
    found = sorted(seconds(sparse) / seconds(dense) for _ in range(rounds))
    return f"{statistics.median(found):.2f} ({found[0]:.2f} to {found[-1]:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, default="TopKSAE")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--inputs", type=int, default=512)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    shares = (8, 16, 32, 128)
    print("| latents | " + " | ".join(f"{share} for each active" for share in shares) + " |")
    print("| ---: | " + " | ".join("---:" for _ in shares) + " |")
    for latents in (256, 512, 1024, 4096, 16384):
        cells = [
            ratio(options.model, options.inputs, latents, latents // share, options.rounds) if latents > share else ""
            for share in shares
        ]
        print(f"| {latents:,} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()

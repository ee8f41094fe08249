"""How long the largest scores of a batch take to find, beside a flat `torch.topk` over all of them and the encoder.

    python benchmarks/batch_selection.py [--rounds 15] [--threads 2]

All ways are timed in turn in one process; ratios are medians over the rounds.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from ae_lightning.nn.batch_selection import largest

BATCH, INPUTS, K = 1024, 512, 32


def milliseconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return 1e3 * (time.perf_counter() - start)


def measured(latents: int, rounds: int) -> list[dict[str, float]]:
    x, weight = torch.randn(BATCH, INPUTS), torch.randn(INPUTS, latents)
    scores = (x @ weight).flatten()
    ways: dict[str, Callable[[], object]] = {
        "encode": lambda: x @ weight,
        "flat topk": lambda: scores.topk(BATCH * K, sorted=False),
        "largest": lambda: largest(scores, BATCH * K),
    }
    for work in ways.values():
        work()
    return [{name: milliseconds(work) for name, work in ways.items()} for _ in range(rounds)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    for latents in (1024, 4096, 16384):
        rows = measured(latents, options.rounds)
        times = ", ".join(f"{name} {statistics.median(row[name] for row in rows):.1f} ms" for name in rows[0])
        ratios = sorted(row["largest"] / row["flat topk"] for row in rows)
        middle = statistics.median(ratios)
        print(f"{BATCH} x {latents}: {times}; ratio {middle:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})", flush=True)


if __name__ == "__main__":
    main()

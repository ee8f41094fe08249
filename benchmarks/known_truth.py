"""What it costs to compare latents with known features: the matching, and metrics beside making their samples.

    python benchmarks/known_truth.py [matching] [metrics] [--world world_1k --latents 1024 --k 13 --samples 20480]

`matching`: one-to-one matchings of many latents with as many truths, in a process each: seconds, and the most memory
beyond that of the imports. The matching is exact, whatever the rows. `metrics`: seconds on one core to generate and
encode samples of a world, and to measure them with all metrics, per 100,000 samples.
"""

import argparse
import multiprocessing
import resource
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from ae_lightning.data.loader import seeded_generator
from ae_lightning.data.world import WorldDataModule
from ae_lightning.evaluation.truth_meter import TruthMeter
from ae_lightning.metrics.matching import Matching
from ae_lightning.models.topk_sae import TopKSAE
from ae_lightning.yaml_file import read_settings

CONFIGS = Path(__file__).parents[1] / "configs" / "data"
BATCH = 1024
INPUTS = 768
SIZES = [(1024, 1024), (4096, 4096), (4096, 16384), (16384, 4096)]
"""Latents and truths."""


def rows_of(kind: str, latents: int, truths: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Decoder rows and directions: rows near a truth each, several of them near the same; or random ones."""
    torch.manual_seed(0)
    directions = F.normalize(torch.randn(truths, INPUTS), dim=1)
    noise = F.normalize(torch.randn(latents, INPUTS), dim=1)
    return (directions[torch.randint(truths, (latents,))] + 0.8 * noise if kind == "trained" else noise), directions


def match(kind: str, latents: int, truths: int) -> tuple[float, float]:
    """Seconds and MB."""
    rows, directions = rows_of(kind, latents, truths)
    Matching.of(rows[:8], directions[:8])  # imports scipy
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    Matching.of(rows, directions)
    return time.process_time() - start, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def matching(options: argparse.Namespace) -> None:
    print("| latents | truths | rows | CPU seconds | MB |\n| ---: | ---: | --- | ---: | ---: |")
    for latents, truths in SIZES:
        for kind in ("trained", "random"):
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                seconds, megabytes = pool.apply(match, (kind, latents, truths))
            print(f"| {latents:,} | {truths:,} | {kind} | {seconds:.1f} | {megabytes:,.0f} |", flush=True)


def world(name: str) -> WorldDataModule:
    """A world of `configs/data`, its directions as they are drawn: how far apart they are changes no time."""
    settings = read_settings(CONFIGS / f"{name}.yaml")["init_args"]
    return WorldDataModule(**{**settings, "overlap": None})


def metrics(options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    data = world(options.world)
    model = TopKSAE(data.input_shape, options.latents, options.k).eval()
    meter = TruthMeter(model.decoder_vectors, data.feature_directions, data.feature_parents)
    spent = [0.0, 0.0, 0.0]
    batches = options.samples // BATCH
    generator = seeded_generator(0)
    for batch in range(batches + 1):
        times = [time.process_time()]
        x, y = data.draw(BATCH, generator)
        times.append(time.process_time())
        with torch.no_grad():
            z = model.code(x)
            x_hat = model.decode(z)
        times.append(time.process_time())
        meter.update(z, y, x, x_hat)
        times.append(time.process_time())
        if batch:  # the first one warms up
            spent = [total + end - start for total, start, end in zip(spent, times, times[1:], strict=False)]
    generate, code, measure = (seconds * 100_000 / BATCH / batches for seconds in spent)
    start = time.process_time()
    meter.compute()
    print(
        f"{options.world}, {options.latents} latents, k {options.k}, per 100,000 samples: "
        f"{generate:.1f} s to generate, {code:.1f} s to encode and decode, "
        f"{measure:.1f} s to measure ({measure / (generate + code):.2f} of both); "
        f"{time.process_time() - start:.1f} s at the end"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = {"matching": matching, "metrics": metrics}
    parser.add_argument(
        "parts", nargs="*", metavar="PART", choices=[*parts, []], help="what to measure; all by default"
    )
    parser.add_argument("--world", default="world_1k", help="of `configs/data` (default world_1k)")
    parser.add_argument("--latents", type=int, default=1024)
    parser.add_argument("--k", type=int, default=13)
    parser.add_argument("--samples", type=int, default=20 * BATCH)
    options = parser.parse_args()
    for part in options.parts or parts:
        parts[part](options)


if __name__ == "__main__":
    main()

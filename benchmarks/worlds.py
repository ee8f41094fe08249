"""Generating samples of a world, beside the training step that uses them and beside SAELens' generators.

    python benchmarks/worlds.py [--rounds 9] [--threads 2] [--large]

A batch is 1,024 samples with their features. All are timed in turn, and a ratio is the median over the rounds; SAELens
runs in a process of its own (`make peers`), which draws a batch when it is told to. `--large` trains a TopK dictionary
on `world_16k` for 100 steps, and says how long a step and its generation take and how much memory the process touched.
"""

import argparse
import functools
import os
import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from steps import bare_step, seconds

from ae_lightning.data import WorldDataModule
from ae_lightning.models.topk_sae import TopKSAE

ROOT = Path(__file__).parents[1]
BATCH = 1024
WITHOUT: tuple[dict[str, int | None], dict[str, int | None]] = {"correlation_rank": 0}, {"roots": 0, "share": None}
KINDS: dict[str, dict[str, int | None]] = {
    "independent": WITHOUT[0] | WITHOUT[1],
    "copula": WITHOUT[1],
    "trees": WITHOUT[0],
    "copula and trees": {},
}
PEER = """
import sys, torch
from sae_lens.synthetic import SyntheticModel
torch.set_num_threads(int(sys.argv[2]))
model = SyntheticModel.load_from_disk(sys.argv[1])
for line in sys.stdin:
    model.use_sparse_tensors = line.strip() == "sparse"
    import time
    start = time.perf_counter()
    model.sample_with_features(1024)
    print(time.perf_counter() - start, flush=True)
"""


def world(name: str, **changes: Any) -> WorldDataModule:
    options = yaml.safe_load((ROOT / "configs" / "data" / f"{name}.yaml").read_text(encoding="utf-8"))["init_args"]
    return WorldDataModule(**{**options, "num_val": 1, "num_test": 1, **changes})


def generating(data: WorldDataModule) -> Callable[[], torch.Tensor]:
    """Draws as many steps at once as training does, and answers the first one's samples."""
    generator, steps = torch.Generator().manual_seed(0), data.steps_at_once
    return lambda: data.draw_steps(steps, BATCH, generator)[0][0]


def training(data: WorldDataModule, latents: int) -> Callable[[torch.Tensor], None]:
    torch.manual_seed(0)
    return bare_step(TopKSAE(data.input_shape, latents, round(data.world.mean_l0)), 3e-4)


def beside(kind: str, rounds: int, threads: int) -> str:
    data = world("world_1k", **KINDS[kind])
    generate, step, steps = generating(data), training(data, 1024), data.steps_at_once
    x = generate()
    with tempfile.TemporaryDirectory() as folder:
        data.world.save(folder)
        peers = Path(os.environ.get("AE_LIGHTNING_PEERS", ROOT / ".venv-peers"))
        command = [str(peers / "bin" / "python"), "-c", PEER, folder, str(threads)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as peer:
            told, heard = peer.stdin, peer.stdout
            assert told is not None
            assert heard is not None

            def theirs(way: str) -> float:
                print(way, file=told, flush=True)
                return float(heard.readline())

            found = []
            for number in range(rounds + 2):
                ours = seconds(generate) / steps
                row = ours, seconds(lambda: step(x)), theirs("dense"), theirs("sparse")
                found += [row] if number > 1 else []
            told.close()
    of_step = statistics.median(ours / trained for ours, trained, *_ in found)
    of_peer = statistics.median(ours / min(way) for ours, _, *way in found)
    times = " | ".join(f"{1e3 * statistics.median(column):.1f}" for column in zip(*found, strict=True))
    return f"| {kind} | {times} | {of_step:.2f} | {of_peer:.2f} |"


def large() -> None:
    data = world("world_16k")
    taken = seconds(lambda: data.world)
    print(f"world_16k made or read in {taken:.0f} s; mean L0 {data.world.mean_l0:.1f}")
    step, generator = training(data, 4096), torch.Generator().manual_seed(0)
    drawing = trained = 0.0
    for _ in range(0, 100, data.steps_at_once):
        start = time.perf_counter()
        batches = data.draw_steps(data.steps_at_once, BATCH, generator)
        drawing += time.perf_counter() - start
        trained += sum(seconds(functools.partial(step, x)) for x, _ in batches)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"100 steps of 1,024 with 4,096 latents: {trained:.1f} s, and {drawing:.1f} s to generate; {peak:.0f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--large", action="store_true", help="train on world_16k instead")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.large:
        large()
        return
    print("| features | generate (ms) | TopK step | SAELens dense | SAELens sparse | of the step | of the faster |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for kind in KINDS:
        print(beside(kind, options.rounds, options.threads), flush=True)


if __name__ == "__main__":
    main()

"""The private memory of commands on a file that is larger than they may take: a table of peaks.

Writes a float32 .npy (with --store: a store of activations), trains a small model on it for a few steps, evaluates it
over the whole, reports and explores, each command under a limit on private memory (`ulimit -d`; pages of a mapped file
are not private): what the imports take and so many MiB more. Ends with code 1 where a command fails.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from ae_lightning.data.store import StoreWriter

_MIB = 1 << 20
_POLL_SECONDS = 0.02
COMMANDS = ("evaluate", "report", "explore", "latent", "sparsity")
_IMPORTS = (
    "import ae_lightning.cli.fit.lightning_cli, ae_lightning.report.report, ae_lightning.explorer.export\n"
    "import sklearn.decomposition, tensorboard\n"
    "print([line.split()[1] for line in open('/proc/self/status') if line.startswith('VmData')][0])"
)


class Peak(NamedTuple):
    """What a command took: its exit code, seconds, and the most private memory in bytes, as allotted and as touched."""

    code: int
    seconds: float
    allotted: int  #: VmData, what `ulimit -d` counts
    touched: int  #: RssAnon


def main() -> int:
    """Measure and print; 0 when all commands did with the memory they were given."""
    options = _options()
    imports = int(subprocess.run([sys.executable, "-c", _IMPORTS], capture_output=True, text=True, check=True).stdout)
    limit = imports * 1024 + options.allow * _MIB
    print(f"imports alone: {imports // 1024} MiB; limit {limit // _MIB} MiB; file {options.mib} MiB", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.store:
            write_store(folder / "store", options.mib, options.width)
            data = ["ActivationsDataModule", "--data.root", str(folder / "store")]
        else:
            write(folder / "x.npy", options.mib, options.width)
            data = ["ArraysDataModule", "--data.train", str(folder / "x.npy")]
        commands = {
            "fit": fit(data, options.latents, options.steps),
            **{command: [command, "run"] for command in COMMANDS},
        }
        print("| command | private memory above the imports (MiB) | touched, imports included (MiB) | seconds |")
        print("| --- | ---: | ---: | ---: |")
        failed = []
        for command, arguments in [(command, commands[command]) for command in options.commands]:
            peak = measured([str(_run(folder)) if part == "run" else part for part in arguments], folder, limit)
            above, touched = peak.allotted // _MIB - imports // 1024, peak.touched // _MIB
            print(f"| {command} | {above} | {touched} | {peak.seconds:.0f} |", flush=True)
            is_measured = (_run(folder) / "metrics.json").exists()  # a fit ends well without, and says so
            failed += [command] * (peak.code != 0 or not is_measured)
    for command in failed:
        print(f"{command} did not end well", file=sys.stderr)
    return 1 if failed else 0


def pieces(rows: int, width: int) -> Iterator[np.ndarray]:
    """Samples whose entries are correlated, some thousand at a time."""
    rng = np.random.default_rng(0)
    mixed = (rng.standard_normal((16, width)) / 4).astype(np.float32)
    for start in range(0, rows, 4096):
        yield rng.standard_normal((min(4096, rows - start), 16), dtype=np.float32) @ mixed


def write(path: Path, mib: int, width: int) -> None:
    """Write samples into one file."""
    rows = mib * _MIB // (4 * width)
    file = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(rows, width))
    start = 0
    for piece in pieces(rows, width):
        file[start : start + len(piece)] = piece
        start += len(piece)
    file.flush()


def write_store(folder: Path, mib: int, width: int) -> None:
    """Write samples into a store, in sequences of 128."""
    rows = mib * _MIB // (4 * width)
    with StoreWriter(folder, {}, {"h": width}, covariance=False) as writer:
        for piece in pieces(rows, width):
            number = torch.arange(writer.row, writer.row + len(piece))
            writer.add({"h": torch.from_numpy(piece)}, number // 128, number % 128)
        writer.finish(model={}, data={}, samples=-(-rows // 128))


def fit(data: list[str], latents: int, steps: int) -> list[str]:
    """Arguments of a short fit with everything around it that a long one has."""
    return [
        *("fit", "--model", "OvercompleteAutoencoder", "--model.latent_dim", str(latents)),
        *("--data", *data, "--trainer.max_steps", str(steps)),
        *("--trainer.accelerator", "cpu", "--trainer.limit_val_batches", "8", "--snapshots.schedule.count", "5"),
    ]


def measured(arguments: list[str], folder: Path, limit: int) -> Peak:
    """Run a command under a limit on private memory in bytes, and look at it while it runs."""
    begin = time.perf_counter()
    with (folder / "log.txt").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "ae_lightning", *arguments],
            cwd=folder,
            stdout=log,
            stderr=log,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (limit, limit)),
        )
        allotted = touched = 0
        while process.poll() is None:
            now = _status(process.pid)
            allotted, touched = max(allotted, now.get("VmData", 0)), max(touched, now.get("RssAnon", 0))
            time.sleep(_POLL_SECONDS)
    if process.returncode:
        print((folder / "log.txt").read_text(errors="replace")[-2000:], file=sys.stderr)
    return Peak(process.returncode, time.perf_counter() - begin, allotted, touched)


def _run(folder: Path) -> Path:
    """Folder of the one run; where there is none yet, one that is not there."""
    return next(folder.glob("lightning_logs/*/version_0"), folder / "lightning_logs")


def _status(pid: int) -> dict[str, int]:
    """Sizes in bytes of a process, by the names that Linux has for them."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:  # it has just ended
        return {}
    return {line.partition(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.endswith(" kB")}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commands", nargs="*", metavar="COMMAND", default=["fit", *COMMANDS], help="fit first; all")
    parser.add_argument("--store", action="store_true", help="read a store of activations in place of a file")
    parser.add_argument("--mib", type=int, default=4096, help="size of the file (default 4096)")
    parser.add_argument("--allow", type=int, default=1024, help="MiB that a command may take (default 1024)")
    parser.add_argument("--width", type=int, default=1024, help="numbers in a sample (default 1024)")
    parser.add_argument("--latents", type=int, default=256, help="latents of the model (default 256)")
    parser.add_argument("--steps", type=int, default=50, help="steps of the training (default 50)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

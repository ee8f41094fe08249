"""Rows a second from a store of activations, beside other ways to keep rows on disk; and a training step fed by it.

    python benchmarks/store.py [--mib 512] [--rounds 3] [--seconds 20] [--warm] [PART …]

`read` writes the same rows in each format, drops them from the system's cache, and reads float32 batches of 4,096, in
turn in one process; a way that has not ended after so many seconds is measured by what it read. Hugging Face `datasets`
and `litdata` take part where they are installed: `make formats` makes an environment with them. `step` is a training
step of a TopK autoencoder, 384 to 1,024 with k 16, from windows of the store and from rows in memory, in pieces of an
epoch: of 512 MiB two windows of 64 batches are read while it trains, and with the third nothing is left to read.
"""

import argparse
import gc
import importlib.util
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from steps import bare_step, seconds
from torch import Tensor

from ae_lightning.data import ActivationsDataModule
from ae_lightning.data.store import StoredArray, StoreIndex, StoreWriter
from ae_lightning.models.topk_sae import TopKSAE

WIDTH, BATCH, LENGTH = 384, 4096, 128
_MIB = 2**20
# Rows that are made, and written, at a time.
_PIECE = 65_536

Batches = Iterator[Tensor]


def pieces(rows: int) -> Iterator[Tensor]:
    """Rows in float16, a piece at a time."""
    piece = torch.randn(_PIECE, WIDTH, generator=torch.Generator().manual_seed(0)).half()
    for start in range(0, rows, _PIECE):
        yield piece[: min(_PIECE, rows - start)]


def write_store(folder: Path, rows: int) -> None:
    with StoreWriter(folder, {}, {"h": WIDTH}, "float16") as writer:
        for piece in pieces(rows):
            number = torch.arange(writer.row, writer.row + len(piece))
            writer.add({"h": piece}, number // LENGTH, number % LENGTH)
        writer.finish(model={}, data={}, samples=rows // LENGTH)


def write_npy(folder: Path, rows: int) -> None:
    folder.mkdir()
    file = np.lib.format.open_memmap(folder / "x.npy", mode="w+", dtype=np.float16, shape=(rows, WIDTH))
    start = 0
    for piece in pieces(rows):
        file[start : start + len(piece)] = piece.numpy()
        start += len(piece)
    file.flush()


def write_datasets(folder: Path, rows: int) -> None:
    import datasets
    import pyarrow
    from datasets.arrow_writer import ArrowWriter

    folder.mkdir()
    features = datasets.Features({"x": datasets.Sequence(datasets.Value("float16"), length=WIDTH)})
    with ArrowWriter(path=str(folder / "x.arrow"), features=features) as writer:
        for piece in pieces(rows):
            values = pyarrow.array(piece.numpy().reshape(-1))
            writer.write_table(pyarrow.table({"x": pyarrow.FixedSizeListArray.from_arrays(values, WIDTH)}))
        writer.finalize()


def write_litdata(folder: Path, rows: int) -> None:
    from litdata.streaming.writer import BinaryWriter

    folder.mkdir()
    writer = BinaryWriter(str(folder), chunk_bytes="64MB")
    for number, row in enumerate(row for piece in pieces(rows) for row in piece):
        writer[number] = row
    writer.done()
    writer.merge(1)


def in_order(folder: Path, _: argparse.Namespace) -> Batches:
    rows = StoredArray(StoreIndex.read(folder), "h")
    piece = torch.empty(BATCH, WIDTH, dtype=rows.dtype)
    for start in range(0, len(rows), BATCH):
        stop = min(start + BATCH, len(rows))
        yield rows.read(start, stop, piece[: stop - start]).float()


def in_windows(folder: Path, options: argparse.Namespace) -> ActivationsDataModule:
    """Rows of a store that do not fit into the memory that they may take."""
    data = ActivationsDataModule(
        str(folder), val_fraction=0.01, memory=int(0.8 * options.mib * _MIB), window=options.window
    )
    data.setup()
    return data


def shuffled(folder: Path, options: argparse.Namespace) -> Batches:
    return (batch[0] for batch in in_windows(folder, options).train_dataloader())


def gathered(folder: Path, _: argparse.Namespace) -> Batches:
    rows = np.load(folder / "x.npy", mmap_mode="r")
    order = torch.randperm(len(rows)).numpy()
    return (torch.from_numpy(rows[order[start : start + BATCH]]).float() for start in range(0, len(rows), BATCH))


class Rows(torch.utils.data.Dataset):
    """Single rows of a mapped array, as people write it."""

    def __init__(self, path: Path) -> None:
        self.rows = np.load(path, mmap_mode="r")

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Tensor:
        return torch.from_numpy(np.array(self.rows[index]))


def row_by_row(folder: Path, _: argparse.Namespace) -> Batches:
    loader = torch.utils.data.DataLoader(Rows(folder / "x.npy"), BATCH, shuffle=True)
    return (batch.float() for batch in loader)


def by_datasets(folder: Path, _: argparse.Namespace) -> Batches:
    import datasets

    rows = datasets.Dataset.from_file(str(folder / "x.arrow")).with_format("torch")
    order = torch.randperm(len(rows)).tolist()
    return (rows[order[start : start + BATCH]]["x"].float() for start in range(0, len(rows), BATCH))


def by_litdata(folder: Path, _: argparse.Namespace) -> Batches:
    import litdata

    loader = litdata.StreamingDataLoader(litdata.StreamingDataset(str(folder), shuffle=True), batch_size=BATCH)
    return (batch.float() for batch in loader)


FORMATS: dict[str, tuple[Callable[[Path, int], None], dict[str, Callable[[Path, argparse.Namespace], Batches]]]] = {
    "store": (write_store, {"store, in order": in_order, "store, shuffled": shuffled}),
    "npy": (write_npy, {"numpy.memmap, gathered": gathered, "DataLoader, row by row": row_by_row}),
    "datasets": (write_datasets, {"datasets, shuffled": by_datasets}),
    "litdata": (write_litdata, {"litdata, shuffled": by_litdata}),
}


def is_there(name: str) -> bool:
    """Whether a format can be measured here."""
    return name in ("store", "npy") or importlib.util.find_spec(name) is not None


def drop_from_cache(folder: Path) -> None:
    """Let the system forget what it has read of files."""
    for path in folder.rglob("*"):
        if path.is_file():
            file = os.open(path, os.O_RDONLY)
            os.fsync(file)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)


def rate(batches: Batches, most: float) -> float:
    """Rows a second of batches, looked at for so many seconds at most."""
    rows, start = 0, time.perf_counter()
    for batch in batches:
        rows += len(batch)
        if time.perf_counter() - start > most:
            break
    return rows / (time.perf_counter() - start)


def spread(rates: list[float], others: list[float]) -> str:
    """Median of the ratios of each round, and the outermost ones."""
    ratios = sorted(one / other for one, other in zip(rates, others, strict=True))
    return f"{statistics.median(ratios):.3g} ({ratios[0]:.3g} to {ratios[-1]:.3g})"


def read(folder: Path, options: argparse.Namespace) -> None:
    """Print how fast each format is written and read."""
    rows = options.mib * _MIB // (2 * WIDTH) // LENGTH * LENGTH
    formats = [name for name in FORMATS if is_there(name)]
    print(f"{rows:,} rows of {WIDTH} numbers in float16, {options.mib} MiB; batches of {BATCH:,} rows in float32\n")
    print("| written as | rows a second |\n| --- | ---: |")
    for name in formats:
        taken = seconds(lambda name=name: FORMATS[name][0](folder / name, rows))  # type: ignore[misc]
        print(f"| {name} | {rows / taken:,.0f} |", flush=True)
    os.sync()  # the disk is to have nothing else to do
    found: dict[str, list[float]] = {}
    for _ in range(options.rounds):
        for name in formats:
            for way, batches in FORMATS[name][1].items():
                if not options.warm:
                    drop_from_cache(folder / name)
                gc.collect()
                found.setdefault(way, []).append(rate(batches(folder / name, options), options.seconds))
    ours, singly = found["store, in order"], found["DataLoader, row by row"]
    print("\n| read from | rows a second | of the store in order | of a loader of rows |\n| --- | ---: | ---: | ---: |")
    for way, rates in found.items():
        print(f"| {way} | {statistics.median(rates):,.0f} | {spread(rates, ours)} | {spread(rates, singly)} |")


def step(folder: Path, options: argparse.Namespace) -> None:
    """Print how long a training step takes from windows of a store, and from rows in memory."""
    if not (folder / "store").exists():
        write_store(folder / "store", options.mib * _MIB // (2 * WIDTH) // LENGTH * LENGTH)
    whole = ActivationsDataModule(
        str(folder / "store"), val_fraction=0.01, memory=2 * options.mib * _MIB, window=options.window
    )
    whole.setup()
    data = {"store": in_windows(folder / "store", options), "memory": whole}
    times: dict[str, list[float]] = {name: [] for name in data}
    for number in range(options.rounds):
        # The one that begins in turn.
        for name in sorted(data, reverse=bool(number % 2)):
            torch.manual_seed(0)
            take = bare_step(TopKSAE(input_shape=(WIDTH,), latent_dim=1024, k=16), 1e-3)
            batches = islice(data[name].train_dataloader(), options.steps)
            take(next(batches)[0])  # the first window is read
            times[name].append(seconds(lambda: [take(batch[0]) for batch in batches]) / (options.steps - 1))  # noqa: B023
    print(f"\nstep of {BATCH:,} rows, {WIDTH} to 1,024, k 16, {options.steps} steps a round")
    print(", ".join(f"from {name} {1e3 * statistics.median(values):.1f} ms" for name, values in times.items()))
    print(f"ratio {spread(times['store'], times['memory'])}")


PARTS: dict[str, Callable[[Path, Any], None]] = {"read": read, "step": step}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help="read, step; both by default")
    parser.add_argument("--mib", type=int, default=512, help="size of the rows in each format (default 512)")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions (default 3)")
    parser.add_argument("--seconds", type=float, default=20, help="longest time a way is measured (default 20)")
    parser.add_argument("--warm", action="store_true", help="leave the files in the system's cache")
    parser.add_argument("--steps", type=int, default=160, help="steps a round (default 160)")
    parser.add_argument("--window", type=int, help="rows that are shuffled together (default 192 MiB of them)")
    parser.add_argument("--folder", help="where the files are made, and removed at the end (default the system's)")
    options = parser.parse_args()
    if unknown := set(options.parts) - PARTS.keys():
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        for part in options.parts or PARTS:
            PARTS[part](Path(name), options)


if __name__ == "__main__":
    main()

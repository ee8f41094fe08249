"""Runs of the command line on two processes of the CPU, each of which leaves its weights and what it saw behind."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

import pytest
import torch
from torch import Tensor

from ae_lightning.run.run import Run

Ended = subprocess.CompletedProcess[str]
Launcher = Literal["lightning", "torchrun", "srun"]

# A module that the processes import: it writes what each of them has at the end, and the samples it was given.
WITNESS = """
import os
import signal
from pathlib import Path
import torch
from lightning.pytorch import Callback

class Witness(Callback):
    def __init__(self, folder: str):
        self.folder, self.seen = Path(folder), []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.seen.append(batch[0].clone())

    def on_fit_end(self, trainer, pl_module):
        state = {name: value.clone() for name, value in pl_module.state_dict().items()}
        torch.save({"weights": state, "seen": self.seen}, self.folder / f"rank_{trainer.global_rank}.pt")

# One process gets SIGTERM amid its fourth step.
class Terminated(Callback):
    def __init__(self, rank: int):
        self.rank = rank

    def on_before_optimizer_step(self, trainer, *args):
        if trainer.global_rank == self.rank and trainer.global_step == 3:
            os.kill(os.getpid(), signal.SIGTERM)
"""


class Outcome(NamedTuple):
    """A run, the weights that each process ended with, and the batches that it saw."""

    run: Run
    weights: list[dict[str, Tensor]]
    seen: list[list[Tensor]]
    out: str
    err: str


def by_slurm(command: list[str], processes: int, folder: Path, environment: dict[str, str]) -> Ended:
    """Start a process for each task, as SLURM's `srun` does, which tells each of them its number."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    job = {"SLURM_JOB_ID": "1", "SLURM_JOB_NAME": "train", "SLURM_NODELIST": "localhost", "SLURM_NNODES": "1"}
    tasks = {"SLURM_NTASKS": str(processes), "SLURM_NTASKS_PER_NODE": str(processes), "SLURM_NODEID": "0"}
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    started = [
        subprocess.Popen(
            command,
            cwd=folder,
            env={**environment, **job, **tasks, **address, "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(processes)
    ]
    out, err = zip(*(process.communicate() for process in started), strict=True)
    return subprocess.CompletedProcess(
        command, max(process.returncode for process in started), *map("".join, (out, err))
    )


@pytest.fixture(scope="module")
def launch(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Ended]:
    """Train in a folder with these arguments and callbacks on so many processes, and see how that ends.

    They are started by Lightning, by torchrun, or one by one as SLURM does.
    """
    modules = tmp_path_factory.mktemp("modules")
    (modules / "witness.py").write_text(WITNESS, encoding="utf-8")

    def start(
        folder: Path,
        *arguments: str,
        callbacks: tuple[str, ...],
        processes: int = 2,
        strategy: str = "ddp",
        launcher: Launcher = "lightning",
    ) -> Ended:
        spread = ("--trainer.strategy", strategy) if processes > 1 else ()
        torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes))
        command = [
            *(sys.executable, *(torchrun if launcher == "torchrun" else ()), "-m", "ae_lightning", "fit", *arguments),
            *("--trainer.accelerator", "cpu", *spread, "--trainer.devices", str(processes)),
            *("--trainer.callbacks", f"[{', '.join(callbacks)}]", "--trainer.enable_progress_bar", "false"),
            *("--experiment", "shared"),
        ]
        paths = os.pathsep.join([str(modules), os.environ.get("PYTHONPATH", "")])
        environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        if launcher == "srun":
            return by_slurm(command, processes, folder, environment)
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment)

    return start


@pytest.fixture(scope="module")
def run_twice(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, list[Path]], Path]:
    """Run a script in two processes that torchrun starts, in a new folder, which it is told; answers the folder.

    Besides the script its modules are found in some folders.
    """

    def run(script: str, modules: list[Path]) -> Path:
        folder = tmp_path_factory.mktemp("ends")
        (folder / "train.py").write_text(script, encoding="utf-8")
        torchrun = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
        paths = os.pathsep.join(map(str, [*modules, os.environ.get("PYTHONPATH", "")]))
        done = subprocess.run(
            [*torchrun, str(folder / "train.py"), str(folder)],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        )
        assert done.returncode == 0, done.stderr
        return folder

    return run


@pytest.fixture(scope="module")
def fit(tmp_path_factory: pytest.TempPathFactory, launch: Callable[..., Ended]) -> Callable[..., Outcome]:
    """Train with these arguments on so many processes, a folder for each call."""

    def train(*arguments: str, processes: int = 2, callbacks: tuple[str, ...] = (), **options: str) -> Outcome:
        folder = tmp_path_factory.mktemp("call")
        listed = (*callbacks, f"{{class_path: witness.Witness, init_args: {{folder: '{folder}'}}}}")
        done = launch(folder, *arguments, callbacks=listed, processes=processes, **options)
        assert done.returncode == 0, done.stderr
        runs = list((folder / "lightning_logs").glob("*/version_*"))
        assert len(runs) == 1, "each process made a folder of its own"
        ends = [torch.load(folder / f"rank_{rank}.pt", weights_only=True) for rank in range(processes)]
        return Outcome(
            Run.load(runs[0]), [end["weights"] for end in ends], [end["seen"] for end in ends], done.stdout, done.stderr
        )

    return train

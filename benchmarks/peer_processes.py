"""Processes that train what they are asked for, each with one library: started, asked over a pipe, ended."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
WORKERS = HERE / "peer_workers"
FIT, BARE, PRODUCTS = "fit", "bare step", "products"
SAE_LENS, DICTIONARY_LEARNING = "SAELens", "dictionary_learning"
SPARSIFY, OVERCOMPLETE = "sparsify", "overcomplete"

#: Each competitor's script in `peer_workers/`, and what it is told. Ours run in this environment.
SCRIPTS: dict[str, list[str]] = {
    FIT: ["with_ours.py", "fit"],
    BARE: ["with_ours.py", "bare"],
    PRODUCTS: ["with_ours.py", "products"],
    SAE_LENS: ["with_sae_lens.py"],
    DICTIONARY_LEARNING: ["with_dictionary_learning.py"],
    SPARSIFY: ["with_sparsify.py"],
    OVERCOMPLETE: ["with_overcomplete.py"],
}
OURS = (FIT, BARE, PRODUCTS)

#: Which libraries have which kind of dictionary.
PEERS: dict[str, list[str]] = {
    "standard": [SAE_LENS, DICTIONARY_LEARNING, OVERCOMPLETE],
    "jumprelu": [SAE_LENS, DICTIONARY_LEARNING, OVERCOMPLETE],
    "gated": [SAE_LENS, DICTIONARY_LEARNING],
    "topk": [SAE_LENS, DICTIONARY_LEARNING, SPARSIFY, OVERCOMPLETE],
    "batch_topk": [SAE_LENS, DICTIONARY_LEARNING, OVERCOMPLETE],
    "matryoshka": [SAE_LENS, DICTIONARY_LEARNING],
}
SELECTING = ("topk", "batch_topk", "matryoshka")


class Process:
    """A process with one library.

    Args:
        name: Of the competitor.
        python: The interpreter of the peers' environment.
        threads: That it computes with.
    """

    def __init__(self, name: str, python: Path, threads: int) -> None:
        self.name = name
        self._log = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115, closed when the process ends
        script, *told = SCRIPTS[name]
        interpreter = sys.executable if name in OURS else str(python)
        self._process = subprocess.Popen(
            [interpreter, str(WORKERS / script), *told],
            env=_environment(threads),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def ask(self, do: str, **request: Any) -> Any:
        """What the process answers, once it has done it.

        Raises:
            RuntimeError: It ended before it answered.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # that it has ended is told below
            self._process.stdin.write(json.dumps({"do": do, **request}) + "\n")
            self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            self._log.seek(0)
            raise RuntimeError(f"{self.name} ended when asked to {do}:\n{self._log.read()[-4000:]}")
        return json.loads(answer)

    def end(self) -> None:
        """Let it end, and wait for that."""
        self._process.communicate()
        self._log.close()


class Processes:
    """Processes by the competitors' names, started when they are first asked."""

    def __init__(self, python: Path, threads: int) -> None:
        self.python, self.threads = python, threads
        self._started: dict[str, Process] = {}

    def __getitem__(self, name: str) -> Process:
        if name not in self._started:
            self._started[name] = Process(name, self.python, self.threads)
        return self._started[name]

    @contextlib.contextmanager
    def fresh(self, name: str) -> Iterator[Process]:
        """A process of its own, for what a longer life would change."""
        process = Process(name, self.python, self.threads)
        try:
            yield process
        finally:
            process.end()

    def end(self) -> None:
        """End all of them."""
        for process in self._started.values():
            process.end()
        self._started.clear()


def _environment(threads: int) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHON", "COV"))}
    return kept | {
        "OMP_NUM_THREADS": str(threads),
        "CUDA_VISIBLE_DEVICES": "",
        "HF_HUB_OFFLINE": "1",
        "WANDB_MODE": "disabled",
    }

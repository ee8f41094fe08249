"""A small finished run, and the reading of an explorer page with the standard library and numpy alone."""

import base64
import gzip
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ae_lightning.cli.main import main

SHORT = ["--trainer.max_epochs", "1", "--trainer.log_every_n_steps", "10", "--snapshots.schedule.spacing", "linear"]


MNIST = [
    *("--config", "overcomplete_mnist", "--trainer.callbacks", "null"),
    *("--trainer.limit_train_batches", "30", "--trainer.limit_val_batches", "1"),
]


@pytest.fixture(scope="session")
def ae(made_once: Callable[..., Path]) -> Callable[..., Path]:
    """Fill a folder of a name by commands, each a list of arguments in which {root} stands for the folder."""

    def fill(name: str, *commands: list[str]) -> Path:
        def run(root: Path) -> None:
            before = dict(os.environ)
            try:  # Lightning writes its seed into the environment
                for command in commands:
                    assert main([argument.replace("{root}", str(root)) for argument in command]) == 0
            finally:
                os.environ.clear()
                os.environ.update(before)

        return made_once(f"explorer_{name}", run)

    return fill


@pytest.fixture(scope="session")
def fit(ae: Callable[..., Path]) -> Callable[..., Path]:
    """Train with these arguments and answer the run's folder, with an experiment's name that is used once."""

    def train(name: str, *arguments: str, snapshots: int = 6) -> Path:
        where = ("--trainer.default_root_dir", "{root}", "--experiment", name)
        count = ("--snapshots.schedule.count", str(snapshots))
        return ae(name, ["fit", *arguments, *SHORT, *count, *where]) / "lightning_logs" / name / "version_0"

    return train


@pytest.fixture(scope="session")
def digits_run(fit: Callable[..., Path]) -> Path:
    """An overcomplete autoencoder of 80 latents after an epoch of digits, with six snapshots."""
    model = ("--model", "OvercompleteAutoencoder", "--model.latent_dim", "80")
    return fit("digits_run", *model, "--data", "digits", "--data.batch_size", "32")


@pytest.fixture(scope="session")
def explored_mnist(fit: Callable[..., Path], ae: Callable[..., Path]) -> Callable[[], tuple[Path, Path]]:
    """Make a run of 1,024 latents on MNIST with twelve snapshots, and its page."""

    def make() -> tuple[Path, Path]:
        run = fit("mnist", *MNIST, snapshots=12)
        return run, ae("mnist_page", ["explore", str(run), "-o", "{root}/explorer.html"]) / "explorer.html"

    return make


class PageFile:
    """What a page holds: its manifest, its arrays, and its networks as it computes them."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.manifest: dict[str, Any] = json.loads(re.search(r'id="manifest">(.*?)</script>', text, re.DOTALL)[1])
        self._blocks = dict(re.findall(r'data-block="([^"]*)">([^<]*)</script>', text))
        assert set(self._blocks) == set(self.manifest["blocks"])

    def array(self, name: str) -> np.ndarray:
        described = self.manifest["blocks"][name]
        kind = np.dtype(described["type"]).newbyteorder("<")
        planes = np.frombuffer(gzip.decompress(base64.b64decode(self._blocks[name])), np.uint8)
        return np.frombuffer(planes.reshape(kind.itemsize, -1).T.tobytes(), kind).reshape(described["shape"])

    def size(self, name: str) -> int:
        """Characters that a block takes."""
        return len(self._blocks[name])

    def weight(self, snapshot: int, layer: int) -> np.ndarray:
        """As the page computes it: float32, rows of units."""
        entry = self.manifest["snapshots"][snapshot]["layers"][layer]
        weight = self.array(entry["weight"]).astype(np.float32)
        if entry["scale"] is not None:
            weight = weight * self.array(entry["scale"])[:, None]
        return weight + self.weight(self.manifest["final"], layer) if entry["relative"] else weight

    def outputs(self, snapshot: int, x: np.ndarray) -> list[np.ndarray]:
        """What each layer gives of samples (n, input)."""
        given = []
        for number, (layer, entry) in enumerate(
            zip(self.manifest["layers"], self.manifest["snapshots"][snapshot]["layers"], strict=True)
        ):
            weight = self.weight(snapshot, number)
            sums = x @ (weight.T if number == 0 else weight) + self.array(entry["bias"])
            x = ACTIVATIONS[layer["activation"]](sums)
            given.append(x)
        return given

    @property
    def x(self) -> np.ndarray:
        """The samples, float32 (n, input)."""
        samples = self.manifest["samples"]
        stored = self.array(samples["values"]).astype(np.float32)
        return stored * np.float32(samples["scale"]) + np.float32(samples["shift"])


ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "none": lambda sums: sums,
    "relu": lambda sums: np.maximum(sums, 0),
    "sigmoid": lambda sums: 1 / (1 + np.exp(-sums)),
}


@pytest.fixture
def page_file() -> type[PageFile]:
    return PageFile

"""Sparse dictionaries on MNIST: the README's figure and table of FVU over L0, dead latents with AuxK and without."""

import csv
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from statistics import mean
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8").replace("\\\n", " ")
NAMES = ("TopK", "BatchTopK", "Matryoshka", "JumpReLU", "Gated", "p-annealed", "Standard")
ACTIVE = (16, 32, 64)

pytestmark = [pytest.mark.evidence, pytest.mark.timeout(6 * 3600), pytest.mark.usefixtures("mnist_root")]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """A row for each run of the figure, which is drawn beside them."""
    folder = tmp_path_factory.mktemp("sparse_mnist")
    subprocess.run([sys.executable, ROOT / "benchmarks" / "sparse_mnist.py", folder], check=True)
    print(f"the figure is {folder / 'sparse_mnist.png'}")
    with (folder / "sparse_mnist.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))

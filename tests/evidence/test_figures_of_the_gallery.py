"""The figures that the gallery and the table of variants quote, made anew by the commands that stand beside them.

`make evidence` runs this: hours on two cores. A test prints what it measured beside what is quoted, and fails where the
two are further apart than the spread that is quoted, or the tenth that a single seed may differ by, allows.
"""

import csv
import json
import math
import os
import shlex
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import pytest

from ae_lightning import Run

pytestmark = [pytest.mark.evidence, pytest.mark.timeout(6 * 3600)]

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = (DOCS / "gallery.md", DOCS / "guides" / "train.md")
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in PAGES).replace("\\\n", " ")
WORDS = " ".join(TEXT.split())
ONE_SEED = 0.1  # by how much of itself a figure of one seed may differ


class Quoted(NamedTuple):
    """A figure as the documents have it."""

    text: str
    spread: float | None = None  #: standard deviation over seeds, where it is quoted

    @property
    def slack(self) -> float:
        value = float(self.text)
        rounding = 0.5 * 10 ** -len(self.text.partition(".")[2])
        return rounding + (ONE_SEED * value if self.spread is None else 3 * self.spread)


SWEEPS = {
    "--config fully_connected_mnist --grid model.init_args.latent_dim=2,16,32,128 --seeds 0,1,2 "
    "--trainer.callbacks null": {
        "2": Quoted("0.0430", 0.0005),
        "16": Quoted("0.0106", 0.0001),
        "32": Quoted("0.00588", 0.0001),
        "128": Quoted("0.0030", 0.0001),
    },
    "--config conv_mnist --grid model.init_args.downsampling=pool,stride "
    "--grid model.init_args.upsampling=transpose,bilinear --seeds 0,1,2": {
        "pool transpose": Quoted("0.0038", 0.0003),
        "pool bilinear": Quoted("0.0029", 0.0001),
        "stride transpose": Quoted("0.0036", 0.0012),
        "stride bilinear": Quoted("0.0029", 0.0004),
    },
    "--config fully_connected_mnist --model.latent_dim 32 --seeds 0,1,2 --trainer.callbacks null "
    "--grid 'model.init_args.hidden_dims=[128],[512,256],[512,384,256,128]'": {
        "[128]": Quoted("0.0083", 0.0001),
        "[512,256]": Quoted("0.0067", 0.0001),
        "[512,384,256,128]": Quoted("0.0162", 0.0002),
    },
    "--config sparse_hoyer --grid model.init_args.penalty_weight=0.01,0.1,1": {
        "0.01": Quoted("0.0054"),
        "0.1": Quoted("0.0161"),
        "1": Quoted("0.0767"),
    },
}
FITS = {
    "--config code_2d_mnist --trainer.max_epochs 10": Quoted("0.0380"),
    "--config toy_model": Quoted("0.00066"),
    "--config fully_connected_mnist --trainer.max_epochs 10": Quoted("0.0088"),
    "--config simple_mnist --trainer.max_epochs 10": Quoted("0.0105"),
    "--config deep_mnist --trainer.max_epochs 3": Quoted("0.0227"),
    "--config conv_mnist --trainer.max_epochs 2": Quoted("0.0035"),
    "--config deep_conv_mnist --trainer.max_epochs 1": Quoted("0.0060"),
    "--config stacked_mnist": Quoted("0.0067"),
}
RECOVERED = {
    "toy_sae": ("", "0, 6, 8"),
    "toy_sae_resample": ("", "12, 12, 15"),
    "anthropic": ("--trainer.callbacks.method anthropic", "16, 16, 15"),
    "tied": ("--model.tied true", "15, 16, 15"),
    "transpose": ("--model.init transpose", "15, 15, 14"),
    "workshop_sae": ("", "16, 15, 14"),
}


def ae(command: str, folder: Path) -> None:
    """Run `ae-lightning` in a folder, and print the command."""
    print(f"$ ae-lightning {command}")
    environment = {**os.environ, "AE_LIGHTNING_DATA": os.path.abspath(os.environ.get("AE_LIGHTNING_DATA", "data"))}
    words = [sys.executable, "-m", "ae_lightning", *shlex.split(command)]
    subprocess.run(words, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)


def require_near(name: str, measured: float, quoted: Quoted) -> None:
    print(f"{name}: measured {measured:.6g}, quoted {quoted.text}, allowed ± {quoted.slack:.2g}")
    assert quoted.text in WORDS
    assert math.isclose(measured, float(quoted.text), abs_tol=quoted.slack), name


@pytest.mark.parametrize("options", SWEEPS)
def test_a_sweep(options: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if "mnist" in options:
        request.getfixturevalue("mnist_root")
    assert " ".join(f"sweep {options}".split()) in WORDS
    ae(f"sweep {options} -o out", tmp_path)
    errors: dict[str, list[float]] = defaultdict(list)
    with (tmp_path / "out" / "sweep.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            columns = list(row)
            errors[" ".join(row[key] for key in columns[: columns.index("seed")])].append(
                float(row["test_mse_per_pixel"])
            )
    assert errors.keys() == SWEEPS[options].keys()
    for name, quoted in SWEEPS[options].items():
        require_near(name, mean(errors[name]), quoted)


@pytest.mark.parametrize("options", FITS)
def test_a_fit(options: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if "mnist" in options:
        request.getfixturevalue("mnist_root")
    ae(f"fit {options} --experiment it", tmp_path)
    results = Run.load(tmp_path / "lightning_logs" / "it" / "version_0").results
    require_near(options, results["errors"]["test"]["autoencoder"]["mse_per_pixel"], FITS[options])


@pytest.mark.parametrize("name", RECOVERED)
def test_how_many_of_sixteen_recover_all_features(name: str, tmp_path: Path) -> None:
    """The counts of three seeds, each within two of what is quoted."""
    options, quoted = RECOVERED[name]
    assert f"| {quoted} |" in TEXT
    config = name if name in ("toy_sae", "workshop_sae") else "toy_sae_resample"
    counts = []
    for seed in range(3):
        ae(f"fit --config {config} --seed_everything {seed} {options} --experiment seed_{seed}", tmp_path)
        metrics = tmp_path / "lightning_logs" / f"seed_{seed}" / "version_0" / "metrics.json"
        counts.append(json.loads(metrics.read_text())["recovery"]["fully_recovered_instances"])
    print(f"{name}: measured {counts}, quoted {quoted}")
    assert all(abs(count - int(there)) <= 2 for count, there in zip(counts, quoted.split(","), strict=True))

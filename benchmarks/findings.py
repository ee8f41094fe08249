"""Six findings about sparse dictionaries, on worlds whose truth is known: the numbers and figures of docs/findings.md.

    python benchmarks/findings.py FOLDER [--seeds 0,1,2] [-o docs/pictures] [FINDING …]

A finding is a few fits of `ae-lightning` for each seed, which draws the world, the samples and the weights anew. Fits
that FOLDER has are not repeated. It prints means over seeds ± one standard deviation, and draws a figure of each.
"""

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import NamedTuple

import torch

from ae_lightning.analysis.known_baselines import oracle
from ae_lightning.cli.main import main as ae_lightning
from ae_lightning.evaluation.truth import truth_scores
from ae_lightning.plots.figure import Figure
from ae_lightning.run.run import Run

# Okabe and Ito's colors, which color-blind readers can tell apart.
COLORS = ("#0072B2", "#D55E00", "#009E73")
MARKERS = "osD"
ORACLE = "oracle"
# Added to the seed of weights: those of the world's own seed would start as the true directions.
WEIGHTS = 1000

Numbers = Mapping[str, float]


class Fit(NamedTuple):
    """A fit of a finding: the line of the figure that it belongs to, and how it is made."""

    line: str
    config: str
    options: tuple[str, ...] = ()
    #: Where it stands on the axis; None where each of its instances has a number of its own there.
    at: float | None = None


class Finding(NamedTuple):
    """What is trained, and what is looked at."""

    fits: Sequence[Fit]
    #: The number along the axis, and what the axis is called.
    axis: tuple[str, str]
    #: The numbers that are looked at, and what they are called.
    shown: Mapping[str, str]
    has_oracle: bool = False


FVU, MCC, F1 = {"fvu": "variance unexplained (FVU)"}, {"mcc": "MCC"}, {"f1": "F1"}
K = ("k", "k, most latents of a sample")
FINDINGS = {
    "finding_hedging": Finding(
        [Fit("BatchTopK", "finding_hedging", ("--model.latent_dim", str(width)), width) for width in (12, 24)],
        ("latent_dim", "latents, for 24 features"),
        {"hedging": "hedging", **F1, **FVU},
    ),
    "finding_absorption": Finding(
        [
            Fit("BatchTopK", "finding_absorption", ("--model.prefix_weights", "[0,1]")),
            Fit("Matryoshka", "finding_absorption"),
        ],
        ("k", "k, latents of a sample in the mean"),
        {"absorption": "absorption", **MCC, **FVU},
    ),
    "finding_low_k": Finding([Fit("TopK", "finding_low_k")], K, {**FVU, **MCC, **F1}, has_oracle=True),
    "finding_oracle": Finding([Fit("TopK", "finding_oracle")], K, {**FVU, **MCC, **F1}, has_oracle=True),
    "finding_shrinkage": Finding(
        [Fit("L1", "finding_shrinkage"), Fit("TopK", "finding_low_k", ("--model.k", "[3,4,5]"))],
        ("l0", "L0, latents of a sample that fire"),
        {"shrinkage_slope": "slope of values", **MCC, **FVU},
    ),
    "finding_centering": Finding(
        [
            Fit(line, "finding_centering", ("--model.input_scaling", scaling, "--data.offset", str(offset)), offset)
            for line, scaling in (("not centered", "mean_norm"), ("centered", "centered_mean_norm"))
            for offset in (0, 10)
        ],
        ("offset", "length of the mean"),
        {"dead": "dead latents", **MCC, **FVU},
    ),
}


def options_of(fit: Fit, seed: int) -> tuple[str, ...]:
    """Options of `ae-lightning fit`, with a world, samples and weights of a seed."""
    seeds = (f"--data.world_seed={seed}", f"--data.seed={seed}", f"--seed_everything={WEIGHTS + seed}")
    return ("--config", fit.config, *fit.options, *seeds)


def numbers_of(folder: Path) -> list[dict[str, float]]:
    """The numbers of each instance of a run: settings that others do not share, errors, and how true latents are."""
    results = Run.load(folder).results
    return [
        {
            **of["settings"],
            "fvu": of["errors"]["test"]["autoencoder"]["fvu"],
            **{name: of["latents"][name] for name in ("l0", "dead")},
            **of["recovery"],
        }
        for of in results.get("instances") or [{**results, "settings": {}}]
    ]


def numbers_of_oracle(folder: Path, l0s: Sequence[int]) -> list[dict[str, float]]:
    """The same of the true dictionary, whose codes have so many entries, on the test set of a run."""
    data = Run.load(folder).data
    data.setup()
    directions = data.feature_directions
    assert directions is not None
    truth = oracle(directions, torch.zeros(directions.shape[-1]))
    return [{"k": l0, **truth_scores(truth, data, l0=l0)} for l0 in l0s]


def folder_of(fit: Fit, seed: int, root: Path) -> Path:
    """The folder of a fit's run, which is trained if it is not there."""
    place = root / ",".join((fit.config, *fit.options, f"seed={seed}")).replace("--", "")
    if not list(place.glob("lightning_logs/*/version_0/metrics.json")):
        options = [*options_of(fit, seed), "--trainer.default_root_dir", str(place)]
        print("$ ae-lightning fit", *options, flush=True)
        if code := ae_lightning(["fit", *options]):
            raise SystemExit(code)
    (folder,) = place.glob("lightning_logs/*/version_0")
    return folder


Points = dict[str, list[list[Numbers]]]
"""By line, for each of its points the numbers of all seeds."""


def collected(finding: Finding, seeds: Sequence[int], root: Path) -> Points:
    """Train and measure a finding."""
    points: Points = defaultdict(list)
    for fit in finding.fits:
        at = {} if fit.at is None else {finding.axis[0]: fit.at}
        folders = [folder_of(fit, seed, root) for seed in seeds]
        points[fit.line] += [[{**row, **at} for row in rows] for rows in zip(*map(numbers_of, folders), strict=True)]
        if finding.has_oracle:
            ks = [int(rows[0]["k"]) for rows in points[fit.line]]
            points[ORACLE] += map(list, zip(*(numbers_of_oracle(folder, ks) for folder in folders), strict=True))
    return points


def spread(values: Sequence[float]) -> float:
    """Standard deviation; 0 of a single number."""
    return stdev(values) if len(values) > 1 else 0.0


def tell(name: str, points: Points) -> None:
    """Print a row for each model: means over seeds, and standard deviations."""
    finding = FINDINGS[name]
    shown = dict.fromkeys([finding.axis[0], *finding.shown, "l0", "mcc", "f1"])
    print(f"\n{name}\n" + " ".join(f"{heading:>16}" for heading in ("", *shown)))
    for line, at in points.items():
        for rows in at:
            cells = ([row[key] for row in rows] for key in shown)
            texts = (f"{mean(cell):.3f} ± {spread(cell):.3f}" for cell in cells)
            print(" ".join(f"{text:>16}" for text in (line, *texts)), flush=True)


def drawn(finding: Finding, points: Points) -> Figure:
    """Draw each number that is shown along the axis, a line for each kind of model; bars are standard deviations."""
    along, label = finding.axis
    figure = Figure(figsize=(3.1 * len(finding.shown), 2.9), layout="constrained")
    for ax, (key, title) in zip(figure.subplots(1, len(finding.shown)), finding.shown.items(), strict=True):
        for number, (line, at) in enumerate(points.items()):
            x, y = ([[row[name] for row in rows] for rows in at] for name in (along, key))
            style = {"color": COLORS[number], "marker": MARKERS[number], "markersize": 4, "capsize": 2.5}
            ax.errorbar(list(map(mean, x)), list(map(mean, y)), list(map(spread, y)), label=line, **style)
        ax.set_title(title, fontsize=10)
        ax.set_xlabel(label, fontsize=9)
        ax.set_ylim(bottom=0)
        if along != "l0":  # which no two models have alike
            ax.set_xticks(sorted({row[along] for at in points.values() for rows in at for row in rows}))
        ax.grid(alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
    if len(points) > 1:
        figure.axes[0].legend(frameon=False, fontsize=8)
    return figure


def main() -> None:
    """Train what is not there yet, print, and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("findings", nargs="*", metavar="FINDING", help=", ".join(FINDINGS))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="where figures go (default: FOLDER)")
    options = parser.parse_intermixed_args()
    figures = options.output or options.folder
    figures.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    for name in options.findings or FINDINGS:
        points = collected(FINDINGS[name], [int(seed) for seed in options.seeds.split(",")], options.folder)
        tell(name, points)
        drawn(FINDINGS[name], points).savefig(figures / f"{name}.png", dpi=90)


if __name__ == "__main__":
    main()

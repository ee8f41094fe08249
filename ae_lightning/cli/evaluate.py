"""`ae-lightning evaluate`: a run's final numbers beside those of simple baselines."""

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ae_lightning.cli.arguments import CommandParser


def main(arguments: list[str]) -> int:
    """Evaluate a run or checkpoint, print the numbers and write `metrics.json` into the run's folder."""
    parser = CommandParser(
        "evaluate",
        description="Measure a trained autoencoder on its validation and test sets, beside the mean image and PCA of "
        "the same width, and write metrics.json into the run's folder.",
    )
    parser.add_argument("run", type=Path, metavar="RUN_OR_CHECKPOINT", help="a run's folder, or a checkpoint in it")
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON and nothing else")
    options = parser.parse_args(arguments)
    results = _evaluate(options.run)
    if options.json:
        print(json.dumps(results, indent=2))
    else:
        print_results(results)
    return 0


def _evaluate(path: Path) -> dict[str, Any]:
    from ae_lightning.cli.open_run import open_run
    from ae_lightning.evaluation import evaluate_run

    run, checkpoint = open_run(path, f"use `ae-lightning test --ckpt_path {path} --data …`")
    return evaluate_run(run, checkpoint=checkpoint)


def print_results(results: dict[str, Any]) -> None:
    """Print the numbers of `ae_lightning.evaluation.evaluate_run` for people to read."""
    print_model(results["model"])
    console = Console(highlight=False)
    latents = results["latents"]
    console.print(f"{results['data']['description']}")
    console.print(_error_table(results))
    console.print(
        f"latents: {latents['active']:.0f} active, {latents['dead']:.0f} dead, L0 {latents['l0']:.1f} per image"
    )
    for side in ("encoder", "decoder"):
        if f"weights/{side}_norm" in results["weights"]:
            rank, norm = (results["weights"][f"weights/{side}_{what}"] for what in ("effective_rank", "norm"))
            console.print(f"{side}: effective rank {rank:.1f}, Frobenius norm {norm:.2f}")
    if results["probes"]:
        console.print(_probe_table(results["probes"]))
    console.print(f"run: {results['run']}", soft_wrap=True)


def print_model(model: dict[str, Any]) -> None:
    """Print a line on a model as `ae_lightning.evaluation.describe` describes it."""
    shape = "×".join(map(str, model["input_shape"])) + " → " + "×".join(map(str, model["latent_shape"]))
    width = "undercomplete" if model["is_undercomplete"] else "not undercomplete"
    copies = f", {model['instances']} instances" if model["instances"] else ""
    Console(highlight=False, soft_wrap=True).print(
        f"[bold]{model['class']}[/bold] {shape}, {width} (input/latent {model['compression_ratio']:.3g}), "
        f"{model['parameters']:,} parameters{copies}"
    )


def _error_table(results: dict[str, Any]) -> Table:
    table = Table(title="squared error, in the units of the normalized data", title_justify="left")
    table.add_column("")
    for split in results["errors"]:
        table.add_column(f"{split}\nper pixel", justify="right")
        table.add_column(f"{split}\nper image", justify="right")
    labels = {
        "autoencoder": "this autoencoder",
        "mean_image": "mean image",
        "pca": f"PCA, {results['pca_components']} components",
    }
    for key, label in labels.items():
        cells = []
        for errors in results["errors"].values():
            cells += [f"{errors[key]['mse_per_pixel']:.5f}", f"{errors[key]['mse_per_image']:.3f}"]
        table.add_row(label, *cells, style="bold" if key == "autoencoder" else "")
    return table


def _probe_table(probes: dict[str, float]) -> Table:
    table = Table(title="linear probe, accuracy ± binomial standard error", title_justify="left")
    names = {
        "latent": "trained code",
        "untrained": "untrained code",
        "raw": "raw pixels",
        "pca": "PCA, same width",
    }
    groups = {"probe": "quick", "probe_full": "all images"}
    shown = [group for group in groups if f"{group}/latent" in probes]
    table.add_column("")
    for group in shown:
        table.add_column(groups[group], justify="right")
    for key, label in names.items():
        cells = [
            f"{probes[f'{group}/{key}']:.4f} ± {probes[f'{group}/{key}_se']:.4f}" if f"{group}/{key}" in probes else ""
            for group in shown
        ]
        table.add_row(label, *cells)
    return table

"""The tables of numbers that `evaluate` and `fit` print."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from rich.table import Table

from ae_lightning.cli.evaluation_lines import entry_word, produced_word, sample_word
from ae_lightning.evaluation.factor_words import factor_table, score_table
from ae_lightning.numerals import numeral, with_error
from ae_lightning.run.results import RESULTS_NAME, has_targets, set_with_exact_pca

# More rows would push the means off the screen.
_MOST_INSTANCES = 64


def error_table(results: dict[str, Any]) -> Table:
    """Errors beside those of the baselines, on each set."""
    table = Table(title="squared error, in the units of the normalized data", title_justify="left")
    table.add_column("")
    for split in results["errors"]:
        name = "test *" if split == "test" and results["test_is_validation"] else split
        table.add_column(f"{name}\nper {entry_word(results)}", justify="right")
        table.add_column(f"{name}\nper {sample_word(results)}", justify="right")
    labels = {
        "autoencoder": "this model" if has_targets(results) else "this autoencoder",
        "mean_image": f"mean {produced_word(results)}",
        "pca": f"PCA, {results['pca_components']} components",
    }
    if has_targets(results):
        labels["pca"] = f"regression, rank {results['pca_components']}"
    for key, label in labels.items():
        cells = []
        for split, errors in results["errors"].items():
            forms = {"mse_per_pixel": ".5f", "mse_per_image": ".3f"}
            if key == "pca" and set_with_exact_pca(results, split):
                cells += ["exact"] * len(forms)
                continue
            cells += ["none" if errors[key][n] is None else numeral(errors[key][n], form) for n, form in forms.items()]
        table.add_row(label, *cells, style="bold" if key == "autoencoder" else "")
    return table


def instance_table(columns: list[tuple[str, list[str]]], count: int) -> Table:
    """A row for each instance, up to as many as leave the means on the screen."""
    shown = f"the first {_MOST_INSTANCES} of {count} instances; all are in {RESULTS_NAME}"
    table = Table(title="each instance" if count <= _MOST_INSTANCES else shown, title_justify="left")
    for heading, _ in columns:
        table.add_column(heading, justify="right")
    for cells in islice(zip(*(cells for _, cells in columns), strict=True), _MOST_INSTANCES):
        table.add_row(*cells)
    return table


def factor_tables(factors: dict[str, Any], components: int) -> Iterator[Table]:
    """How the code stands to the known factors: over all of them, and of each."""
    on = f"on {factors['samples']:,} test samples"
    for (title, *headings), rows in (score_table(factors, components), factor_table(factors)):
        table = Table(title=f"{title}, {on}", title_justify="left")
        table.add_column("")
        for heading in headings:
            table.add_column(heading, justify="right")
        for cells in rows:
            table.add_row(*cells)
        yield table


def probe_table(probes: dict[str, float]) -> Table:
    """Accuracies of linear probes on codes, beside those on other inputs."""
    table = Table(title="linear probe, accuracy ± binomial standard error", title_justify="left")
    names = {
        "latent": "trained code",
        "untrained": "untrained code",
        "raw": "raw pixels",
        "pca": "PCA, same width",
    }
    part = probes.get("probe_full/fitted_on")
    groups = {"probe": "quick", "probe_full": f"{part:,.0f} images" if part else "all images"}
    shown = [group for group in groups if f"{group}/latent" in probes]
    table.add_column("")
    for group in shown:
        table.add_column(groups[group], justify="right")
    for key, label in names.items():
        cells = [
            with_error(probes[name], probes[f"{name}_se"], ".4f") if name in probes else ""
            for name in (f"{group}/{key}" for group in shown)
        ]
        table.add_row(label, *cells)
    return table

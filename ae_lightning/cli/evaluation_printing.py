"""A model and its numbers as `evaluate` and `fit` print them."""

from itertools import chain
from typing import Any

from rich.table import Table
from rich.text import Text

from ae_lightning.cli.evaluation_lines import (
    codebook_lines,
    error_lines,
    latent_lines,
    posterior_lines,
    recovery_lines,
    standing,
    weight_lines,
)
from ae_lightning.cli.evaluation_tables import error_table, factor_tables, instance_table, probe_table
from ae_lightning.cli.spliced import print_splice
from ae_lightning.cli.tables import PlainConsole
from ae_lightning.run.results import output_shape, with_nan


def print_results(results: dict[str, Any]) -> None:
    """Print the numbers of `ae_lightning.evaluation.evaluate_run` for people to read, and of what they are."""
    print_model(results["model"])
    print_numbers(results)
    print(f"run: {results['run']}")


def print_numbers(results: dict[str, Any]) -> None:
    """Print the numbers alone, and what is to be said of them."""
    from ae_lightning.evaluation.instance_table import failed_instances, instance_columns, shared_order
    from ae_lightning.evaluation.judgment import collapsed, missed_l0, shortcoming

    console = PlainConsole()
    console.print(f"{results['data']['description']}")
    console.print(error_table(results))
    details = Table.grid(padding=(0, 2))
    recovered, weights = (with_nan(results[part]) for part in ("recovery", "weights"))
    of_code = (
        latent_lines(results),
        posterior_lines(results),
        codebook_lines(results),
        recovery_lines(recovered),
        weight_lines(weights),
    )
    for name, words in chain(error_lines(results), *of_code):
        details.add_row(name, words)
    console.print(details)
    if results["probes"]:
        console.print(probe_table(results["probes"]))
    if factors := results.get("factors"):
        for table in factor_tables(factors, results["pca_components"]):
            console.print(table)
    if columns := instance_columns(results):
        console.print(instance_table(columns, results["model"]["instances"]))
    said = filter(None, (shortcoming(results) or standing(results), missed_l0(results), collapsed(results)))
    for sentence in (*said, *failed_instances(results), *shared_order(results)):
        console.print(sentence, markup=False)
    if "splice" in results:
        print_splice(results["splice"])


def print_model(model: dict[str, Any]) -> None:
    """Print a line on a model as `ae_lightning.evaluation.describe` describes it."""
    shapes = [model["input_shape"], model["latent_shape"]]
    if output_shape(model) != model["input_shape"]:
        shapes.append(output_shape(model))
    shape = " → ".join("×".join(map(str, each)) for each in shapes)
    copies = f", {model['instances']} instances" if model["instances"] else _which(model)
    rest = f" {shape}, {_width(model['compression_ratio'])}, {model['parameters']:,} parameters{copies}"
    PlainConsole(soft_wrap=True).print(Text.assemble((model["class"], "bold"), rest))


def _which(model: dict[str, Any]) -> str:
    """Which instance of a population it is, and by what it differs; nothing of a model that is no part of one."""
    if "instance" not in model:
        return ""
    return ", ".join(
        [f", instance {model['instance']}", *(f"{name} {value:g}" for name, value in model["settings"].items())]
    )


def _width(compression_ratio: float) -> str:
    """How wide a code is beside the input: as a part of it, or how many times as wide."""
    if compression_ratio == 1:
        return "as wide as the input"
    if compression_ratio > 1:
        return f"undercomplete (1/{compression_ratio:.3g} of the input)"
    return f"overcomplete ({1 / compression_ratio:.3g} × the input)"

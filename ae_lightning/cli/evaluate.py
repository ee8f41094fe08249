"""`ae-lightning evaluate`: a run's final numbers beside those of simple baselines."""

import argparse
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from ae_lightning.cli.command_line import apart_from_data
from ae_lightning.cli.command_parser import CommandParser
from ae_lightning.cli.spliced import add_splice_options, print_splice, splice_of
from ae_lightning.cli.tables import PlainConsole
from ae_lightning.evaluation.factor_words import factor_table, score_table
from ae_lightning.files import as_json
from ae_lightning.numerals import numeral, with_error
from ae_lightning.run.instances import of_instance
from ae_lightning.run.results import (
    RESULTS_NAME,
    TEST_IS_VALIDATION,
    has_targets,
    known,
    output_shape,
    set_with_exact_pca,
    with_nan,
)

# More rows would push the means off the screen.
_MOST_INSTANCES = 64


def main(arguments: list[str]) -> int:
    """Evaluate a run or checkpoint, print the numbers and write `metrics.json` into the run's folder."""
    parser = CommandParser(
        "evaluate",
        description="Measure a trained autoencoder on its validation and test sets, beside the mean image and PCA of "
        "the same width, and write metrics.json into the run's folder.",
    )
    parser.add_argument("run", type=Path, metavar="RUN_OR_CHECKPOINT", help="a run's folder, or a checkpoint in it")
    parser.add_argument(
        "--device",
        metavar="NAME",
        help="where to compute: cpu, cuda, cuda:1, mps (default: where it was trained, if this machine has that)",
    )
    parser.add_argument(
        "--instance",
        type=int,
        metavar="K",
        help="print the numbers of one instance of a population alone, counted from 0; metrics.json holds all",
    )
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON and nothing else")
    parser.add_argument(
        "--bound-samples",
        type=int,
        metavar="N",
        help="codes drawn for each test sample in the bound on log p(x) of a variational autoencoder; 5,000 are usual, "
        "and take their time (default: 64 for each of the first 1,000)",
    )
    add_splice_options(parser)
    arguments, of_data = apart_from_data(arguments)
    options = parser.parse_args(arguments)
    results = _evaluate(options, of_data)
    if options.json:
        print(as_json(results, indent=2))
    else:
        print_results(results)
    return 0


def _evaluate(options: argparse.Namespace, of_data: Sequence[str]) -> dict[str, Any]:
    """The numbers of a run, or of one of its instances."""
    from ae_lightning.cli.run_command import open_run
    from ae_lightning.evaluation import evaluate_run
    from ae_lightning.evaluation.device import chosen_device, device_of
    from ae_lightning.models.checkpoint import load_autoencoder

    run, checkpoint = open_run(options.run, f"use `ae-lightning test --ckpt_path {options.run} --data …`")
    device = device_of(run.config) if options.device is None else chosen_device(options.device)
    if options.instance is not None:
        load_autoencoder(checkpoint, instance=options.instance)  # a mistake comes before what takes its time
    splice = splice_of(options, of_data, run, device)
    results = evaluate_run(
        run, checkpoint=checkpoint, device=device, splice=splice, bound_samples=options.bound_samples
    )
    one_of_many = options.instance is not None and "instances" in results
    return of_instance(results, options.instance) if one_of_many else results


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
    console.print(_error_table(results))
    details = Table.grid(padding=(0, 2))
    recovered, weights = (with_nan(results[part]) for part in ("recovery", "weights"))
    of_code = (
        _latent_lines(results),
        _posterior_lines(results),
        _codebook_lines(results),
        _recovery_lines(recovered),
        _weight_lines(weights),
    )
    for name, words in chain(_error_lines(results), *of_code):
        details.add_row(name, words)
    console.print(details)
    if results["probes"]:
        console.print(_probe_table(results["probes"]))
    if factors := results.get("factors"):
        for table in _factor_tables(factors, results["pca_components"]):
            console.print(table)
    if columns := instance_columns(results):
        console.print(_instance_table(columns, results["model"]["instances"]))
    said = filter(None, (shortcoming(results) or _standing(results), missed_l0(results), collapsed(results)))
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


def _count(number: float) -> str:
    """A whole number as it is; a mean of several with two digits behind the point."""
    return f"{number:.0f}" if number == round(number) else f"{number:.2f}"


def _sample(results: dict[str, Any]) -> str:
    return "image" if _has_pixels(results) else "sample"


def _produced(results: dict[str, Any]) -> str:
    return "target" if has_targets(results) else _sample(results)


def _entry(results: dict[str, Any]) -> str:
    return "pixel" if _has_pixels(results) else "entry"


def _has_pixels(results: dict[str, Any]) -> bool:
    return len(output_shape(results["model"])) == 3


def _of_rank(results: dict[str, Any]) -> str:
    """The linear baseline, with its number of components."""
    count = results["pca_components"]
    return f"a linear regression of rank {count}" if has_targets(results) else f"{count} principal components"


def _error_lines(results: dict[str, Any]) -> Iterator[tuple[str, str]]:
    test, validation = (results["errors"][split]["autoencoder"] for split in ("test", "validation"))
    explained = f"{_explained(test)} of the test set"
    yield "variance explained", f"{explained}, {_explained(validation)} of the validation set"
    for name, part in results.get("parts", {}).items():
        yield f"  of {name.replace('_', ' ')}", f"{_explained(part)} of the test set"
    if "corrupted" in results:
        yield "  of corrupted samples", f"{_explained(results['corrupted']['autoencoder'])} of the test set"
    error = _number(test, "mse_per_pixel", ".5f")
    if test["mse_per_pixel"] is not None:
        error = with_error(test["mse_per_pixel"], known(test, "mse_per_pixel_std"))
    yield "test error", f"{error} per {_entry(results)} (spread over {_sample(results)}s)"
    if results["test_is_validation"]:
        yield "*", TEST_IS_VALIDATION
    if results["baseline_samples"]["drawn"]:
        yield "baselines", f"fitted to {results['baseline_samples']['count']:,} training samples drawn at random"


def _explained(errors: dict[str, Any]) -> str:
    """Variance explained as a percentage, or why there is none."""
    return _number(errors, "explained_variance", ".2%")


def _number(numbers: dict[str, Any], name: str, form: str) -> str:
    """A number as text; where there is none, the reason that stands beside it."""
    value = numbers[name]
    return f"none ({numbers.get(f'{name}_reason', 'not known')})" if value is None else numeral(value, form)


def _standing(results: dict[str, Any]) -> str:
    """The test error beside the baselines' in a sentence; nothing where one is not known, or the mean is exact."""
    errors = results["errors"]["test"]
    ours, mean, pca = (errors[name]["mse_per_pixel"] for name in ("autoencoder", "mean_image", "pca"))
    if ours is None or pca is None or not mean:
        return ""
    said = f"Test error: {_part(ours / mean)} the mean {_produced(results)}'s"
    if set_with_exact_pca(results, "test"):
        exact = "is exact, so it is" if has_targets(results) else "are exact, so they are"
        return f"{said}; {_of_rank(results)} {exact} no baseline."
    return f"{said}, {_part(ours / pca)} that of {_of_rank(results)}."


def _part(ratio: float) -> str:
    """A ratio of two errors: a percentage, or how many times."""
    return f"{ratio:.3g} times" if ratio >= 1 else f"{numeral(ratio, '.0%' if ratio >= 0.1 else '.1%')} of"


def _latent_lines(results: dict[str, Any]) -> Iterator[tuple[str, str]]:
    latents, sample = with_nan(results["latents"]), _sample(results)
    alive = f"{_count(latents['active'])} active, {_count(latents['dead'])} dead"
    copies = results["model"]["instances"]
    mean = f" (means of {copies} instances)" if copies else ""
    yield "latents", f"{alive}; L0 {latents['l0']:.3g} per {sample}{mean}"
    size = f"L1 {latents['l1']:.3g} per {sample}, Hoyer {latents['hoyer']:.2f}"
    yield "code", f"{size}, |z| ≤ 0.001 in {latents['near_zero']:.0%}"
    # The mean of the positive part says little of a code of either sign, unless something is asked of it.
    if "target" in latents or not latents["negative"]:
        middle, low, high = (latents["mean_activation"][name] for name in ("median", "min", "max"))
        yield "mean activation", f"{middle:.3g} in the median latent ({low:.3g} to {high:.3g})"
    if "target" in latents:
        near = f"{latents['within_factor_two']:.0%} of latents within a factor of 2"
        yield "target activation", f"{latents['target']:g}; {near}"


def _posterior_lines(results: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if "posterior" not in results:
        return
    posterior, bound, sample = results["posterior"], results["bound"], _sample(results)
    kl = "none" if posterior["kl"] is None else numeral(posterior["kl"], ".2f")
    yield "posterior", f"KL {kl} nats per {sample}, {posterior['active']} of {len(posterior['kl_of_latents'])} active"
    nats = "none" if bound["nats"] is None else numeral(bound["nats"], ".2f")
    error = "" if bound["nats_se"] is None else f" ± {bound['nats_se']:.2f}"
    drawn = f"{bound['samples']:,} codes for each of {bound['images']:,}"
    yield "−log p(x)", f"at most {nats}{error} nats per {sample} ({drawn})"


def _recovery_lines(scores: dict[str, float]) -> Iterator[tuple[str, str]]:
    if not scores:
        return
    words = f"{scores['fraction_recovered']:.0%} recovered"
    if scores["instances"] > 1:
        words += f", all of them in {scores['fully_recovered_instances']:.0f} of {scores['instances']:.0f} instances"
    yield "true features", words
    yield "directions", f"MCC {scores['mcc']:.3f}, MMCS {scores['mmcs']:.3f}; duplicates: {scores['duplicates']:.1f}"
    if "f1" not in scores:  # an older run
        return
    of_latents = ", ".join(f"{title} {scores[name]:.3f}" for title, name in _DETECTION.items())
    yield "detection", f"{of_latents} per latent; F1 {scores['truth_f1']:.3f} per true feature"
    faults = [f"hedging {scores['hedging']:.3f}", f"shrinkage slope {scores['shrinkage_slope']:.3f}"]
    if "absorption" in scores:
        faults.insert(0, f"absorption {scores['absorption']:.3f}")
    yield "faults", f"{', '.join(faults)} (1 is none)"


_DETECTION = {"precision": "precision", "recall": "recall", "F1": "f1"}


def _codebook_lines(results: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if "codebook" in results:
        numbers = results["codebook"]
        used = f"{numbers['usage']:.1%} of {numbers['codes'] * numbers['codebooks']:,} codes are chosen"
        yield "codebook", f"{used}, perplexity {numeral(numbers['perplexity'], '.1f')}"
        yield "a sample", f"{numbers['codes_per_sample']:,} codes, {numbers['bits_per_sample']:,.0f} bits"


def _weight_lines(weights: dict[str, float]) -> Iterator[tuple[str, str]]:
    for side in ("encoder", "decoder"):
        if f"weights/{side}_norm" in weights:
            rank, norm = (weights[f"weights/{side}_{what}"] for what in ("effective_rank", "norm"))
            yield side, f"effective rank {numeral(rank, '.1f')}, Frobenius norm {numeral(norm, '.2f')}"


def _error_table(results: dict[str, Any]) -> Table:
    table = Table(title="squared error, in the units of the normalized data", title_justify="left")
    table.add_column("")
    for split in results["errors"]:
        name = "test *" if split == "test" and results["test_is_validation"] else split
        table.add_column(f"{name}\nper {_entry(results)}", justify="right")
        table.add_column(f"{name}\nper {_sample(results)}", justify="right")
    labels = {
        "autoencoder": "this model" if has_targets(results) else "this autoencoder",
        "mean_image": f"mean {_produced(results)}",
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


def _instance_table(columns: list[tuple[str, list[str]]], count: int) -> Table:
    shown = f"the first {_MOST_INSTANCES} of {count} instances; all are in {RESULTS_NAME}"
    table = Table(title="each instance" if count <= _MOST_INSTANCES else shown, title_justify="left")
    for heading, _ in columns:
        table.add_column(heading, justify="right")
    for cells in islice(zip(*(cells for _, cells in columns), strict=True), _MOST_INSTANCES):
        table.add_row(*cells)
    return table


def _factor_tables(factors: dict[str, Any], components: int) -> Iterator[Table]:
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


def _probe_table(probes: dict[str, float]) -> Table:
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

"""How like the data generated samples are, as a table for a terminal."""

from typing import Any

from rich.table import Table

from ae_lightning.cli.tables import PlainConsole, table_console
from ae_lightning.numerals import numeral
from ae_lightning.run.results import known

_ROWS = {
    "precision": ("precision", "higher"),
    "recall": ("recall", "higher"),
    "density": ("density", "near 1"),
    "coverage": ("coverage", "higher"),
    "kernel_distance": ("kernel distance", "near 0"),
    "classifier_fd": ("classifier FD", "lower"),
}


def print_quality(quality: dict[str, Any], asked: int) -> None:
    """Print what `sample_quality` answers.

    Args:
        quality: Its answer.
        asked: How many samples were asked for.
    """
    console = PlainConsole()
    count = f"{quality['samples']:,}"
    if quality["samples"] < asked:
        print(f"{count} of the {asked:,} samples asked for, since the training or the test set has no more")
    print(f"{count} samples with codes from {quality['sampler']}, beside as many training samples")
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for name in ("samples", "test set", "better"):
        table.add_column(name, justify="right")
    generated, held_out = (quality["scores"][name] for name in ("generated", "test_set"))
    for name, (words, better) in _ROWS.items():
        if name in generated:
            table.add_row(words, *(numeral(known(scores, name), ".4f") for scores in (generated, held_out)), better)
    table_console(console).print(table)
    features = quality["features"]
    held = "" if features["explained_variance"] is None else f" ({features['explained_variance']:.1%} of the variance)"
    print(f"features: {features['principal_components']} principal components{held}; {quality['neighbors']} neighbors")
    if quality["classifier"] is None:
        print(f"classifier FD: none, since {quality['classifier_reason']}")
    else:
        accuracy = quality["classifier"]["test_accuracy"]
        print(f"classifier FD: features of a classifier that labels {accuracy:.1%} of the test set correctly")

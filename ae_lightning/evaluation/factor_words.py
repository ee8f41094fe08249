"""How the scores of a code on known factors are told; nothing here computes them."""

from collections.abc import Mapping
from typing import Any

Table = tuple[list[str], list[list[str]]]

_OF_A_FACTOR = {
    "mig": "MIG",
    "sap": "SAP",
    "completeness": "completeness",
    "informativeness": "informativeness",
}

_OVER_ALL = {
    "mig": "MIG",
    "sap": "SAP",
    "dci_disentanglement": "DCI disentanglement",
    "dci_completeness": "DCI completeness",
    "dci_informativeness": "DCI informativeness",
    "factor_vae": "FactorVAE score",
}


def score_table(factors: Mapping[str, Any], components: int) -> Table:
    """A table of the scores over all factors, for the model and the principal components beside it.

    Args:
        factors: What `metrics.json` holds as `factors`.
        components: How many components there are.

    Returns:
        The headings, and a row of cells for each score.
    """
    columns = {"this autoencoder": factors, f"PCA, {components} components": factors.get("pca")}
    there = {name: numbers for name, numbers in columns.items() if numbers}
    rows = [[title, *(_cell(of, name) for of in there.values())] for name, title in _OVER_ALL.items()]
    return ["known factors", *there], rows


def factor_table(factors: Mapping[str, Any]) -> Table:
    """The same of each factor, a row of scores for each."""
    rows = [[name, *(_cell(of, score) for score in _OF_A_FACTOR)] for name, of in factors["each"].items()]
    return ["each factor", *_OF_A_FACTOR.values()], rows


def _cell(numbers: Mapping[str, Any], name: str) -> str:
    """A score with three digits behind the point: the fourth is noise."""
    value = numbers.get(name)
    return "none" if value is None else f"{value:.3f}"

"""The instances of a population as a table and in sentences, for a terminal and for a report."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ae_lightning.evaluation.judgment import missed_l0, shortcoming
from ae_lightning.numerals import numeral
from ae_lightning.run.instances import are_unlike, differ_by_chance, of_instance, setting_names, share_samples

SHARED_ORDER = (
    "Instances of a fit differ by chance in their start alone, which a list of seeds sets: all see the same samples in "
    "the same order, so that their spread says less than that of fits with seeds of their own."
)
"""What is said where instances of one fit differ by their seed, or by nothing but their draw."""

_Column = tuple[str, list[str]]


def instance_columns(results: Mapping[str, Any]) -> list[_Column]:
    """Headings, and a cell for each instance: its settings, and its numbers on the test set.

    Columns of which nothing is known are left out.

    Args:
        results: What `evaluate` answers.
    """
    listed: Sequence[Mapping[str, Any]] = results.get("instances") or []
    errors = [row["errors"].get("test", {}).get("autoencoder", {}) for row in listed]
    latents, recovery = ([row[part] for row in listed] for part in ("latents", "recovery"))
    columns = [
        ("instance", [str(row["instance"]) for row in listed]),
        *((name, [_cell(row["settings"], name, "g") for row in listed]) for name in setting_names(listed)),
        ("test error", [_cell(of, "mse_per_pixel", ".5f") for of in errors]),
        ("FVU", [_cell(of, "fvu", ".4f") for of in errors]),
        ("L0", [_cell(of, "l0", ".4g") for of in latents]),
        ("dead", [_cell(of, "dead", ".0f") for of in latents]),
        ("features found", [_cell(of, "fraction_recovered", ".0%") for of in recovery]),
        ("MCC", [_cell(of, "mcc", ".3f") for of in recovery]),
        ("F1", [_cell(of, "f1", ".3f") for of in recovery]),
    ]
    return [(heading, cells) for heading, cells in columns if any(cells)]


def shared_order(results: Mapping[str, Any]) -> list[str]:
    """`SHARED_ORDER` where it is to be said of a population."""
    listed = results.get("instances") or []
    return [SHARED_ORDER] if differ_by_chance(listed) and share_samples(listed) else []


def failed_instances(results: Mapping[str, Any]) -> list[str]:
    """Sentences on instances that failed where others did not; the means over them do not say so."""
    listed = results.get("instances") or []
    # Where all share their settings, what is said of the means is said of each.
    return list(_failed(results, len(listed))) if are_unlike(listed) else []


def _failed(results: Mapping[str, Any], count: int) -> Iterator[str]:
    singles = [of_instance(results, i) for i in range(count)]
    for judge in (shortcoming, missed_l0):
        found = {i: sentence for i, single in enumerate(singles) if (sentence := judge(single))}
        if found:
            first, told = next(iter(found.items()))
            others = f", and like it {', '.join(map(str, list(found)[1:]))}" if len(found) > 1 else ""
            yield f"Instance {first}{others}: {told[0].lower()}{told[1:]}"


def _cell(numbers: Mapping[str, Any], name: str, form: str) -> str:
    value = numbers.get(name)
    return "" if value is None else numeral(value, form)

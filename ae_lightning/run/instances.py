"""The instances of a population in its final numbers: one taken out, a row for each, and by what they differ."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ae_lightning.errors import ConfigError
from ae_lightning.run.results import as_row


def of_instance(results: Mapping[str, Any], instance: int) -> dict[str, Any]:
    """The final numbers of a population as those of one of its instances, a model without instances.

    Its `model` says besides which `instance` it is, and what `settings` others do not share. What is known of the run
    alone, such as its seconds, stays; accuracies of probes, known as means over instances, are left out.

    Args:
        results: What `metrics.json` holds.
        instance: Which, counted from 0.

    Raises:
        ConfigError: It does not list such an instance.
    """
    listed = results.get("instances") or []
    if not 0 <= instance < len(listed):
        there = f"0 to {len(listed) - 1}" if listed else "none"
        raise ConfigError(f"the instance asked for is {instance}, but the run lists {there}")
    own, model = listed[instance], results.get("model", {})
    single = {
        "instances": None,
        "parameters": None if (count := model.get("parameters")) is None else count // len(listed),
        **{name: own[name] for name in ("instance", "settings")},
        **own["model"],
    }
    errors = {split: {**of, **own["errors"].get(split, {})} for split, of in results.get("errors", {}).items()}
    parts = {name: own[name] for name in ("latents", "recovery", "weights")}
    parts["factors"] = {**results.get("factors", {}), **own.get("factors", {})}  # earlier versions had none
    rest = {name: value for name, value in results.items() if name != "instances"}
    if spliced := results.get("splice"):
        rest["splice"] = {**spliced, "measures": dict(enumerate(spliced.get("instances", []))).get(instance, {})}
    return {**rest, "model": {**model, **single}, "errors": errors, **parts, "probes": {}}


def rows_of(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The final numbers as `as_row` has them: a row for each instance of a population, else one.

    Each has besides `instance`, its number or None; `settings`, those that other instances do not share; and
    `shares_samples`, whether other instances were trained on the same samples in the same order.
    """
    listed = results.get("instances") or []
    if not listed:
        return [{**as_row(results), "instance": None, "settings": {}, "shares_samples": False}]
    return [
        {
            **as_row(of_instance(results, i)),
            "instance": i,
            "settings": {name: _plain(value) for name, value in entry["settings"].items()},
            "shares_samples": share_samples(listed),
        }
        for i, entry in enumerate(listed)
    ]


def _plain(value: Any) -> Any:
    """A whole number as one, however a variant keeps it, so that 8 and 8.0 are the same setting."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def share_samples(listed: Sequence[Mapping[str, Any]]) -> bool:
    """Whether there are several instances of one run that were trained on the same samples, in the same order.

    Where each has samples of its own it has baselines of its own.
    """
    return len(listed) > 1 and not any("mean_image" in entry["errors"].get("test", {}) for entry in listed)


def setting_names(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the settings by which instances differ, in the order in which they are given; `seed` is the last.

    Args:
        rows: Rows that have `settings`, those of instances.
    """
    names = dict.fromkeys(name for row in rows for name in row.get("settings", {}))
    return sorted(names, key=lambda name: name == "seed")


def setting_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of an instance but the seed of its start: instances that share these differ by chance alone."""
    return {name: value for name, value in row["settings"].items() if name != "seed"}


def by_setting(rows: Iterable[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Rows apart by their settings but the seed, in the order in which these first come."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(name_of_settings(row), []).append(row)
    return list(groups.values())


def name_of_settings(row: Mapping[str, Any]) -> str:
    """Settings of an instance but the seed, such as `k 8, penalty_weight 0.1`; empty where it has none of its own."""
    return ", ".join(f"{name} {value:g}" for name, value in setting_of(row).items())


def are_unlike(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether instances differ by more than the seed of their start."""
    return any(map(setting_of, rows))


def are_of_one_fit(rows: Iterable[Mapping[str, Any]]) -> bool:
    """Whether there are several instances of one run among them, rows with a `run`, that saw the same samples."""
    shared = [row["run"] for row in rows if row.get("shares_samples")]
    return len(set(shared)) < len(shared)


def column_of(setting: str) -> str:
    """Name of the column of a setting by which instances differ, which none of the others has."""
    return f"instance_{setting}"


def differ_by_chance(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether some instances share all their settings but the seed of their start."""
    seen = [setting_of(row) for row in rows]
    return any(seen.count(settings) > 1 for settings in seen)

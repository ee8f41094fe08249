"""What `sweep.yaml` may hold; the folder of a sweep can be anybody's."""

from pathlib import Path
from typing import Any

from ae_lightning.cli.command_parser import LARGEST_SEED

PARTS = ("keys", "settings", "parts", "runs")

_LONGEST_NAME = 255


def is_record(content: dict[str, Any]) -> bool:
    """Whether this is the record of a sweep: all its parts, of plain values, and runs that lie in its own folder."""
    if not all(isinstance(content.get(part), dict) and _is_plain(content[part]) for part in PARTS):
        return False
    keys, parts, runs = content["keys"], content["parts"], content["runs"]
    named = all(isinstance(name, str) for name in keys.values())
    meant = keys.keys() == parts.keys() and all(isinstance(meanings, dict) for meanings in parts.values())
    return named and meant and all(_is_run(name, run, set(keys.values())) for name, run in runs.items())


def _is_run(name: str, run: Any, keys: set[str]) -> bool:
    """Whether a run has the name of a folder, and says in what it differs from the others."""
    if not isinstance(run, dict) or not isinstance(run.get("values"), dict) or not _is_folder(name):
        return False
    seed = run.get("seed")
    seeded = isinstance(seed, int) and not isinstance(seed, bool) and 0 <= seed <= LARGEST_SEED
    return seeded and run["values"].keys() == keys


def _is_folder(name: str) -> bool:
    """Whether this is the name of a folder right in the one of the sweep."""
    return name not in ("", ".", "..") and Path(name).name == name and "\0" not in name and len(name) <= _LONGEST_NAME


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(name, str) for name in value) and all(map(_is_plain, value.values()))
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))

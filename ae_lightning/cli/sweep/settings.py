"""The settings of a sweep's runs: asked of fit's own parser before any of them starts, and kept in `sweep.yaml`."""

import copy
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from ae_lightning.cli.command_line import CommandLine
from ae_lightning.cli.guesses import no_option
from ae_lightning.cli.sweep.grid import Choice, Grid, fit_options, refuse_repetition, run_name, text_of
from ae_lightning.cli.sweep.record_form import PARTS, is_record
from ae_lightning.errors import ConfigError, RunFolderError
from ae_lightning.files import write_text
from ae_lightning.yaml_file import read_settings

RECORD = "sweep.yaml"
_ABSENT = "nothing"
# Settings that each run has for itself.
_OWN = ("seed_everything", "experiment", "ckpt_path")


class PlannedRun(NamedTuple):
    """One run of a sweep."""

    name: str  #: of its folder
    values: dict[str, Any]  #: of the swept keys, by their short names
    seed: int
    options: list[str]  #: of fit


class Resolved(NamedTuple):
    """A sweep whose settings the parser has accepted."""

    settings: dict[str, Any]  #: shared by all runs
    choices: dict[str, list[Choice]]  #: by key
    seed: int  #: of the shared settings, for runs that name none


def resolve(options: Sequence[str], grid: Grid, seeds: Sequence[int]) -> Resolved:
    """Parse what the runs would parse: the first value of every key together, and each other value by itself.

    Raises:
        ConfigError: fit would refuse one of them, two values mean the same, or the runs would leave no numbers.
    """
    seed = seeds[0] if seeds else None
    point = {key: texts[0] for key, texts in grid.items()}
    try:
        base = parse_fit(fit_options(options, point, seed))
        parsed = {
            key: {
                text: base if text == texts[0] else parse_fit(fit_options(options, {**point, key: text}, seed))
                for text in texts
            }
            for key, texts in grid.items()
        }
    except ConfigError as error:
        raise ConfigError(_clearer(str(error), options, grid)) from error
    _refuse_unreadable(base)
    for key, texts in grid.items():
        refuse_repetition(f"--grid {key}", parsed[key], texts)
    choices = {key: [_choice(key, text, parsed[key][text], grid) for text in texts] for key, texts in grid.items()}
    shared = _without(base, [*grid, *_OWN])
    return Resolved(shared, choices, base["seed_everything"])


def parse_fit(options: Sequence[str]) -> dict[str, Any]:
    """All settings of `fit` with these options, as its own parser resolves and checks them.

    Raises:
        ConfigError: fit would refuse them.
    """
    from ae_lightning.cli.fit.parsing import OnlySettings, prepare

    return OnlySettings(prepare(CommandLine(["fit", *options]))).settings


def plan(
    resolved: Resolved, names: Mapping[str, str], options: Sequence[str], seeds: Sequence[int]
) -> list[PlannedRun]:
    """All runs: the product of the grid and the seeds, those of one point side by side."""
    runs = []
    for choices in product(*resolved.choices.values()):
        point = dict(zip(resolved.choices, choices, strict=True))
        values = {names[key]: choice.value for key, choice in point.items()}
        texts = {key: choice.text for key, choice in point.items()}
        for seed in seeds or [resolved.seed]:
            arguments = fit_options(options, texts, seed if seeds else None)
            runs.append(PlannedRun(run_name(values, seed), values, seed, arguments))
    return runs


def make_record(
    folder: Path, resolved: Resolved, names: Mapping[str, str], runs: Iterable[PlannedRun]
) -> dict[str, Any]:
    """What `sweep.yaml` is to hold: what the runs share, in what they differ, and all runs, earlier ones first.

    Raises:
        ConfigError: The folder holds a sweep of other keys or settings, or something else.
        RunFolderError: Its `sweep.yaml` is damaged.
    """
    parts = {
        key: {choice.text: choice.settings for choice in choices if choice.settings != choice.value}
        for key, choices in resolved.choices.items()
    }
    record = {
        "keys": {key: names[key] for key in resolved.choices},
        "settings": resolved.settings,
        "parts": parts,
        "runs": {run.name: {"values": copy.deepcopy(run.values), "seed": run.seed} for run in runs},
    }
    if earlier := _read_record(folder):
        point = {key: choices[0].text for key, choices in resolved.choices.items()}
        _refuse_other_sweep(folder, _completed(earlier, record, point), record)
        record["runs"] = earlier["runs"] | record["runs"]
        record["parts"] = {key: earlier["parts"][key] | meanings for key, meanings in parts.items()}
    return record


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Write `sweep.yaml`."""
    head = "# What the runs of this sweep share, and in what they differ. A repeated sweep is compared with it.\n"
    write_text(folder / RECORD, head + yaml.safe_dump(record, sort_keys=False))


def _read_record(folder: Path) -> dict[str, Any] | None:
    path = folder / RECORD
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file: name a folder with -o")
    if not path.is_file():
        if folder.is_dir() and any(not child.name.startswith(".") for child in folder.iterdir()):
            raise ConfigError(f"{folder} holds other things than a sweep (it has no {RECORD}): name another with -o")
        return None
    try:
        record = read_settings(path)
    except ConfigError as error:
        raise RunFolderError(f"{path} is damaged: name another folder with -o, or remove this one") from error
    if not is_record(record):
        raise RunFolderError(
            f"{path} is damaged, or of another program: name another folder with -o, or remove this one"
        )
    return {name: record[name] for name in PARTS}


def _completed(earlier: dict[str, Any], record: dict[str, Any], point: Mapping[str, str]) -> dict[str, Any]:
    """An earlier record with the defaults of the settings that have come with a newer version since.

    Args:
        earlier: What `sweep.yaml` holds.
        record: What it is to hold now.
        point: A value of each key, without which the parser may not take the rest.
    """
    settings, parts = earlier["settings"], copy.deepcopy(earlier["parts"])
    try:
        if _lacks(settings, record["settings"]):
            settings = _without(_parsed(settings, point), [*record["keys"], *_OWN])
        for key, meanings in record["parts"].items():
            inner = [other for other in point if other == key or other.startswith(f"{key}.")]
            others = {other: text for other, text in point.items() if other not in inner}
            for text, now in meanings.items():
                old = parts.get(key, {}).get(text)
                if "." not in key and old is not None and _lacks(old, now):
                    whole = _parsed({**settings, key: old}, others)
                    parts[key][text] = _without(whole, [other for other in inner if other != key])[key]
    except ConfigError:  # it names what there is no more: the difference is told then
        return earlier
    return {**earlier, "settings": settings, "parts": parts}


def _lacks(old: Any, new: Any) -> bool:
    """Whether there are settings in the new ones that the old ones do not have."""
    return bool(flatten(new).keys() - flatten(old).keys())


def _parsed(settings: Any, point: Mapping[str, str]) -> dict[str, Any]:
    """All settings of `fit`, where these are those of a config, and a point of the grid is named besides."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "earlier.yaml"
        write_text(path, yaml.safe_dump(settings))
        return parse_fit(fit_options(["--config", str(path)], point, None))


def _refuse_other_sweep(folder: Path, earlier: dict[str, Any], record: dict[str, Any]) -> None:
    if list(earlier["keys"]) != list(record["keys"]):
        before, now = (", ".join(keys) or "seeds only" for keys in (earlier["keys"], record["keys"]))
        raise ConfigError(f"the sweep in {folder} varies {before}, this one {now}: name another folder with -o")
    pairs = [("", earlier["settings"], record["settings"])]
    for key, meanings in record["parts"].items():
        before = earlier["parts"][key]
        pairs += [(f" (of {key}={text})", before[text], new) for text, new in meanings.items() if text in before]
    for where, old, new in pairs:
        if difference := first_difference(old, new):
            key, was, now = difference
            raise ConfigError(
                f"the runs in {folder} were made with {key} {was}, and now it is {now}{where}: "
                "give the same settings as then, or name another folder with -o"
            )


def first_difference(old: Any, new: Any) -> tuple[str, str, str] | None:
    """Key, old and new value of the first setting in which two nested settings differ."""
    before, after = flatten(old), flatten(new)
    for key in [*before, *(key for key in after if key not in before)]:
        if key not in before or key not in after or before[key] != after[key]:
            was, now = (text_of(flat[key]) if key in flat else _ABSENT for flat in (before, after))
            return key, was, now
    return None


def flatten(settings: Any, prefix: str = "") -> dict[str, Any]:
    """Nested settings by key, as the command line spells them; members of a list of classes by their number."""
    if isinstance(settings, list) and any(isinstance(item, dict) for item in settings):
        settings = {str(number): item for number, item in enumerate(settings)}
    if not isinstance(settings, dict) or not settings:
        return {prefix: settings}
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat |= flatten(value, prefix if key == "init_args" else f"{prefix}.{key}".lstrip("."))
    return flat


def look_up(settings: Any, key: str) -> Any:
    """What a key stands for; of a list, its last member's, as on the command line.

    Raises:
        KeyError: There is no such setting.
    """
    owner, name = _owner(settings, key)
    return owner[name]


def _owner(settings: Any, key: str) -> tuple[dict[str, Any], str]:
    """The mapping in which the last part of a key stands, and that part."""
    parts = key.split(".")
    inner = settings
    for number, part in enumerate(parts):
        if isinstance(inner, list) and inner:
            inner = inner[-1]
        if isinstance(inner, dict) and part not in inner:
            inner = inner.get("init_args")
        if not isinstance(inner, dict) or part not in inner:
            raise KeyError(key)
        if number < len(parts) - 1:
            inner = inner[part]
    return inner, parts[-1]


def _without(settings: dict[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    """A copy of the settings that lacks some keys."""
    rest = copy.deepcopy(settings)
    for key in keys:
        try:
            owner, name = _owner(rest, key)
        except KeyError:  # gone already, with a part that is swept
            continue
        del owner[name]
    return rest


def _choice(key: str, text: str, settings: dict[str, Any], grid: Grid) -> Choice:
    try:
        meaning = look_up(_without(settings, [other for other in grid if other.startswith(f"{key}.")]), key)
    except KeyError:
        return Choice(text, text, text)
    is_plain = not isinstance(meaning, dict) and not (isinstance(meaning, list) and any(map(_is_nested, meaning)))
    return Choice(text, meaning if is_plain else text, meaning)


def _is_nested(value: Any) -> bool:
    return isinstance(value, (dict, list))


def _refuse_unreadable(settings: dict[str, Any]) -> None:
    trainer = settings["trainer"]
    if trainer["fast_dev_run"] or trainer["logger"] not in (None, True):
        option = "fast_dev_run" if trainer["fast_dev_run"] else "logger"
        raise ConfigError(f"trainer.{option} leaves no numbers that a sweep could read: leave it out")
    seed = settings["seed_everything"]
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise ConfigError("the seed is drawn anew by each run: name the seeds of the sweep with --seeds")


def _clearer(message: str, options: Sequence[str], grid: Grid) -> str:
    """What is wrong with the options by themselves; or else the message, with a guess among these runs' settings.

    The parser cannot tell which class a key was meant for, and knows the settings of all of them together.
    """
    try:
        known = list(flatten(parse_fit(options)))
    except ConfigError as error:
        return message if any("." not in key for key in grid) else str(error)  # the grid may name what they lack
    wrong = next((key for key in grid if re.match(rf"there is no option --{re.escape(key)}(;|$)", message)), None)
    if wrong is None:
        return message
    return no_option(f"--{wrong}", [f"--{key}" for key in known])

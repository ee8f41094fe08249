"""What a sweep varies, as text: keys and values from the command line, and the names that follow from them.

Nothing here knows which settings there are; `settings` asks the parser.
"""

import hashlib
import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ae_lightning.cli.command_line import CONFIG, CommandLine
from ae_lightning.cli.command_parser import LARGEST_SEED
from ae_lightning.errors import ConfigError

Grid = dict[str, list[str]]
"""Texts of the values by key, such as {"model.latent_dim": ["2", "16"]}."""

_PAIRS = {"]": "[", ")": "(", "}": "{"}
# Where these come from or what they do is the sweep's own business.
_NOT_SWEPT = {
    "seed_everything": "name seeds with --seeds",
    "config": "start a sweep for each config",
    "experiment": "name the sweep's folder with -o",
    "ckpt_path": "every run of a sweep begins anew",
    "trainer.default_root_dir": "name the sweep's folder with -o",
    "trainer.logger": "a sweep reads what our own loggers write",
    "trainer.fast_dev_run": "such a run leaves no numbers",
}
_NO_OPTIONS = ("experiment", "ckpt_path", "trainer.logger", "trainer.fast_dev_run")


class Choice(NamedTuple):
    """One value of a key."""

    text: str  #: as it was typed, for the command line of fit
    value: Any  #: what it means: a number, text, true, null or a list of such; a part keeps its text
    settings: Any  #: what it means in full, also of a part


def parse_grid(options: Iterable[str]) -> Grid:
    """Read `key=a,b` options.

    Raises:
        ConfigError: One is not of that form, names no values, or a key or a value comes twice.
    """
    grid: Grid = {}
    for option in options:
        name, equals, values = option.partition("=")
        key = plain_key(name)
        if not equals or not key:
            raise ConfigError(f"--grid {option}: name a setting and its values, as in --grid model.latent_dim=2,16")
        if key in _NOT_SWEPT:
            raise ConfigError(f"--grid {name}: {key} cannot be swept; {_NOT_SWEPT[key]}")
        if key in grid:
            raise ConfigError(f"--grid names {key} twice: give all its values at once, as in --grid {key}=a,b")
        if not values.strip():
            raise ConfigError(f"a sweep of zero runs: --grid {option} names no values")
        grid[key] = split_values(values, option)
        refuse_repetition(f"--grid {name}", {text: text for text in grid[key]}, grid[key])
    return grid


def parse_seeds(text: str) -> list[int]:
    """Read `0,1,2`.

    Raises:
        ConfigError: There is none, one is no whole number, or one comes twice.
    """
    if not text.strip():
        raise ConfigError("a sweep of zero runs: --seeds names no seed")
    seeds = [part.strip() for part in text.split(",")]
    for seed in seeds:
        if not re.fullmatch(r"[0-9]+", seed) or int(seed) > LARGEST_SEED:
            raise ConfigError(f"--seeds should be whole numbers from 0 to {LARGEST_SEED}, as in 0,1,2, not {seed!r}")
    refuse_repetition("--seeds", {seed: int(seed) for seed in seeds}, seeds)
    return [int(seed) for seed in seeds]


def refuse_repetition(option: str, meanings: Mapping[str, Any], texts: Sequence[str]) -> None:
    """Check that no two values mean the same.

    Raises:
        ConfigError: Two do.
    """
    for one, other in itertools.combinations(texts, 2):
        if meanings[one] == meanings[other]:
            same = one if one == other else f"{one} and {other}, which is the same"
            raise ConfigError(f"{option} names a value twice: {same}")


def split_values(text: str, option: str) -> list[str]:
    """Split at the commas outside brackets and quotes; a value that is quoted as a whole loses its quotes.

    Args:
        text: The values.
        option: What they stand in, for the message.

    Raises:
        ConfigError: A bracket or quote is not closed, or there is nothing between two commas.
    """
    values, current, opened, quote = [], "", [], ""
    for sign in text:
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "\"'":
            quote = sign
        elif sign in _PAIRS.values():
            opened.append(sign)
        elif sign in _PAIRS and (not opened or opened.pop() != _PAIRS[sign]):
            raise ConfigError(f"--grid {option}: a bracket {sign} was never opened")
        if sign == "," and not opened and not quote:
            values.append(current.strip())
            current = ""
        else:
            current += sign
    if opened or quote:
        raise ConfigError(f"--grid {option}: {quote or opened[-1]} is not closed")
    values.append(current.strip())
    if "" in values:
        raise ConfigError(f"--grid {option}: there is nothing before or after a comma")
    return [value[1:-1] if re.fullmatch(r"'[^']*'|\"[^\"]*\"", value) else value for value in values]


def plain_key(name: str) -> str:
    """A key as the command line spells it, without dashes, `init_args` and the `+` of a list."""
    parts = name.strip().lstrip("-").rstrip("+").split(".")
    return ".".join(part for part in parts if part != "init_args")


def short_names(keys: Sequence[str], taken: Iterable[str] = ()) -> dict[str, str]:
    """The last part of each key, or as many of its last parts as tell it from the other keys and from `taken`."""
    names: dict[str, str] = {}
    for key in keys:
        others = {*taken, *(tail for other in keys if other != key for tail in _tails(other))}
        names[key] = next((tail for tail in _tails(key) if tail not in others), key)
    return names


def _tails(key: str) -> list[str]:
    parts = key.split(".")
    return [".".join(parts[-count:]) for count in range(1, len(parts) + 1)]


def fit_options(options: Sequence[str], point: Mapping[str, str], seed: int | None) -> list[str]:
    """Options of `fit` for one point of the grid.

    A part or class that is swept (model=simple) comes before the user's options for it (--model.latent_dim 8), which
    would be lost otherwise; everything else comes last, whole parts before their settings.

    Raises:
        ConfigError: A key is an option as well.
    """
    line = CommandLine(options)
    given = {plain_key(option.name) for option in line.options if option.name}
    for key in point:
        if key in given:
            raise ConfigError(f"{key} is an option and in --grid as well: leave one of them out")
    keys = sorted(point, key=lambda key: key.count("."))
    first = [key for key in keys if any(name.startswith(f"{key}.") for name in given)]
    configs, others = line.split_after(CONFIG)
    spelled = {key: f"--{key}={point[key]}" for key in keys}
    early, late = ([spelled[key] for key in keys if (key in first) is is_first] for is_first in (True, False))
    seeded = [] if seed is None else [f"--seed_everything={seed}"]
    return [*configs, *early, *others, *late, *seeded]


def refuse_options(options: Sequence[str], seeds: bool) -> None:
    """Check that no option of fit is among those that a sweep has another word for.

    Raises:
        ConfigError: One is.
    """
    for option in CommandLine(options).options:
        key = plain_key(option.name)
        if key in _NO_OPTIONS or (seeds and key == "seed_everything"):
            raise ConfigError(f"--{key} is not for a sweep: {_NOT_SWEPT[key]}")


def text_of(value: Any) -> str:
    """A value as people write it: 0.001, [512,256], relu, null."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    return value if isinstance(value, str) else json.dumps(value).replace(" ", "")


def run_name(values: Mapping[str, Any], seed: int) -> str:
    """Name of a run's folder: `latent_dim=16,seed=0`."""
    return ",".join([*(f"{key}={_safe(value)}" for key, value in values.items()), f"seed={seed}"])


def _safe(value: Any) -> str:
    """A value as part of a folder's name; where signs or length are lost, a few digits tell it from others."""
    if isinstance(value, list) and all(isinstance(item, (int, float)) for item in value):
        return "-".join(map(text_of, value)) or "none"
    text = text_of(value)
    safe = re.sub(r"[^\w.+-]+", "-", text)[:60]
    return safe if safe == text else f"{safe}~{hashlib.sha256(text.encode()).hexdigest()[:6]}"

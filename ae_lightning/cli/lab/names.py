"""The worlds and models that a lab can be asked for by name; nothing heavy is imported to find a misspelt one."""

from collections.abc import Callable
from pathlib import Path

from ae_lightning.cli.command_line import is_file
from ae_lightning.cli.configs import packaged
from ae_lightning.cli.guesses import guess, one_of
from ae_lightning.cli.sweep.grid import refuse_repetition
from ae_lightning.errors import ConfigError

SAVED = "synthetic_model_config.json"
"""The file by which a folder is a saved world."""


def model_names(text: str) -> list[str]:
    """Read `topk_sae,jumprelu_sae`.

    Raises:
        ConfigError: There is nothing between two commas, or a name comes twice.
    """
    names = [part.strip() for part in text.split(",")]
    if "" in names:
        raise ConfigError("--models has an empty name: separate the names by single commas")
    refuse_repetition("--models", {name: Path(name).stem for name in names}, names)
    return names


def require_world(name: str) -> str:
    """The name as it was given, where it is a packaged world's, a YAML's or a saved world's folder.

    Raises:
        ConfigError: It is neither.
    """
    worlds = sorted(part.removeprefix("data/") for part in packaged() if part.startswith("data/world"))
    if name in worlds or is_file(Path(name)) or (Path(name) / SAVED).is_file():
        return name
    if Path(name).is_dir():
        raise ConfigError(f"--world {name}: the folder holds no saved world (it has no {SAVED})")
    hint = guess(name, worlds) or one_of(worlds)
    raise ConfigError(f"--world {name}: there is no such file, and no packaged world of that name{hint}")


def require_model(name: str, classes: Callable[[], list[str]] | None = None) -> None:
    """Check that a name is that of a packaged model, a YAML or a class.

    Args:
        name: The name.
        classes: Answers the names of classes there are; by default those of variants, whose import takes seconds.

    Raises:
        ConfigError: It is neither.
    """
    parts = sorted(part.removeprefix("model/") for part in packaged() if part.startswith("model/"))
    if name in parts or is_file(Path(name)) or "." in name:  # an import path, which the parser knows about
        return
    kinds = (classes or _variants)()
    if name not in kinds:
        raise ConfigError(f"--models: there is no class {name} and no packaged model of that name{_near(name, parts)}")


def _near(name: str, parts: list[str]) -> str:
    sparse = [part for part in parts if part.endswith("_sae")]
    return guess(name, [*parts, *_variants()]) or one_of(sparse)


def _variants() -> list[str]:
    from ae_lightning.models import variants

    return list(variants())

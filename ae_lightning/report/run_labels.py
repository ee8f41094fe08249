"""What runs are called that stand side by side, and groups of them."""

import re
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

from ae_lightning.errors import ConfigError

_SEED = re.compile(r"(?:^|,)seed=[^,/]*|(?<=/)seed=[^,/]*,?")


def names_of(folders: Sequence[Path]) -> list[str]:
    """The shortest parts of paths that tell folders apart: one part, or several that follow each other.

    Names such as `version_0` are only taken where those of the folders above them do not do.
    """
    parts = [folder.resolve().parts for folder in folders]
    numbered = all(re.fullmatch(r"version_\d+", part[-1]) for part in parts)
    deepest = max(map(len, parts), default=0)
    for width in range(1, deepest + 1):
        places = range(deepest - width + 1)
        for above in sorted(places, key=lambda above: (above != 1, above)) if numbered else places:
            names = ["/".join(part[max(len(part) - above - width, 0) : len(part) - above]) for part in parts]
            if len(set(names)) == len(names) and all(names):
                return names
    return [str(folder) for folder in folders]


def group_labels(names: Sequence[Sequence[str]], given: bool) -> list[str]:
    """What the names of a group have in common where that tells groups apart, else all of its names."""
    common = [of[0] if len(of) == 1 else "" if given and len(set(of)) > 1 else _common(of) for of in names]

    def is_clear(i: int) -> bool:
        others = [name for j, of in enumerate(names) if j != i for name in (common[j], *of)]
        return bool(common[i]) and not any(name == common[i] or name.startswith(f"{common[i]}/") for name in others)

    return [common[i] if is_clear(i) else ", ".join(dict.fromkeys(of)) for i, of in enumerate(names)]


def check_number(labels: Sequence[str], runs: int, groups: int) -> None:
    """Raise ConfigError unless there are as many labels as groups."""
    if len(labels) != groups:
        several = f" in {groups} groups that differ by more than a seed" if groups != runs else ""
        raise ConfigError(f"--labels has {len(labels)} names, but there are {runs} runs{several}")


def _common(names: Sequence[str]) -> str:
    without_seed = {_SEED.sub("", name).strip(",/") for name in names}
    if len(without_seed) == 1:
        return without_seed.pop()
    alike = takewhile(lambda parts: len(set(parts)) == 1, zip(*(name.split("/") for name in names), strict=False))
    return "/".join(parts[0] for parts in alike)

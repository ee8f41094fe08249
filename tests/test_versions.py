"""The two lists of tested versions, and what pyproject.toml says of them."""

from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import ae_lightning
from ae_lightning.upstream import TESTED

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10, where pytest brings the same parser
    import tomli as tomllib

ROOT = Path(ae_lightning.__file__).resolve().parents[1]
pytestmark = pytest.mark.skipif(not (ROOT / "pyproject.toml").is_file(), reason="needs a checkout")


def declared(*extras: str) -> dict[str, Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional = [line for extra in extras for line in project["optional-dependencies"][extra]]
    requirements = map(Requirement, project["dependencies"] + optional)
    return {canonicalize_name(one.name): one for one in requirements}


def listed(file: str) -> list[Requirement]:
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]


def versions(file: str) -> dict[str, list[Version]]:
    """The versions of each package in a list; there may be one for each Python."""
    found: dict[str, list[Version]] = {}
    for one in listed(file):
        (pin,) = one.specifier
        found.setdefault(canonicalize_name(one.name), []).append(Version(pin.version))
    return found


@pytest.mark.parametrize("file", ["constraints.txt", "constraints-oldest.txt"])
def test_a_list_pins_by_name_and_version_only(file: str) -> None:
    assert len(listed(file)) > 50
    for one in listed(file):
        assert one.url is None, one
        assert [pin.operator for pin in one.specifier] == ["=="], one


def test_the_oldest_versions_are_the_minimums_of_pyproject() -> None:
    """There may be a ceiling beside a minimum, and versions left out."""
    oldest = versions("constraints-oldest.txt")
    for name, requirement in declared("dev").items():
        (minimum,) = (part for part in requirement.specifier if part.operator == ">=")
        assert {part.operator for part in requirement.specifier} <= {">=", "<", "!="}, requirement
        assert oldest[name] == [Version(minimum.version)], requirement
        assert oldest[name][0] in requirement.specifier, requirement


def test_what_the_package_takes_for_tested_is_what_the_lists_name() -> None:
    oldest, newest = versions("constraints-oldest.txt"), versions("constraints.txt")
    for name, tested in TESTED.items():
        assert [Version(tested.first)] == oldest[name], name
        assert {(version.major, version.minor) for version in newest[name]} == {Version(tested.series).release}, name


def test_the_newest_tested_versions_are_allowed() -> None:
    newest = versions("constraints.txt")
    for name, requirement in declared("dev", "docs").items():
        assert all(version in requirement.specifier for version in newest[name]), requirement

"""The steps of a build: pages are gathered and made, Zensical turns them into HTML, and its links are followed."""

import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

from site_builder.api_pages import api_pages, front_page
from site_builder.command_pages import command_pages
from site_builder.links import broken_links

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CONFIG = "zensical.toml"
BUILDER = Path(__file__).parent
OF_SERVERS = ("404.html", "sitemap.xml")
"""Pages that only a server would show, with addresses that only a server has."""

EXPECTED = ("Build started", "Build finished", "No issues found")
"""What Zensical says of a build without warnings."""

_COLOR = re.compile(r"\x1b\[[0-9;]*m")
FONT = "STIXTwoMath-Regular.ttf"


def build(root: Path) -> list[str]:
    """Build the site of a folder, and return what is wrong with it.

    Args:
        root: Folder that holds `zensical.toml` and `docs/`. The site is written where the former says, below it.
    """
    config = tomllib.loads((root / CONFIG).read_text(encoding="utf-8"))["project"]
    pages = root / config["docs_dir"]
    gather(root / "docs", pages)
    for path, text in reference_pages().items():
        target = pages / "reference" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text + "\n", encoding="utf-8")
    problems = [f"{page} is not in the navigation of {CONFIG}" for page in unlisted(pages, config["nav"])]
    shutil.rmtree(root / config["site_dir"], ignore_errors=True)
    problems += warnings_of_zensical(root)
    for name in OF_SERVERS:
        (root / config["site_dir"] / name).unlink(missing_ok=True)
    return problems or broken_links(root / config["site_dir"])


def gather(source: Path, pages: Path) -> None:
    """Copy the pages that somebody wrote, and the font of the formulas, into an empty folder."""
    shutil.rmtree(pages, ignore_errors=True)
    shutil.copytree(source, pages, ignore=shutil.ignore_patterns(BUILDER.name, "__pycache__"))
    fonts = pages / "fonts"
    fonts.mkdir()
    shutil.copy(str(distribution("ziamath").locate_file(f"ziamath/fonts/{FONT}")), fonts)


def reference_pages() -> dict[str, str]:
    """Markdown of all pages that are made, by their path below `reference/`."""
    return {"index.md": front_page(), **api_pages(), **command_pages()}


def unlisted(pages: Path, nav: object) -> list[str]:
    """Pages that no entry of the navigation leads to."""
    found = {page.relative_to(pages).as_posix() for page in pages.rglob("*.md")}
    return sorted(found - set(entries(nav)))


def entries(nav: object) -> list[str]:
    """All pages of a navigation, which is nested lists and mappings."""
    if isinstance(nav, str):
        return [nav]
    below = nav.values() if isinstance(nav, dict) else nav if isinstance(nav, list) else []
    return [page for part in below for page in entries(part)]


def warnings_of_zensical(root: Path) -> list[str]:
    """Run Zensical in a process of its own, and return the lines that say more than that it began and ended well."""
    environment = {**os.environ, "NO_COLOR": "1", "PYTHONPATH": str(BUILDER.parent)}
    done = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict", "--clean", "--config-file", CONFIG],
        cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    lines = _COLOR.sub("", done.stdout).splitlines()
    said = [line for line in lines if line.strip() and not line.startswith(EXPECTED)]
    return said or [f"zensical ended with code {done.returncode}"] * (done.returncode != 0)

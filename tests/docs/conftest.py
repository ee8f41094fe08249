"""The documentation site, built once for all tests that look at it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import ae_lightning

ROOT = Path(ae_lightning.__file__).resolve().parents[1]
ADDED = "\n\nA `TopKSAE`, `no_class`, and a share: $\\hat x$, and\n\n$$\n\\frac{a}{b} + \\lVert z \\rVert\n$$\n"


@pytest.fixture(scope="session")
def built(made_once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """Folder of the built site; its home ends with what is added to it."""
    pytest.importorskip("zensical", reason="the site needs `pip install 'ae-lightning[docs]'`")
    if not (ROOT / "zensical.toml").is_file():
        pytest.skip("needs a checkout")
    from site_builder.build import build

    def fill(folder: Path) -> None:
        for name in ("zensical.toml", "CHANGELOG.md", "benchmarks/README.md"):
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
        shutil.copytree(ROOT / "docs", folder / "docs", ignore=shutil.ignore_patterns("site_builder"))
        home = folder / "docs" / "index.md"
        home.write_text(home.read_text(encoding="utf-8") + ADDED, encoding="utf-8")
        assert build(folder) == []

    return made_once("site", fill) / "site"

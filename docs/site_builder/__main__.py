"""`python -m site_builder`: build the documentation site into `site/`, or say what is wrong with it."""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Build the site of this checkout, and return the exit code: 1 where something is wrong."""
    parser = argparse.ArgumentParser("site_builder", description=__doc__)
    parser.add_argument("--root", type=Path, default=ROOT, help="folder with zensical.toml and docs/")
    root = parser.parse_args().root.resolve()
    if sys.version_info < (3, 11):
        print(
            f"Zensical, which builds the site, needs Python 3.11 or later; this is {sys.version.split()[0]}",
            file=sys.stderr,
        )
        return 1
    from site_builder.build import build

    problems = build(root)
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())

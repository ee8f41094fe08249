"""What the benchmarks take on the command line: which of their parts, and how many rounds."""

import argparse
import os
from collections.abc import Mapping


def parts_and_rounds(doc: str | None, parts: Mapping[str, object], rounds: int) -> tuple[list[str], int]:
    """Names of the parts asked for, all if there are none, and the number of rounds; ends where MNIST is missing."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="NAME", help="what to measure; all by default")
    parser.add_argument("--rounds", type=int, default=rounds, help=f"repetitions (default {rounds})")
    options = parser.parse_args()
    if unknown := set(options.parts) - parts.keys():
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(parts)}")
    if "AE_LIGHTNING_DATA" not in os.environ:
        parser.error("name the folder that holds MNIST/raw with AE_LIGHTNING_DATA")
    return options.parts or list(parts), options.rounds

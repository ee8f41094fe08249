"""Time, memory and error of dictionaries' training beside other libraries: Markdown tables with what is wanted.

SAELens, dictionary_learning, sparsify and overcomplete run in an environment of their own (`make peers`), each in a
process of its own, on the same samples, batches and rate of Adam, and each with as many threads. Rounds are
interleaved, and one process computes at a time; a ratio is the median over the rounds of those within a round.

    python benchmarks/peers.py [time] [memory] [error] [populations] [--rounds 3] [--only topk] [--size 512x4096x1024]

`time`: 2 steps, then 8 that are timed. `memory`: the peak of a step. `error`: held-out FVU after 1,000 steps on a
generated world, at an L0 of 32. `populations`: sixteen dictionaries in one fit beside sixteen fits.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peer_parts
from peer_processes import HERE, PEERS, Processes

PARTS: dict[str, Callable[..., Any]] = {
    "time": peer_parts.times,
    "memory": peer_parts.memory,
    "error": peer_parts.errors,
    "populations": peer_parts.populations,
}


def main() -> None:
    """Measure what was asked for; print the tables, and write them with their figures where that was asked too."""
    options = _options()
    plan = peer_parts.Plan.tiny(options.rounds) if options.tiny else peer_parts.Plan(rounds=options.rounds or 3)
    plan = plan.only(options.only, options.size, options.rates, options.steps)
    python = options.peers / "bin" / "python"
    if not python.is_file():
        sys.exit(f"{python} is missing: `make peers` installs the other libraries")
    written: dict[str, Any] = {}
    texts: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        processes = Processes(python, options.threads)
        try:
            for name in options.parts or PARTS:
                found, text = PARTS[name](plan, processes, Path(folder))
                written[name] = found
                texts.append(f"{name}, {options.threads} threads\n\n{text}")
                print(f"\n{texts[-1]}\n", flush=True)
                if options.output:  # after each part, so that a long run that breaks off leaves something
                    options.output.write_text("\n\n".join(texts) + "\n", encoding="utf-8")
                    options.output.with_suffix(".json").write_text(json.dumps(written, indent=1), encoding="utf-8")
        finally:
            processes.end()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; all by default")
    parser.add_argument("--rounds", type=int, help="interleaved repetitions (default 3)")
    parser.add_argument("--only", nargs="+", choices=sorted(PEERS), help="kinds of dictionary; all by default")
    parser.add_argument("--size", nargs="+", metavar="INPUTSxLATENTSxBATCH", help="sizes of `time`; three by default")
    parser.add_argument("--rates", nargs="+", type=float, help="rates of Adam that `error` takes the best of")
    parser.add_argument("--steps", type=int, help="length of a run of `error` (default 1,000)")
    parser.add_argument("--threads", type=int, default=2, help="of each process (default 2)")
    parser.add_argument("--tiny", action="store_true", help="little of everything, to see that it runs")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.md", help="file for the tables; figures go to .json")
    parser.add_argument(
        "--peers",
        type=Path,
        metavar="FOLDER",
        default=Path(os.environ.get("AE_LIGHTNING_PEERS", HERE.parent / ".venv-peers")),
        help="their environment (default AE_LIGHTNING_PEERS or .venv-peers)",
    )
    options = parser.parse_args()
    if unknown := set(options.parts) - PARTS.keys():
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    return options


if __name__ == "__main__":
    main()

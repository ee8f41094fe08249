"""`benchmarks/peers.py` trains by every library, and prints its tables."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "peers.py"
LIBRARIES = {"SAELens", "dictionary_learning", "overcomplete"}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured as Linux does it")
def test_every_part_runs_at_a_tiny_size(peers_python: Path, tmp_path: Path) -> None:
    options = ["--tiny", "--threads", "1", "--peers", peers_python.parents[1], "-o", tmp_path / "peers.md"]
    done = subprocess.run([sys.executable, SCRIPT, *options], capture_output=True, text=True, timeout=550)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "peers.md").read_text() in done.stdout.replace("\n\n\n", "\n\n")
    figures = json.loads((tmp_path / "peers.json").read_text())
    time, memory = figures["time"], figures["memory"]
    assert len(time) == 6
    assert all(min(seconds) > 0 for row in time.values() for seconds in row.values())
    topk = next(row for title, row in time.items() if title.startswith("TopK"))
    assert topk.keys() == {"products", "bare step", "fit", "sparsify"} | LIBRARIES
    assert all(total > above >= 0 for row in memory.values() for above, total in row.values())
    runs = figures["error"]["runs"]
    assert {run["name"] for run in runs if run["kind"] == "standard"} == {"fit"} | LIBRARIES
    # What selects keeps k latents of a sample, in every library.
    assert {round(run["l0"]) for run in runs if run["kind"] in ("topk", "batch_topk", "matryoshka")} == {4}
    assert len(figures["populations"]) == 2

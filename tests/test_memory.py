"""Commands on a file larger than the private memory that they may take."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "memory.py"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited and measured as Linux does it")
def test_a_file_larger_than_the_memory_is_trained_on_and_measured():
    # The baselines once took twice the file.
    sizes = ["--mib", "448", "--allow", "384", "--width", "128", "--latents", "16", "--steps", "5"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, SCRIPT, *sizes, "fit"], env=environment, capture_output=True, text=True, timeout=550
    )
    assert done.returncode == 0, done.stderr
    assert "| fit |" in done.stdout

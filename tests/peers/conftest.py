"""Other libraries, called as processes in an environment of their own (`make peers`)."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ARE_INSTALLED = """
import importlib.util as modules, sys
sys.exit(not all(map(modules.find_spec, ("sae_lens", "dictionary_learning", "sparsify", "overcomplete"))))
"""


@pytest.fixture(scope="session")
def peers_python() -> Path:
    """The interpreter of the peers' environment: `.venv-peers`, or what AE_LIGHTNING_PEERS names."""
    python = Path(os.environ.get("AE_LIGHTNING_PEERS", ROOT / ".venv-peers")) / "bin" / "python"
    if not python.is_file() or subprocess.run([str(python), "-c", ARE_INSTALLED]).returncode:
        pytest.skip(
            f"{python} has not all of SAELens, dictionary_learning, sparsify and overcomplete: run `make peers`"
        )
    return python


@pytest.fixture(scope="session")
def run_peer(peers_python: Path) -> Callable[..., None]:
    """Let a peer's script answer the cases of a folder, of which `exchange.py` tells."""

    def run(peer: str, folder: Path, script: str = "with") -> None:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHON", "COV"))},
            "HF_HUB_OFFLINE": "1",
            "WANDB_MODE": "disabled",
            "CUDA_VISIBLE_DEVICES": "",
        }
        command = [str(peers_python), str(HERE / f"{script}_{peer}.py"), str(folder)]
        done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    return run

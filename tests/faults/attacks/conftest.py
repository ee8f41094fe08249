"""What no attack may do: run code, write outside the test's own folder, be answered by more than one sentence."""

from pathlib import Path
from typing import Any

import jsonargparse._common
import pytest
import torch

from ae_lightning import safe_mode


@pytest.fixture(autouse=True)
def unsafe_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that was made safe stays so: put this one back, by ways that a config has not."""
    monkeypatch.setattr(jsonargparse._common, "parsing_settings", dict(jsonargparse._common.parsing_settings))
    monkeypatch.setattr(safe_mode, "_state", {"on": False})


@pytest.fixture
def poisoned(mine: Any, trained: Path) -> Any:
    """Write a whole checkpoint of a run with code beside its weights to a path; the test fails if the code is run."""

    def write(path: Path) -> Path:
        checkpoint = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save({**checkpoint, "more": mine}, path)
        return path

    return write

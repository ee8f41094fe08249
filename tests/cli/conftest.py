import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jsonargparse._common
import pytest

from ae_lightning import safe_mode
from ae_lightning.cli.main import main

#: Two batches of digits, two snapshots, one picture, no probe: a whole run in about half a second.
QUICK = [
    *("--config", "overcomplete_digits", "--model.latent_dim", "16"),
    *("--trainer.callbacks", "null", "--trainer.max_epochs", "1", "--trainer.limit_train_batches", "2"),
    *("--snapshots.schedule.count", "2", "--images.schedule.count", "1"),
]


class Outcome(NamedTuple):
    """What a command answered: its exit code and what it printed."""

    code: int
    out: str
    err: str


def call_main(arguments: list[str]) -> int:
    """Exit code of the command line, also where argparse ends the process, as after --help."""
    try:
        return main(arguments)
    except SystemExit as stop:
        return int(stop.code or 0)


@pytest.fixture(autouse=True)
def no_traces_no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the environment back, which Lightning writes its seed into, and let nothing out of this machine."""

    def refuse(*args: Any) -> None:
        raise AssertionError("a test tried to reach the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def unsafe_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that was made safe stays so: put this one back, by ways that a config has not."""
    monkeypatch.setattr(jsonargparse._common, "parsing_settings", dict(jsonargparse._common.parsing_settings))
    monkeypatch.setattr(safe_mode, "_state", {"on": False})


@pytest.fixture
def ae(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run `ae-lightning` with these arguments in an empty folder, in this process."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: Any) -> Outcome:
        capsys.readouterr()
        code = call_main([str(argument) for argument in arguments])
        return Outcome(code, *capsys.readouterr())

    return run


@pytest.fixture
def quick() -> list[str]:
    """Options of a small and fast fit, which later options may change."""
    return QUICK.copy()


@pytest.fixture(scope="session")
def trained(fit_once: Callable[..., Path]) -> Path:
    """Folder of a quick finished run, overcomplete_digits/version_0; for reading only."""
    return fit_once(*QUICK)

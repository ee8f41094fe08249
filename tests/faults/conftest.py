"""What every malformed input must get: one sentence and exit code 2, with nothing lost and nothing left behind."""

import hashlib
import os
import pickle
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ae_lightning.cli.main import main
from ae_lightning.errors import UserError

SMALL = [
    *("--config", "overcomplete_digits", "--model.latent_dim", "8", "--trainer.callbacks", "null"),
    *("--trainer.max_epochs", "1", "--trainer.limit_train_batches", "2"),
    *("--snapshots.schedule.count", "2", "--images.schedule.count", "1"),
]

Refused = Callable[..., str]


class Mine:
    """Code in a pickle: reading it as one would create the file `ran`."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return open, (str(self.target), "w")


class Outcome(NamedTuple):
    """What a command answered."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def environment_is_put_back() -> Iterator[None]:
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def trained(fit_once: Callable[..., Path]) -> Path:
    """Folder of a quick finished run; for reading only."""
    return fit_once(*SMALL)


@pytest.fixture
def run(tmp_path: Path, trained: Path) -> Path:
    """A copy of that run, which may be broken: run/version_0 in the current folder."""
    return shutil.copytree(trained, tmp_path / "run" / "version_0")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Be in the test's own folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def ae(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run `ae-lightning` with these arguments in the test's own folder, in this process."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: Any) -> Outcome:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return Outcome(code, *capsys.readouterr())

    return call


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Mapping[str, str | bytes]], None]:
    """Write files, by their name, into the test's own folder."""

    def put(files: Mapping[str, str | bytes]) -> None:
        for name, content in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return put


@pytest.fixture
def told() -> Callable[..., str]:
    """Call what must refuse its input with an error of ours, whose one sentence holds these facts; answers it."""

    def check(call: Callable[[], object], *facts: str) -> str:
        with pytest.raises(UserError) as caught:
            call()
        message = str(caught.value)
        assert "\n" not in message
        assert len(message) < 500
        for fact in facts:
            assert fact in message, f"{fact!r} is not in: {message}"
        return message

    return check


@pytest.fixture
def refused(ae: Callable[..., Outcome], tmp_path: Path) -> Refused:
    """Run a command that must be refused, with these words in one sentence; answers the sentence."""

    def check(arguments: list[str], *words: str) -> str:
        before = everything_below(tmp_path)
        outcome = ae(*arguments)
        assert outcome.code == 2, outcome
        message = outcome.err.strip().splitlines()[-1]
        assert message.startswith("ae-lightning: error: "), outcome.err
        assert outcome.err.count("ae-lightning: error: ") == 1
        assert "Traceback" not in outcome.err
        assert "Union subtypes" not in message, "these are the parser's own words"
        assert len(message) < 500
        for word in words:
            assert word in message, f"{word!r} is not in: {message}"
        assert everything_below(tmp_path) == before
        return message

    return check


def everything_below(folder: Path) -> dict[str, str]:
    """Hash of each file, and nothing for each folder, by their paths."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in folder.rglob("*")
    }


@pytest.fixture
def mine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mine]:
    """An object whose pickle runs code; the test fails if that happens."""
    target = tmp_path_factory.mktemp("mine") / "ran"
    yield Mine(target)
    assert not target.exists(), "code in a file was run"
    pickle.loads(pickle.dumps(Mine(target)))
    assert target.exists(), "this pickle would prove nothing"

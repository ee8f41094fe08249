"""The runs of a sweep as processes: what each needs, several at a time, stopped together, none left behind."""

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ae_lightning import safe_mode
from ae_lightning.cli.configs import PACKAGE
from ae_lightning.cli.fit.threads import SHARE
from ae_lightning.cli.main import SAFE
from ae_lightning.cli.sweep.settings import PlannedRun
from ae_lightning.errors import ConfigError, Stopped
from ae_lightning.run.config import is_run
from ae_lightning.run.place import RUN_PARENT
from ae_lightning.run.results import RESULTS_NAME
from ae_lightning.run.run import Run

STARTED, FINISHED, FAILED, INTERRUPTED = "started", "finished", "failed", "interrupted"
TRAINED = "trained"
"""Status of a run whose training is finished and whose final numbers could not be measured."""

LOG = "fit.log"
_LOCK = ".sweep.lock"
_POLL_SECONDS = 0.05
_NOTHING_LEFT = "nothing is left to train"
_OURS = re.compile(r"ae-lightning: (?:error: )?(.*)")


class Event(NamedTuple):
    """Something that happened to a run."""

    run: PlannedRun
    status: str
    seconds: float = 0.0  #: since it was started
    error: str = ""  #: of a run that is not finished: the last line of its log that says what was wrong


def finished_version(parent: Path) -> Path | None:
    """The newest run in `parent` whose numbers are there, which fit writes last."""
    return _newest(parent, RESULTS_NAME)


def newest_version(parent: Path) -> Path | None:
    """The run in `parent` that counts: the finished one, else the newest that can be continued, else the newest."""
    return finished_version(parent) or _newest(parent, "checkpoints/last.ckpt") or _newest(parent, "")


def _newest(parent: Path, file: str) -> Path | None:
    versions = [path for path in parent.glob("version_*") if path.name[8:].isdecimal() and (path / file).exists()]
    return max(versions, key=lambda path: int(path.name[8:]), default=None)


def command_for(parent: Path, run: PlannedRun) -> list[str]:
    """What is left to do for a run that is not finished: to measure it, to go on, or to begin."""
    version = _newest(parent, "checkpoints/last.ckpt")
    if version is None or not is_run(version):
        return ["fit", *run.options]
    if is_trained(version):
        return ["evaluate", str(version)]
    return ["fit", "--ckpt_path", str(version / "checkpoints" / "last.ckpt")]


def is_trained(version: Path) -> bool:
    """Whether a run's training came to its end, when its seconds are logged."""
    return is_run(version) and bool(Run(version).last_values("speed/train_seconds"))


def run_all(
    folder: Path, runs: Iterable[PlannedRun], jobs: int, lock: int, on_stop: Callable[[], None]
) -> Generator[Event, None, None]:
    """Run what is not finished, `jobs` at a time, and tell of each start and end.

    The first Ctrl-C (or SIGTERM, or a terminal that is closed) starts no more runs and is passed on to those at work,
    which save and stop; the second stops them at once, the third kills them.

    Args:
        folder: The sweep's.
        runs: Those that are not finished.
        jobs: How many at a time.
        lock: A file that the runs keep open, as `only_sweep_in` gives it.
        on_stop: Called when it is asked to stop.
    """
    waiting = deque((run, command_for(folder / run.name, run)) for run in runs)
    working: list[_Process] = []
    told = False
    with _stop_signals() as stops:
        try:
            while working or (waiting and not stops):
                while waiting and len(working) < jobs and not stops:
                    run, command = waiting.popleft()
                    working.append(_Process(folder / run.name, run, command, jobs, lock))
                    yield Event(run, STARTED)
                if stops and not told:
                    told = True
                    on_stop()
                for process in list(working):
                    process.pass_on(stops)
                    if not process.ended():
                        continue
                    working.remove(process)
                    if process.had_nothing_left() and not stops:  # killed before what a run does after its last step
                        run = process.run
                        working.append(_Process(folder / run.name, run, ["fit", *run.options], jobs, lock))
                    else:
                        yield process.outcome(bool(stops))
                time.sleep(_POLL_SECONDS)
        finally:
            for process in working:
                process.pass_on([signal.SIGINT])
            for process in working:
                process.wait()


class _Process:
    """A run at work; its log lies beside its run."""

    def __init__(self, parent: Path, run: PlannedRun, command: list[str], jobs: int, lock: int) -> None:
        self.run = run
        self.parent = parent
        self.log = parent / LOG
        self._stops = 0
        self._since = time.monotonic()
        parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            log.write(f"$ ae-lightning {shlex.join(command)}\n".encode())
            log.flush()
            self._popen = subprocess.Popen(
                [*_program(), *([SAFE] if safe_mode.is_on() else []), *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=_environment(parent, jobs),
                start_new_session=True,  # so that Ctrl-C in a terminal reaches it once, by us, and not twice
                pass_fds=[lock],
            )

    def pass_on(self, stops: list[int]) -> None:
        """Pass on the presses of Ctrl-C that it has not yet been told of."""
        while self._stops < len(stops):
            self._stops += 1
            self._popen.send_signal(signal.SIGINT if self._stops < 3 else signal.SIGKILL)

    def ended(self) -> bool:
        """Whether it is over."""
        return self._popen.poll() is not None

    def wait(self) -> None:
        """Wait until it is over, and not for long."""
        try:
            self._popen.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._popen.kill()

    def had_nothing_left(self) -> bool:
        """Whether it could not be continued because all its training was done."""
        return self._popen.returncode != 0 and _NOTHING_LEFT in self._error()

    def outcome(self, stopped: bool) -> Event:
        """How it ended; `stopped` tells that it was asked to."""
        seconds = time.monotonic() - self._since
        if finished_version(self.parent):
            return Event(self.run, FINISHED, seconds)
        if stopped:
            return Event(self.run, INTERRUPTED, seconds)
        version = newest_version(self.parent)
        if version is not None and is_trained(version):
            return Event(self.run, TRAINED, seconds, self._error())
        return Event(self.run, FAILED, seconds, self._error())

    def _error(self) -> str:
        with self.log.open("rb") as file:
            file.seek(self._log_start)
            lines = [line.strip() for line in file.read().decode(errors="replace").splitlines()[1:] if line.strip()]
        if (code := self._popen.returncode) < 0:
            return f"killed by {signal.Signals(-code).name}"
        if code == Stopped(signal.SIGTERM).code:
            return "stopped by SIGTERM"
        told = [found[1] for line in lines if (found := _OURS.fullmatch(line))]
        return (told or lines or [f"it ended with code {code} and wrote nothing"])[-1]


def _program() -> list[str]:
    """How a run is started: as a file, since `python -m` looks for modules in the current folder first.

    That folder may hold anything, such as a `yaml.py`. Where this process was itself started by `python -m`, it has
    looked there already, and a model in it can be meant.
    """
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is not None and spec.name == "ae_lightning.__main__":
        return [sys.executable, "-m", "ae_lightning"]
    return [sys.executable, str(PACKAGE / "__main__.py")]


def _environment(parent: Path, jobs: int) -> dict[str, str]:
    threads = max(1, _cores() // jobs)
    # The same for all runs of a command, so that one which goes on adds up its sums as it would have.
    own = {RUN_PARENT: str(parent), "PYTHONUNBUFFERED": "1"}
    if "OMP_NUM_THREADS" not in os.environ:
        own[SHARE] = str(threads)
    return {"OMP_NUM_THREADS": str(threads), **os.environ, **own}


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collect signals that ask to stop, instead of dying of them."""
    stops: list[int] = []
    taken: dict[int, Any] = {}
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name)
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            taken[number] = signal.signal(number, lambda received, _: stops.append(received))
    try:
        yield stops
    finally:
        for number, previous in taken.items():
            signal.signal(number, previous)


@contextlib.contextmanager
def only_sweep_in(folder: Path) -> Iterator[int]:
    """Make the folder, and keep other sweeps out of it until this one and all its runs are over.

    Raises:
        ConfigError: Another sweep is at work in it.
    """
    import fcntl

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(
                f"a sweep is at work in {folder}: wait until it and its runs are over, or name another folder with -o"
            ) from error
        yield file.fileno()

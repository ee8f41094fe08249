"""Runs that are killed at random moments, also while they write, and then go on: nothing differs, nothing is left."""

import itertools
import multiprocessing
import os
import random
import re
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ae_lightning.callbacks.snapshots import WeightSnapshots
from ae_lightning.cli.fit.trainer_setup import CheckpointFiles
from ae_lightning.cli.main import main
from ae_lightning.data.store import StoreWriter
from ae_lightning.files import remove_leftovers, replacing
from ae_lightning.run.loggers import RunTensorBoard
from ae_lightning.run.run import Run
from ae_lightning.run.tables import read_rows

FILE_EVENTS = ("open", "os.rename", "os.remove", "os.mkdir")
RUN = [
    *("--config", "overcomplete_digits", "--model.latent_dim", "16", "--trainer.callbacks", "null"),
    *("--trainer.max_epochs", "12", "--data.batch_size", "256", "--images.schedule.count", "1"),
    *("--snapshots.schedule.every", "1", "--snapshots.schedule.unit", "steps"),
]


def fit(folder: Path, checkpoint: Path | None, *more: str) -> int:
    """Train in a folder, from the start with more options, or from a checkpoint."""
    if checkpoint is None:
        return main(["fit", *RUN, *more, "--trainer.default_root_dir", str(folder)])
    return main(["fit", "--ckpt_path", str(checkpoint)])


def quietly(folder: Path, checkpoint: Path | None, *more: str) -> None:
    """The same in a process of its own."""
    torch.set_num_threads(1)
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    os._exit(fit(folder, checkpoint, *more))


def killed_at(moment: int, folder: Path, checkpoint: Path | None, *more: str) -> bool:
    """Train in a process that is killed when so many files were opened or renamed; answers whether it had not ended."""

    def work() -> None:
        count = iter(range(moment))

        def kills(event: str, arguments: tuple[Any, ...]) -> None:
            if event in FILE_EVENTS and str(folder) in str(arguments[0]) and next(count, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(kills)
        quietly(folder, checkpoint, *more)

    return ended(work) == -signal.SIGKILL


def ended(work: Callable[[], None]) -> int | None:
    """Exit code of a process that does this."""
    # Forked, so that the libraries need not be imported again each time.
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join()
    return process.exitcode


def killed_while_it(calls: tuple[type, str], folder: Path) -> int | None:
    """Train in a process that dies amid what a method of that name writes, at its second call; answers the exit code.

    The kernel kills it at the first byte over the largest size of a file that it may write.
    """

    def work() -> None:
        owner, name = calls
        write, count = getattr(owner, name), iter(range(100))

        def dies(self: Any, *args: Any, **options: Any) -> None:
            if next(count) == 1:
                signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
                resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
            write(self, *args, **options)

        setattr(owner, name, dies)
        RunTensorBoard.log_metrics = lambda *_, **__: None  # its thread writes whenever it likes
        quietly(folder, None)

    return ended(work)


def killed_behind_last(folder: Path, checkpoint: Path | None, *more: str) -> int | None:
    """Train in a process that is killed as soon as `last.ckpt` is in place; answers the exit code."""

    def work() -> None:
        save = CheckpointFiles.save_checkpoint

        def dies(files: CheckpointFiles, content: dict[str, Any], path: str | Path, **options: Any) -> None:
            save(files, content, path, **options)
            if Path(path).name == "last.ckpt":
                os.kill(os.getpid(), signal.SIGKILL)

        CheckpointFiles.save_checkpoint = dies  # type: ignore[method-assign]
        quietly(folder, checkpoint, *more)

    return ended(work)


def rows_of(run: Path) -> list[dict[str, str]]:
    """Rows of a run's table, without those of speed."""
    rows = ({name: cell for name, cell in row.items() if "speed" not in name} for row in read_rows(run / "metrics.csv"))
    return [row for row in rows if any(cell for name, cell in row.items() if name not in ("step", "epoch"))]


def events_of(run: Path) -> dict[str, list[tuple[int, float]]]:
    """Steps and values of each of a run's curves in TensorBoard, without those of speed."""
    events = EventAccumulator(str(run)).Reload()
    tags = [tag for tag in events.Tags()["scalars"] if not tag.startswith(("speed/", "hp_metric"))]
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in tags}


def until_the_next_second() -> None:
    """TensorBoard reads a run's files in the order of their names, which have whole seconds before the process."""
    time.sleep(1 - time.time() % 1)


def newest(folder: Path) -> Path | None:
    """The last checkpoint of the newest run that has one."""
    found = sorted(
        folder.glob("lightning_logs/*/version_*/checkpoints/last.ckpt"), key=lambda path: path.stat().st_mtime
    )
    return found[-1] if found else None


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("wanted", [5, pytest.param(20, marks=pytest.mark.slow)])
def test_a_run_that_is_killed_again_and_again_ends_as_one_that_was_not(wanted: int, tmp_path: Path) -> None:
    assert fit(tmp_path / "whole", None) == 0
    whole = Run.load(next((tmp_path / "whole").glob("lightning_logs/*/version_*")))
    folders = (tmp_path / f"killed_{number}" for number in itertools.count())
    moments, folder, kills = random.Random(wanted), next(folders), 0
    while kills < wanted:
        checkpoint = newest(folder)
        # The first one is let on until it has written a checkpoint.
        moment = moments.randrange(5, 100) + (100 if checkpoint is None else 0)
        kills += killed_at(moment, folder, checkpoint)
        if checkpoint is not None and torch.load(checkpoint, weights_only=True)["global_step"] >= max(whole.snapshots):
            folder = next(folders)  # it came to its end meanwhile: the next run is killed
    for root in [path for path in tmp_path.glob("killed*") if newest(path)]:
        last = newest(root)
        assert last is not None
        if torch.load(last, weights_only=True)["global_step"] < max(whole.snapshots):
            assert fit(root, last) == 0
        check_the_same(Run.load(last.parents[1]), whole)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_run_on_a_store_that_is_killed_at_file_events_ends_as_one_that_was_not(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "store", {}, {"h": 64}, "float16", 1024) as writer:
        number = torch.arange(6000)
        writer.add({"h": torch.randn(6000, 64)}, number // 8, number % 8)
        writer.finish(model={}, data={}, samples=750)
    data = [
        *("--data", "ActivationsDataModule", "--data.root", str(tmp_path / "store"), "--data.batch_size", "500"),
        *("--data.memory", "300kB", "--data.window", "1024", "--trainer.max_epochs", "3"),
    ]
    assert fit(tmp_path / "whole", None, *data) == 0
    whole = Run.load(next((tmp_path / "whole").glob("lightning_logs/*/version_*")))
    last, folder = None, tmp_path / "killed"
    for moment in (200, 130, 60):  # the first epoch ends behind 166 of 406
        killed_at(moment, folder, last, *data)
        last = newest(folder)
    assert last is not None
    if torch.load(last, weights_only=True)["global_step"] < max(whole.snapshots):
        assert fit(folder, last) == 0
    check_the_same(Run.load(last.parents[1]), whole)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_no_row_is_lost_by_a_kill_right_behind_the_checkpoint_that_claims_it(tmp_path: Path) -> None:
    fewer = ["--trainer.max_epochs", "3", "--trainer.log_every_n_steps", "2"]
    assert fit(tmp_path / "whole", None, *fewer) == 0
    killed = tmp_path / "killed"
    assert killed_behind_last(killed, None, *fewer) == -signal.SIGKILL
    last = newest(killed)
    assert last is not None
    assert [row["step"] for row in rows_of(last.parents[1]) if row["train/loss_epoch"]] == ["6"]
    until_the_next_second()
    assert killed_behind_last(killed, last) == -signal.SIGKILL
    until_the_next_second()
    assert fit(killed, last) == 0
    whole = next((tmp_path / "whole").glob("lightning_logs/*/version_*"))
    assert [row["step"] for row in rows_of(whole) if row["train/loss_epoch"]] == ["6", "12", "18"]
    assert rows_of(last.parents[1]) == rows_of(whole)
    assert events_of(last.parents[1]) == events_of(whole)


def check_the_same(run: Run, whole: Run) -> None:
    """The same weights at the end and at each snapshot, and no half of a file."""
    ended, wanted = (torch.load(one.folder / "checkpoints" / "last.ckpt", weights_only=True) for one in (run, whole))
    assert ended["global_step"] == wanted["global_step"]
    for name, weight in wanted["state_dict"].items():
        assert torch.equal(ended["state_dict"][name], weight), name
    assert list(run.snapshots) == list(whole.snapshots)
    for step, snapshot in whole.snapshots.items():
        assert all(torch.equal(run.snapshots[step][name], values) for name, values in snapshot.items()), step
    names = {path.name for path in (run.folder / "snapshots").iterdir()}
    assert names == {"index.json", *(entry["file"] for entry in run.snapshots.index)}
    assert not list(run.folder.rglob("*.tmp"))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize(
    ("calls", "place"),
    [
        ((WeightSnapshots, "_take"), "snapshots/step_00000001.safetensors"),
        ((CheckpointFiles, "save_checkpoint"), "checkpoints/last.ckpt"),
    ],
    ids=["snapshot", "checkpoint"],
)
def test_half_a_file_has_a_name_by_which_it_is_known(calls: tuple[type, str], place: str, tmp_path: Path) -> None:
    assert killed_while_it(calls, tmp_path) == -signal.SIGXFSZ
    run = next(tmp_path.glob("lightning_logs/*/version_*"))
    files = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    folder, name = place.split("/")
    halves = {file for file in files if re.fullmatch(rf"{folder}/\.{re.escape(name)}\.\d+\.tmp", file)}
    assert len(halves) == 1
    assert place not in files
    remove_leftovers(run)
    assert {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()} == files - halves
    hidden = [file for file in files - halves if Path(file).name.startswith(".")]
    assert not hidden, "these are of a name that nobody knows"


def test_a_checkpoint_appears_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "checkpoints" / "last.ckpt"
    files = CheckpointFiles()
    files.save_checkpoint({"step": 1}, path)
    write = Path.write_bytes

    def break_off(file: Path, content: bytes) -> None:
        assert file.parent == path.parent, "it is written beside its place, on the same disk"
        write(file, content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", break_off)
    with pytest.raises(OSError, match="No space left on device") as caught:
        files.save_checkpoint({"step": 2}, path)
    assert caught.value.filename == str(path)
    assert torch.load(path, weights_only=True) == {"step": 1}
    assert [child.name for child in path.parent.iterdir()] == ["last.ckpt"]


def test_what_a_killed_process_left_goes_when_its_run_goes_on(tmp_path: Path, ae: Callable[..., Any]) -> None:
    assert ae("fit", *RUN, "--trainer.max_epochs", "1").code == 0
    run = next(tmp_path.glob("lightning_logs/*/version_*"))
    with replacing(run / "snapshots" / "step_00000099.safetensors") as temporary:
        temporary.write_bytes(b"half")
        left = temporary.with_name(temporary.name.replace(str(os.getpid()), "1234"))
        left.write_bytes(b"half")
    kept = run / ".mine.tmp"
    kept.write_bytes(b"of somebody else")
    assert ae("fit", "--ckpt_path", run / "checkpoints" / "last.ckpt", "--trainer.max_epochs", "2").code == 0
    assert not left.exists()
    assert kept.exists()

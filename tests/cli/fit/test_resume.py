"""A run that was interrupted ends bit for bit as one that was not."""

import csv
import hashlib
import shlex
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from ae_lightning.cli.command_line import CommandLine
from ae_lightning.cli.configs import packaged
from ae_lightning.cli.fit.resume import with_run_config
from ae_lightning.cli.main import main
from ae_lightning.models.overcomplete import OvercompleteAutoencoder
from ae_lightning.run.run import Run
from ae_lightning.yaml_file import first_comment

# 1,293 training images in batches of 256: six steps an epoch, 24 in all.
OPTIONS = [
    *("--config", "overcomplete_digits", "--model.latent_dim", "24", "--data.batch_size", "256"),
    *("--trainer.max_epochs", "4", "--trainer.log_every_n_steps", "3", "--snapshots.schedule.count", "7"),
    *("--images.schedule.count", "2"),
]
WITHOUT_PROBE = [*OPTIONS, "--trainer.callbacks", "null"]
STEPS = 24


@pytest.fixture(scope="module")
def uninterrupted(fit_once: Callable[..., Path]) -> Path:
    """Folder of a run of four epochs, with the probe; for reading only."""
    return fit_once(*OPTIONS)


@pytest.fixture
def ctrl_c_during(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Press Ctrl-C while the step of this number is computed."""

    def arm(step: int) -> None:
        train = OvercompleteAutoencoder.training_step

        def interrupted(self: OvercompleteAutoencoder, batch: Any, batch_idx: int) -> Any:
            if self.trainer.global_step == step:
                monkeypatch.setattr(OvercompleteAutoencoder, "training_step", train)
                signal.raise_signal(signal.SIGINT)
            return train(self, batch, batch_idx)

        monkeypatch.setattr(OvercompleteAutoencoder, "training_step", interrupted)

    return arm


def the_run(root: Path, version: int = 0) -> Path:
    return root / "lightning_logs" / "overcomplete_digits" / f"version_{version}"


def table(run: Path) -> dict[tuple[int, str], str]:
    """What was logged, as text by step and metric, but for the speed; nothing may be logged twice."""
    found: dict[tuple[int, str], str] = {}
    with (run / "metrics.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            for name, value in row.items():
                if value and name not in ("step", "epoch") and not name.startswith("speed/"):
                    key = (int(row["step"]), name)
                    assert key not in found, f"{key} was logged twice"
                    found[key] = value
    return found


def snapshots(run: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (run / "snapshots").iterdir()}


def assert_same(one: Any, other: Any, where: str = "") -> None:
    """Equal bit for bit, tensors included, but for times and places."""
    assert type(one) is type(other), where
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_same(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), where
        for i, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_same(a, b, f"{where}[{i}]")
    else:
        assert one == other, where


def assert_same_checkpoints(one: Path, other: Path) -> None:
    for name in ("best.ckpt", "last.ckpt"):
        loaded = [torch.load(run / "checkpoints" / name, weights_only=True) for run in (one, other)]
        for part in ("state_dict", "optimizer_states", "global_step", "epoch", "autoencoder"):
            assert_same(loaded[0][part], loaded[1][part], f"{name}: {part}")


def command_in(stderr: str) -> list[str]:
    """Arguments of the command that an interrupted run printed."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip().startswith("ae-lightning fit")]
    assert len(lines) == 1, stderr
    return shlex.split(lines[0])[1:]


@pytest.mark.parametrize(
    "step",
    [
        pytest.param(9, id="mid-epoch"),
        pytest.param(11, id="last of an epoch"),
        pytest.param(12, id="first of an epoch", marks=pytest.mark.slow),
        pytest.param(23, id="last", marks=pytest.mark.slow),
    ],
)
def test_ctrl_c_and_the_command_it_prints_lose_nothing(
    step: int, ae: Callable[..., Any], ctrl_c_during: Callable[[int], None], uninterrupted: Path, tmp_path: Path
) -> None:
    ctrl_c_during(step)
    stopped = ae("fit", *OPTIONS)
    run = the_run(tmp_path)
    if step == STEPS - 1:  # nothing was left to interrupt
        assert stopped.code in (0, 130)
    else:
        assert stopped.code == 130
        assert "Traceback" not in stopped.err
        assert f"interrupted at step {torch.load(run / 'checkpoints' / 'last.ckpt')['global_step']}; saved" in (
            stopped.err
        )
    if stopped.code == 130:
        assert ae(*command_in(stopped.err)).code == 0

    assert table(run) == table(uninterrupted)
    assert snapshots(run) == snapshots(uninterrupted)
    assert_same_checkpoints(run, uninterrupted)
    assert [path.name for path in run.parent.iterdir()] == ["version_0"]
    assert not list(run.glob("config.*.yaml"))


def test_ctrl_c_before_anything_was_saved(ae: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(self: OvercompleteAutoencoder) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(OvercompleteAutoencoder, "configure_optimizers", interrupt)
    code, _, err = ae("fit", *WITHOUT_PROBE)
    assert code == 130
    assert "interrupted at step 0; no checkpoint had been saved yet" in err


def test_a_run_stopped_by_max_steps_goes_on(ae: Callable[..., Any], uninterrupted: Path, tmp_path: Path) -> None:
    assert ae("fit", *OPTIONS, "--trainer.max_steps", "9").code == 0
    run = the_run(tmp_path)
    last = run / "checkpoints" / "last.ckpt"
    assert torch.load(last, weights_only=True)["global_step"] == 9

    assert ae("fit", "--ckpt_path", last, "--trainer.max_steps", "-1").code == 0
    assert_same_checkpoints(run, uninterrupted)
    values, expected = table(run), table(uninterrupted)
    for name in ("train/loss", "val/loss", "train/loss_epoch", "optim/lr"):
        # Where it stopped, the first part also logged the mean of its unfinished epoch.
        series = {key: value for key, value in values.items() if key[1] == name and key[0] != 9}
        wanted = {key: value for key, value in expected.items() if key[1] == name and key[0] != 9}
        if name == "val/loss":  # the moments of snapshots, at which there is one too, follow from the length asked for
            assert {step for step, _ in wanted if step % 6 == 0} <= {step for step, _ in series}
            shared = series.keys() & wanted.keys()
            series, wanted = ({key: rows[key] for key in shared} for rows in (series, wanted))
        assert series == wanted

    # What it was for is that of the config that the first part was started with.
    assert Run.load(run).purpose == first_comment(packaged()["overcomplete_digits"])
    # Other settings than before: those of the first part are kept beside them.
    assert yaml.safe_load((run / "config.yaml").read_text())["trainer"]["max_steps"] == -1
    assert yaml.safe_load((run / "config.1.yaml").read_text())["trainer"]["max_steps"] == 9
    assert not (run / "config.2.yaml").exists()


def test_a_longer_run_goes_on_in_its_folder(ae: Callable[..., Any], tmp_path: Path) -> None:
    assert ae("fit", *WITHOUT_PROBE, "--trainer.max_epochs", "2").code == 0
    run = the_run(tmp_path)
    outcome = ae("fit", "--ckpt_path", run / "checkpoints" / "last.ckpt", "--trainer.max_epochs", "4")
    assert outcome.code == 0
    assert ae("fit", *WITHOUT_PROBE).code == 0
    assert_same_checkpoints(run, the_run(tmp_path, 1))


def test_the_best_checkpoint_starts_a_folder_of_its_own(
    ae: Callable[..., Any], uninterrupted: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(uninterrupted, the_run(tmp_path))
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    best = run / "checkpoints" / "best.ckpt"
    outcome = ae("fit", "--ckpt_path", best, "--trainer.max_epochs", "5", "--trainer.default_root_dir", ".")
    assert outcome.code == 0
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    new = the_run(tmp_path, 1)
    assert torch.load(new / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 30
    assert min(step for step, _ in table(new)) >= 24
    assert str(new.relative_to(tmp_path)) in outcome.out


def test_a_run_that_is_killed_in_the_middle_goes_on_from_its_last_epoch(
    ae: Callable[..., Any], uninterrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = OvercompleteAutoencoder.training_step

    def die(self: OvercompleteAutoencoder, batch: Any, batch_idx: int) -> Any:
        if self.trainer.global_step == 16:
            raise RuntimeError("killed")
        return train(self, batch, batch_idx)

    monkeypatch.setattr(OvercompleteAutoencoder, "training_step", die)
    with pytest.raises(RuntimeError, match="killed"):
        ae("fit", *OPTIONS)
    monkeypatch.setattr(OvercompleteAutoencoder, "training_step", train)
    run = the_run(tmp_path)
    last = run / "checkpoints" / "last.ckpt"
    assert torch.load(last, weights_only=True)["global_step"] == 12
    assert max(step for step, _ in table(run)) == 15  # what comes after the checkpoint is forgotten, and done again

    assert ae("fit", "--ckpt_path", last).code == 0
    assert table(run) == table(uninterrupted)
    assert snapshots(run) == snapshots(uninterrupted)
    assert_same_checkpoints(run, uninterrupted)


def test_a_refused_continuation_leaves_no_folder_and_another_checkpoint_its_own_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["--trainer.max_epochs", "1", "--trainer.callbacks", "null", "--experiment", "mine"]
    assert main(["fit", "--config", "overcomplete_digits", *options]) == 0
    run = tmp_path / "lightning_logs" / "mine" / "version_0"
    assert main(["fit", "--ckpt_path", str(run / "checkpoints" / "best.ckpt")]) == 2
    assert "nothing is left to train" in capsys.readouterr().err
    assert [folder.name for folder in run.parent.iterdir()] == ["version_0"]

    before = (run / "metrics.json").read_text()
    assert main(["evaluate", str(run / "checkpoints" / "last.ckpt")]) == 0
    assert (run / "metrics.json").read_text() == before
    assert '"checkpoint": "last.ckpt"' in (run / "metrics.last.json").read_text()


def test_of_two_checkpoints_the_last_gives_settings_as_well_as_weights(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "checkpoints").mkdir(parents=True)
        (tmp_path / name / "config.yaml").write_text("{}")
    first, second = (str(tmp_path / name / "checkpoints" / "last.ckpt") for name in ("a", "b"))
    for arguments in (["--ckpt_path", first, "--ckpt_path", second], [f"--ckpt_path={first}", f"--ckpt_path={second}"]):
        line = with_run_config(CommandLine(["fit", *arguments]))
        assert line.config_files == [tmp_path / "b" / "config.yaml"]
        assert line.last("--ckpt_path") == second

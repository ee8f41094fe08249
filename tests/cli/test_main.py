"""The entry point: help, version, exit codes, and what a command prints."""

import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ae_lightning import __version__
from ae_lightning.cli.main import COMMANDS
from ae_lightning.errors import Notice

LIGHTNINGS_OWN = ("fit", "validate", "test", "predict")


def in_a_process(*arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "ae_lightning", *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("typed", "line"), [("--version", f"ae-lightning {__version__}"), ("--help", "usage: ae-lightning COMMAND ...")]
)
def test_what_needs_no_model_prints_at_once_and_imports_no_torch(typed: str, line: str, tmp_path: Path) -> None:
    code = (
        f"import sys; from ae_lightning.cli.main import main; code = main(['{typed}']);"
        "heavy = {'torch', 'lightning', 'sklearn', 'numpy'} & sys.modules.keys(); print(code, sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    first, *_, last = done.stdout.splitlines()
    assert (first, last) == (line, "0 []")


def test_a_reader_that_has_read_enough_is_no_error(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ae_lightning", "configs"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_the_package_runs_as_a_module_and_a_mistake_shows_no_traceback(tmp_path: Path) -> None:
    done = in_a_process("configs", "--frobnicate", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("ae-lightning: error: there is no option --frobnicate")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    done = in_a_process("configs", "--frobnicate", "--debug", cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "ConfigError: there is no option --frobnicate" in done.stderr


@pytest.mark.parametrize("typed", ["--help", "-h"])
def test_help_lists_every_command_with_a_whole_line(typed: str, ae: Callable[..., Any]) -> None:
    code, out, _ = ae(typed)
    assert code == 0
    for command in (*LIGHTNINGS_OWN, *COMMANDS):
        assert re.search(rf"(?m)^  {command} +[A-Z].*\.$", out), command
    for option in ("--help", "--debug", "--safe", "--version"):
        assert option in out
    assert max(map(len, out.splitlines())) <= 100


def test_help_of_fit_names_its_options(ae: Callable[..., Any]) -> None:
    code, out, _ = ae("fit", "--help")
    assert code == 0
    for option in (
        *("--config", "--model", "--data", "--trainer.max_epochs", "--experiment", "--ckpt_path", "--seed_everything"),
        *("--checkpoint.monitor", "--snapshots.schedule", "--images.samples"),
    ):
        assert option in out


def test_help_of_a_class_names_its_arguments(ae: Callable[..., Any]) -> None:
    code, out, _ = ae("fit", "--model.help", "OvercompleteAutoencoder")
    assert code == 0
    assert "--model.latent_dim" in out
    assert "Width of the hidden layer" in out
    assert "--model.reconstruction_loss {mse,bce,mae,mse_sum,fvu}" in out


@pytest.mark.parametrize(
    ("command", "words"),
    [("evaluate", ["RUN_OR_CHECKPOINT", "--json", "mean image", "PCA", "metrics.json"]), ("configs", ["--config"])],
)
def test_help_of_the_companions(command: str, words: list[str], ae: Callable[..., Any]) -> None:
    code, out, _ = ae(command, "--help")
    assert code == 0
    for word in words:
        assert word in " ".join(out.split())


def test_fit_prints_the_model_the_run_and_the_numbers(ae: Callable[..., Any], quick: list[str], tmp_path: Path) -> None:
    code, out, err = ae("fit", *quick)
    assert code == 0
    assert err == ""
    for words in (
        *("OvercompleteAutoencoder", "1×8×8 → 16", "2,128 parameters", "1,293 train, 144 validation, 360 test"),
        *("this autoencoder", "mean image", "PCA, 16 components", "effective rank"),
        "lightning_logs/overcomplete_digits/version_0",
    ):
        assert words in out
    run = tmp_path / "lightning_logs" / "overcomplete_digits" / "version_0"
    found = {path.name for path in run.iterdir()}
    assert {"config.yaml", "checkpoints", "snapshots", "metrics.csv", "metrics.json"} <= found
    assert "hparams.yaml" not in found
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert not [path for path in run.rglob("*") if path.name.endswith(".tmp")]


def test_fast_dev_run_leaves_nothing(ae: Callable[..., Any], quick: list[str], tmp_path: Path) -> None:
    assert ae("fit", *quick, "--trainer.fast_dev_run", "true").code == 0
    assert not list(tmp_path.rglob("version_*"))


def test_the_loggers_can_be_switched_off(ae: Callable[..., Any], quick: list[str], tmp_path: Path) -> None:
    assert ae("fit", *quick, "--trainer.logger", "false").code == 0
    assert not (tmp_path / "lightning_logs" / "overcomplete_digits").exists()


@pytest.mark.parametrize(
    ("options", "name"),
    [([], "overcomplete_digits"), (["--experiment", "mine"], "mine")],
    ids=["the config's name", "a name of one's own"],
)
def test_the_experiment_names_the_folder(
    options: list[str], name: str, ae: Callable[..., Any], quick: list[str], tmp_path: Path
) -> None:
    for _ in range(2):
        assert ae("fit", *quick, *options).code == 0
    assert [path.name for path in (tmp_path / "lightning_logs").iterdir()] == [name]
    assert sorted(path.name for path in (tmp_path / "lightning_logs" / name).iterdir()) == ["version_0", "version_1"]


def test_without_a_config_the_model_names_the_folder(ae: Callable[..., Any], quick: list[str], tmp_path: Path) -> None:
    assert ae("fit", "--model", "OvercompleteAutoencoder", *quick[2:]).code == 0
    assert (tmp_path / "lightning_logs" / "OvercompleteAutoencoder" / "version_0" / "config.yaml").is_file()


@pytest.mark.parametrize("command", ["validate", "test"])
def test_measuring_a_checkpoint_prints_its_loss_and_leaves_nothing(
    command: str, ae: Callable[..., Any], trained: Path, tmp_path: Path
) -> None:
    code, out, err = ae(command, "--ckpt_path", trained / "checkpoints" / "best.ckpt")
    assert code == 0
    assert ("val/loss" if command == "validate" else "test/loss") in out
    assert "untrained" not in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["validate", "test"])
def test_measuring_an_untrained_model_is_remarked_on(command: str, ae: Callable[..., Any], quick: list[str]) -> None:
    code, _, err = ae(command, "--config", "overcomplete_digits")
    assert code == 0
    assert f"no --ckpt_path was given: {command} measures an untrained model" in err


# Eight epochs of layers, of which the trainer lets one.
CUT_SHORT = ("fit", "--model", "stacked", "--trainer", "debug")


def test_a_notice_is_a_sentence_without_the_place_in_the_code(ae: Callable[..., Any]) -> None:
    with pytest.warns(Notice, match=r"--trainer\.max_epochs is 1.*--model\.pretrain_epochs") as caught:
        assert ae(*CUT_SHORT).code == 0
    (notice,) = [warning for warning in caught if issubclass(warning.category, Notice)]
    shown = warnings.formatwarning(notice.message, notice.category, notice.filename, notice.lineno)
    assert shown == f"ae-lightning: {notice.message}\n"


@pytest.mark.slow
def test_a_process_prints_a_notice_and_no_advice_of_lightning_beside_it(tmp_path: Path) -> None:
    done = in_a_process(*CUT_SHORT, cwd=tmp_path)
    assert done.returncode == 0
    assert done.stderr.startswith("ae-lightning: pre-training takes 8 epochs")
    assert done.stderr.count("\n") == 1

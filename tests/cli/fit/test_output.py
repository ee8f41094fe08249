"""What a fit prints: each line once, where its folder lies or why there is none, and what came out."""

import logging
import re
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from ae_lightning.cli.evaluation_printing import print_model
from ae_lightning.cli.fit.trainer_setup import quiet_lightning
from ae_lightning.errors import Notice

SEARCHING = "Finding best initial lr"  # the bar of the search, which is drawn again and again


def test_each_line_is_printed_once(ae: Callable[..., Any], quick: list[str], caplog: pytest.LogCaptureFixture) -> None:
    """With a search for a rate that finds none, which Lightning and we would both tell, Lightning twice."""
    code, out, err = ae("fit", *quick, "--trainer.callbacks", "LearningRateFinder")
    assert code == 0
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    lines = [line.strip() for line in [*out.splitlines(), *err.splitlines(), *told] if SEARCHING not in line]
    counts = Counter(line for line in lines if re.search(r"\w", line))
    assert [line for line, count in counts.items() if count > 1] == []
    assert sum("learning rate" in line for line in counts) == 1
    assert sum(line.startswith("OvercompleteAutoencoder 1×8×8 → 16") for line in counts) == 1
    folders = [line for line in counts if "lightning_logs/overcomplete_digits/version_0" in line]
    assert folders == [
        "run: lightning_logs/overcomplete_digits/version_0",
        "a page on it:    ae-lightning report lightning_logs/overcomplete_digits/version_0",
        "walk through it: ae-lightning explore lightning_logs/overcomplete_digits/version_0",
    ]


def test_the_next_commands_can_be_typed_as_they_are_printed(ae: Callable[..., Any], quick: list[str]) -> None:
    """Of a packaged experiment by its name; the file that the last one writes trains again."""
    commands = dict(re.findall(r"^(.+?): +ae-lightning (.+)$", ae("fit", *quick).out, re.MULTILINE))
    assert commands.keys() == {"a page on it", "walk through it", "change settings"}
    assert ae(*commands["walk through it"].split(), "--samples", "4").code == 0
    command, _, file = commands["change settings"].partition(" > ")
    assert command == "fit --config overcomplete_digits --print_config"
    Path(file).write_text(ae(*command.split()).out)
    code, out, _ = ae("fit", "--config", file, *quick[2:])
    assert code == 0
    assert "> mine.yaml" not in out  # which would empty it before it is read


def test_only_commands_that_would_work_are_named(ae: Callable[..., Any], quick: list[str]) -> None:
    """A convolutional code has no units to walk through; without a config there is none to print."""
    code, out, _ = ae("fit", "--model", "ConvAutoencoder", *quick[4:])
    assert code == 0
    assert re.findall(r"ae-lightning (\w+)", out) == ["report"]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--trainer.fast_dev_run", "1"], "fast_dev_run keeps nothing"),
        (["--trainer.logger", "false"], "--trainer.logger is false"),
        (["--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", "mine"], "loggers of your own are in use"),
    ],
)
def test_why_there_is_no_folder(ae: Callable[..., Any], quick: list[str], options: list[str], why: str) -> None:
    code, out, _ = ae("fit", *quick, *options)
    assert code == 0
    assert out.splitlines()[1] == f"no run's folder: {why}"


def test_a_code_that_its_penalty_has_emptied_is_told_when_the_fit_ends(
    ae: Callable[..., Any], quick: list[str]
) -> None:
    options = [*quick[4:], "--model", "StandardSAE", "--model.latent_dim", "16", "--model.penalty_weight", "1000"]
    code, out, _ = ae("fit", *options)
    assert code == 0
    out = " ".join(out.split())
    assert "The autoencoder is no better than always answering the mean of the training samples" in out
    assert "Lower --model.penalty_weight, which is 1000: l1 is a sum over latents" in out


@pytest.mark.parametrize(
    ("ratio", "width"),
    [
        (1 / 1.3, "overcomplete (1.3 × the input)"),
        (0.125, "overcomplete (8 × the input)"),
        (39.2, "undercomplete (1/39.2 of the input)"),
        (1.0, "as wide as the input"),
    ],
)
def test_how_wide_a_code_is(ratio: float, width: str, capsys: pytest.CaptureFixture[str]) -> None:
    model = {"class": "Mine", "input_shape": [64], "latent_shape": [8], "parameters": 1234, "instances": None}
    print_model(model | {"compression_ratio": ratio})
    assert capsys.readouterr().out == f"Mine 64 → 8, {width}, 1,234 parameters\n"


@pytest.mark.parametrize(("rank", "printed"), [(0, "ae-lightning: it goes on\n"), (1, "")])
def test_what_all_processes_have_met_is_told_by_the_first(
    rank: int, printed: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    quiet_lightning()
    monkeypatch.setattr(rank_zero_only, "rank", rank)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        monkeypatch.setattr(warnings, "showwarning", show_as_python_does)
        warnings.warn("it goes on", Notice, stacklevel=1)
    assert capsys.readouterr().err == printed


def show_as_python_does(message: Any, category: Any, *where: Any, **more: Any) -> None:
    """Pytest would keep warnings for its own summary."""
    import sys

    sys.stderr.write(warnings.formatwarning(message, category, *where[:2]))


def test_an_error_of_another_process_than_the_first_names_it(
    ae: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "0")
    assert ae("report", "nowhere").err.startswith("ae-lightning: error: ")
    monkeypatch.setenv("RANK", "1")
    assert ae("report", "nowhere").err.startswith("ae-lightning: error in process 1: ")

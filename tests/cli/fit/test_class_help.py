"""`--model.help` and its like without a class: a list of those that there are."""

from collections.abc import Callable
from typing import Any

import pytest

from ae_lightning.cli.command_line import CommandLine
from ae_lightning.cli.configs import packaged
from ae_lightning.cli.fit.class_help import class_list
from ae_lightning.models import variants


def test_help_without_a_class_lists_the_variants_with_what_they_are(ae: Callable[..., Any]) -> None:
    code, out, err = ae("fit", "--model.help")
    assert (code, err) == (0, "")
    first, *rows, parts = out.splitlines()
    assert "`--model.help CLASS`" in first
    listed = {name: what.strip() for name, _, what in (row.strip().partition(" ") for row in rows)}
    assert variants().keys() <= listed.keys()  # those of other tests may be there too
    assert listed["StandardSAE"].startswith("z = ReLU(W_enc (x − b_dec) + b_enc)")
    assert set(parts.split(": ")[1].split(", ")) == {
        name.removeprefix("model/") for name in packaged() if name.startswith("model/")
    }


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        (["--data.help"], "ArraysDataModule"),
        (["--model", "StandardSAE", "--model.optimizer.help"], "AdamW"),
        (["--model.lr_scheduler.help"], "OneCycleLR"),
        (["--trainer.callbacks.help"], "DecoderNorm"),
        (["--snapshots.help", "--data.help"], "DigitsDataModule"),
    ],
)
def test_what_else_takes_a_class_is_listed_too(typed: list[str], name: str) -> None:
    text = class_list(CommandLine(["fit", *typed]))
    assert text is not None
    assert any(row.split()[0] == name for row in text.splitlines())


@pytest.mark.parametrize("typed", [["--model.help", "StandardSAE"], ["--model.help=StandardSAE"], ["--help"], []])
def test_with_a_class_it_is_explained_as_ever(typed: list[str]) -> None:
    assert class_list(CommandLine(["fit", *typed])) is None

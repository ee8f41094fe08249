"""`--model.help` and its like without a class: a list of those that there are."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from ae_lightning.cli.command_line import CommandLine
from ae_lightning.cli.configs import packaged
from ae_lightning.cli.fit.class_help import class_list
from ae_lightning.models import variants

SPARSE = {
    "TopKSAE": ["--model.k", "8"],
    "BatchTopKSAE": ["--model.k.start", "64", "--model.k.end", "16.5"],
    "MatryoshkaSAE": ["--model.k", "2.5", "--model.prefixes", "[8, 64]"],
    "JumpReLUSAE": ["--model.penalty_weight.start", "0", "--model.penalty_weight.end", "2", "--model.target_l0", "9"],
    "GatedSAE": ["--model.penalty_weight", "3"],
}


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


@pytest.mark.parametrize("name", SPARSE)
def test_every_argument_of_a_sparse_dictionary_is_explained(name: str, ae: Callable[..., Any]) -> None:
    code, out, _ = ae("fit", "--model.help", name)
    assert code == 0
    entries = re.split(r"^  (?=--model[.])", out.partition("Help for")[2], flags=re.M)[1:]
    told = {re.match(r"--model[.](\S+)", entry)[1]: " ".join(entry.split()) for entry in entries}  # type: ignore[index]
    for option, text in told.items():
        assert re.search(r"[A-Z0-9].*[.] \((required, )?type: |Show the help", text), (option, text)
        assert " see " not in text  # what is said elsewhere
    assert not told.keys() & {"dictionary", "activation", "output_activation"}
    assert ("k" in told) == (name in ("TopKSAE", "BatchTopKSAE", "MatryoshkaSAE")) != ("target_l0" in told)
    assert "a rate (lr) of 0 stands for one that follows from the number of latents" in told["optimizer"]
    assert "rises over the first twentieth of the run and falls to zero over its last fifth" in told["lr_scheduler"]


_READ_BACK = [name if "Batch" in name else pytest.param(name, marks=pytest.mark.slow) for name in SPARSE]


@pytest.mark.parametrize("name", _READ_BACK)
def test_settings_that_are_printed_are_read_back_the_same(name: str, ae: Callable[..., Any], tmp_path: Path) -> None:
    code, printed, err = ae("fit", "--model", name, "--model.latent_dim", "64", *SPARSE[name], "--print_config")
    assert (code, err) == (0, "")
    (tmp_path / "again.yaml").write_text(printed)
    assert ae("fit", "--config", tmp_path / "again.yaml", "--print_config").out == printed
    settings = yaml.safe_load(printed)["model"]["init_args"]
    option, value = SPARSE[name][0].removeprefix("--model.").partition(".")[0], SPARSE[name][1]
    given = settings[option]
    assert float(given["start"] if isinstance(given, dict) else given) == float(value)


@pytest.mark.parametrize(
    ("typed", "nearest"),
    [
        (["TopKSAE", "--model.auk_weight", "1"], "--model.auxk_weight"),
        (["JumpReLUSAE", "--model.bandwith", "1"], "--model.bandwidth"),
        (["BatchTopKSAE", "--model.k.strat", "4"], "there is no option --model.k.strat; did you mean --model.k.start?"),
        (["BatchTopKSAE", "--model.k.start", "abc"], "--model.k.start should be a number, but it is 'abc'"),
        (["GatedSAE", "--model.penalty_weight.shape", "x"], "penalty_weight.shape should be one of linear, cosine"),
        (["TopKSA"], "TopKSAE"),
    ],
)
def test_a_misspelt_option_of_a_sparse_dictionary_gets_the_nearest_name(
    typed: list[str], nearest: str, ae: Callable[..., Any]
) -> None:
    code, _, err = ae("fit", "--data", "digits", "--model", *typed)
    assert code == 2
    assert nearest in err
    assert len(err.strip().splitlines()) == 1

"""What was typed, held against argparse, which reads it after us."""

import argparse
import doctest
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ae_lightning.cli import command_line
from ae_lightning.cli.command_line import CommandLine, Option, is_file

NAMES = ("--config", "--model", "--model.latent_dim", "--ckpt_path")
VALUES = st.sampled_from(["8", "-1", "-0.5", "-.5", "a=b", "x.yaml", "[1, 2]", "", "a b"])


def of_argparse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False, exit_on_error=False)
    parser.add_argument("command")
    parser.add_argument("-c", "--config", dest="--config", action="append", default=[])
    for name in NAMES[1:]:
        parser.add_argument(name, dest=name, action="append", default=[])
    return parser.parse_args(arguments)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from(NAMES), VALUES).map(lambda pair: ["=".join(pair)]),
            st.tuples(st.sampled_from([*NAMES, "-c"]), VALUES).map(list),
            VALUES.filter(lambda value: not value.startswith(("=", "-")) and value != "").map(lambda v: [f"-c{v}"]),
        )
    )
)
def test_values_are_those_that_argparse_gives_in_their_order(options: list[list[str]]) -> None:
    arguments = ["fit", *(argument for option in options for argument in option)]
    line, truth = CommandLine(arguments), vars(of_argparse(arguments))
    assert line.command == truth["command"]
    assert {name: line.values(name) for name in NAMES} == {name: truth[name] for name in NAMES}
    assert line.arguments == arguments


def test_the_example_says_what_it_gives() -> None:
    failed, tried = doctest.testmod(command_line)
    assert (failed, tried > 0) == (0, True)


def test_of_two_values_the_last_counts() -> None:
    line = CommandLine(["fit", "--ckpt_path", "a.ckpt", "--ckpt_path=b.ckpt", "-c", "x", "--config", "y", "-cz"])
    assert line.last("--ckpt_path") == "b.ckpt"
    assert line.values("--config") == ["x", "y", "z"]
    assert line.last("--model") is None


def test_a_flag_takes_no_option_for_its_value() -> None:
    line = CommandLine(["fit", "--print_config", "--model", "deep", "-h"])
    assert [option.name for option in line.options] == ["", "--print_config", "--model", "--help"]
    assert line.has("--print_config")
    assert line.values("--print_config") == []
    assert not line.has("--data")


def test_the_command_may_come_after_an_option() -> None:
    assert CommandLine(["--seed_everything", "3", "test"]).command == "test"
    assert CommandLine([]).command == CommandLine(["--help"]).command == ""


def test_a_value_is_replaced_in_the_spelling_of_its_option() -> None:
    line = CommandLine(["fit", "--model", "a", "--model=a", "-ca", "-c=a", "-c", "a"])
    changed = line.rewritten(lambda option: [option.with_value("b=1")])
    assert changed.arguments == ["b=1", "--model", "b=1", "--model=b=1", "-cb=1", "-c=b=1", "-c", "b=1"]


def test_options_are_put_in_and_split() -> None:
    line = CommandLine(["fit", "--config", "a", "--model", "b", "--config=c", "--data", "d"])
    assert line.with_first("--x", "1").arguments[:4] == ["fit", "--x", "1", "--config"]
    assert line.split_after("--config") == (line.arguments[:6], ["--data", "d"])
    assert line.split_after("--nothing") == ([], line.arguments)
    assert line.options[1] == Option("--config", "a", ("--config", "a"))


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "", "missing.yaml"])
def test_what_is_no_path_is_no_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert not is_file(Path(name))
    (tmp_path / "there.yaml").touch()
    assert is_file(Path("there.yaml"))

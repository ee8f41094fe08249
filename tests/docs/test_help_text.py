"""Help that argparse and jsonargparse print, taken apart."""

import argparse

import pytest
from jsonargparse import ArgumentParser
from site_builder.help_text import Option, help_of, read_help
from site_builder.markup import code, paragraphs, prose


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100000")


def test_help_of_argparse() -> None:
    parser = argparse.ArgumentParser(
        "bake",
        description="Bake a cake.\nSlowly.\n\n  bake apple -n 2",
        epilog="example:\n  bake apple",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("cake", metavar="CAKE", help="which one")
    parser.add_argument("-n", "--number", metavar="N", help="how many (default: 1)")
    parser.add_argument("--a-very-long-option-that-leaves-no-room-beside-it", action="store_true", help="why not")
    parser.add_argument("--bare", action="store_true")
    told = read_help(parser.format_help())
    assert told.usage.startswith("bake [-h] [-n N]")
    assert told.description == ["Bake a cake.\nSlowly.", "  bake apple -n 2"]
    assert told.ending == ["example:\n  bake apple"]
    assert [group.title for group in told.groups] == ["positional arguments", "options"]
    assert list(told.options) == [
        Option("CAKE", "which one"),
        Option("-h, --help", "show this help message and exit"),
        Option("-n N, --number N", "how many (default: 1)"),
        Option("--a-very-long-option-that-leaves-no-room-beside-it", "why not"),
        Option("--bare", ""),
    ]
    assert [option.key for option in told.options][2] == "number"


def test_help_of_jsonargparse() -> None:
    parser = ArgumentParser("bake")
    parser.add_argument("--oven.heat", type=float, default=1.5, help="Degrees (or so).")
    parser.add_argument("--oven.door", type=str, required=True, help="Which one.")
    assert list(read_help(parser.format_help()).options)[1:] == [
        Option("--oven.heat HEAT", "Degrees (or so).", "float", "1.5"),
        Option("--oven.door DOOR", "Which one.", "str"),
    ]


def test_what_is_no_help() -> None:
    with pytest.raises(ValueError, match="no help of a command: 'in /configs'"):
        read_help("in /configs")


def test_help_of_a_command_of_ours() -> None:
    told = help_of("compare", "--help")
    assert [option.key for option in told.options] == ["run", "help", "output", "labels"]
    assert told.usage == "ae-lightning compare [-h] [-o DIR] [--labels A,B,…] RUN [RUN ...]"


def test_words_for_a_terminal_as_markdown() -> None:
    assert prose("``a_b`` is *not* a_b, <c> & [d]") == "`a_b` is \\*not\\* a\\_b, &lt;c> &amp; \\[d\\]"
    assert prose("see `the notes <https://example.org/a_b>`_.") == "see [the notes](https://example.org/a_b)."
    assert prose(":class:`~a.B`. .. warning:: hot") == "`a.B`. Warning: hot"
    assert prose("(--a.b_c x), -o: pre-set Ctrl-C, 1 - 2") == "(`--a.b_c` x), `-o`: pre-set Ctrl-C, 1 - 2"
    assert code("a`b") == "``a`b``"
    assert paragraphs(["Two\nlines.", "  ae-lightning fit", "example:\n  x\n    y"]) == (
        "Two lines.\n\n```sh\nae-lightning fit\n```\n\n**Example**\n\n```text\nx\n  y\n```"
    )

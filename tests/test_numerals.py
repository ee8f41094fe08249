"""How numbers are written, and that those far from 1 are written so wherever there are tables and sentences."""

import ast
import doctest
import math
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import ae_lightning
from ae_lightning import numerals
from ae_lightning.numerals import numeral, with_error

PACKAGE = Path(ae_lightning.__file__).parent


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        # Ordinary numbers are what the form makes of them.
        (0.0382411, ".5f", "0.03824"),
        (0.0001, ".5f", "0.00010"),
        (0.0, ".5f", "0.00000"),
        (7225.5, ".5f", "7225.50000"),
        (-0.25, ".1%", "-25.0%"),
        (0.04, ".1f", "0.0"),
        (0.9312, ".4f", "0.9312"),
        (1607440.0, ",.0f", "1,607,440"),
        (3e9, ",.0f", "3,000,000,000"),
        (14.0, ".4g", "14"),
        (1.2e-7, ".3g", "1.2e-07"),
        # Those far from 1 keep digits, and no more than are read.
        (1.2e-7, ".5f", "1.2e-07"),
        (0.0000421, ".5f", "4.21e-05"),
        (-1.2e-7, ".5f", "-1.2e-07"),
        (3.4e61, ".5f", "3.4e+61"),
        (3.4e61, ".2f", "3.4e+61"),
        (12_345_678.0, ".5f", "1.23e+07"),
        (-3.4e61, ".2%", "-3.4e+63%"),
        (2e-9, ".1%", "2e-07%"),
        (math.nan, ".5f", "nan"),
        (-math.inf, ".5f", "-inf"),
    ],
)
def test_a_number_keeps_digits_and_no_more_than_are_read(value, form, text):
    assert numeral(value, form) == text


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.00382, 0.00003, "0.00382 ± 0.00003"),
        (0.00382, 0.0, "0.00382 ± 0.00000"),
        (0.00382, 2.1e-7, "0.00382 ± 2.1e-07"),
        (1.2e-7, 3.4e-9, "1.2e-07 ± 3.4e-09"),
        (3.4e61, 1.23e60, "3.4e+61 ± 1.2e+60"),
        (0.5, 3.4e61, "0.50000 ± 3.4e+61"),
        (0.5, None, "0.50000"),
        (1.2e-7, math.nan, "1.2e-07"),
    ],
)
def test_an_error_is_written_as_suits_its_number(value, error, text):
    assert with_error(value, error) == text


def test_the_example_is_true():
    done = doctest.testmod(numerals)
    assert done.attempted > 0
    assert done.failed == 0


def fixed_forms(source: str) -> Iterator[str]:
    """Forms with four places or more in which strings of a file write numbers, whatever these are."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FormattedValue) and node.format_spec is not None:
            form = ast.unparse(node.format_spec)
            if re.search(r"\.[4-9]f", form):
                yield f"line {node.lineno}: {form}"


def test_numbers_of_any_size_are_written_by_numeral_alone():
    assert len([*fixed_forms("f'{error:.5f}, {share:.3f}'")]) == 1
    files = {path: [*fixed_forms(path.read_text(encoding="utf-8"))] for path in PACKAGE.rglob("*.py")}
    assert {path.name: found for path, found in files.items() if found} == {}

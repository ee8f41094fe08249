"""Formulas of pages, as MathML."""

import re
from xml.etree.ElementTree import Element, tostring

import pytest


def drawn(tex: str) -> str:
    """MathML of a formula without what is only for its looks."""
    pytest.importorskip("latex2mathml", reason="formulas need `pip install 'ae-lightning[docs]'`")
    from site_builder.formulas import mathml

    element: Element = mathml(tex, "inline")
    text = tostring(element, encoding="unicode").replace("&amp;#x", "&#x")
    return re.sub(r' (?:xmlns|alttext|display)="[^"]*"', "", text)


def test_a_formula_becomes_mathml() -> None:
    assert drawn(r"\frac{a}{b_1}") == (
        "<math><mrow><mfrac><mrow><mi>a</mi></mrow><mrow><msub><mi>b</mi><mn>1</mn></msub></mrow></mfrac></mrow></math>"
    )


def test_bars_are_as_high_as_what_they_enclose_only_where_that_is_asked_for() -> None:
    assert drawn(r"\lVert").count('stretchy="false"') == 1
    assert drawn(r"\left\lVert a \right\rVert").count('stretchy="true"') == 2


@pytest.mark.parametrize(
    ("tex", "problem"),
    [
        (r"\frac{a}", "lacks a part of its mfrac"),
        (r"\nothing x", r"a command that is not known: \\nothing"),
        (r"\left( a", "cannot be read: ExtraLeft"),
        ("a^", "cannot be read: MissingSuper"),
    ],
)
def test_a_formula_that_is_not_whole(tex: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        drawn(tex)

"""A Markdown extension: formulas in TeX become MathML, which every browser draws without a script."""

from xml.etree.ElementTree import Element

from latex2mathml.converter import convert_to_element
from markdown import Extension, Markdown
from markdown.treeprocessors import Treeprocessor

_CLASS = "arithmatex"
_PARTS = {"mfrac": 2, "msub": 2, "msup": 2, "msubsup": 3, "munder": 2, "mover": 2, "munderover": 3, "mroot": 2}
"""Elements of MathML that have a number of parts."""

_BARS = ("&#x02016;", "&#x02225;")
"""Bars that MathML would stretch to the height of the line; those of `\\left` and `\\right` say so themselves."""

_FENCES = {"span": (r"\(", r"\)"), "div": (r"\[", r"\]")}


class Formulas(Treeprocessor):
    """Replaces what arithmatex marks as a formula, in a line or as a paragraph of its own."""

    def run(self, root: Element) -> None:
        """Draw each formula below an element."""
        for element in root.iter():
            if element.get("class") == _CLASS and element.text:
                draw(element)


def draw(element: Element) -> None:
    """Turn an element that holds TeX between the fences of arithmatex into one that holds MathML."""
    opening, closing = _FENCES[element.tag]
    tex = (element.text or "").strip().removeprefix(opening).removesuffix(closing).strip()
    formula = mathml(tex, "inline" if element.tag == "span" else "block")
    element.text = None
    element.append(formula)


def mathml(tex: str, display: str) -> Element:
    """MathML of TeX.

    Args:
        tex: The formula without its dollars.
        display: `inline`, or `block` for a formula of its own.

    Raises:
        ValueError: The formula is not whole, or has a command that is not known.
    """
    try:
        formula = convert_to_element(tex, display=display)
    except Exception as error:  # of a dozen classes that have no base of their own
        raise ValueError(f"the formula {tex} cannot be read: {type(error).__name__}") from error
    formula.set("alttext", tex)
    for part in formula.iter():
        if len(part) != _PARTS.get(part.tag, len(part)):
            raise ValueError(f"the formula {tex} lacks a part of its {part.tag}")
        if (part.text or "").startswith("\\"):
            raise ValueError(f"the formula {tex} has a command that is not known: {part.text}")
        if part.tag == "mo" and part.text in _BARS and not part.attrib:
            part.set("stretchy", "false")
    return formula


class FormulasExtension(Extension):
    """Runs after arithmatex and all other inline patterns."""

    def extendMarkdown(self, md: Markdown) -> None:
        """Register the processor."""
        md.treeprocessors.register(Formulas(md), "formulas", 5)


def makeExtension(**kwargs: object) -> FormulasExtension:
    """What Markdown calls to make the extension."""
    return FormulasExtension(**kwargs)

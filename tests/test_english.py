"""Sentences and paragraphs of the documentation are short: measured on what a reader sees as prose.

Code, formulas, tables, headings, pictures and the targets of links are left out.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import pytest

import ae_lightning

ROOT = Path(ae_lightning.__file__).resolve().parents[1]
LONGEST_MEAN = 20  # words of a sentence, on average over a page
LONGEST_PARAGRAPH = 6 * 100  # characters: six lines of 100 columns

# Records rather than explanations, or made from docstrings.
OTHERS = ("docs/changelog.md", "docs/benchmarks.md", "docs/reference/")
# Periods that end no sentence; with a blank before them, or a bracket.
ABBREVIATIONS = ("e.g.", "i.e.", "et al.", "cf.", "vs.", "No.", "Fig.", "approx.")


class Paragraph(NamedTuple):
    """A paragraph, or an item of a list: the line it begins at, and its text as `seen` gives it."""

    line: int
    text: str

    @property
    def length(self) -> int:
        """Characters that a reader sees, but for formulas."""
        return len(self.text.replace("`", ""))

    @property
    def sentences(self) -> list[str]:
        text = self.text
        for short in ABBREVIATIONS:
            text = re.sub(rf"(?<![^\s(]){re.escape(short)}", short.replace(".", "·"), text)
        ended = re.sub(r"([.!?]['\"”’)]*)\s+(?=[\"“'(]*[A-Z0-9`])", r"\1\n", text)
        return [sentence for sentence in ended.split("\n") if words_in(sentence)]


def words_in(text: str) -> int:
    return sum(1 for word in text.split() if re.search(r"\w", word))


def paragraphs_in(markdown: str) -> list[Paragraph]:
    """Paragraphs and items of lists of a page, without what is no prose."""
    found: list[Paragraph] = []
    begun: list[str] = []
    start = 0
    for number, line in enumerate([*_prose_lines(markdown), ""], 1):
        text = re.sub(r"^\s*(?:>\s?)*", "", line)
        item = re.match(r"(?:[-*+]|\d+[.)])\s+", text)
        if begun and (item or not text.strip()):
            found.append(Paragraph(start, seen(" ".join(begun))))
            begun = []
        if text.strip():
            start = start if begun else number
            begun.append(text[item.end() :] if item else text)
    return [paragraph for paragraph in found if words_in(paragraph.text)]


def _prose_lines(markdown: str) -> Iterator[str]:
    """The lines of a page, those that are no prose as empty ones."""
    closed_by = ""
    for number, line in enumerate(markdown.splitlines()):
        text = line.strip()
        if closed_by:
            closed_by = "" if text.endswith(closed_by) else closed_by
            yield ""
        elif number == 0 and text == "---":
            closed_by = "---"
            yield ""
        elif opened := re.match(r"(`{3,}|~{3,}|\$\$|<!--)", text):
            closed_by = {"<!--": "-->"}.get(opened[1], opened[1])
            if len(text) > len(opened[1]) and text.endswith(closed_by) and closed_by in ("$$", "-->"):
                closed_by = ""
            yield ""
        elif re.match(r"#{1,6}\s|\||</?\w[^>]*>$|(?:!!!|\?\?\?\+?)\s|--8<--|\[[^\]]+\]:\s|:::\s", text):
            yield ""
        else:
            yield line


def seen(text: str) -> str:
    """Text without pictures, marks and the targets of links; code between backticks, and a formula, are a word each."""
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)(?:\{[^}]*\})?", "", text)
    text = re.sub(r"`+[^`]+`+", lambda code: re.sub(r"[\s.!?]", "-", code[0]), text)
    text = re.sub(r"\$[^$]+\$", "X", text)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"\*\*|(?<!\w)[*_](?=\S)|(?<=\S)[*_](?!\w)|</?\w[^>]*>", "", text)
    return re.sub(r"\s+", " ", text).strip()


def mistakes_in(page: str, markdown: str) -> list[str]:
    """A sentence for each paragraph that is too long, and one if sentences are, on average."""
    paragraphs = paragraphs_in(markdown)
    found = [
        f"{page}:{paragraph.line}: the paragraph has {paragraph.length} characters, at most {LONGEST_PARAGRAPH} are "
        f"wanted: {paragraph.text[:60]} …"
        for paragraph in paragraphs
        if paragraph.length > LONGEST_PARAGRAPH
    ]
    sentences = [(words_in(text), part.line, text) for part in paragraphs for text in part.sentences]
    if sentences and (average := mean(words for words, _, _ in sentences)) >= LONGEST_MEAN:
        longest = "".join(
            f"\n  line {line}: {words} words: {text[:60]} …" for words, line, text in sorted(sentences)[:-6:-1]
        )
        found.append(
            f"{page}: a sentence has {average:.1f} words on average, fewer than {LONGEST_MEAN} are wanted; the longest:"
            + longest
        )
    return found


def pages() -> list[str]:
    files = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    names = [file.relative_to(ROOT).as_posix() for file in files if file.is_file()]
    return [name for name in names if not name.startswith(OTHERS)]


@pytest.mark.parametrize("page", pages())
def test_sentences_and_paragraphs_are_short(page: str) -> None:
    mistakes = mistakes_in(page, (ROOT / page).read_text(encoding="utf-8"))
    assert not mistakes, "\n" + "\n".join(mistakes)


# --- the measure itself ----------------------------------------------------------------------------------------


def counts(markdown: str) -> list[int]:
    """Words of each sentence."""
    return [words_in(text) for paragraph in paragraphs_in(markdown) for text in paragraph.sentences]


@pytest.mark.parametrize(
    ("markdown", "words"),
    [
        ("One two three. Four five!", [3, 2]),
        ("One two\nthree four. Five", [4, 1]),
        ("After Gao et al. (2024), e.g. Table 2, it falls to 0.5 of that.", [14]),
        ("See [this page](a.md#b.c). It helps.", [3, 2]),
        ("Set `a.b. C d` first. `x` follows.", [3, 2]),
        ("The norm is $\\sqrt{d}. A$ here.", [5]),
        ("A **bold end.** Then *more*.", [3, 2]),
        ("Really? (Yes.) No.", [1, 1, 1]),
        ("- one two\n- three\n  four\n", [2, 2]),
        ("1. one\n2. two three\n", [1, 2]),
        ("> quoted words\n> go on.", [4]),
    ],
)
def test_sentences_are_told_apart(markdown: str, words: list[int]) -> None:
    assert counts(markdown) == words


@pytest.mark.parametrize(
    "markdown",
    [
        "# A heading of words",
        "```sh\nmake demo    # one two. Three.\n\nmore\n```",
        "~~~\nplain. Text.\n~~~",
        "| a | b |\n| --- | --- |\n| one. Two. | three |",
        "![a picture of words](a.png)",
        "$$\nx = y. Z\n$$",
        "$$x = y$$",
        "---\ntitle: Some words\n---",
        "<!-- a remark\nof words -->",
        '<div class="wide">',
        '--8<-- "CHANGELOG.md"',
        '!!! note "A title"',
    ],
)
def test_what_is_no_prose_does_not_count(markdown: str) -> None:
    assert counts(markdown) == []
    assert counts(f"{markdown}\n\nTwo words.") == [2]


def test_a_page_of_long_sentences_is_told_with_its_number() -> None:
    short, long = "word " * 9 + "word.", "Word " * 29 + "word."
    assert mistakes_in("page.md", f"{short}\n\n{short}\n\n{long}") == []  # 50 words in three sentences
    (mistake,) = mistakes_in("page.md", f"{short}\n\n{long}")
    assert mistake.startswith("page.md: a sentence has 20.0 words on average")
    assert "line 3: 30 words" in mistake


def test_a_long_paragraph_is_told_with_its_line_and_length() -> None:
    allowed = "Ten signs. " * 54 + "Five."  # 54 · 11 + 5 = 599
    assert mistakes_in("page.md", f"# Title\n\n{allowed}") == []
    (mistake,) = mistakes_in("page.md", f"# Title\n\n{allowed}\nSix!")
    assert mistake.startswith("page.md:3: the paragraph has 604 characters")
    assert mistakes_in("page.md", f"{allowed[:300]}\n\n{allowed[300:]}") == []
    assert mistakes_in("page.md", allowed + "[](" + "a" * 100 + ")") == []

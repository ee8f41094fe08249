"""The page of a report, read back as a browser would: with a parser of HTML that knows nothing of how it was made."""

import base64
import hashlib
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from ae_lightning.evaluation.verdict import Beside
from ae_lightning.report.page import Link, Numbers, Opening, Picture, Section, html_page

NASTY = """<script>alert("1 & 2")</script> {{ title }} {% raw %} 'quoted'"""
EMPTY_ELEMENTS = {"meta", "img", "br", "link", "hr"}


class Reader(HTMLParser):
    """What is in a page: attributes of its elements, texts by the element they stand in, and whether tags match."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in EMPTY_ELEMENTS:
            self._open.append(tag)
            self.texts.append((tag, ""))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open and data.strip():
            self.texts.append((self._open[-1], data))

    def attributes(self, tag, name):
        return [attrs[name] for kind, attrs in self.elements if kind == tag and name in attrs]

    def said_in(self, tag):
        return [text for kind, text in self.texts if kind == tag and text]


def png(seed=0, size=(30, 40)):
    """A picture of few colors, as drawings are."""
    colors = np.random.default_rng(seed).integers(0, 256, (7, 3), dtype=np.uint8)
    places = np.random.default_rng(seed + 1).integers(0, 7, size)
    file = io.BytesIO()
    Image.fromarray(colors[places]).save(file, "PNG")
    return file.getvalue()


def pixels(data):
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB")).astype(int)


def shown_pictures(page):
    sources = Reader(page).attributes("img", "src")
    for source in sources:
        assert source.startswith("data:image/png;base64,")
    return [pixels(base64.b64decode(source.partition(",")[2], validate=True)) for source in sources]


@pytest.fixture
def sections():
    table = Numbers(["error", "per pixel"], [["this one", "0.125"], ["PCA", "0.25"]], "Squared errors.")
    words = Numbers(["what", ""], [["model", "Deep"]], is_text=True)
    pictures = [Picture("spectrum", "Singular values", "A long tail is good.", png(1)), Picture("b", "B", "b.", png(2))]
    return [
        Section("Summary", ["All is well."], [table, words], problems=["It has not ended."]),
        Section("Units and weights", pictures=pictures),
    ]


def test_the_page_loads_nothing(sections):
    page = html_page("digits/version_0", sections)
    assert "://" not in page
    assert "url(" not in page
    assert "@import" not in page
    reader = Reader(page)
    assert not {tag for tag, _ in reader.elements} & {"link", "iframe", "object", "embed", "base"}
    assert reader.attributes("script", "src") == []
    links = [value for tag in ("a", "img") for name in ("href", "src") for value in reader.attributes(tag, name)]
    assert all(link.startswith(("#", "data:")) for link in links)
    assert any("default-src 'none'" in str(value) for value in reader.attributes("meta", "content"))


def test_only_the_script_of_the_page_may_run(sections):
    page = html_page("digits/version_0", sections)
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    (allowed,) = re.findall(r"script-src ([^\"]*)\"", page)
    assert allowed == f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def test_what_is_given_is_said_in_its_place(sections):
    reader = Reader(html_page("digits/version_0", sections))
    assert reader.said_in("title") == reader.said_in("h1") == ["digits/version_0"]
    assert reader.said_in("h2") == ["Summary", "Units and weights"]
    assert reader.said_in("h3") == ["Singular values", "B"]
    assert reader.said_in("figcaption") == ["A long tail is good.", "b."]
    assert reader.said_in("td") == ["0.125", "0.25", "Deep"]
    assert reader.said_in("th") == ["error", "per pixel", "this one", "PCA", "what", "model"]
    assert reader.said_in("p") == ["All is well.", "It has not ended.", "Squared errors."]
    assert reader.attributes("p", "class") == ["problem"]
    assert [value for value in reader.attributes("table", "class")] == ["text"]


def test_pictures_are_those_that_were_given(sections):
    shown = shown_pictures(html_page("t", sections))
    for image, picture in zip(shown, sections[1].pictures, strict=True):
        np.testing.assert_array_equal(image, pixels(picture.png))


def test_a_drawing_keeps_its_looks_and_takes_less_room():
    figure = Figure(figsize=(4, 3))
    ax = figure.subplots()
    ax.imshow(np.random.default_rng(0).normal(size=(30, 30)), cmap="viridis")
    ax.set_title("noise")
    file = io.BytesIO()
    figure.savefig(file, format="png")
    page = html_page("t", [Section("s", pictures=[Picture("noise", "Noise", "Noise.", file.getvalue())])])
    (image,) = shown_pictures(page)
    difference = np.abs(image - pixels(file.getvalue()))
    assert difference.mean() < 1
    assert difference.max() < 40
    (source,) = Reader(page).attributes("img", "src")
    assert len(base64.b64decode(source.partition(",")[2])) < len(file.getvalue())


def test_no_text_can_become_markup():
    table = Numbers([NASTY, NASTY], [[NASTY, NASTY]], NASTY)
    section = Section(NASTY, [NASTY], [table], [Picture("x", f"{NASTY} 2", NASTY, png())], [NASTY])
    page = html_page(NASTY, [section])
    assert page.count("<script") == 1
    reader = Reader(page)
    for tag, times in {
        "title": 1,
        "h1": 1,
        "h2": 1,
        "a": 1,
        "th": 3,
        "td": 1,
        "p": 3,
        "figcaption": 1,
    }.items():
        said = [text for text in reader.said_in(tag) if text != "Skip to the report"]
        assert said == [NASTY] * times, tag
    assert reader.said_in("h3") == [f"{NASTY} 2"]
    assert reader.attributes("img", "alt") == [f"{NASTY} 2. {NASTY}"]
    assert {name for _, attrs in reader.elements for name in attrs if name.startswith("on")} == set()


def test_an_empty_section_is_left_out_and_one_with_only_a_problem_is_not():
    reader = Reader(html_page("t", [Section("Nothing"), Section("Broken", problems=["It is."]), Section("None")]))
    assert reader.said_in("h2") == reader.said_in("a")[1:] == ["Broken"]
    assert len([tag for tag, _ in reader.elements if tag == "section"]) == 1


def test_each_link_leads_to_one_place(sections):
    reader = Reader(html_page("t", [*sections, Section("spectrum", ["A section named as a figure."])]))
    names = [attrs["id"] for _, attrs in reader.elements if "id" in attrs]
    assert len(set(names)) == len(names) == 6
    assert not any(letter.isspace() for name in names for letter in name)
    links = [link.removeprefix("#") for link in reader.attributes("a", "href")]
    assert links[0] == "_main"
    assert len(links) == 4
    assert set(links) <= set(names)


def test_the_page_opens_with_what_was_asked_the_verdict_and_its_numbers(sections):
    opening = Opening(
        asked="What does it find?",
        about="Mine, 64 → 16.",
        grade="bad",
        verdict="It falls short: `k` is 3.",
        numbers=[Beside("left", "0.2", "PCA: 0.15"), Beside("dead", "3", "of 16")],
        problems=["It has not ended."],
        pictures=[Picture("units", "Units", "Read them.", png(3))],
    )
    page = html_page("t", sections, opening)
    reader = Reader(page)
    before = Reader(page[: page.index("<section ")] + "</main></div></body></html>")
    assert before.said_in("p") == [
        *("What does it find?", "Mine, 64 → 16.", "It falls short: ", " is 3.", "It has not ended."),
    ]
    assert before.said_in("dt") == ["left", "dead"]
    assert before.said_in("dd") == ["0.2", "PCA: 0.15", "3", "of 16"]
    assert before.said_in("h3") == ["Units"]
    assert "verdict bad" in reader.attributes("p", "class")
    assert reader.attributes("nav", "aria-label") == ["Sections"]
    assert reader.said_in("a")[1:] == ["Summary", "Summary", "Units and weights"]
    names = [attrs["id"] for _, attrs in reader.elements if "id" in attrs]
    assert len(set(names)) == len(names)


def test_no_heading_stands_twice():
    pictures = [
        Picture(name, title, "Read.", png()) for name, title in (("a", "Training"), ("b", "Loss"), ("c", "Loss"))
    ]
    page = html_page("t", [Section("Training", pictures=pictures), Section("Codes", ["A sentence."])])
    reader = Reader(page)
    headings = [said for level in ("h1", "h2", "h3") for said in reader.said_in(level)]
    assert headings == ["t", "Training", "Codes", "Loss"]
    assert len(reader.attributes("img", "alt")) == 3


def test_a_question_is_not_followed_by_a_full_stop():
    page = html_page("t", [Section("s", pictures=[Picture("a", "Why?", "So.", png())])])
    assert Reader(page).attributes("img", "alt") == ["Why? So."]


def test_the_same_sections_give_the_same_page(sections):
    assert html_page("t", sections) == html_page("t", sections)
    assert html_page("t", sections) != html_page("other", sections)


def test_what_stands_between_backticks_is_code_wherever_there_are_sentences():
    text = "Run `explore <run>` first; a ` alone and {} stay."
    section = Section(
        "Summary",
        sentences=[text.format(1)],
        problems=[text.format(2)],
        tables=[Numbers(["a", "b"], [["x", "a `name` of somebody's"]], note=text.format(3))],
        pictures=[Picture("training", "Training", text.format(4), png())],
        links=[Link(text.format(5), "explorer.html")],
    )
    found = Reader(html_page("run `a`", [section]))
    assert found.said_in("code") == ["explore <run>"] * 5
    for kind, count in (("p", 3), ("figcaption", 1), ("a", 1)):
        assert len([said for said in found.said_in(kind) if said == "Run "]) == count
    assert found.said_in("td") == ["a `name` of somebody's"]
    assert found.said_in("h1") == ["run `a`"]
    assert found.attributes("img", "alt") == ["Training. Run explore <run> first; a ` alone and 4 stay."]

"""The page of a report, read back as a browser would: with a parser of HTML that knows nothing of how it was made."""

import base64
import io
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from ae_lightning.report.page import Link, Numbers, Picture, Section, html_page

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
    assert not {tag for tag, _ in reader.elements} & {"script", "link", "iframe", "object", "embed", "base"}
    links = [value for tag in ("a", "img") for name in ("href", "src") for value in reader.attributes(tag, name)]
    assert all(link.startswith(("#", "data:")) for link in links)
    assert any("default-src 'none'" in str(value) for value in reader.attributes("meta", "content"))


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
    section = Section(NASTY, [NASTY], [table], [Picture("x", NASTY, NASTY, png())], [NASTY])
    page = html_page(NASTY, [section])
    assert "<script" not in page
    reader = Reader(page)
    for tag, times in {
        "title": 1,
        "h1": 1,
        "h2": 1,
        "h3": 1,
        "a": 1,
        "th": 3,
        "td": 1,
        "p": 3,
        "figcaption": 1,
    }.items():
        assert reader.said_in(tag) == [NASTY] * times, tag
    assert reader.attributes("img", "alt") == [f"{NASTY}. {NASTY}"]
    assert {name for _, attrs in reader.elements for name in attrs if name.startswith("on")} == set()


def test_an_empty_section_is_left_out_and_one_with_only_a_problem_is_not():
    reader = Reader(html_page("t", [Section("Nothing"), Section("Broken", problems=["It is."]), Section("None")]))
    assert reader.said_in("h2") == reader.said_in("a") == ["Broken"]
    assert len([tag for tag, _ in reader.elements if tag == "section"]) == 1


def test_each_link_leads_to_one_place(sections):
    reader = Reader(html_page("t", [*sections, Section("spectrum", ["A section named as a figure."])]))
    names = [attrs["id"] for _, attrs in reader.elements if "id" in attrs]
    assert len(set(names)) == len(names) == 5
    assert not any(letter.isspace() for name in names for letter in name)
    links = [link.removeprefix("#") for link in reader.attributes("a", "href")]
    assert len(links) == 3
    assert set(links) <= set(names)


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

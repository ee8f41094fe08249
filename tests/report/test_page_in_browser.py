"""The page in a real browser: a table of contents that follows, sections that fold, dark, narrow and printed."""

import io

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from ae_lightning.evaluation.verdict import Beside
from ae_lightning.report.page import Numbers, Opening, Picture, Section, html_page

TITLES = ["Numbers", "Waves & tides", "Why?", "Settings"]


def png(width, height):
    file = io.BytesIO()
    Image.fromarray(np.full((height, width, 3), 255, dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def section(title, is_open=True):
    table = Numbers(["what", "much"], [[f"row {i}", "0.123456789 ± 0.1"] for i in range(60)], "A note.")
    pictures = [
        Picture(f"{title} {i}", f"{title} {i}", "How to read it.", png(width, height))
        for i, (width, height) in enumerate([(700, 400), (1200, 400), (700, 500), (950, 1000), (1100, 1200)])
    ]
    return Section(title, ["A sentence."], [table], pictures, is_open=is_open)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    opening = Opening(
        "What does it find?",
        "Mine, 64 → 16.",
        "good",
        "It works: it does.",
        [Beside("left", "0.12", "PCA: 0.15")] * 4,
        pictures=[Picture("lead", "What leads", "How to read it.", png(1150, 1000))],
    )
    path = tmp_path_factory.mktemp("page") / "report.html"
    sections = [section(title, is_open=title != "Settings") for title in TITLES]
    path.write_text(html_page("mine/version_0", sections, opening), encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def tab(browser, page):
    """Opens the page; nothing may go wrong or be asked for there."""
    complaints, requests, contexts = [], [], []

    def open_(width=1400, fragment="", **options):
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        opened = context.new_page()
        opened.on("console", lambda message: complaints.append(message.text))
        opened.on("pageerror", lambda error: complaints.append(str(error)))
        opened.on("request", lambda request: requests.append(request.url))
        opened.goto(page + fragment)
        return opened

    yield open_
    for context in contexts:
        context.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []


def current(opened):
    """The link of the section that is being read."""
    return opened.locator("nav a[aria-current]")


@pytest.mark.parametrize("width", [1400, 375])
def test_the_table_of_contents_follows_the_reader(tab, width):
    opened = tab(width)
    expect(current(opened)).to_have_text(["Summary"])
    for title in TITLES[:3]:
        opened.get_by_role("heading", name=title, exact=True, level=2).evaluate("it => it.scrollIntoView()")
        expect(current(opened)).to_have_text([title])
        assert opened.locator("nav").bounding_box()["y"] >= 0  # it stays in sight
    opened.evaluate("scrollTo(0, document.body.scrollHeight)")
    expect(current(opened)).to_have_text(["Settings"])


def test_a_section_folds_and_a_link_to_it_unfolds_it(tab):
    opened = tab()
    numbers, settings = (opened.get_by_role("heading", name=f"{title} 0", level=3) for title in ("Numbers", "Settings"))
    expect(numbers).to_be_visible()
    expect(settings).to_be_hidden()
    opened.get_by_role("heading", name="Numbers", exact=True).click()
    expect(numbers).to_be_hidden()
    opened.get_by_role("link", name="Settings").click()  # the browser tells of the link's place after the click
    expect(settings).to_be_visible()
    opened.get_by_role("link", name="Numbers").click()
    expect(numbers).to_be_visible()
    expect(tab(fragment="#settings").get_by_role("heading", name="Settings 0", level=3)).to_be_visible()


@pytest.mark.parametrize("width", [1400, 375])
def test_nothing_is_wider_than_the_window(tab, width):
    opened = tab(width)
    opened.get_by_role("link", name="Settings").click()
    expect(opened.get_by_role("heading", name="Settings 0", level=3)).to_be_visible()
    assert opened.evaluate("document.documentElement.scrollWidth") == width
    for box in opened.locator("main .scrolls").evaluate_all(
        "all => all.map(it => it.getBoundingClientRect().toJSON())"
    ):
        assert 0 <= box["left"] < box["right"] <= width
    # On a phone a wide drawing is gone through sideways, rather than shrunk until nothing can be read.
    for kind, least in (("wide", 550), ("small", 480)):
        widths = opened.locator(f"figure.{kind} img").evaluate_all("all => all.map(it => it.clientWidth)")
        assert widths
        assert min(widths) > least


@pytest.mark.parametrize("width", [1400, 375])
def test_no_picture_is_distorted(tab, width):
    shapes = (
        tab(width)
        .locator("#numbers img, #_summary img")
        .evaluate_all("all => all.map(it => [it.clientWidth / it.clientHeight, it.naturalWidth / it.naturalHeight])")
    )
    assert len(shapes) == 6
    for shown, true in shapes:
        assert shown == pytest.approx(true, rel=0.01)


def test_a_high_drawing_is_not_shrunk_until_nothing_can_be_read(tab):
    height = tab().locator("#numbers figure.high img").evaluate("it => it.clientHeight")
    assert height > 650


def test_small_pictures_share_a_row_and_wide_ones_do_not(tab):
    boxes = tab().locator("#numbers img").evaluate_all("all => all.map(it => it.getBoundingClientRect().toJSON())")
    first, wide, second, grid, _ = boxes
    assert first["top"] == second["top"]
    assert first["right"] < second["left"]
    assert wide["width"] > 1.5 * first["width"]
    assert grid["right"] - grid["left"] <= first["width"] + 1
    assert grid["height"] > 1.3 * first["height"]  # a grid of images, which are small each


def luminance(color):
    red, green, blue = (
        value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4
        for value in (int(part) / 255 for part in color.removeprefix("rgb(").removesuffix(")").split(","))
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_light_and_dark_and_can_be_read_in_both(tab, scheme):
    opened = tab(color_scheme=scheme)
    back = opened.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (luminance(back) > 0.5) == (scheme == "light")
    for text in ("body", ".verdict", ".about", ".baseline", "figcaption", "nav a", "summary h2", "td"):
        color = opened.evaluate("text => getComputedStyle(document.querySelector(text)).color", text)
        low, high = sorted([luminance(color), luminance(back)])
        assert (high + 0.05) / (low + 0.05) >= 4.5, text  # as WCAG asks for
    # A figure is drawn in dark ink: it needs its own white ground.
    assert (
        opened.evaluate("getComputedStyle(document.querySelector('main img')).backgroundColor") == "rgb(255, 255, 255)"
    )


def test_on_paper_all_is_unfolded_and_there_is_no_table_of_contents(tab):
    opened = tab(color_scheme="dark")
    opened.emulate_media(media="print", color_scheme="dark")
    assert not opened.locator("nav").is_visible()
    assert opened.get_by_role("heading", name="Settings 0", level=3).is_visible()
    assert luminance(opened.evaluate("getComputedStyle(document.body).color")) < 0.1


def test_it_has_landmarks_and_every_picture_says_what_it_shows(tab):
    opened = tab()
    assert opened.get_by_role("navigation", name="Sections").count() == opened.get_by_role("main").count() == 1
    assert opened.get_by_role("heading", level=1).all_inner_texts() == ["mine/version_0"]
    texts = opened.locator("img").evaluate_all("all => all.map(it => it.alt)")
    assert len(texts) == 21
    assert texts[1] == "Numbers 0. How to read it."
    opened.keyboard.press("Tab")
    assert opened.locator(":focus").inner_text() == "Skip to the report"

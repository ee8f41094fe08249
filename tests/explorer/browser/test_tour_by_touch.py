"""The tour with a finger, on the screen of a telephone."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Locator, Page

INPUT, OUTPUT = (f"#studio figure:nth-of-type({place}) canvas" for place in (1, 2))
SCREEN = {"has_touch": True, "is_mobile": True, "device_scale_factor": 2}

# Everything that can be pressed and is smaller than a finger; a box is pressed by its label too.
_SMALL = """() => [...document.querySelectorAll("button, select, input, [tabindex='0']")]
  .filter((each) => each.checkVisibility() && each.id !== "skip" && each.type !== "file")
  .map((each) => [each, (each.type === "checkbox" ? each.labels[0] : each).getBoundingClientRect()])
  .filter(([, { height, width }]) => Math.round(height) < 32 || width < 24)
  .map(([each, { height, width }]) => `${each.outerHTML.slice(0, 90)}: ${width} × ${height}`)"""


@pytest.fixture(scope="module")
def small_tab(kept_tab: Any) -> Any:
    return kept_tab(viewport={"width": 375, "height": 812}, **SCREEN)


@pytest.fixture
def phone(small_tab: Any) -> Iterator[Any]:
    with small_tab.for_one_test():
        yield small_tab


@pytest.fixture
def page(explored: Any, phone: Any) -> Page:
    return phone.open(explored("digits").page)


def place_of(picture: Locator, column: float, row: float, columns: int = 8, rows: int = 8) -> tuple[float, float]:
    """Where a cell of a picture is on the screen."""
    picture.scroll_into_view_if_needed()
    x, y, width, height = picture.evaluate(
        """(canvas) => {
          const { left, top } = canvas.getBoundingClientRect();
          return [left + canvas.clientLeft, top + canvas.clientTop, canvas.clientWidth, canvas.clientHeight];
        }"""
    )
    return x + (column + 0.5) / columns * width, y + (row + 0.5) / rows * height


def draw(page: Page, *places: tuple[float, float]) -> None:
    """Put a finger down at the first place, go over the others, and lift it."""
    session = page.context.new_cdp_session(page)
    for number, (x, y) in enumerate(places):
        kind = "touchStart" if number == 0 else "touchMove"
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    session.detach()
    page.wait_for_timeout(400)  # until then the browser takes a touch for the end of a scroll


def tap_until(page: Page, button: Locator, done: str) -> None:
    """Tap a button, and again where the tap was lost: a busy browser takes it for the end of a scroll before it."""
    for _ in range(20):
        button.tap(force=True)  # by then it may be disabled
        page.wait_for_timeout(300)
        if page.evaluate(done):
            return
    pytest.fail(f"The button was tapped twenty times, and still it is not so: {done}")


def fact(page: Page, name: str) -> str:
    return page.inner_text(f'dt:text-is("{name}") + dd')


def number(text: str) -> float:
    return float(text.replace("−", "-").replace("\u202f", "").replace(",", ""))


def tap_unit(page: Page, place: int) -> int:
    """Tap the picture at a place of the atlas; the number of the unit that is shown then."""
    page.locator("#atlas .atlas-scroll").scroll_into_view_if_needed()
    # From the canvas itself: the third picture begins where two steps are over.
    x, y = page.evaluate(
        """(place) => {
          const { left, top, width } = document.querySelector(".atlas-scroll canvas").getBoundingClientRect();
          const tile = Number(document.querySelector("#atlas input[type=range]").value), gap = 6;
          const columns = Math.floor((width - gap) / (tile + gap));
          const step = (width - 2 * gap - tile) / (columns - 1);
          return [left + gap + place * step + tile / 2, top + gap + tile / 2];
        }""",
        place,
    )
    page.touchscreen.tap(x, y)
    return int(page.inner_text(".unit-title")[1:])


def test_a_thumbnail_becomes_the_input(page: Page, phone: Any) -> None:
    before = phone.pixels(INPUT)
    box = page.locator(".strip").bounding_box()
    page.touchscreen.tap(box["x"] + 3.5 * 44, box["y"] + 20)
    assert fact(page, "sample") == "3"
    assert (phone.pixels(INPUT) != before).any()
    page.get_by_role("button", name="Next sample").tap()
    assert fact(page, "sample") == "4"


def test_a_finger_draws_on_the_input_and_the_page_stays_where_it_is(page: Page, phone: Any) -> None:
    before = np.array(page.evaluate("Array.from(explorer.input)")), phone.pixels(OUTPUT)
    page.get_by_role("button", name="draw").tap()
    canvas = page.locator(INPUT)
    places = [place_of(canvas, *cell) for cell in ((0, 0), (0, 2), (0, 4))]
    scrolled = page.evaluate("scrollY")
    draw(page, *places)
    assert page.evaluate("scrollY") == scrolled
    now = np.array(page.evaluate("Array.from(explorer.input)"))
    np.testing.assert_array_equal(now.reshape(8, 8)[:5, 0], 1)
    assert (now.reshape(8, 8)[:, 1:] == before[0].reshape(8, 8)[:, 1:]).all()
    assert (phone.pixels(OUTPUT) != before[1]).any()
    assert fact(page, "sample") == "0, changed"
    assert page.evaluate("explorer.past.length") == 1  # the whole stroke
    tap_until(page, page.locator("#studio").get_by_role("button", name="undo"), "explorer.past.length === 0")
    np.testing.assert_array_equal(page.evaluate("Array.from(explorer.input)"), before[0])
    np.testing.assert_array_equal(phone.pixels(OUTPUT), before[1])


def test_without_a_pen_a_finger_on_a_picture_scrolls_the_page(page: Page) -> None:
    canvas = page.locator(INPUT)
    x, y = place_of(canvas, 4, 6)
    start = page.evaluate("scrollY")
    draw(page, *((x, y - 20 * step) for step in range(9)))
    assert page.evaluate("scrollY") > start
    assert page.evaluate("explorer.edited") is False


def test_a_unit_is_tapped_and_switched_off(page: Page, phone: Any) -> None:
    units = page.evaluate("Array.from(explorer.importance, (value, unit) => [value, unit])")
    order = [unit for _, unit in sorted(units, key=lambda pair: (-pair[0], pair[1]))]
    unit = tap_unit(page, 2)
    assert unit == order[2]
    activations = page.evaluate("Array.from(explorer.result.hidden[0])")
    chosen = next(place for place in range(6) if activations[order[place]] > 0)
    unit = tap_unit(page, chosen)
    before = fact(page, "error per pixel"), phone.pixels(OUTPUT)
    page.locator("#panel").get_by_role("button", name="switch off").tap()
    assert fact(page, "error per pixel") != before[0]
    assert (phone.pixels(OUTPUT) != before[1]).any()
    page.get_by_role("button", name=f"Restore unit {unit}").tap()
    assert fact(page, "error per pixel") == before[0]


def test_an_output_pixel_is_taken_apart_to_its_very_value(page: Page) -> None:
    x, y = place_of(page.locator(OUTPUT), 3, 2)
    page.touchscreen.tap(x, y)
    assert page.evaluate("explorer.pixel") == {"side": "output", "index": 2 * 8 + 3}
    value = page.evaluate("explorer.result.output[2 * 8 + 3]")
    rows = page.locator("#pixels .bar-row:not([hidden])").all()
    texts = [row.inner_text().split() for row in rows]
    assert texts[0][0] == "bias"
    totals = [text for text in texts if "sum" in text]
    assert len(totals) == 1
    total = number(totals[0][-1])
    digits = len(totals[0][-1].partition(".")[2])
    assert sum(number(text[-1]) for text in texts[: texts.index(totals[0])]) == pytest.approx(total, abs=1e-9)
    activation = page.evaluate("explorer.network.layers.at(-1).activation")
    assert activation == "none"
    assert total == pytest.approx(value, abs=0.6 * 10**-digits)
    assert number(page.inner_text("#pixels p.number").split()[-1]) == pytest.approx(value, rel=1e-3)


def test_the_bar_at_the_bottom_leads_to_every_section(page: Page) -> None:
    buttons = page.locator("#sections button")
    names = [name.strip() for name in buttons.all_inner_texts()]
    assert names == ["Input", "Units", "Unit", "Pixel", "Surgery", "Training", "Map"]
    assert page.eval_on_selector("#sections", "(bar) => bar.scrollWidth <= bar.clientWidth")  # none is cut
    heights = buttons.evaluate_all("(all) => all.map((each) => each.getBoundingClientRect().height)")
    assert max(heights) < 46  # nor broken into lines
    names[-1] = "Map of codes"
    order = page.evaluate(
        """() => [...document.querySelectorAll("main section.card")]
          .sort((a, b) => a.getBoundingClientRect().top - b.getBoundingClientRect().top)
          .map((section) => section.querySelector("h2").textContent)"""
    )
    assert order == names
    for place, name in enumerate(names):
        buttons.nth(place).tap()
        page.wait_for_timeout(60)
        top, bottom, height = page.evaluate(
            """(name) => {
              const title = [...document.querySelectorAll("main h2")].find((each) => each.textContent === name);
              const { top, bottom } = title.getBoundingClientRect();
              return [top, bottom, innerHeight];
            }""",
            name,
        )
        assert 0 <= top < bottom < height - 40, name


def test_the_slider_of_the_training_is_dragged(page: Page, phone: Any) -> None:
    slider = page.locator('input[aria-label="Snapshot"]')
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    middle = box["y"] + box["height"] / 2
    places = [box["x"] + box["width"] * part for part in (0.95, 0.7, 0.5, 0.03)]
    draw(page, *((x, middle) for x in places))
    phone.until("explorer.snapshot === 0")
    first = page.evaluate("explorer.session.manifest.snapshots[0].step")
    assert page.inner_text("#training p.number").startswith(f"Step {first:,}, ")
    tap_until(page, page.get_by_role("button", name="Last snapshot"), "explorer.snapshot === 9")


def test_a_point_of_the_map_is_tapped(page: Page) -> None:
    canvas = page.locator(".map-box canvas[tabindex]")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert page.evaluate("explorer.sample") != 0
    assert page.inner_text("#announcer").startswith("Input: sample ")


@pytest.mark.parametrize("name", ["digits", "toy_sae", "fully_connected"])
def test_nothing_is_wider_than_the_screen(phone: Any, explored: Any, name: str) -> None:
    page = phone.open(explored(name).page, "#unit=3&pixel=output:1&surgery=0:1:clamp:0.5,0:2:off:0&search=dead")
    page.fill("#atlas input[type=search]", "averylongwordthatisnosearchatallandhasnoplacetobreakanywhere")
    page.select_option('#training select:has(option:text-is("nothing"))', index=2)  # two snapshots side by side
    page.get_by_role("button", name="draw").tap()
    for width in (375, 360):
        page.set_viewport_size({"width": width, "height": 740})
        page.wait_for_timeout(250)
        assert page.evaluate("document.scrollingElement.scrollWidth") <= width
        assert page.evaluate("visualViewport.width") == width  # a page that is too wide would be shown smaller
        wide = page.evaluate(
            """(width) => [...document.querySelectorAll("main *, header *")]
              .filter((each) => each.checkVisibility() && !each.closest(".strip, .unseen"))
              .filter((each) => each.getBoundingClientRect().right > width + 0.5)
              .map((each) => each.outerHTML.slice(0, 90))""",
            width,
        )
        assert wide == []


@pytest.mark.parametrize("name", ["digits", "fully_connected"])
def test_controls_are_as_high_as_a_finger_needs(phone: Any, explored: Any, name: str) -> None:
    page = phone.open(explored(name).page, "#unit=3&pixel=output:5&surgery=0:1:clamp:0.5,0:2:off:0")
    page.select_option('#training select:has(option:text-is("nothing"))', index=2)
    page.wait_for_timeout(250)
    assert page.evaluate(_SMALL) == []
    page.get_by_role("button", name="List of keys").tap()
    assert page.evaluate(_SMALL) == []

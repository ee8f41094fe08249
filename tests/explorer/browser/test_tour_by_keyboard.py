"""The whole tour with the keyboard alone: what is done is done with keys, and the page is only looked at."""

from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page

INPUT, OUTPUT = (f"#studio figure:nth-of-type({place}) canvas" for place in (1, 2))
UNITS = ".atlas-scroll"
MAP = ".map-box canvas[tabindex]"

SLIPS = {
    "akt>>1": "“akt>>1” is no search: try #37, dead, act>0.2",
    "akt>1": "“akt” is not known: compare act, mean, density, importance, causal.",
    "act>1.2.3": "What comes after the comparison is no number.",
    "#99999": "There is no unit 99999: they go from 0 to 127.",
    "class x": "There is no class “x”: they are 0, 1, 2",
}

# What has the focus: its section, its name, its place on the screen, and the frame around it.
_FOCUSED = """() => {
  const at = document.activeElement, { outlineStyle, outlineWidth } = getComputedStyle(at);
  const { top, bottom, left, right } = at.getBoundingClientRect();
  const section = at.closest("section.card, header, #sections")?.id ?? at.id;
  const name = at.getAttribute("aria-label") ?? at.labels?.[0]?.textContent ?? at.textContent;
  const seen = top < innerHeight && bottom > 0 && left < innerWidth && right > 0;
  const place = [...document.querySelectorAll("*")].indexOf(at);
  return { tag: at.tagName, section, name, seen, place, frame: outlineStyle === "none" ? 0 : parseFloat(outlineWidth) };
}"""


@pytest.fixture
def page(explored: Any, tab: Any) -> Page:
    return tab.open(explored("digits").page)


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def go_to(page: Page, selector: str) -> None:
    """Press Tab until the element has the focus."""
    for _ in range(200):
        page.keyboard.press("Tab")
        if page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
            return
    pytest.fail(f"Tab does not lead to {selector}.")


def search(page: Page, text: str) -> None:
    """Replace what is in the search box, and stay in it."""
    press(page, "/")
    page.keyboard.type(text)


def said(page: Page) -> str:
    """What was read aloud last."""
    return page.text_content("#announcer") or ""


def fact(page: Page, name: str) -> str:
    """A number of the studio, or of the panel, by its name."""
    return page.inner_text(f'dt:text-is("{name}") + dd')


def state(page: Page, name: str) -> Any:
    return page.evaluate("(name) => explorer[name]", name)


def shown(page: Page) -> list[int]:
    """The units that the atlas shows, as the count beside the search box and the views' own function have them."""
    units: list[int] = page.evaluate(
        """async () => {
          const { imports } = JSON.parse(document.querySelector('script[type="importmap"]').textContent);
          return (await import(imports["explorer/units.js"])).shownUnits(explorer);
        }"""
    )
    total = page.evaluate("explorer.importance.length")
    count = f"{total} units" if len(units) == total else f"{len(units)} of {total} units"
    assert page.inner_text("#atlas output") == count
    return units


def test_tab_goes_through_the_page_in_its_order_with_a_visible_frame(page: Page) -> None:
    search(page, "#12")
    go_to(page, UNITS)
    press(page, "Enter")  # the panel of a unit has buttons too
    page.wait_for_timeout(150)
    found = []
    for _ in range(400):
        press(page, "Tab")
        focused = page.evaluate(_FOCUSED)
        if found and focused["place"] == found[0]["place"]:
            break
        if focused["tag"] != "BODY":  # once around, by the browser's own buttons
            found.append(focused)
    start = [focused["section"] for focused in found].index("skip")
    found = found[start:] + found[:start]
    for focused in found:
        assert focused["frame"] >= 2, focused
        assert focused["seen"], focused
        assert focused["name"].strip() or focused["tag"] == "SELECT", focused
    sections = list(dict.fromkeys(focused["section"] for focused in found))
    assert sections == ["skip", "header", "studio", "pixels", "atlas", "training", "map", "panel", "surgery"]


def test_the_first_tab_leads_past_the_header_to_the_units(page: Page) -> None:
    press(page, "Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the units"
    assert page.evaluate("document.activeElement.getBoundingClientRect().left") >= 0
    press(page, "Enter", "Tab")
    assert page.evaluate("document.activeElement.closest('section')?.id") == "atlas"


def test_arrows_change_the_sample(page: Page, tab: Any) -> None:
    before = tab.pixels(INPUT), tab.pixels(OUTPUT)
    press(page, "ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft")
    assert fact(page, "sample") == "2"
    strip = page.locator('.strip[role="slider"]')
    name = page.evaluate("explorer.session.className(2)")
    assert (strip.get_attribute("aria-valuenow"), strip.get_attribute("aria-valuetext")) == ("2", f"2, class {name}")
    assert fact(page, "class") == name
    for picture, other in zip((INPUT, OUTPUT), before, strict=True):
        assert (tab.pixels(picture) != other).any()
    press(page, "ArrowLeft", "ArrowLeft", "ArrowLeft")
    assert fact(page, "sample") == "0"
    np.testing.assert_array_equal(tab.pixels(INPUT), before[0])


def test_at_the_first_sample_an_arrow_leaves_nothing_to_undo(page: Page) -> None:
    press(page, "ArrowRight", "ArrowLeft", "ArrowLeft", "u")
    assert fact(page, "sample") == "1"


def test_the_strip_of_samples_has_its_own_keys(page: Page) -> None:
    go_to(page, ".strip")
    press(page, "PageDown", "ArrowRight")
    assert fact(page, "sample") == "11"
    press(page, "End")
    assert fact(page, "sample") == page.evaluate("(explorer.session.manifest.samples.count - 1).toString()")
    press(page, "Home")
    assert fact(page, "sample") == "0"


def test_the_search_box_narrows_the_units_down(page: Page) -> None:
    everything = shown(page)
    search(page, "act>0.2")
    activations = np.array(page.evaluate("Array.from(explorer.result.hidden[0])"))
    by_importance = [unit for unit in everything if activations[unit] > 0.2]
    assert 0 < len(by_importance) < len(everything)
    assert shown(page) == by_importance
    press(page, "Tab", "Shift+Tab", "Control+a")
    page.keyboard.type("dead")
    density = np.array(page.evaluate("Array.from(explorer.session.units[0].density)"))
    assert shown(page) == [unit for unit in everything if density[unit] == 0]
    press(page, "Control+a")
    page.keyboard.type("class 7")
    means = np.array(page.evaluate("Array.from(explorer.session.units[0].class_mean)")).reshape(len(everything), -1)
    seven = page.evaluate("explorer.session.manifest.samples.classes.indexOf('7')")
    liked = [unit for unit in everything if means[unit].any() and means[unit].argmax() == seven]
    assert liked
    assert shown(page) == liked
    press(page, "Control+a")
    page.keyboard.type("#12")
    assert shown(page) == [12]
    press(page, "Control+a", "Delete")
    assert shown(page) == everything


def test_like_a_unit_orders_all_by_their_cosine_with_it(page: Page) -> None:
    search(page, "like #37")
    found = shown(page)
    weight = np.array(page.evaluate("Array.from(explorer.network.layers[0].weight)"), dtype=np.float32)
    weight = weight.reshape(len(found), -1)
    cosines = weight @ weight[37] / np.linalg.norm(weight, axis=1) / np.linalg.norm(weight[37])
    assert found[0] == 37
    assert (np.diff(cosines[found]) <= 1e-6).all()


def test_a_slip_in_the_search_is_answered_by_a_sentence(page: Page) -> None:
    search(page, "dead")
    before = shown(page)
    problem = page.locator("#search-problem")
    assert problem.get_attribute("role") == "status"
    for typed, sentence in SLIPS.items():
        press(page, "Control+a")
        page.keyboard.type(typed)
        assert sentence in problem.inner_text()
        press(page, "Control+a")
        page.keyboard.type("dead")
        assert problem.inner_text() == ""
        assert shown(page) == before


def test_keys_are_silent_while_somebody_types(page: Page) -> None:
    names = ["sample", "unit", "snapshot", "tool", "playing"]
    before = [state(page, name) for name in names], page.evaluate("[explorer.past.length, explorer.error]")
    search(page, "x u 0 [ ] d e n p / ? ")
    press(page, "ArrowLeft", "ArrowRight", "Space")
    assert page.locator("dialog").count() == 0
    press(page, "Control+a", "Delete")
    go_to(page, "#studio input[type=number]")
    press(page, "x", "d", "[", "?", "Space")
    assert page.locator("dialog").count() == 0
    after = [state(page, name) for name in names], page.evaluate("[explorer.past.length, explorer.error]")
    assert after == before


def test_keys_of_the_browser_are_left_to_it(page: Page) -> None:
    press(page, "n")
    for held in ("Control", "Alt", "Meta"):
        press(page, f"{held}+x", f"{held}+u", f"{held}+ArrowRight", f"{held}+[")
    assert (state(page, "sample"), state(page, "surgery")) == (0, [])


def test_arrows_and_enter_choose_a_unit_in_the_atlas(page: Page) -> None:
    units = shown(page)
    opening = page.evaluate("explorer.openingUnit(0)")
    go_to(page, UNITS)
    assert said(page).startswith(f"#{opening} activation")
    press(page, "Home")
    assert said(page).startswith(f"#{units[0]} activation")
    press(page, "ArrowRight", "ArrowRight", "ArrowLeft")
    assert said(page).startswith(f"#{units[1]} activation")
    assert state(page, "unit") == opening
    press(page, "Enter")
    assert said(page).endswith("chosen")
    assert page.inner_text(".unit-title") == f"#{units[1]}"
    press(page, "ArrowDown")
    below = int(said(page).split()[0][1:])
    assert units.index(below) > 2
    press(page, "ArrowUp")
    assert said(page).startswith(f"#{units[1]} ")
    press(page, "End", "Enter")
    assert page.inner_text(".unit-title") == f"#{units[-1]}"
    press(page, "p")
    assert page.inner_text(".unit-title") == f"#{units[-2]}"
    assert said(page) == f"Unit {units[-2]}."
    assert fact(page, "importance").endswith(f"rank {len(units) - 1:,}")


def test_x_switches_a_unit_off_and_u_takes_it_back(page: Page, tab: Any) -> None:
    search(page, f"#{strongest(page)}")
    go_to(page, UNITS)
    press(page, "Enter")
    unit = strongest(page)
    error, pictured = fact(page, "error per pixel"), tab.pixels(OUTPUT)
    without = fact(page, "error without it").split()[0]
    press(page, "x")
    assert said(page) == f"Unit {unit} is off."
    assert fact(page, "error per pixel") == without != error
    assert (tab.pixels(OUTPUT) != pictured).any()
    assert page.inner_text(".operations li").split() == [f"#{unit}", "off", "×"]
    assert page.inner_text(".error-change").startswith(f"Error {error} → {without} (")
    press(page, "u")
    assert fact(page, "error per pixel") == error
    assert page.locator(".operations li").count() == 0
    press(page, "x", "n", "x", "0")
    assert (fact(page, "error per pixel"), page.locator(".operations li").count()) == (error, 0)
    press(page, "u")
    assert page.locator(".operations li").count() >= 1


def strongest(page: Page) -> int:
    """The unit that the sample excites most."""
    return int(np.argmax(page.evaluate("Array.from(explorer.result.hidden[0])")))


def test_surgery_by_its_buttons_and_sliders(page: Page, tab: Any) -> None:
    press(page, "n")
    unit = state(page, "unit")
    go_to(page, 'input[aria-label="Scale by, slider"]')
    press(page, "ArrowRight", "ArrowRight")
    assert page.inner_text(".operations li .number").startswith("× 1.")
    press(page, "u", "u")
    assert state(page, "surgery") == []
    go_to(page, "#surgery .slide:first-child input[type=number]")
    press(page, "Control+a")
    page.keyboard.type("0.75")
    press(page, "Tab")
    assert page.inner_text(".operations li .number") == "= 0.75"
    assert state(page, "surgery")[0]["unit"] == unit
    go_to(page, ".operations li button.icon")
    press(page, "Enter")
    assert page.locator(".operations li").count() == 0


def test_brackets_go_through_the_snapshots(page: Page, tab: Any) -> None:
    steps = page.evaluate("explorer.session.manifest.snapshots.map(({ step }) => step)")
    place = page.locator("#training p.number").first
    final = tab.pixels(OUTPUT)
    assert place.inner_text().startswith(f"Step {steps[-1]:,}, ")
    assert place.inner_text().endswith("the checkpoint")
    press(page, "[", "[")
    tab.until("explorer.snapshot === explorer.session.manifest.final - 2")
    assert place.inner_text().startswith(f"Step {steps[-3]:,}, ")
    assert page.get_attribute('input[aria-label="Snapshot"]', "aria-valuetext") == place.inner_text()
    assert (tab.pixels(OUTPUT) != final).any()
    press(page, "]", "]", "]")
    tab.until("explorer.snapshot === explorer.session.manifest.final")
    np.testing.assert_array_equal(tab.pixels(OUTPUT), final)


def test_space_plays_and_stops(page: Page, tab: Any) -> None:
    play = page.locator("button.play")
    press(page, "Space")
    assert play.inner_text() == "Pause"
    tab.until("explorer.snapshot === 1")
    press(page, "Space")
    assert play.inner_text() == "Play"
    stopped = state(page, "snapshot")
    page.wait_for_timeout(700)
    assert state(page, "snapshot") == stopped
    go_to(page, 'input[aria-label="Snapshot"]')
    press(page, "End", "ArrowLeft")
    tab.until("explorer.snapshot === 8")
    go_to(page, UNITS)
    press(page, "Space")  # to the end, where it stops by itself
    tab.until("explorer.snapshot === 9 && !explorer.playing")
    assert play.inner_text() == "Play"


def test_drawing_with_the_keyboard_s_own_cursor(page: Page, tab: Any) -> None:
    go_to(page, INPUT)
    before = np.array(page.evaluate("Array.from(explorer.input)")), tab.pixels(OUTPUT)
    assert said(page).startswith("row 4, column 4: ")
    press(page, *["ArrowUp"] * 4, *["ArrowLeft"] * 5, "d")  # stops at the edge
    assert page.evaluate("[...document.querySelectorAll('#studio [aria-pressed=true]')].map((b) => b.textContent)") == [
        "draw"
    ]
    press(page, "Enter", "ArrowRight", "Space")
    now = np.array(page.evaluate("Array.from(explorer.input)"))
    np.testing.assert_array_equal(now.reshape(8, 8)[0, :2], 1)
    assert (now != before[0]).sum() == 2
    assert said(page) == "row 0, column 1: 1"
    assert (tab.pixels(OUTPUT) != before[1]).any()
    assert fact(page, "sample") == "0, changed"
    press(page, "e", "Enter", "ArrowLeft", "Enter")
    assert page.evaluate("Array.from(explorer.input)")[:2] == [0, 0]
    press(page, "u", "u", "u", "u")
    np.testing.assert_array_equal(page.evaluate("Array.from(explorer.input)"), before[0])
    np.testing.assert_array_equal(tab.pixels(OUTPUT), before[1])
    assert fact(page, "sample") == "0"


def test_a_pixel_is_picked_and_taken_apart(page: Page) -> None:
    go_to(page, INPUT)
    press(page, "v", "ArrowDown", "Enter")
    assert state(page, "pixel") == {"side": "input", "index": 5 * 8 + 4}
    assert "× pixel" in page.inner_text("#pixels")
    go_to(page, OUTPUT)
    press(page, "Enter")
    assert state(page, "pixel")["side"] == "output"
    assert "= sum" in page.inner_text("#pixels")
    go_to(page, "#pixels input[type=number]")
    press(page, "Control+a", "2", "Tab", "Control+a", "3")
    assert state(page, "pixel") == {"side": "output", "index": 2 * 8 + 3}
    go_to(page, "#pixels button.link")
    press(page, "Enter")
    assert page.inner_text(".unit-title") == page.evaluate("document.activeElement.textContent")


def test_arrows_walk_over_the_map_and_enter_takes_a_sample(page: Page) -> None:
    go_to(page, MAP)
    press(page, "ArrowRight", "ArrowDown", "ArrowLeft", "ArrowLeft")
    words = said(page).split()
    assert words[0] == "sample"
    pointed = int(words[1].rstrip(","))
    assert pointed != 0
    card = page.locator(".map-card")
    assert card.is_visible()
    assert card.inner_text() == said(page)
    press(page, "Enter")
    assert fact(page, "sample") == f"{pointed:,}"
    assert said(page).startswith(f"Input: sample {pointed}")


def test_a_question_mark_lists_the_keys_and_escape_goes_back(page: Page) -> None:
    go_to(page, "#studio .joined button")
    before = page.evaluate("document.activeElement.getAttribute('aria-label')")
    press(page, "?")
    dialog = page.locator("dialog[open]")
    assert [key in dialog.inner_text() for key in ("Space", "switch the shown unit off", "undo", "search")] == [
        True
    ] * 4
    assert page.evaluate("document.activeElement.textContent") == "Close"
    press(page, "ArrowRight", "x", "d")
    assert (state(page, "sample"), state(page, "tool")) == (0, "pick")
    close_the_list(page)
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == before
    press(page, "?")
    close_the_list(page, "Enter")


def test_the_keys_can_be_switched_off(page: Page) -> None:
    for _, expected in (("off", (0, "pick")), ("on", (1, "draw"))):
        press(page, "?", "Tab", "Space")
        close_the_list(page)
        press(page, "ArrowRight", "d")
        assert (state(page, "sample"), state(page, "tool")) == expected


def close_the_list(page: Page, key: str = "Escape") -> None:
    press(page, key)
    page.locator("dialog").wait_for(state="detached")

"""The address names what is shown, and shows what it names."""

from typing import Any
from urllib.parse import parse_qsl

import numpy as np
import pytest
from playwright.sync_api import Page

PARTS = {
    "unit": ("12", lambda page: page.inner_text(".unit-title"), "#12"),
    "sample": ("4", lambda page: page.inner_text('dt:text-is("sample") + dd'), "4"),
    "pixel": ("output:19", lambda page: page.input_value("#pixels .place input"), "2"),
    "surgery": (
        "0:3:clamp:0.5,0:7:off:0,0:9:scale:-2",
        lambda page: page.locator(".operations li").all_inner_texts(),
        ["#9\n× −2\n×", "#7\noff\n×", "#3\n= 0.5\n×"],
    ),
    "order": ("causal", lambda page: page.input_value('#atlas label:has-text("order") select'), "causal"),
    "search": ("act>0.2 class 7", lambda page: page.input_value("#atlas input[type=search]"), "act>0.2 class 7"),
}

NONSENSE = [
    "#",
    "#nothing",
    "#sample=99999&layer=77&order=best&pixel=output:9999&snapshot=never",
    "#sample=1.5&layer=x&pixel=middle:3&snapshot=-5&surgery=no",
    "#surgery=0:1:explode:1,9:1:off:0,0:99999:off:0,0:1:clamp:x,0:1:scale:,0:2:off,::,0&pixel=input",
    "#search=akt>>1&&&===",
    "#" + "x" * 5000,
]

STATE = """() => Object.fromEntries(
  ["unit", "layer", "sample", "snapshot", "pixel", "surgery", "order", "query", "edited"]
    .map((name) => [name, explorer[name]])
)"""


@pytest.fixture
def digits(explored: Any) -> Any:
    return explored("digits").page


def named(page: Page, tab: Any, *names: str) -> dict[str, str]:
    """What the address says, once it names these."""
    tab.until("(names) => names.every((name) => new URLSearchParams(location.hash.slice(1)).has(name))", list(names))
    return dict(parse_qsl(page.evaluate("location.hash.slice(1)")))


def look(page: Page) -> tuple[str, dict[str, Any]]:
    """All that can be read on the page, when it has come to rest, and what it is about."""
    page.locator("#surgery").evaluate("(section) => section.scrollIntoView(false)")  # its curve is drawn when seen
    page.wait_for_timeout(400)
    return page.inner_text("main"), page.evaluate(STATE)


@pytest.mark.parametrize("part", PARTS)
def test_a_part_of_the_address_is_shown_and_kept(tab: Any, digits: Any, part: str) -> None:
    value, read, expected = PARTS[part]
    page = tab.open(digits, f"#{part}={value}")
    assert read(page) == expected
    page.wait_for_timeout(400)  # it has been written anew
    assert dict(parse_qsl(page.evaluate("location.hash.slice(1)"))) == {part: value}


def test_following_an_address_is_nothing_to_undo(tab: Any, digits: Any) -> None:
    page = tab.open(digits, "#sample=4&surgery=0:3:off:0")
    buttons = page.locator("#studio, #surgery").get_by_role("button", name="undo")
    assert [button.is_disabled() for button in buttons.all()] == [True, True]
    page.get_by_role("button", name="Next sample").click()
    assert [button.is_disabled() for button in buttons.all()] == [False, False]


def test_a_snapshot_is_named_by_its_step_and_the_nearest_is_taken(tab: Any, digits: Any) -> None:
    page = tab.open(digits)
    steps = page.evaluate("explorer.session.manifest.snapshots.map(({ step }) => step)")
    for asked in (steps[3], steps[3] + 1, 0, 10**9):
        page = tab.open(digits, f"#snapshot={asked}")
        nearest = min(steps, key=lambda step: abs(step - asked))
        assert page.inner_text("#training p.number").startswith(f"Step {nearest:,}, ")
        page.wait_for_timeout(400)
        expected = {} if nearest == steps[-1] else {"snapshot": str(nearest)}
        assert dict(parse_qsl(page.evaluate("location.hash.slice(1)"))) == expected


def test_a_hidden_layer_and_a_unit_in_it(tab: Any, explored: Any) -> None:
    page = tab.open(explored("fully_connected").page, "#layer=0&unit=5")
    names = page.evaluate("explorer.session.hiddenLayers.map(({ name }) => name)")
    assert page.inner_text(".unit-title") == f"#5 of {names[0]}"
    assert page.input_value('#atlas label:has-text("layer") select') == "0"
    page.select_option('#atlas label:has-text("layer") select', "1")
    tab.until("location.hash === '#layer=1'")


def test_what_is_done_on_the_page_comes_into_the_address(tab: Any, digits: Any) -> None:
    page = tab.open(digits)
    assert "#" not in page.url
    page.keyboard.press("ArrowRight")
    page.keyboard.press("n")
    page.keyboard.press("x")
    page.keyboard.press("[")
    page.select_option('#atlas label:has-text("order") select', "index")
    page.fill("#atlas input[type=search]", "act>0")
    page.locator("#studio figure canvas").nth(1).click()
    found = named(page, tab, "sample", "unit", "surgery", "snapshot", "order", "search", "pixel")
    unit, step = page.evaluate("[explorer.unit, explorer.session.manifest.snapshots[explorer.snapshot].step]")
    assert found == {
        "unit": str(unit),
        "sample": "1",
        "snapshot": str(step),
        "pixel": f"output:{page.evaluate('explorer.pixel.index')}",
        "surgery": f"0:{unit}:off:0",
        "order": "index",
        "search": "act>0",
    }


def test_a_copied_link_shows_the_same_in_another_tab(new_tab: Any, digits: Any) -> None:
    tab = new_tab()
    page = tab.open(
        digits, "#unit=12&sample=4&pixel=output:19&surgery=0:3:clamp:0.5,0:7:off:0&search=act>0&order=causal"
    )
    page.keyboard.press("[")
    tab.until("explorer.snapshot === 8")
    page.get_by_role("button", name="copy link").click()
    tab.until(
        "/copied/.test(document.querySelector('#tools').textContent) || !document.querySelector('#tools input').hidden"
    )
    if page.locator("#tools input").is_visible():
        link = page.input_value("#tools input")
    else:  # what somebody would paste
        page.evaluate("document.body.append(Object.assign(document.createElement('textarea'), { id: 'pasted' }))")
        page.focus("#pasted")
        page.keyboard.press("Control+v")
        link = page.input_value("#pasted")
        page.evaluate("document.querySelector('#pasted').remove()")
    assert link.startswith(digits.as_uri() + "#")
    other = new_tab()
    other.open(digits, "#" + link.split("#", 1)[1])
    page.wait_for_timeout(2000 if "copied" in page.inner_text("#tools") else 0)
    assert look(other.page) == look(page)
    for place in range(3):
        picture = f"#studio figure:nth-of-type({place + 1}) canvas"
        np.testing.assert_array_equal(other.pixels(picture), tab.pixels(picture))
    assert other.page.input_value("#atlas input[type=search]") == "act>0"


def test_an_address_that_changes_in_place_is_followed(new_tab: Any, digits: Any) -> None:
    tab, other = new_tab(), new_tab()
    page = tab.open(digits, "#unit=3&order=index&surgery=0:1:off:0")
    address = "#sample=4&unit=12&pixel=input:9&search=dead&snapshot=0"
    page.evaluate("(address) => (location.hash = address)", address)
    tab.until("explorer.unit === 12 && explorer.snapshot === 0")
    assert look(page) == look(other.open(digits, address))
    page.go_back()
    tab.until("explorer.unit === 3 && explorer.snapshot === explorer.session.manifest.final")
    assert page.evaluate("[explorer.order, explorer.surgery.length, explorer.sample]") == ["index", 1, 0]
    page.evaluate("location.hash = ''")
    tab.until("explorer.unit === explorer.openingUnit(0)")
    assert look(page) == look(other.open(digits))


def test_an_address_is_followed_that_changes_just_as_another_is_to_be_written(tab: Any, digits: Any) -> None:
    page = tab.open(digits)
    page.evaluate(
        """() => {
          const busy = (end) => { while (performance.now() < end); };
          // All three are due when the first is over, so that the browser tells of the change after the last.
          setTimeout(busy, 100, performance.now() + 500);
          setTimeout(() => (location.hash = "unit=12&sample=7"), 110);
          explorer.set({ sample: 4 }); // the address of which is written after 250 ms
        }"""
    )
    tab.until("explorer.unit === 12 && explorer.sample === 7")


def test_nonsense_in_the_address_is_left_out_without_a_word(tab: Any, digits: Any) -> None:
    page = tab.open(digits)
    plain = look(page)
    for address in NONSENSE:
        page = tab.open(digits, address)
        assert look(page) == plain, address
        assert page.locator("#problem").is_hidden(), address
        assert page.inner_text("#search-problem") == "", address
        assert page.input_value("#atlas input[type=search]") == "", address


def test_what_makes_sense_beside_nonsense_is_shown(tab: Any, digits: Any) -> None:
    page = tab.open(digits, "#unit=12&sample=no&surgery=0:5:off:0,0:x:off:0,0:5:clamp:1&colour=red")
    assert page.inner_text(".unit-title") == "#12"
    assert page.locator(".operations li").all_inner_texts() == ["#5\noff\n×"]


@pytest.mark.parametrize("address", ["#93", "#93&sample=4", "#sample=4&93", "#unit=93"])
def test_a_number_alone_is_that_unit(tab: Any, digits: Any, address: str) -> None:
    page = tab.open(digits, address)
    assert page.inner_text(".unit-title") == "#93"
    assert page.locator("#problem").is_hidden()
    page.wait_for_timeout(400)  # it has been written anew
    sample = {"sample": "4"} if "sample" in address else {}
    assert dict(parse_qsl(page.evaluate("location.hash.slice(1)"))) == {"unit": "93", **sample}


@pytest.mark.parametrize(
    ("form", "asked"), [("#{}", "128"), ("#{}", "-1"), ("#unit={}", "1.5"), ("#sample=4&unit={}", "9" * 400)]
)
def test_a_unit_that_there_is_not_is_told_on_the_page(tab: Any, digits: Any, form: str, asked: str) -> None:
    page = tab.open(digits, form.format(asked))
    told = f"The address asks for unit “{asked[:20]}”, but the units go from 0 to 127."
    assert page.inner_text("#problem") == told
    opening = page.evaluate("explorer.openingUnit(0)")
    assert page.inner_text(".unit-title") == f"#{opening}"
    page.keyboard.press("n")
    assert page.locator("#problem").is_hidden()


def test_of_a_deep_network_the_layer_is_named_to_which_the_numbers_belong(tab: Any, explored: Any) -> None:
    page = tab.open(explored("fully_connected").page, "#layer=1&40")
    name, units = page.evaluate("[explorer.session.hiddenLayers[1].name, explorer.session.hiddenLayers[1].units]")
    assert page.inner_text("#problem") == (
        f"The address asks for unit “40”, but the units of {name} go from 0 to {units - 1}."
    )

"""What is damaged in a file is said in the page, and the rest of it goes on."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page

OUTPUT = "#studio figure:nth-of-type(2) canvas"
DAMAGED = 4
"""The snapshot whose weights are damaged."""

DAMAGES: dict[str, Callable[[str], str]] = {
    "cut": lambda text: text[: len(text) // 2],
    "changed": lambda text: (
        text[: len(text) // 2] + ("B" if text[len(text) // 2] == "A" else "A") + text[len(text) // 2 + 1 :]
    ),
    "no base64": lambda text: "%" + text[1:],
    "empty": lambda text: "",
    "no gzip": lambda text: "QUJD" * (len(text) // 4),
    "too long": lambda text: text + text,
}


@pytest.fixture
def text(explored: Any) -> str:
    return str(explored("digits").page.read_text(encoding="utf-8"))


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Write a page that has been tampered with."""

    def to_file(content: str) -> Path:
        path = tmp_path / "damaged.html"
        path.write_text(content, encoding="utf-8")
        return path

    return to_file


def manifest_of(text: str) -> Any:
    return json.loads(re.search(r'id="manifest">(.*?)</script>', text, re.DOTALL)[1])


def with_manifest(text: str, content: str) -> str:
    return re.sub(r'(id="manifest">).*?(</script>)', lambda match: match[1] + content + match[2], text, flags=re.DOTALL)


def with_block(text: str, name: str, damage: Callable[[str], str]) -> str:
    pattern = rf'(data-block="{re.escape(name)}">)([^<]*)'
    changed, count = re.subn(pattern, lambda match: match[1] + damage(match[2]), text)
    assert count == 1
    return changed


def without_block(text: str, name: str) -> str:
    changed, count = re.subn(rf'<script[^>]*data-block="{re.escape(name)}">[^<]*</script>', "", text)
    assert count == 1
    return changed


def closed(tab: Any, path: Path) -> str:
    """Open a file that cannot be shown; the sentence that the page has about it."""
    page = tab.page
    page.goto(path.as_uri())
    tab.until("!document.querySelector('#loading') && !document.querySelector('#problem').hidden")
    assert page.locator("main").is_hidden()
    assert page.locator("#problem").get_attribute("role") == "alert"
    return str(page.inner_text("#problem"))


@pytest.mark.parametrize("damage", ["cut", "changed", "no base64", "too long"])
def test_a_damaged_snapshot_is_named_and_the_page_goes_on(tab: Any, text: str, write: Any, damage: str) -> None:
    name = manifest_of(text)["snapshots"][DAMAGED]["layers"][1]["weight"]
    page = tab.open(write(with_block(text, name, DAMAGES[damage])))
    page.keyboard.press("n")
    slider = page.locator('input[aria-label="Snapshot"]')
    slider.focus()
    for _ in range(4):
        page.keyboard.press("ArrowLeft")
        page.wait_for_timeout(30)
    tab.until("explorer.snapshot === 5")
    before = tab.pixels(OUTPUT)
    page.keyboard.press("ArrowLeft")
    tab.until("!document.querySelector('#problem').hidden")
    assert re.fullmatch(
        f"The part “{re.escape(name)}” of this file (is damaged|has another length .*)\\.", problem(page)
    )
    assert page.evaluate("explorer.snapshot") == 5
    assert slider.input_value() == "5"  # it stands where the page is
    np.testing.assert_array_equal(tab.pixels(OUTPUT), before)
    still_works(page, tab)
    page.get_by_role("button", name="First snapshot").click()
    tab.until("explorer.snapshot === 0 && document.querySelector('#problem').hidden")
    # The panel says why it has no pictures of the unit at each snapshot.
    history = page.locator("#panel section", has_text="At each snapshot")
    assert f"The part “{name}” of this file" in history.inner_text()


def problem(page: Page) -> str:
    assert page.locator("#problem").is_visible()
    return page.inner_text("#problem")


def still_works(page: Page, tab: Any) -> None:
    """Another sample and a drawn line change the reconstruction."""
    before = tab.pixels(OUTPUT)
    page.get_by_role("button", name="Next sample").click()
    taken = tab.pixels(OUTPUT)
    assert (taken != before).any()
    page.locator("#studio").get_by_role("button", name="invert").click()
    assert (tab.pixels(OUTPUT) != taken).any()


def test_a_missing_snapshot_ends_playing_and_comparing(tab: Any, text: str, write: Any) -> None:
    name = manifest_of(text)["snapshots"][1]["layers"][1]["weight"]
    page = tab.open(write(without_block(text, name)), "#snapshot=0")
    page.get_by_role("button", name="Play").click()
    tab.until("!document.querySelector('#problem').hidden")
    assert problem(page) == f"The part “{name}” of this file is missing."
    assert page.inner_text("button.play") == "Play"
    assert page.evaluate("[explorer.snapshot, explorer.playing]") == [0, False]
    beside = page.locator('#training select:has(option:text-is("nothing"))')
    beside.select_option(index=2)
    tab.until("explorer.compared === null")
    assert beside.input_value() == ""
    beside.select_option(index=4)
    tab.until("document.querySelector('#training .side-other h3').checkVisibility()")
    still_works(page, tab)


def test_an_address_with_a_damaged_snapshot_shows_the_checkpoint_and_says_why(tab: Any, text: str, write: Any) -> None:
    snapshot = manifest_of(text)["snapshots"][DAMAGED]
    path = write(with_block(text, snapshot["layers"][0]["weight"], DAMAGES["cut"]))
    page = tab.open(path, f"#snapshot={snapshot['step']}&unit=3")
    assert "is damaged" in problem(page)
    assert page.inner_text("#training p.number").endswith("the checkpoint")
    assert page.inner_text(".unit-title") == "#3"
    still_works(page, tab)


def test_without_its_samples_a_file_cannot_be_shown(tab: Any, text: str, write: Any) -> None:
    name = manifest_of(text)["samples"]["values"]
    for damage in DAMAGES.values():
        sentence = closed(tab, write(with_block(text, name, damage)))
        assert sentence.startswith(f"This file cannot be shown. The part “{name}” of this file ")


def test_what_the_first_view_needs_is_missed_by_name(tab: Any, text: str, write: Any) -> None:
    manifest = manifest_of(text)
    final = manifest["snapshots"][manifest["final"]]
    needed = [
        final["layers"][0]["weight"],
        final["importance"][0],
        manifest["units"][0]["top"],
        manifest["input"]["lit"],
    ]
    for name in [*needed, manifest["maps"][0]["xy"]]:
        sentence = closed(tab, write(without_block(text, name)))
        assert sentence == f"This file cannot be shown. The part “{name}” of this file is missing."


def test_a_file_of_another_version_says_so(tab: Any, text: str, write: Any) -> None:
    other = manifest_of(text) | {"schema": 99}
    assert closed(tab, write(with_manifest(text, json.dumps(other)))) == (
        "This file cannot be shown. This page reads version 1 of the explorer's format, and the file holds version 99."
    )


def test_a_broken_manifest_is_said_to_be_broken(tab: Any, text: str, write: Any) -> None:
    for content in ('{"format": "ae_lightning.expl', "", "null", "[1, 2]", "{}", '"<b>bold</b>"'):
        sentence = closed(tab, write(with_manifest(text, content)))
        assert re.match("This file cannot be shown. .*(damaged|holds version)", sentence), content


def test_a_file_that_ends_too_soon_cannot_be_shown(tab: Any, text: str, write: Any) -> None:
    """What a broken download leaves: no program that could say so, but also no endless waiting."""
    page = tab.page
    page.goto(write(text[: len(text) // 3]).as_uri())
    assert page.locator("main").is_hidden()


def test_without_javascript_the_page_says_what_it_lacks(new_tab: Any, explored: Any) -> None:
    page = new_tab(java_script_enabled=False).page
    page.goto(explored("digits").page.as_uri())
    assert page.locator("noscript p").is_visible()
    assert "JavaScript is switched off here" in page.locator("noscript p").inner_text()
    assert page.locator("main").is_hidden()
    assert page.locator("#loading").is_hidden()
    assert page.locator("h1").inner_text() == "digits/version_0"

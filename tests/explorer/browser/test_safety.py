"""Whatever data are called, the page shows it as text; and it neither sends nor needs anything."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from ae_lightning.cli.main import main
from ae_lightning.explorer.page import inlined

NASTY = " ".join(
    [
        "</script><script>document.title='owned'</script>",
        "<img src=x onerror=\"document.title='owned'\">",
        "<!-- <script> --> &lt;b&gt;",
        "{{manifest}} {{blocks}} ${title} \\g<0>",
        "\"double\" 'single' `back` \\",
        "🦉 π \u202etxet\u202c \u2028",
    ]
)


@pytest.fixture
def named(explored: Any, tmp_path: Path) -> Callable[[str], Path]:
    """The page of a run in which everything has this name."""

    def make(name: str) -> Path:
        text = explored("digits").page.read_text(encoding="utf-8")
        manifest = json.loads(re.search(r'id="manifest">(.*?)</script>', text, re.DOTALL)[1])
        blocks = dict(re.findall(r'data-block="([^"]*)">([^<]*)</script>', text))
        manifest |= {"title": name, "variant": name, "data": name, "version": name}
        manifest["samples"]["classes"] = [f"{name}{number}" for number in range(10)]
        for layer in manifest["layers"]:
            layer["name"] = name
        for curve in manifest["curves"]:
            curve["name"] = curve["name"] + name
        for codes in manifest["maps"]:
            codes["note"] = name
        path = tmp_path / "named.html"
        path.write_text(inlined(manifest, blocks), encoding="utf-8")
        return path

    return make


def walk(page: Page) -> None:
    """Go through what names are written in."""
    page.keyboard.press("n")
    page.keyboard.press("x")
    page.locator(".map-box canvas[tabindex]").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.locator("#surgery").scroll_into_view_if_needed()
    page.fill("#atlas input[type=search]", "class <b>no</b>")
    page.wait_for_timeout(300)


def test_names_are_shown_as_text_and_do_nothing(tab: Any, named: Callable[[str], Path]) -> None:
    page = tab.open(named(NASTY))
    elements = page.evaluate("document.querySelectorAll('script, img, b').length")
    walk(page)
    assert page.title().split() == NASTY.split()  # a title has its spaces drawn together
    assert page.text_content("h1") == NASTY
    assert page.text_content("#subtitle") == f"{NASTY} · {NASTY}"
    number = page.evaluate("explorer.session.classOf(explorer.sample)")
    assert page.text_content('dt:text-is("class") + dd') == f"{NASTY}{number}"
    assert page.get_attribute(".strip", "aria-valuetext").endswith(f"class {NASTY}{number}")
    assert NASTY in page.text_content("#map")
    assert NASTY in page.text_content("#training")
    assert page.evaluate("document.querySelectorAll('script, img, b').length") == elements
    assert page.text_content("#search-problem").startswith("There is no class “<b>no</b>”")


def test_a_name_without_an_end_does_not_widen_the_page(new_tab: Any, named: Callable[[str], Path]) -> None:
    tab = new_tab(viewport={"width": 375, "height": 812}, has_touch=True, is_mobile=True)
    page = tab.open(named("overcomplete_" * 9))
    page.keyboard.press("n")
    wide = page.evaluate(
        """() => [...document.querySelectorAll("main *, header *")]
          .filter((each) => each.checkVisibility() && !each.closest(".strip, svg"))
          .filter((each) => each.getBoundingClientRect().right > 375.5)
          .map((each) => each.outerHTML.slice(0, 90))"""
    )
    assert wide == []
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 375


def test_a_run_in_a_folder_with_a_nasty_name(tab: Any, explored: Any, tmp_path: Path) -> None:
    """By the command itself; a folder's name can hold all but a slash."""
    name = "<script>document.title='owned'<!-- {{manifest}} \"quoted\" %41 #a?b 🦉 &amp;"
    folder = tmp_path / name / "<b>version_0"
    shutil.copytree(explored("digits").run.folder, folder)
    page_file = tmp_path / name / "what's this? #1 100%.html"
    assert main(["explore", str(folder), "-o", str(page_file)]) == 0
    page = tab.open(page_file, "#unit=3")
    walk(page)
    assert page.title() == f"{name}/<b>version_0"
    assert page.text_content("h1") == f"{name}/<b>version_0"
    tab.until("location.hash.includes('unit=')")  # the address is written beside such a path, too


def test_nothing_is_asked_for_on_a_machine_without_a_network(new_tab: Any, explored: Any) -> None:
    tab = new_tab(offline=True)
    asked = []

    def refuse(route: Any) -> None:
        asked.append(route.request.url)
        if route.request.url.startswith("file:"):
            route.continue_()
        else:
            route.abort()

    tab.page.route("**/*", refuse)
    page = tab.open(explored("digits").page)
    walk(page)
    page.get_by_role("button", name="Previous snapshot").click()
    tab.until("explorer.snapshot === 8")
    assert {url.split("#")[0] for url in asked} <= {explored("digits").page.as_uri()}
    assert (
        page.evaluate("performance.getEntriesByType('resource').filter(({ name }) => !/^(blob|data):/.test(name))")
        == []
    )


def test_the_page_may_load_nothing_even_if_it_wanted_to(browser: Any, explored: Any) -> None:
    """In a tab that is not watched, as the browser complains about what it refuses."""
    page = browser.new_page()
    page.route("http**", lambda route: route.fulfill(body="taken", headers={"access-control-allow-origin": "*"}))
    page.goto(explored("digits").page.as_uri())
    page.wait_for_timeout(100)
    refused = page.evaluate(
        """async () => {
          const refused = [];
          document.addEventListener("securitypolicyviolation", (event) => refused.push(event.effectiveDirective));
          await fetch("https://example.org/").catch(() => {});
          document.body.append(Object.assign(new Image(), { src: "https://example.org/a.png" }),
            Object.assign(document.createElement("script"), { src: "https://example.org/a.js" }),
            Object.assign(document.createElement("iframe"), { src: "https://example.org/" }));
          for (let waits = 0; waits < 100 && refused.length < 4; waits++) {
            await new Promise((resolve) => setTimeout(resolve, 100));
          }
          return refused;
        }"""
    )
    page.close()
    assert sorted(refused) == ["connect-src", "frame-src", "img-src", "script-src-elem"]


def test_two_tabs_do_not_disturb_each_other(new_tab: Any, explored: Any) -> None:
    first = new_tab()
    second = type(first)(first.page.context)
    one, two = (tab.open(explored("digits").page) for tab in (first, second))
    unit = one.evaluate("explorer.unit")
    one.keyboard.press("ArrowRight")
    two.keyboard.press("n")
    two.keyboard.press("x")
    one.wait_for_timeout(300)
    assert one.evaluate("[explorer.sample, explorer.unit, explorer.surgery.length]") == [1, unit, 0]
    sample, other, switched_off = two.evaluate("[explorer.sample, explorer.unit, explorer.surgery.length]")
    assert (sample, other != unit, switched_off) == (0, True, 1)
    assert one.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
    assert second.complaints == []

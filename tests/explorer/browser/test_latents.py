"""Pages on the latents of a dictionary: what they show against the codes, with mouse, keyboard and links."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import latent_worlds
import numpy as np
import pytest
from playwright.sync_api import Page

from ae_lightning.explorer.latents import pages
from ae_lightning.explorer.latents.contents import Contents

SHOWN = "globalThis.explorer.latent"


def write(contents: Contents, folder: Path, in_folder: bool) -> None:
    for name, text in pages.pages_of(contents, in_folder):
        (folder / name).write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def latent_pages(made_once: Callable[..., Path]) -> Callable[[str], Path]:
    """The page of texts, of images, or of vectors, or the index of the folder of pages on the texts."""

    def fill(name: str, folder: Path) -> None:
        texts, images = latent_worlds.text_world(), latent_worlds.image_world()
        contents = {
            "texts": lambda: latent_worlds.text_contents(texts),
            "folder": lambda: latent_worlds.text_contents(texts),
            "images": lambda: latent_worlds.image_contents(images, latent_worlds.gray_pictures()),
            "vectors": lambda: images.contents(None, ["cat", "red fox", "dog"]),
        }[name]()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pages, "PER_PAGE", 5)
            write(contents, folder, in_folder=name == "folder")

    return lambda name: made_once(f"latents_{name}", lambda folder: fill(name, folder)) / "index.html"


def strongest(world: latent_worlds.World, latent: int) -> tuple[float, int, int]:
    """Largest activation of a latent, with its sample and position; of equal ones the first."""
    row = int(world.codes[:, latent].argmax())
    return float(world.codes[row, latent]), int(world.sample[row]), int(world.position[row])


def shown(page: Page) -> int:
    return page.evaluate(SHOWN)


def lines(page: Page) -> list[int]:
    """Numbers of the latents in the list."""
    return [int(text[1:]) for text in page.locator(".list-line .list-number").all_inner_texts()]


def search(page: Page, text: str) -> list[int]:
    page.fill("#list input[type=search]", text)
    return lines(page)


# --- what is shown ---------------------------------------------------------------------------------------------------


def test_texts_with_their_shades(tab: Any, latent_pages: Any) -> None:
    page = tab.open(latent_pages("texts"), "#latent=4")
    world = latent_worlds.text_world()
    value, sample, peak = strongest(world, 4)
    first = page.locator(".text-sample").first
    assert float(first.locator(".text-value").inner_text()) == value
    page.keyboard.press("t")  # all that the file holds of it
    tokens = world.tokens[sample][max(0, peak - 64) : peak + 32]
    expected = "".join(latent_worlds.WORDS[token] for token in tokens).replace("\n", "↵")
    text = first.locator(".text").text_content()
    assert text.strip("…") == expected
    framed = first.locator(".token.peak")
    assert framed.text_content() == latent_worlds.WORDS[world.tokens[sample, peak]].replace("\n", "↵").lstrip()
    own = (world.sample == sample) & (np.abs(world.position - peak + 16.5) < 48) & (world.codes[:, 4] > 0)
    shades = first.locator(".token").evaluate_all("all => all.map((each) => each.style.getPropertyValue('--strength'))")
    assert [float(shade[:-1]) for shade in shades] == pytest.approx(55 * world.codes[own, 4] / value, abs=0.6)


def test_pictures_with_their_places(tab: Any, latent_pages: Any) -> None:
    page = tab.open(latent_pages("images"), "#latent=4")
    world, pictures = latent_worlds.image_world(), latent_worlds.gray_pictures()
    value, sample, place = strongest(world, 4)
    first = page.locator(".sample").first
    tab.until("document.querySelector('.sample canvas.image').dataset.drawn !== undefined")
    np.testing.assert_array_equal(tab.pixels(".sample canvas.image")[..., 0], pictures[sample, ..., 0])
    assert first.locator("figcaption b").inner_text() == f"{value:g}"
    heat = tab.pixels(".sample canvas.heat")[..., 3].astype(float)
    code = world.codes[world.sample == sample, 4].reshape(4, 3)
    np.testing.assert_allclose(heat, 255 * 0.55 * code / value, atol=1.5)
    box, mark = (first.locator(each).bounding_box() for each in ("canvas.heat", ".mark"))
    row, column = divmod(place, 3)
    assert mark["x"] - box["x"] == pytest.approx(column * box["width"] / 3, abs=1)
    assert mark["y"] - box["y"] == pytest.approx(row * box["height"] / 4, abs=1)
    page.keyboard.press("m")
    assert not first.locator(".mark").is_visible()
    assert not page.is_checked("text=mark places")


def test_numbers_and_classes(tab: Any, latent_pages: Any) -> None:
    page = tab.open(latent_pages("images"), "#latent=4")
    world = latent_worlds.image_world()
    code = world.codes[:, 4]
    fact = lambda name: page.inner_text(f'dt:text-is("{name}") + dd')  # noqa: E731
    assert float(fact("fires on").split("%")[0]) == pytest.approx(100 * (code > 0).mean(), rel=0.01)
    assert float(fact("mean where it fires")) == pytest.approx(code[code > 0].mean(), rel=0.01)
    assert float(fact("largest")) == code.max()
    means = [code[world.label == number].mean() for number in range(3)]
    best = int(np.argmax(means))
    density = (code[world.label == best] > 0).mean()
    name, own = re.fullmatch(r"class (.*): fires on (.*)% of its rows", fact("prefers")).groups()
    assert (name, float(own)) == (["cat", "red fox", "dog"][best], pytest.approx(100 * density, rel=0.01))
    heights = page.locator('svg[aria-label^="Mean activation by class"] .chart-bar').evaluate_all(
        "all => all.map((each) => Number(each.getAttribute('height')))"
    )
    assert np.array(heights) / max(heights) == pytest.approx(np.array(means) / max(means), rel=0.01)
    assert page.locator(".near-line .list-number").all_inner_texts() == ["#5", "#6", "#7"]


def test_a_latent_that_never_fires(tab: Any, latent_pages: Any) -> None:
    for name in ("texts", "images"):
        page = tab.open(latent_pages(name), "#2")
        assert "It fires on none of the rows." in page.inner_text("#samples")
        assert page.inner_text('dt:text-is("fires on") + dd') == "no row"
        assert page.locator("#samples figure, #samples table, .text-sample").count() == 0


@pytest.mark.slow
def test_samples_of_which_nothing_is_known(tab: Any, latent_pages: Any) -> None:
    page = tab.open(latent_pages("vectors"), "#latent=4")
    value, sample, place = strongest(latent_worlds.image_world(), 4)
    cells = page.locator(".sample-table tbody tr").first.locator("td").all_inner_texts()
    assert (int(cells[0]), int(cells[1]), float(cells[3])) == (sample, place, value)


# --- finding one -----------------------------------------------------------------------------------------------------


def test_searches(tab: Any, latent_pages: Any) -> None:
    world = latent_worlds.image_world()
    page = tab.open(latent_pages("images"))
    assert search(page, "dead") == [2]
    assert search(page, "#7") == [7]
    assert shown(page) == 7
    means = np.stack([world.codes[world.label == number].mean(axis=0) for number in range(3)])
    assert search(page, "class red fox") == [x for x in range(12) if x != 2 and means[:, x].argmax() == 1]
    density = (world.codes > 0).mean(axis=0)
    limit = float(np.median(density))
    assert search(page, f"density>{limit:.4f} dead") == []
    assert search(page, f"density>{limit:.4f}") == np.flatnonzero(density > round(limit, 4)).tolist()
    assert page.inner_text("#list output") == f"{(density > round(limit, 4)).sum()} of 12"
    assert search(page, "class cow") == list(range(12))
    assert page.inner_text("#search-problem") == "There is no class “cow”: they are cat, red fox, dog."
    assert search(page, "") == list(range(12))
    page.select_option("#list select", "density")
    assert lines(page) == np.argsort(-density, kind="stable").tolist()


def test_tokens_are_searched_for(tab: Any, latent_pages: Any) -> None:
    world = latent_worlds.text_world()
    page = tab.open(latent_pages("texts"))
    strong = latent_worlds.text_contents(world).findings.tokens[0]
    cat = latent_worlds.WORDS.index(" cat")
    wanted = [latent for latent in range(12) if cat in strong[latent]]
    assert 0 < len(wanted) < 12
    assert search(page, "token Cat") == wanted
    assert search(page, 'token "cat"') == wanted
    assert search(page, "token zebras") == []
    chips = page.locator(".token-chip .token-alone").all_inner_texts()
    assert len(chips) == 8


@pytest.mark.slow
def test_a_bar_of_the_overview_searches_for_its_latents(tab: Any, latent_pages: Any) -> None:
    page = tab.open(latent_pages("images"))
    box = page.locator("#list .chart").bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.9, box["y"] + box["height"] * 0.4)
    low, high = (float(part) for part in re.findall(r"[\d.]+", page.input_value("#list input[type=search]")))
    density = (latent_worlds.image_world().codes > 0).mean(axis=0)
    assert lines(page) == np.flatnonzero((density >= low) & (density < high)).tolist() != []


# --- keys and links --------------------------------------------------------------------------------------------------


def test_keys(tab: Any, latent_pages: Any) -> None:
    page = tab.open(latent_pages("texts"), "#latent=4")
    page.keyboard.press("n")
    assert shown(page) == 5
    page.keyboard.press("ArrowRight")
    page.keyboard.press("p")
    assert shown(page) == 5
    page.keyboard.press("/")
    page.keyboard.type("density>0.1")  # letters go into the field
    assert shown(page) == 5
    assert page.input_value("#list input[type=search]") == "density>0.1"
    page.keyboard.press("Enter")
    assert shown(page) == lines(page)[0]
    page.fill("#list input[type=search]", "")
    page.focus(".list-box")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowDown")
    assert shown(page) == lines(page)[0]  # a cursor moves, and nothing is chosen yet
    page.keyboard.press("Enter")
    assert shown(page) == 1
    page.keyboard.press("?")
    assert "previous or next latent of the list" in page.inner_text("dialog")


def test_the_address_names_what_is_shown(tab: Any, latent_pages: Any) -> None:
    page = tab.open(latent_pages("texts"), "#latent=4&order=density&search=density%3E0.01")
    assert (shown(page), page.evaluate("explorer.order"), page.evaluate("explorer.query")) == (
        4,
        "density",
        "density>0.01",
    )
    page.locator(".near-line").nth(1).click()
    assert shown(page) == 6
    tab.until("location.hash.includes('latent=6&')")
    assert "order=density" in page.url
    page.evaluate("location.hash = '#3'")
    tab.until(f"{SHOWN} === 3")
    page.evaluate("location.hash = '#latent=99'")
    tab.until("!document.getElementById('problem').hidden")
    assert page.inner_text("#problem") == "The address asks for latent “99”, but they go from 0 to 11."


def test_a_folder_of_pages(tab: Any, latent_pages: Any) -> None:
    index = latent_pages("folder")
    page = tab.open(index)
    assert page.locator(".page-link").all_inner_texts() == ["#0 to #4", "#5 to #9", "#10 to #11"]
    assert lines(page) == list(range(12))
    assert search(page, "dead") == [2]
    page.fill("#list input[type=search]", "density>0.05")
    page.locator(".list-line", has_text="#11").click()
    page.wait_for_url("**/latents-00010.html#**")
    tab.ready()
    assert shown(page) == 11
    assert page.input_value("#list input[type=search]") == "density>0.05"  # the search goes with it
    value, _, _ = strongest(latent_worlds.text_world(), 11)
    assert float(page.locator(".text-value").first.inner_text()) == value
    page.locator(".near-line").first.click()  # the nearest of 11 is 0, on another page
    page.wait_for_url("**/latents-00000.html#**")
    tab.ready()
    assert shown(page) == 0
    page.keyboard.press("n")
    assert shown(page) == 1


# --- safety ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["texts", pytest.param("images", marks=pytest.mark.slow)])
def test_nothing_is_wider_than_a_telephone(name: str, new_tab: Any, latent_pages: Any) -> None:
    tab = new_tab(viewport={"width": 375, "height": 812}, has_touch=True, is_mobile=True, color_scheme="dark")
    page = tab.open(latent_pages(name), "#latent=4")
    page.keyboard.press("t")
    wide = page.evaluate(
        """() => [...document.querySelectorAll("main *, header *")]
          .filter((each) => each.checkVisibility() && !each.closest(".glimpse, svg"))
          .filter((each) => each.getBoundingClientRect().right > 375.5).map((each) => each.outerHTML.slice(0, 90))"""
    )
    assert wide == []
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 375
    page.locator("#sections button", has_text="Numbers").tap()
    assert page.locator("#numbers").evaluate("(each) => each.getBoundingClientRect().top < innerHeight")


def test_what_tokens_are_called_does_nothing(tab: Any, latent_pages: Any) -> None:
    page = tab.open(latent_pages("texts"), "#latent=4")
    elements = "document.querySelectorAll('script, b').length"
    before = page.evaluate(elements)
    text = ""
    for _ in range(12):
        text += page.text_content("#samples")
        page.keyboard.press("n")
    assert "</script><b>" in text
    assert "{{manifest}}" in text
    assert " &amp;" in text
    assert page.evaluate(elements) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda text: text.replace('"schema":1', '"schema":7'), "and the file holds version 7."),
        (
            lambda text: re.sub(r'(data-block="window">).{50}', r"\1", text),
            "The part “window” of this file is damaged.",
        ),
        (lambda text: text.replace('id="manifest">{', 'id="manifest">'), "The description of what this file holds is"),
    ],
)
def test_a_damaged_file_is_told(
    damage: Callable[[str], str], sentence: str, tab: Any, latent_pages: Any, tmp_path: Path
) -> None:
    path = tmp_path / "damaged.html"
    path.write_text(damage(latent_pages("texts").read_text(encoding="utf-8")), encoding="utf-8")
    tab.page.goto(path.as_uri())
    tab.until("!document.getElementById('problem').hidden")
    assert sentence in tab.page.inner_text("#problem")


def test_the_page_names_nothing_outside(latent_pages: Any) -> None:
    text = latent_pages("images").read_text(encoding="utf-8")
    assert (
        json.loads(re.search(r'id="manifest">(.*?)</script>', text, re.DOTALL)[1])["format"] == "ae_lightning.latents"
    )
    assert not re.findall(r"(?:https?:)?//[a-z0-9.]+\.[a-z]{2,}/", text.replace("http://www.w3.org/", ""))

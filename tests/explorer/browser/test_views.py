"""What each view shows and does, with the mouse; numbers on the page against the model's own."""

import base64
import io
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import Page

from ae_lightning.analysis.importance import causal_importance, error_by_removal, order, unit_importance
from ae_lightning.cli.main import main

INPUT, OUTPUT, DIFFERENCE = (f"#studio figure:nth-of-type({place}) canvas" for place in (1, 2, 3))
ATLAS = ".atlas-scroll canvas"
ORDER = '#atlas label:has-text("order") select'
GAP = 6
"""Pixels around the pictures of the atlas."""


@pytest.fixture
def page(explored: Any, tab: Any) -> Page:
    return tab.open(explored("digits").page)


def values(page: Page, name: str) -> np.ndarray:
    """An array of the page's store, by an expression."""
    return np.array(page.evaluate(f"Array.from({name})"), dtype=np.float32)


def number(text: str) -> float:
    return float(text.replace("−", "-").replace(",", ""))


def fact(page: Page, name: str) -> str:
    return page.inner_text(f'dt:text-is("{name}") + dd')


def tool(page: Page, name: str) -> None:
    page.locator("#studio").get_by_role("button", name=name, exact=True).click()


def unit_at(page: Page, place: int) -> int:
    """Click the picture at a place of the atlas' first line; the unit that the panel shows then."""
    tile = int(page.input_value("#atlas input[type=range]"))
    width = page.evaluate(f"document.querySelector('{ATLAS}').getBoundingClientRect().width")
    columns = int((width - GAP) // (tile + GAP))
    step = (width - 2 * GAP - tile) / (columns - 1)
    page.click(ATLAS, position={"x": GAP + place * step + tile / 2, "y": GAP + tile / 2})
    return int(page.inner_text(".unit-title").split()[0][1:])


def png(width: int = 30, height: int = 30) -> bytes:
    """A picture whose left half is white and right half black."""
    colors = np.zeros((height, width), np.uint8)
    colors[:, : width // 2] = 255
    data = io.BytesIO()
    Image.fromarray(colors).save(data, "PNG")
    return data.getvalue()


# --- the studio ------------------------------------------------------------------------------------------------------


def test_the_whole_input_is_changed_by_buttons(page: Page, tab: Any) -> None:
    first = values(page, "explorer.input").reshape(8, 8)
    tool(page, "Shift right by one")
    np.testing.assert_array_equal(values(page, "explorer.input").reshape(8, 8)[:, 1:], first[:, :-1])
    assert not values(page, "explorer.input").reshape(8, 8)[:, 0].any()
    tool(page, "Shift down by one")
    np.testing.assert_array_equal(values(page, "explorer.input").reshape(8, 8)[1:, 1:], first[:-1, :-1])
    tool(page, "Shift left by one")
    tool(page, "Shift up by one")
    np.testing.assert_array_equal(values(page, "explorer.input").reshape(8, 8)[:7, :7], first[:7, :7])
    tool(page, "original")
    np.testing.assert_array_equal(values(page, "explorer.input").reshape(8, 8), first)
    assert page.get_by_role("button", name="original").is_disabled()
    pictured = tab.pixels(INPUT)[..., 0].astype(int)
    tool(page, "invert")
    np.testing.assert_array_equal(values(page, "explorer.input").reshape(8, 8), 1 - first)
    np.testing.assert_allclose(tab.pixels(INPUT)[..., 0], 255 - pictured, atol=1)
    tool(page, "clear")
    assert not values(page, "explorer.input").any()
    assert fact(page, "sample") == "0, changed"
    tool(page, "undo")
    np.testing.assert_array_equal(values(page, "explorer.input").reshape(8, 8), 1 - first)


def test_noise_stays_within_the_range(page: Page) -> None:
    first = values(page, "explorer.input")
    found = []
    for _ in range(80):  # of one time alone the deviation of a few gray pixels could be anything
        tool(page, "noise")
        found.append(values(page, "explorer.input"))
        page.evaluate("explorer.undo()")
    noisy = np.stack(found)
    assert (noisy != first).mean() > 0.3
    assert noisy.min() >= 0
    assert noisy.max() <= 1
    gray = (first > 0.4) & (first < 0.6)  # at least four deviations from black and white: nothing is cut off
    assert np.std((noisy - first)[:, gray]) == pytest.approx(0.1, abs=0.03)


def test_input_reconstruction_and_difference_are_drawn(page: Page, tab: Any) -> None:
    given, made = values(page, "explorer.input"), values(page, "explorer.result.output")
    for picture, expected in ((INPUT, given), (OUTPUT, made)):
        np.testing.assert_allclose(
            tab.pixels(picture)[..., 0].flatten().astype(int), (255 * expected).clip(0, 255), atol=1
        )
    red, _, blue, _ = np.moveaxis(tab.pixels(DIFFERENCE).astype(int), -1, 0)
    difference = (made - given).reshape(8, 8)
    clear = np.abs(difference) > 0.1 * np.abs(difference).max()
    assert ((red > blue) == (difference > 0))[clear].all()
    caption = page.locator("#studio figcaption").nth(2).inner_text()
    assert number(caption.split("±")[1]) == pytest.approx(np.abs(difference).max(), rel=0.05)
    assert number(fact(page, "error per pixel")) == pytest.approx(float((difference**2).mean()), rel=0.01)


def test_an_image_file_becomes_the_input(page: Page) -> None:
    page.set_input_files("#studio input[type=file]", {"name": "half.png", "mimeType": "image/png", "buffer": png()})
    page.wait_for_selector('dd:text-is("your image")')
    given = values(page, "explorer.input").reshape(8, 8)
    np.testing.assert_allclose(given[:, :3], 1, atol=0.02)
    np.testing.assert_allclose(given[:, 5:], 0, atol=0.02)
    assert page.locator('dt:text-is("class")').is_hidden()
    tool(page, "undo")
    assert fact(page, "sample") == "0"


def drop(page: Page, selector: str, file: bytes | None) -> bool:
    """Drop a picture, or a text if it is None, on an element; whether the browser is kept from acting on it."""
    data = None if file is None else base64.b64encode(file).decode()
    prevented: bool = page.evaluate(
        """([selector, data]) => {
          const dataTransfer = new DataTransfer();
          if (data === null) dataTransfer.setData("text/plain", "dead");
          else {
            const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
            dataTransfer.items.add(new File([bytes], "half.png", { type: "image/png" }));
          }
          const event = new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true });
          document.querySelector(selector).dispatchEvent(event);
          return event.defaultPrevented;
        }""",
        [selector, data],
    )
    return prevented


def test_an_image_is_dropped_anywhere(page: Page) -> None:
    for place in ("body", "#atlas", "#header", INPUT):
        assert drop(page, place, png(40, 20)), place
        page.wait_for_selector('dd:text-is("your image")')
        given = values(page, "explorer.input").reshape(8, 8)
        assert not given[:2].any(), place  # it keeps its shape
        np.testing.assert_allclose(given[3:5, :3], 1, atol=0.02, err_msg=place)
        page.keyboard.press("ArrowRight")
        assert fact(page, "sample") == "0", place


def test_what_is_dropped_and_no_image_for_this_model_changes_nothing(page: Page, tab: Any, explored: Any) -> None:
    assert not drop(page, "#atlas input[type=search]", None)  # the field takes the text
    assert fact(page, "sample") == "0"
    vectors = tab.open(explored("toy_sae").page)
    assert drop(vectors, "#studio", png())  # the browser would show it in place of the page
    vectors.wait_for_timeout(100)
    assert (fact(vectors, "sample"), vectors.inner_text("#studio .warn")) == ("0", "")


def test_what_is_no_image_is_said_to_be_none(page: Page) -> None:
    text = {"name": "<b>notes</b>.txt", "mimeType": "text/plain", "buffer": b"no image"}
    page.set_input_files("#studio input[type=file]", text)
    page.wait_for_selector("#studio .warn:not(:empty)")
    assert page.inner_text("#studio .warn") == "“<b>notes</b>.txt” cannot be read as an image."
    assert fact(page, "sample") == "0"
    page.set_input_files("#studio input[type=file]", {"name": "a.png", "mimeType": "image/png", "buffer": png()})
    page.wait_for_selector('dd:text-is("your image")')
    assert page.inner_text("#studio .warn") == ""


def test_the_mouse_draws_and_erases(page: Page, tab: Any) -> None:
    before = values(page, "explorer.input").reshape(8, 8), tab.pixels(OUTPUT)
    box = page.locator(INPUT).bounding_box()
    cell = box["width"] / 8
    tool(page, "draw")
    page.mouse.move(box["x"] + 0.5 * cell, box["y"] + 0.5 * cell)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.5 * cell, box["y"] + 7.5 * cell, steps=3)
    page.mouse.up()
    drawn = values(page, "explorer.input").reshape(8, 8)
    assert (drawn[:, 0] == 1).all()
    np.testing.assert_array_equal(drawn[:, 1:], before[0][:, 1:])
    assert (tab.pixels(OUTPUT) != before[1]).any()
    tool(page, "erase")
    page.mouse.click(box["x"] + 0.5 * cell, box["y"] + 2.5 * cell)
    assert values(page, "explorer.input").reshape(8, 8)[1:4, 0].tolist() == [1, 0, 1]


# --- the atlas -------------------------------------------------------------------------------------------------------


def test_each_order_puts_the_units_as_its_numbers_say(page: Page) -> None:
    weight = values(page, "explorer.network.layers[0].weight").reshape(-1, 64)
    chosen = unit_at(page, 0)
    cosines = weight @ weight[chosen] / np.linalg.norm(weight, axis=1)
    cosines[chosen] = np.inf
    numbers = {
        "importance": values(page, "explorer.session.importances.at(-1)[0]"),
        "causal": values(page, "explorer.session.units[0].causal"),
        "activation": np.abs(values(page, "explorer.result.hidden[0]")),
        "index": -np.arange(len(weight)),
        "similarity": cosines,
    }
    assert page.locator(f"{ORDER} option").evaluate_all("(all) => all.map(({ value }) => value)") == list(numbers)
    for name, expected in numbers.items():
        page.select_option(ORDER, "index")
        page.fill("#atlas input[type=search]", f"#{chosen}")
        assert unit_at(page, 0) == chosen  # the one that others are compared with
        page.fill("#atlas input[type=search]", "")
        page.select_option(ORDER, name)
        ranked = np.argsort(-expected, kind="stable")
        assert unit_at(page, 0) == ranked[0], name
        if name != "similarity":  # which follows the unit that is clicked
            assert [unit_at(page, place) for place in (1, 2, 3)] == ranked[1:4].tolist(), name


def test_active_only_and_the_order_follow_the_input(page: Page) -> None:
    page.select_option(ORDER, "activation")
    page.get_by_label("active only").check()
    for _ in range(2):
        activations = values(page, "explorer.result.hidden[0]")
        assert page.inner_text("#atlas output") == f"{(activations != 0).sum()} of {len(activations)} units"
        assert unit_at(page, 0) == activations.argmax()
        page.get_by_role("button", name="Next sample").click()


def test_a_scale_of_its_own_gives_each_unit_full_colors(page: Page, tab: Any) -> None:
    shared = tab.pixels(ATLAS)
    note = page.locator("#atlas p.quiet").first
    assert note.inner_text().startswith("Colors are full at ±")
    page.get_by_label("one color scale").uncheck()
    assert (tab.pixels(ATLAS) != shared).any()
    assert note.inner_text().startswith("Each unit has its own color scale.")
    page.select_option("#atlas label:has-text('shows') select", "reads")
    own = tab.pixels(ATLAS)
    page.get_by_label("one color scale").check()
    assert (tab.pixels(ATLAS) != own).any()


def test_pixels_that_were_never_lit_are_gray_where_there_are_any(page: Page, tab: Any, explored: Any) -> None:
    lit = values(page, "explorer.session.lit")
    explored("digits").run.data.setup()
    train = explored("digits").run.data.train_set.take(10**6)[0].flatten(1).numpy()
    np.testing.assert_array_equal(lit != 0, train.max(axis=0) != train.min(axis=0))
    assert (lit == 0).any()
    page.select_option(ORDER, "activation")  # a silent unit would be drawn pale
    page.select_option("#atlas label:has-text('shows') select", "reads")
    box = page.get_by_label("gray unlit pixels")
    box.check()
    tile = int(page.input_value("#atlas input[type=range]"))
    pictured = tab.pixels(ATLAS)
    middles = GAP + ((np.arange(8) + 0.5) * tile / 8).astype(int)
    cells = pictured[np.ix_(middles, middles)].reshape(64, 4)
    assert ((cells == [128, 128, 128, 255]).all(axis=1) == (lit == 0)).all()
    page.select_option("#atlas label:has-text('shows') select", "writes")
    assert box.is_hidden()
    page = tab.open(explored("toy_sae").page)
    page.select_option("#atlas label:has-text('shows') select", "reads")
    box_is_there = page.get_by_label("gray unlit pixels").is_visible()
    assert box_is_there == (values(page, "explorer.session.lit") == 0).any()


def test_larger_pictures_are_fewer_to_a_line_and_hovering_names_a_unit(page: Page) -> None:
    height = page.evaluate("document.querySelector('.atlas-scroll').scrollHeight")
    page.locator("#atlas input[type=range]").fill("96")
    assert page.evaluate("document.querySelector('.atlas-scroll').scrollHeight") > height
    page.hover(ATLAS, position={"x": 40, "y": 40})
    first = int(np.argmax(values(page, "explorer.importance")))
    assert page.inner_text(".tip").startswith(f"#{first} activation ")
    page.mouse.move(2, 2)
    assert page.locator(".tip").is_hidden()


NAMES = ["Ankle", "Ankle boot", "Ankle boot, wet", "T-shirt/top", "a+b (c)", *"56789"]


def test_a_class_is_found_by_its_whole_name(tab: Any, explored: Any, tmp_path: Path) -> None:
    page = tab.open(with_classes(explored("digits").page, NAMES, tmp_path))
    means = values(page, "explorer.session.units[0].class_mean").reshape(-1, 10)
    activations = values(page, "explorer.result.hidden[0]")
    texts = {f"class {name}": number for number, name in enumerate(NAMES)} | {"CLASS  Ankle boot": 1}
    for text, number in texts.items():
        wanted = means.any(axis=1) & (means.argmax(axis=1) == number)
        assert searched(page, text) == "", text
        assert page.inner_text("#atlas output") == f"{wanted.sum()} of {len(means)} units", text
        assert searched(page, f"{text}, act>0") == "", text
        active = (wanted & (activations > 0)).sum()
        assert page.inner_text("#atlas output") == f"{active} of {len(means)} units", text


def test_a_part_of_a_class_s_name_is_none(tab: Any, explored: Any, tmp_path: Path) -> None:
    page = tab.open(with_classes(explored("digits").page, [*NAMES[1:], "x"], tmp_path))
    assert searched(page, "class Ankle").startswith("There is no class “Ankle”: they are Ankle boot, Ankle boot, wet,")
    assert searched(page, "class Ankle boots").startswith("There is no class “Ankle”")


def with_classes(path: Path, names: list[str], folder: Path) -> Path:
    """The page with other names of its classes."""
    text, count = re.subn(r'"classes":\[.*?\]', f'"classes":{json.dumps(names)}', path.read_text(encoding="utf-8"))
    assert count == 1
    (folder / "named.html").write_text(text, encoding="utf-8")
    return folder / "named.html"


# --- a unit ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def measured(explored: Any) -> dict[str, Any]:
    """The model of the digits and its activations on all test samples, by PyTorch."""
    run = explored("digits").run
    run.data.setup()
    x, y = run.data.test_set.take(10**6)
    model = run.model.eval()
    with torch.no_grad():
        z = model.encode(x)
        bias = model.decode(torch.zeros(1, z.shape[1])).flatten()
        vectors = model.encoder_vectors.detach(), model.decoder_vectors.detach()
    importance = unit_importance(*vectors, z.abs().mean(dim=0))
    return {"x": x.flatten(1), "y": y, "z": z, "bias": bias, "vectors": vectors, "importance": importance}


def test_the_numbers_in_the_panel_are_the_model_s(page: Page, measured: dict[str, Any]) -> None:
    z, (encoder, decoder) = measured["z"], measured["vectors"]
    causal = causal_importance(measured["x"], z, decoder, measured["bias"])
    for place in (0, 3):
        unit = unit_at(page, place)
        assert unit == int(order(measured["importance"])[place])
        assert fact(page, "importance").endswith(f", rank {place + 1}")
        assert fact(page, "causal importance").endswith(f", rank {order(causal).tolist().index(unit) + 1:,}")
        expected = {
            "activation": z[0, unit],
            "importance": measured["importance"][unit],
            "causal importance": causal[unit],
            "mean activation": z[:, unit].mean(),
            "active in": 100 * (z[:, unit] != 0).double().mean(),
            "norm of reads": encoder[unit].norm(),
            "norm of writes": decoder[unit].norm(),
            "their cosine": torch.cosine_similarity(encoder[unit], decoder[unit], dim=0),
        }
        for name, value in expected.items():
            found = number(re.match(r"[^,%]*", fact(page, name))[0])
            assert found == pytest.approx(float(value), rel=0.01, abs=1e-3), name
        with torch.no_grad():
            kept = torch.arange(z.shape[1]) != unit
            without = (z[0] * kept) @ decoder + measured["bias"]
        error = float((without - measured["x"][0]).square().mean())
        assert number(fact(page, "error without it").split()[0]) == pytest.approx(error, rel=0.01)


def test_samples_classes_and_histogram_in_the_panel_are_the_model_s(page: Page, measured: dict[str, Any]) -> None:
    unit = unit_at(page, 1)
    z, y = measured["z"][:, unit], measured["y"]
    sections = {
        title: page.locator("#panel section", has_text=title) for title in ("excite it most", "by class", "on the")
    }
    titles = sections["excite it most"].locator("button").evaluate_all("(all) => all.map(({ title }) => title)")
    samples = [int(re.match(r"Sample (\d+)", title)[1]) for title in titles]
    best = torch.argsort(z, descending=True, stable=True)[:16]
    assert samples == best.tolist()
    assert all(f"class {int(y[sample])}:" in title for sample, title in zip(samples, titles, strict=True))
    texts = sections["excite it most"].locator("button").all_inner_texts()
    np.testing.assert_allclose([number(text) for text in texts], z[best], rtol=0.06)
    means = np.array([float(z[y == digit].mean()) for digit in range(10)])
    label = sections["by class"].locator("svg").get_attribute("aria-label")
    most = re.search(r"most for (\d+), ([\d.]+)", label)
    assert int(most[1]) == means.argmax()
    assert number(most[2]) == pytest.approx(means.max(), rel=0.01)
    bars = sections["by class"].locator("rect").evaluate_all("(all) => all.map((bar) => +bar.getAttribute('height'))")
    np.testing.assert_allclose(np.array(bars) / max(bars), means / means.max(), atol=0.02)
    active = z[z != 0].numpy()
    counts, _ = np.histogram(active, 24, (active.min(), active.max()))
    bars = sections["on the"].locator("rect").evaluate_all("(all) => all.map((bar) => +bar.getAttribute('height'))")
    np.testing.assert_allclose(np.array(bars) / max(bars), counts / counts.max(), atol=1.5 / counts.max())
    sections["excite it most"].locator("button").nth(2).click()
    assert fact(page, "sample") == str(samples[2])


def test_neighbors_pixels_and_the_past_of_a_unit_lead_on(page: Page, tab: Any, measured: dict[str, Any]) -> None:
    unit = unit_at(page, 0)
    page.wait_for_timeout(200)
    near = page.locator("#panel section", has_text="Nearest units").locator("button")
    encoder = torch.nn.functional.normalize(measured["vectors"][0], dim=1)
    cosines = encoder @ encoder[unit]
    cosines[unit] = -2
    found = [text.split() for text in near.all_inner_texts()]
    np.testing.assert_allclose([number(close) for _, close in found], cosines.sort(descending=True)[0][:8], atol=0.006)
    chips = page.locator("#panel section", has_text="reads most").locator("button")
    strongest = int(measured["vectors"][0][unit].abs().argmax())
    assert chips.first.inner_text().startswith(f"{strongest // 8}, {strongest % 8}: ")
    chips.first.click()
    assert page.evaluate("explorer.pixel") == {"side": "input", "index": strongest}
    past = page.locator("#panel section", has_text="At each snapshot").locator("button")
    assert past.count() == 10
    past.nth(2).click()
    tab.until("explorer.snapshot === 2")
    assert past.nth(2).get_attribute("aria-pressed") == "true"
    near.first.click()
    assert page.inner_text(".unit-title") == found[0][0]


# --- a pixel ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["digits", "toy_sae", "fully_connected"])
def test_the_numbers_of_a_waterfall_add_up_as_they_are_printed(tab: Any, explored: Any, name: str) -> None:
    page = tab.open(explored(name).page)
    pixels = page.evaluate("explorer.session.pixels")
    for pixel in {0, pixels // 2, pixels - 1}:
        for sample in (0, 5):
            page.evaluate(
                "([sample, index]) => (location.hash = `sample=${sample}&pixel=output:${index}`)", [sample, pixel]
            )
            tab.until("([s, i]) => explorer.sample === s && explorer.pixel?.index === i", [sample, pixel])
            rows = page.locator("#pixels .bar-row:visible").all_inner_texts()
            parts = [row.rsplit(None, 1) for row in rows]
            names = [part[0].strip() for part in parts]
            printed = [Decimal(part[1].replace("−", "-")) for part in parts]
            end = names.index("= sum")
            assert names[0] == "bias"
            assert sum(printed[:end]) == printed[end]
            total, value = page.evaluate(
                """(index) => {
                  const { sum, value } = explorer.network.waterfall(explorer.result, index);
                  return [sum, value];
                }""",
                pixel,
            )
            assert float(printed[end]) == pytest.approx(total, rel=1e-2, abs=1e-3)
            assert float(printed[-1]) == pytest.approx(value, rel=1e-2, abs=1e-3)


def test_an_input_pixel_names_the_units_that_read_it(page: Page, measured: dict[str, Any]) -> None:
    box = page.locator(INPUT).bounding_box()
    page.mouse.click(box["x"] + 4.5 / 8 * box["width"], box["y"] + 2.5 / 8 * box["height"])
    weights = measured["vectors"][0][:, 2 * 8 + 4]
    rows = [row.split() for row in page.locator("#pixels .bar-row:visible").all_inner_texts()]
    assert rows[0] == ["unit", "weight", "×", "pixel"]
    strongest = weights.abs().argsort(descending=True)[:12]
    assert [row[0] for row in rows[1:]] == [f"#{unit}" for unit in strongest]
    np.testing.assert_allclose([number(row[1]) for row in rows[1:]], weights[strongest], rtol=0.01)
    given = float(measured["x"][0, 2 * 8 + 4])
    np.testing.assert_allclose([number(row[2]) for row in rows[1:]], given * weights[strongest], rtol=0.01, atol=1e-6)


# --- surgery ---------------------------------------------------------------------------------------------------------


def test_the_curve_of_the_error_is_that_of_the_analysis(page: Page, tab: Any, measured: dict[str, Any]) -> None:
    page.locator("#surgery").evaluate("(section) => section.scrollIntoView(false)")
    page.wait_for_selector("#surgery svg")
    counts = page.evaluate("explorer.session.manifest.removal[0].counts")
    decoder, units = measured["vectors"][1], order(measured["importance"])
    arguments = decoder, measured["bias"], units, counts
    expected = error_by_removal(measured["x"], measured["z"], *arguments)
    x, y = curve(page, "#surgery svg", 0)
    np.testing.assert_allclose(x, counts, atol=0.5)
    np.testing.assert_allclose(y, expected, atol=0.01 * float(expected.max()))
    own = error_by_removal(
        measured["x"][:1], measured["z"][:1], decoder, measured["bias"], units, range(len(units) + 1)
    )
    x, y = curve(page, "#surgery svg", 1)
    np.testing.assert_allclose(x, range(len(units) + 1), atol=0.5)
    np.testing.assert_allclose(y, own, atol=0.01 * float(own.max()))


def curve(page: Page, chart: str, series: int) -> tuple[np.ndarray, np.ndarray]:
    """The points of a line on both of its axes, as one would read them off the drawing."""
    drawn, texts = page.eval_on_selector(
        chart,
        """(chart, series) => {
          const texts = [...chart.querySelectorAll("text")];
          return [
            chart.querySelectorAll(`.chart-line.series-${series}`)[1].getAttribute("d"),
            texts.map((text) => [+text.getAttribute("x"), +text.getAttribute("y"), text.textContent]),
          ];
        }""",
        series,
    )
    points = np.array([[float(part) for part in point.split()] for point in re.split("[ML]", drawn)[1:]])
    upright = [(y - 4, number(text)) for x, y, text in texts if x == 35]
    level = [(x, number(text)) for x, y, text in texts if y == max(y for _, y in upright) + 17 and x != 35]
    level = level or [(x, number(text)) for x, y, text in texts if 40 <= x < 310 and re.fullmatch(r"\d+", text)]
    to_x, to_y = (np.polyfit(*np.array(ticks, float).T, 1) for ticks in (level, upright))
    return np.polyval(to_x, points[:, 0]), np.polyval(to_y, points[:, 1])


def test_several_units_are_switched_off_in_order_at_once(page: Page, measured: dict[str, Any]) -> None:
    several = page.locator("#surgery .slide", has=page.locator("select")).locator("input[type=number]")
    several.fill("10")
    several.press("Enter")
    z = measured["z"][:1].clone()
    z[:, order(measured["importance"])[:10]] = 0
    error = float((z @ measured["vectors"][1] + measured["bias"] - measured["x"][0]).square().mean())
    assert number(fact(page, "error per pixel")) == pytest.approx(error, rel=0.01)
    assert page.locator(".operations li").count() == 10
    assert "those off now: 10" in page.inner_text("#surgery p.quiet >> nth=-1")
    page.locator("#surgery").get_by_role("button", name="Undo").click()
    assert page.locator(".operations li").count() == 0


RANGES = [
    (0.98761, 0.98767),
    (0.98761, 0.98761 + 1e-7),
    (0, 1),
    (-3.2, 0.4),
    (12_000, 12_600),
    (1_000_000, 1_000_003),
    (2e-5, 2.0004e-5),
    (-1.00001, -1),
]


def test_texts_at_an_axis_differ_and_say_where_they_are(page: Page) -> None:
    for low, high, log in [(low, high, log) for low, high in RANGES for log in (False, True)]:
        case = f"from {low} to {high}, {'logarithmic' if log else 'linear'}"
        texts = page.evaluate(
            """async ([low, high, logY]) => {
              const { imports } = JSON.parse(document.querySelector('script[type="importmap"]').textContent);
              const { lineChart } = await import(imports["explorer/charts.js"]);
              const chart = lineChart([{ name: "", x: [0, 1], y: [low, high] }], { logY });
              const texts = [...chart.querySelectorAll("text[x='35']")];
              return texts.map((text) => [text.getAttribute("y"), text.textContent]);
            }""",
            [low, high, log],
        )
        places, found = zip(*((float(y), text_number(text)) for y, text in texts), strict=True)
        assert len(set(found)) == len(found) >= 2, case
        assert np.diff(places).max() < -10, case  # nor do they cover each other
        room = 0.05 * (high - low)
        assert low - room <= min(found) < max(found) <= high + room, case
        if not log or low <= 0:
            steps = np.diff(found)
            np.testing.assert_allclose(steps, steps[0], rtol=1e-3, err_msg=case)
            scale = np.diff(places)[0] / steps[0]
            np.testing.assert_allclose(np.diff(places) / steps, scale, rtol=1e-2, err_msg=case)


def text_number(text: str) -> float:
    return number(text.rstrip("KM")) * {"K": 1e3, "M": 1e6}.get(text[-1], 1)


# --- the training ----------------------------------------------------------------------------------------------------


def test_a_curve_is_clicked_and_two_snapshots_stand_side_by_side(page: Page, tab: Any) -> None:
    unit_at(page, 0)
    chart = page.locator("#training svg").first
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    chart.click(position={"x": box["width"] * 42 / 320, "y": box["height"] / 2})
    tab.until("explorer.snapshot === 0")
    page.select_option('#training select:has(option:text-is("nothing"))', "9")
    page.wait_for_timeout(150)
    steps = page.evaluate("explorer.session.manifest.snapshots.map(({ step }) => step)")
    assert page.inner_text(".side-now h3") == f"Step {steps[0]:,}"
    assert page.inner_text(".side-other h3") == f"Step {steps[9]:,}"
    assert page.inner_text(".side-now p.number").split(" · ")[0] == f"Error {fact(page, 'error per pixel')}"
    other = page.inner_text(".side-other p.number")
    page.get_by_role("button", name="Last snapshot").click()
    tab.until("explorer.snapshot === 9")
    assert (
        other
        == f"Error {fact(page, 'error per pixel')} · unit {page.evaluate('explorer.unit')}: {fact(page, 'activation')}"
    )


def test_the_unit_of_a_rank_is_followed(page: Page, tab: Any) -> None:
    unit_at(page, 2)
    page.select_option('#training select:has(option:text-is("the unit of its rank"))', "rank")
    page.get_by_role("button", name="First snapshot").click()
    tab.until("explorer.snapshot === 0")
    assert fact(page, "importance").endswith(", rank 3")


def test_with_one_snapshot_there_is_a_sentence_in_place_of_a_slider(tab: Any, explored: Any, tmp_path: Path) -> None:
    path = tmp_path / "one.html"
    assert main(["explore", str(explored("digits").run.folder), "--snapshots", "1", "-o", str(path)]) == 0
    page = tab.open(path, "#unit=3")
    assert "This file holds one snapshot: there is no time to move in." in page.inner_text("#training")
    assert page.locator("#training input, #training select, button.play").count() == 0
    for key in (" ", "[", "]"):
        page.keyboard.press(key)
    page.wait_for_timeout(150)
    assert page.evaluate("[explorer.playing, explorer.snapshot]") == [False, 0]
    assert page.locator("#panel section", has_text="At each snapshot").locator("button").count() == 1


# --- the map ---------------------------------------------------------------------------------------------------------


def test_a_point_of_the_map_shows_its_image_and_becomes_the_input(page: Page, tab: Any) -> None:
    canvas = page.locator(".map-box canvas[tabindex]")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    for part in np.linspace(0.3, 0.7, 9):
        page.mouse.move(box["x"] + part * box["width"], box["y"] + box["height"] / 2)
        if page.locator(".map-card").is_visible():
            break
    sample = int(re.match(r"sample (\d+)", page.inner_text(".map-card"))[1])
    image = tab.pixels(".map-card canvas")
    page.mouse.down()
    page.mouse.up()
    assert fact(page, "sample") == str(sample)
    np.testing.assert_array_equal(tab.pixels(INPUT), image)
    class_name = page.locator(".legend button").first
    class_name.click()
    assert class_name.get_attribute("aria-pressed") == "true"


# --- other models ----------------------------------------------------------------------------------------------------


def test_a_model_of_vectors_has_no_tools_for_images(tab: Any, explored: Any) -> None:
    page = tab.open(explored("toy_sae").page, "#unit=1&pixel=output:1")
    names = page.locator("#studio button").evaluate_all(
        "(all) => all.map((b) => b.getAttribute('aria-label') ?? b.textContent)"
    )
    assert "Shift left by one" in names
    assert not {"Shift up by one", "image …"} & set(names)
    assert page.locator("#pixels .place label:visible").all_inner_texts() == ["entry"]
    assert "pixel" not in page.inner_text("body").lower()
    assert fact(page, "error per entry")
    assert page.locator('dt:text-is("class")').is_hidden()
    assert "These data have no classes." in searched(page, "class 1")
    page.fill("#atlas input[type=search]", "")
    tool(page, "draw")
    first = values(page, "explorer.input")
    box = page.locator(INPUT).bounding_box()
    page.mouse.click(box["x"] + 3, box["y"] + box["height"] / 2)
    drawn = values(page, "explorer.input")
    assert drawn[0] == np.float32(page.evaluate("explorer.session.manifest.input.high"))
    np.testing.assert_array_equal(drawn[1:], first[1:])
    tool(page, "clear")
    assert not values(page, "explorer.input").any()


def searched(page: Page, text: str) -> str:
    page.fill("#atlas input[type=search]", text)
    return page.inner_text("#search-problem")


def test_a_deep_model_has_a_menu_of_layers_and_says_what_gradients_are(tab: Any, explored: Any) -> None:
    page = tab.open(explored("fully_connected").page)
    layers = page.evaluate("explorer.session.hiddenLayers.map(({ name, units }) => `${name} · ${units}`)")
    menu = page.locator('#atlas label:has-text("layer") select')
    assert [text.strip() for text in menu.locator("option").all_inner_texts()] == layers
    note = page.locator("#atlas p.quiet").first
    assert "What a unit here writes depends on the input: the gradient at this input is shown" in note.inner_text()
    menu.select_option(str(len(layers) - 1))
    assert "the gradient" not in note.inner_text()
    menu.select_option("0")
    page.select_option("#atlas label:has-text('shows') select", "reads")
    assert "the gradient" not in note.inner_text()
    unit_at(page, 0)
    assert "what it writes is the gradient at this input" in page.inner_text("#panel")
    menu.select_option(str(len(layers) - 1))
    assert page.evaluate("explorer.unit") == page.evaluate("(layer) => explorer.openingUnit(layer)", len(layers) - 1)
    unit_at(page, 0)
    assert "what it reads is the gradient at this input" in page.inner_text("#panel")
    menu.select_option("1")
    unit_at(page, 0)
    assert "what it reads and writes is the gradient at this input" in page.inner_text("#panel")
    page.wait_for_timeout(200)
    assert "Layers lie between this unit and the pixels" in page.inner_text("#panel section >> nth=-1")


# --- the look --------------------------------------------------------------------------------------------------------


def test_light_and_dark_schemes_differ_also_on_canvases(page: Page, tab: Any) -> None:
    unit_at(page, 0)
    seen = {}
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_timeout(60)
        ground, ink = page.evaluate(
            "(({ backgroundColor, color }) => [backgroundColor, color])(getComputedStyle(document.body))"
        )
        pictures = [tab.pixels(selector) for selector in (ATLAS, DIFFERENCE, "#panel figure canvas", ".map-box canvas")]
        seen[scheme] = (
            [sum(map(int, re.findall(r"\d+", color)[:3])) for color in (ground, ink)],
            pictures,
            tab.pixels(INPUT),
        )
    (light_ground, light_ink), (dark_ground, dark_ink) = seen["light"][0], seen["dark"][0]
    assert light_ground > 600 > 150 > dark_ground
    assert light_ink < 150 < 600 < dark_ink
    for light, dark in zip(seen["light"][1], seen["dark"][1], strict=True):
        drawn = light[..., 3] > 0
        assert (light != dark)[drawn].any(axis=-1).mean() > 0.5
    np.testing.assert_array_equal(seen["light"][2], seen["dark"][2])  # an image stays what it is


def test_who_wants_little_motion_gets_none(new_tab: Any, explored: Any) -> None:
    page = new_tab(reduced_motion="reduce").open(explored("digits").page)
    unit_at(page, 0)
    page.keyboard.press("?")
    moving = page.evaluate(
        """() => [...document.querySelectorAll("*")].filter((each) => {
          const { transitionDuration, animationName, scrollBehavior } = getComputedStyle(each);
          return parseFloat(transitionDuration) > 0 || animationName !== "none" || scrollBehavior !== "auto";
        }).length"""
    )
    assert (moving, page.evaluate("document.getAnimations().length")) == (0, 0)
    assert not page.evaluate("explorer.playing")


def test_pictures_are_saved(page: Page) -> None:
    unit = unit_at(page, 0)
    for section, name in (("#tools", "reconstruction_sample_0.png"), ("#panel", f"unit_0_{unit}.png")):
        with page.expect_download() as download:
            page.locator(section).get_by_role("button", name="save picture").click()
        assert download.value.suggested_filename == name
        with Image.open(download.value.path()) as picture:
            assert picture.format == "PNG"
            assert picture.width > 800
            assert len(picture.convert("RGB").getcolors(1 << 20)) > 20

"""Images of three channels are pictures in color, and their weights color about a middle gray."""

import io
import re
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import Page

INPUT, OUTPUT, DIFFERENCE = (f"#studio figure:nth-of-type({place}) canvas" for place in (1, 2, 3))
HEIGHT, WIDTH = 6, 5


@pytest.fixture
def page(explored: Any, tab: Any) -> Page:
    return tab.open(explored("colored").page, "#sample=2&unit=4")


@pytest.fixture
def sample(explored: Any) -> tuple[np.ndarray, np.ndarray]:
    """The third test sample and its reconstruction by PyTorch, (3, height, width) each."""
    run = explored("colored").run
    run.data.setup()
    x = run.data.test_set.take(3)[0][2:]
    with torch.no_grad():
        return x[0].numpy(), run.model.eval()(x).x_hat[0].numpy()


def assert_pictured(canvas: np.ndarray, image: np.ndarray) -> None:
    """A canvas shows an image (3, height, width) of values within [0, 1]; the page's weights are float16."""
    assert (canvas[..., 3] == 255).all()
    expected = 255 * np.moveaxis(image, 0, -1).clip(0, 1)
    np.testing.assert_allclose(canvas[..., :3].astype(int), expected, atol=1.5)


def assert_signed(canvas: np.ndarray, numbers: np.ndarray, reach: float) -> None:
    """A canvas shows zero gray, and what is as large as `reach` black or white."""
    assert_pictured(canvas, 0.5 + 0.5 * numbers / reach)


def assert_cells_signed(cells: np.ndarray, numbers: np.ndarray, reach: float) -> None:
    assert_signed(cells.reshape(HEIGHT, WIDTH, 4), numbers.reshape(3, HEIGHT, WIDTH), reach)


def values(page: Page, name: str) -> np.ndarray:
    return np.array(page.evaluate(f"Array.from({name})"), dtype=np.float32).reshape(3, HEIGHT, WIDTH)


def click(page: Page, selector: str, row: int, column: int) -> None:
    box = page.locator(selector).bounding_box()
    place = {"x": (column + 0.5) / WIDTH * box["width"], "y": (row + 0.5) / HEIGHT * box["height"]}
    page.click(selector, position=place)


def test_samples_are_drawn_in_color(page: Page, tab: Any, sample: tuple[np.ndarray, np.ndarray], explored: Any) -> None:
    x, x_hat = sample
    assert x.std(axis=0).max() > 0.1  # it has a color
    assert_pictured(tab.pixels(INPUT), x)
    assert_pictured(tab.pixels(OUTPUT), x_hat)
    thumbnails = tab.pixels(".strip canvas")
    assert_pictured(thumbnails[:, 2 * WIDTH : 3 * WIDTH], x)
    top = page.locator("#panel section", has_text="excite it most").locator("button").first
    number = int(re.match(r"Sample (\d+)", top.get_attribute("title"))[1])
    best = explored("colored").run.data.test_set.take(number + 1)[0][number].numpy()
    assert_pictured(tab.pixels("#panel .thumb canvas"), best)


def test_signed_numbers_are_color_about_gray(page: Page, tab: Any, sample: tuple[np.ndarray, np.ndarray]) -> None:
    x, x_hat = sample
    difference = x_hat - x
    assert_signed(tab.pixels(DIFFERENCE), difference, np.abs(difference).max())
    row = page.evaluate("Array.from(explorer.network.row(0, 4))")
    reads = np.array(row).reshape(3, HEIGHT, WIDTH)
    assert_signed(tab.pixels("#panel .unit-images canvas"), reads, np.abs(reads).max())
    assert "Gray is zero, in each channel." in page.inner_text("#atlas")


def test_the_atlas_draws_each_unit_in_its_color(page: Page, tab: Any) -> None:
    page.evaluate("explorer.set({ sharedScale: false, order: 'activation', drawn: 'reads' })")
    (unit, *_) = page.evaluate("Array.from(explorer.result.hidden[0].keys())" + BY_ACTIVATION)
    tile, gap = int(page.input_value("#atlas input[type=range]")), 6
    tall = round(tile * HEIGHT / WIDTH)
    middles = [gap + ((np.arange(n) + 0.5) * size / n).astype(int) for n, size in ((HEIGHT, tall), (WIDTH, tile))]
    reads = np.array(page.evaluate("(unit) => Array.from(explorer.network.row(0, unit))", unit))
    assert_cells_signed(tab.pixels(".atlas-scroll canvas")[np.ix_(*middles)], reads, np.abs(reads).max())


BY_ACTIVATION = ".sort((a, b) => explorer.result.hidden[0][b] - explorer.result.hidden[0][a])"


def test_a_pixel_has_three_channels(page: Page) -> None:
    click(page, OUTPUT, 3, 1)
    assert page.evaluate("explorer.pixel") == {"side": "output", "index": 3 * WIDTH + 1}
    channel = page.get_by_label("channel")
    channel.fill("2")
    assert page.evaluate("explorer.pixel.index") == (2 * HEIGHT + 3) * WIDTH + 1
    click(page, INPUT, 4, 2)  # which keeps the channel
    assert page.evaluate("explorer.pixel") == {"side": "input", "index": (2 * HEIGHT + 4) * WIDTH + 2}
    assert channel.input_value() == "2"
    mark = page.locator("#studio .picture .mark:visible").bounding_box()
    box = page.locator(INPUT).bounding_box()
    assert mark["x"] - box["x"] == pytest.approx(2 / WIDTH * box["width"], abs=1)
    assert mark["y"] - box["y"] == pytest.approx(4 / HEIGHT * box["height"], abs=1)
    largest = int(np.abs(page.evaluate("Array.from(explorer.network.row(0, 4))")).argmax())
    name = f"{largest // WIDTH % HEIGHT}, {largest % WIDTH} {('red', 'green', 'blue')[largest // WIDTH // HEIGHT]}: "
    chips = page.locator("#panel section", has_text="reads most").locator("button")
    assert chips.first.inner_text().startswith(name)
    chips.first.click()
    assert page.evaluate("explorer.pixel.index") == largest


def test_drawing_and_reading_aloud_are_in_all_channels(page: Page) -> None:
    page.keyboard.press("d")
    click(page, INPUT, 5, 4)
    drawn = values(page, "explorer.input")
    np.testing.assert_array_equal(drawn[:, 5, 4], 1)
    page.locator("#studio").get_by_role("button", name="undo").click()
    before = values(page, "explorer.input")
    assert ((drawn != before).sum(axis=0) > 0).sum() == 1
    page.locator(INPUT).focus()
    page.keyboard.press("ArrowUp")
    row, column, *said = re.match(
        r"row (\d), column (\d): ([\d.]+), ([\d.]+), ([\d.]+)$", page.text_content("#announcer")
    ).groups()
    np.testing.assert_allclose([float(number) for number in said], before[:, int(row), int(column)], rtol=0.01)


def test_a_dropped_image_keeps_its_colors(page: Page, tab: Any) -> None:
    colors = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    colors[:, :2], colors[:, 2:] = (255, 128, 0), (0, 51, 204)
    data = io.BytesIO()
    Image.fromarray(colors).save(data, "PNG")
    file = {"name": "two.png", "mimeType": "image/png", "buffer": data.getvalue()}
    page.set_input_files("#studio input[type=file]", file)
    page.wait_for_selector('dd:text-is("your image")')
    np.testing.assert_allclose(values(page, "explorer.input"), np.moveaxis(colors, -1, 0) / 255, atol=0.01)
    assert_pictured(tab.pixels(INPUT), np.moveaxis(colors, -1, 0) / 255)

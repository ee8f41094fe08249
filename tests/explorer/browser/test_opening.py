"""What the page opens on: what units write, and a unit that has something to show."""

from typing import Any

import numpy as np
import pytest


def morans_i(image: np.ndarray, counted: np.ndarray) -> float:
    """N / Σw · Σ w_ab d_a d_b / Σ d², with w_ab = 1 where two pixels that count share an edge (Moran 1950)."""
    places = np.argwhere(counted)
    d = image[counted] - image[counted].mean()
    w = (np.abs(places[:, None] - places[None]).sum(-1) == 1).astype(float)
    return float(len(d) / w.sum() * (d @ w @ d) / (d @ d))


def test_it_shows_what_units_write_and_chooses_an_important_one_that_writes_an_image(tab: Any, explored: Any) -> None:
    shown = explored("digits")
    page = tab.open(shown.page)
    assert page.input_value("#atlas label:has-text('shows') select") == "writes"
    model, data = shown.run.model, shown.run.data
    data.setup()
    train, test = (part.take(len(part))[0].flatten(1) for part in (data.train_set, data.test_set))
    z = model.encode(test).detach()
    reads, writes = model.encoder_vectors.detach(), model.decoder_vectors.detach()
    importance = (reads.norm(dim=1) * z.abs().mean(0) * writes.norm(dim=1)).numpy()
    lit = (train.amax(0) != train.amin(0)).numpy().reshape(8, 8)
    structure = np.array([morans_i(row.reshape(8, 8), lit) for row in writes.double().numpy()])
    fires = ((z != 0).float().mean(0) >= 0.01) & (z[0] != 0)
    worth = np.where(fires, importance * structure, -np.inf)
    assert page.inner_text(".unit-title") == f"#{worth.argmax()}"
    assert worth.argmax() != importance.argmax()  # of this run; the most important one is less of an image
    assert page.locator("#panel .unit-images").is_visible()


def test_where_inputs_are_no_images_it_is_the_most_important_unit_that_fires(tab: Any, explored: Any) -> None:
    page = tab.open(explored("toy_sae").page)
    importance, density, now = (
        np.array(page.evaluate(f"Array.from({values})"))
        for values in ("explorer.importance", "explorer.session.units[0].density", "explorer.result.hidden[0]")
    )
    assert not now.any()  # no unit of this run fires on the first sample
    fires = density >= 0.01
    assert fires.any()
    assert page.inner_text(".unit-title") == f"#{np.where(fires, importance, -1).argmax()}"


# Rows of three by two pixels, and what Moran's formula gives for them, worked out by hand.
HAND = [
    ([1, -1, 1, -1, 1, -1], [1] * 6, -6 / 7 * 7 / 6),  # a checkerboard: all 7 pairs differ
    ([1, 1, 1, -1, -1, -1], [1] * 6, 6 / 7 * (4 - 3) / 6),  # two stripes: 4 pairs agree along them, 3 differ across
    ([2, 2, 2, 2, 2, 2], [1] * 6, 0),
    ([1, 9, 1, -1, 9, -1], [1, 0, 1, 1, 0, 1], 4 / 2 * -2 / 4),  # the middle column counts for nothing
    ([1, 9, 9, 9, 9, -1], [1, 0, 0, 0, 0, 1], 0),  # no two neighbors
]


@pytest.mark.parametrize(("row", "lit", "expected"), HAND)
def test_how_structured_a_row_is(tab: Any, explored: Any, row: list[int], lit: list[int], expected: float) -> None:
    page = tab.open(explored("digits").page)
    found = page.evaluate(
        """async ([row, lit]) => {
          const { imports } = JSON.parse(document.querySelector("script[type=importmap]").textContent);
          const { structure } = await import(imports["explorer/opening.js"]);
          return structure(row, { planes: 1, width: 3, height: 2 }, lit);
        }""",
        [row, lit],
    )
    assert found == pytest.approx(expected, abs=1e-12)


def test_a_unit_that_is_searched_for_by_its_number_is_chosen(tab: Any, explored: Any) -> None:
    page = tab.open(explored("digits").page)
    opening = page.inner_text(".unit-title")
    for text, expected in (("#93", "#93"), ("dead", "#93"), ("#999", "#93"), ("#12 act>0", "#93"), ("7", "#7")):
        page.fill("#atlas input[type=search]", text)
        assert page.inner_text(".unit-title") == expected
    assert opening not in ("#93", "#7")

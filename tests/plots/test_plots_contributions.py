import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

from ae_lightning.analysis.contributions import contributions
from ae_lightning.plots.contributions import contribution_bars, contribution_images

WHITE, RED, BLUE = [255, 255, 255], [103, 0, 31], [5, 48, 97]  # the ends of RdBu, and its zero


def _example(most=8):
    """A picture of 2 × 2 of which latent 3 adds 4 to the first pixel, and latent 1 takes 4 from the last."""
    vectors = torch.zeros(5, 4)
    vectors[3, 0], vectors[1, 3], vectors[2, 1] = 2.0, 2.0, 1.0
    bias = torch.tensor([0.0, 0.0, 2.0, 4.0])
    return contributions(torch.tensor([0, -2, 0.5, 2.0, 0]), vectors, bias, most)


def _texts(figure):
    return [text.get_text() for text in figure.axes[0].texts if text.get_text()]


def _pictures(figure):
    return [np.asarray(image.get_array()) for image in figure.axes[0].images]


def test_the_figure_is_an_equation_whose_terms_are_named(lies_within):
    figure = contribution_images(_example(most=2), torch.zeros(1, 2, 2), (2, 2))
    named = ["input", "≈", "reconstruction", "=", "bias", "+", "#1\nz = −2", "+", "#3\nz = 2", "+", "rest\n1 latent"]
    assert sorted(_texts(figure)) == sorted(named)
    places = {text.get_text(): text.get_position()[0] for text in figure.axes[0].texts}
    assert places["input"] < places["≈"] < places["reconstruction"] < places["="] < places["bias"]
    assert places["bias"] < places["#1\nz = −2"] < places["#3\nz = 2"]
    assert "3 active latents" in figure.get_suptitle()
    assert lies_within(figure)


def test_terms_are_signed_on_one_scale_and_input_and_sum_are_gray():
    pictures = _pictures(contribution_images(_example(), torch.tensor([[4.0, 0], [2, 0]]), (2, 2), (0, 4)))
    first, total, bias, minus, plus, small = pictures
    assert first[:, :, 0].tolist() == [[255, 0], [128, 0]]
    assert total[0, 0].tolist() == [255] * 3  # 4
    assert total[0, 1].tolist() == [32] * 3  # 0.5 of 4
    assert total[1, 1].tolist() == [0] * 3  # the bias less what latent 1 takes away
    assert minus[1, 1].tolist() == BLUE
    assert plus[0, 0].tolist() == RED
    assert plus[1, 1].tolist() == minus[0, 0].tolist() == WHITE
    assert bias[1, 1].tolist() == RED
    # An eighth of the scale is nearly white, although it is the largest that this latent adds.
    assert small[0, 1].min() > 200
    assert small[0, 1].tolist() != WHITE


def test_the_bar_beside_the_images_has_their_scale():
    figure = contribution_images(_example(), torch.zeros(4), (2, 2))
    assert figure.axes[1].get_ylim() == pytest.approx((-4, 4))


def test_without_a_range_of_values_that_of_input_and_sum_is_taken():
    pictures = _pictures(contribution_images(_example(), torch.tensor([8.0, 0, 0, 0]), (2, 2)))
    assert pictures[0][0, 0].tolist() == [255] * 3
    assert pictures[1][0, 0].tolist() == [128] * 3


def test_there_is_no_rest_without_other_latents():
    assert not [text for text in _texts(contribution_images(_example(), torch.zeros(4), (2, 2))) if "rest" in text]
    assert [text for text in _texts(contribution_images(_example(1), torch.zeros(4), (2, 2))) if "2 latents" in text]


def test_an_output_activation_stands_between_the_sum_and_the_reconstruction(lies_within):
    found = _example()
    figure = contribution_images(found, torch.zeros(2, 2), (2, 2), (0, 1), torch.sigmoid(found.total))
    pictures = _pictures(figure)
    assert pictures[1][1, 1].tolist() == [128] * 3  # sigmoid of 0
    assert pictures[2][0, 0].tolist() == RED  # the sum, 4
    assert "sum\nbefore activation" in _texts(figure)
    assert "output activation of a sum" in figure.get_suptitle()
    assert lies_within(figure)


def test_many_terms_are_wrapped_with_a_sign_before_each(lies_within):
    found = contributions(torch.ones(40), torch.rand(40, 64), torch.rand(64), most=20)
    figure = contribution_images(found, torch.rand(64), (8, 8), title="A title")
    signs = [text.get_text() for text in figure.axes[0].texts if text.get_text() in ("≈", "=", "+")]
    assert (signs.count("≈"), signs.count("="), signs.count("+")) == (1, 1, 21)
    assert len({image.get_extent()[2] for image in figure.axes[0].images}) == 4  # 24 images, six in a row
    assert figure.get_suptitle().startswith("A title\n")
    assert lies_within(figure)


@pytest.mark.parametrize(
    ("shape", "active"),
    [
        *((shape, 12) for shape in [(4,), (100,), (12, 3), (3, 5, 5), (2, 4, 4), (1, 28, 28)]),
        *((shape, active) for shape in [(4,), (3, 5, 5)] for active in (0, 1)),
    ],
)
def test_images_of_many_shapes_fit_the_figure(shape, active, lies_within):
    torch.manual_seed(0)
    size = int(np.prod(shape))
    z = torch.zeros(20)
    z[:active] = 1
    found = contributions(z, torch.randn(20, size), torch.randn(size))
    figure = contribution_images(found, torch.rand(shape), shape)
    assert lies_within(figure)
    assert len(_pictures(figure)) == 3 + min(active, 8) + (active > 8)


def test_an_image_of_zeros_is_drawn(lies_within):
    figure = contribution_images(
        contributions(torch.zeros(2), torch.ones(2, 4), torch.zeros(4)), torch.zeros(4), (2, 2)
    )
    assert _pictures(figure)[2].tolist() == [[WHITE] * 2] * 2
    assert lies_within(figure)


def test_bars_are_stacked_away_from_zero_and_their_ends_add_up_to_the_reconstruction(lies_within):
    torch.manual_seed(0)
    found = contributions(torch.randn(30), torch.randn(30, 6), torch.randn(6), most=4)
    x = torch.randn(6)
    figure = contribution_bars(found, x)
    ax = figure.axes[0]
    bars = {container.get_label(): container.patches for container in ax.containers}
    assert len(bars) == 6
    names = [label.split()[0] for label in bars]
    assert names == ["bias", *(f"#{i}" for i in found.latents.tolist()), "rest"]
    assert list(bars)[-1] == "rest  (26 latents)"
    heights = {name: [bar.get_height() for bar in stack] for name, stack in zip(names, bars.values(), strict=True)}
    np.testing.assert_allclose(heights["bias"], found.bias, rtol=1e-5)
    np.testing.assert_allclose(heights["rest"], found.rest, rtol=1e-5)
    marks = {line.get_label(): line.get_xydata() for line in ax.lines}
    for entry in range(6):
        spans = [(stack[entry].get_y(), stack[entry].get_y() + stack[entry].get_height()) for stack in bars.values()]
        top, bottom = (end(value for span in spans for value in span) for end in (max, min))
        assert sum(abs(end - start) for start, end in spans) == pytest.approx(top - bottom, rel=1e-5)  # no overlap
        assert tuple(marks["reconstruction (the sum)"][entry]) == pytest.approx((entry, top + bottom), abs=1e-5)
        assert tuple(marks["input"][entry]) == pytest.approx((entry, x[entry].item()))
    assert lies_within(figure)


def test_the_legend_names_every_term_and_no_two_look_alike():
    found = contributions(torch.ones(40), torch.rand(40, 3), torch.rand(3), most=20)
    figure = contribution_bars(found, torch.rand(3))
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert {"input", "reconstruction (the sum)", "bias", "rest  (20 latents)", "#0  (z = 1)"} <= set(labels)
    looks = [(to_hex(stack[0].get_facecolor()), stack[0].get_hatch()) for stack in figure.axes[0].containers]
    assert len(set(looks)) == 22


def test_entries_have_names_or_numbers(lies_within):
    found = contributions(torch.ones(4), torch.rand(4, 3), torch.rand(3))
    named = contribution_bars(found, torch.rand(3), ["red", "green", "a rather long name of an entry"], title="Colors")
    assert [tick.get_text() for tick in named.axes[0].get_xticklabels()][1] == "green"
    assert named.get_suptitle().startswith("Colors\n")
    assert lies_within(named)
    assert contribution_bars(found, torch.rand(3)).axes[0].get_xlabel() == "entry of the input"


@pytest.mark.parametrize("size", [1, 64])
def test_bars_of_few_and_of_many_entries_fit_the_figure(size, lies_within):
    found = contributions(torch.ones(20), torch.randn(20, size), torch.rand(size))
    assert lies_within(contribution_bars(found, torch.rand(size)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: contribution_images(_example(), torch.ones(3), (2, 2)), r"vectors \(4,\), but the shape of input"),
        (lambda: contribution_images(_example(), torch.ones(4), (2, 2), None, torch.ones(5)), "reconstruction"),
        (lambda: contribution_images(_example(), torch.ones(4), (3, 3)), r"\(3, 3\)"),
        (lambda: contribution_bars(_example(), torch.ones(3)), "shape of input"),
        (lambda: contribution_bars(_example(), torch.ones(4), ["a"]), "1 names"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()

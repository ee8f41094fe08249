import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from ae_lightning.plots.tiles import NO_VALUE
from ae_lightning.plots.weights import weight_grid

# Latents of norm 1, 3, 0, 2.
WEIGHTS = np.array([[1.0, 0, 0, 0], [0, 3, 0, 0], [0, 0, 0, 0], [0, 0, 0, -2]])


def _numbers(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def _pictures(figure: Figure) -> list[np.ndarray]:
    return [np.asarray(image.get_array()) for image in figure.axes[0].images]


def _is_full_red(color: np.ndarray) -> bool:
    return color[0] > 80 and color[2] < 60 and color[1] < 10


def test_the_strongest_latents_come_first_under_their_numbers():
    figure = weight_grid(torch.tensor(WEIGHTS), (1, 2, 2), top=3, title="Encoder")
    assert _numbers(figure) == ["1", "3", "0"]
    assert figure.axes[0].get_title() == "Encoder"
    first, second, _ = _pictures(figure)
    assert first.shape == (2, 2, 3)
    assert _is_full_red(first[0, 1].astype(int))
    assert first[1, 1].tolist() == [255, 255, 255]
    assert second[1, 1, 2] > second[1, 1, 0]


def test_given_indices_are_drawn_in_their_order():
    figure = weight_grid(WEIGHTS, (2, 2), indices=[2, 0])
    assert _numbers(figure) == ["2", "0"]
    assert (_pictures(figure)[0] == 255).all()


def test_a_scale_is_shared_or_not_and_the_bar_says_so():
    own = weight_grid(WEIGHTS, (2, 2), indices=[0, 1])
    shared = weight_grid(WEIGHTS, (2, 2), indices=[0, 1], shared_scale=True)
    assert _is_full_red(_pictures(own)[0][0, 0].astype(int))
    assert not _is_full_red(_pictures(shared)[0][0, 0].astype(int))
    assert "largest of latent" in own.axes[1].get_ylabel()
    assert shared.axes[1].get_ylabel() == "weight"
    assert shared.axes[1].get_ylim() == pytest.approx((-3, 3))


def test_masked_pixels_have_no_value_and_no_say_in_the_scale():
    weights = np.array([[100.0, 1.0, 0.0, 0.0]])
    figure = weight_grid(weights, (2, 2), mask=torch.tensor([[False, True], [True, True]]))
    picture = _pictures(figure)[0]
    assert picture[0, 0].tolist() == list(NO_VALUE)
    assert _is_full_red(picture[0, 1].astype(int))
    assert picture[1, 1].tolist() == [255, 255, 255]


def test_color_weights_have_no_color_bar_and_vectors_are_strips():
    assert len(weight_grid(np.ones((2, 12)), (3, 2, 2)).axes) == 1
    assert _pictures(weight_grid(np.eye(5), (5,)))[0].shape == (1, 5, 3)


def test_images_and_numbers_do_not_overlap_and_lie_within_the_axes():
    figure = weight_grid(np.ones((10, 784)), (1, 28, 28))
    ax = figure.axes[0]
    boxes = [image.get_extent() for image in ax.images]
    assert len(boxes) == len({(box[0], box[3]) for box in boxes}) == 10
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    for box, text in zip(boxes, ax.texts, strict=True):
        assert left <= box[0] < box[1] <= right
        assert top <= text.get_position()[1] < box[3] < box[2] <= bottom


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((np.ones((2, 3, 4)), (2, 2)), {}, "one instance"),
        ((WEIGHTS, (3, 3)), {}, "cannot be shown"),
        ((WEIGHTS, (2, 2)), {"indices": []}, "no latents"),
        ((WEIGHTS, (2, 2)), {"mask": [True] * 3}, "mask has 3"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        weight_grid(*arguments, **options)


def test_an_index_without_a_latent_is_refused():
    with pytest.raises(IndexError):
        weight_grid(WEIGHTS, (2, 2), indices=[4])

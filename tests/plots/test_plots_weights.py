import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from ae_lightning.plots.tiles import NO_VALUE
from ae_lightning.plots.weights import weight_pairs

# Four latents of four pixels each: what they read, and what they write.
READ = np.array([[1.0, 0, 0, 0], [0, 3, 0, 0], [0, 0, 0, 0], [0, 0, 0, -2]])
WRITTEN = np.array([[0, 0, 0, 1.0], [0, -3, 0, 0], [0, 0, 0, 0], [2, 0, 0, 0]])
WHITE = [255, 255, 255]


def _pictures(figure: Figure) -> list[np.ndarray]:
    return [np.asarray(image.get_array()).astype(int) for image in figure.axes[0].images]


def _is_full_red(color: np.ndarray) -> bool:
    return color[0] > 80 and color[2] < 60 and color[1] < 10


def _is_full_blue(color: np.ndarray) -> bool:
    return color[2] > 80 and color[0] < 10


def test_what_a_latent_reads_is_left_of_what_it_writes_under_its_number(lies_within):
    figure = weight_pairs(torch.tensor(READ), torch.tensor(WRITTEN), (1, 2, 2), [3, 0], title="units")
    assert [text.get_text() for text in figure.axes[0].texts] == ["#3", "#0"]
    assert figure.axes[0].get_title() == "units"
    reads, writes, other_reads, other_writes = _pictures(figure)
    assert _is_full_blue(reads[1, 1])
    assert _is_full_red(writes[0, 0])
    assert _is_full_red(other_reads[0, 0])
    assert _is_full_red(other_writes[1, 1])
    assert reads[0, 0].tolist() == other_writes[0, 0].tolist() == WHITE
    left = [image.get_extent()[0] for image in figure.axes[0].images]
    assert left == sorted(left)
    assert left[1] - left[0] < left[2] - left[1]
    assert lies_within(figure)


def test_masked_pixels_are_neutral_in_what_is_read_only():
    figure = weight_pairs(READ, WRITTEN, (2, 2), [1], mask=torch.tensor([[True, False], [True, True]]))
    reads, writes = _pictures(figure)
    assert reads[0, 1].tolist() == list(NO_VALUE)
    assert _is_full_blue(writes[0, 1])


def test_color_weights_have_no_color_bar():
    assert len(weight_pairs(np.ones((2, 12)), np.ones((2, 12)), (3, 2, 2), [0, 1]).axes) == 1
    assert "largest of image" in weight_pairs(READ, WRITTEN, (2, 2), [0]).axes[1].get_ylabel()


def test_images_and_numbers_do_not_overlap_and_lie_within_the_axes(lies_within):
    figure = weight_pairs(np.ones((20, 784)), np.ones((20, 784)), (1, 28, 28), range(20))
    ax = figure.axes[0]
    boxes = [image.get_extent() for image in ax.images]
    assert len(boxes) == len({(box[0], box[3]) for box in boxes}) == 40
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    assert all(left <= box[0] < box[1] <= right and top <= box[3] < box[2] <= bottom for box in boxes)
    for box, text in zip(boxes[::2], ax.texts, strict=True):
        assert top <= text.get_position()[1] < box[3]
        assert box[0] < text.get_position()[0]
    assert lies_within(figure)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((np.ones((2, 3, 4)), np.ones((2, 3, 4)), (2, 2), [0]), {}, "one shape"),
        ((READ, WRITTEN[:2], (2, 2), [0]), {}, "one shape"),
        ((READ, WRITTEN, (3, 3), [0]), {}, "cannot be shown"),
        ((READ, WRITTEN, (2, 2), []), {}, "no latents"),
        ((READ, WRITTEN, (2, 2), [0]), {"mask": [True] * 3}, "mask has 3"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        weight_pairs(*arguments, **options)


def test_an_index_without_a_latent_is_refused():
    with pytest.raises(IndexError):
        weight_pairs(READ, WRITTEN, (2, 2), [4])

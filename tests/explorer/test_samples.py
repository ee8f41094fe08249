"""Samples come back as the data module gives them."""

import numpy as np
import pytest
import torch

from ae_lightning.data.base import AutoencoderDataModule
from ae_lightning.data.digits import DigitsDataModule
from ae_lightning.data.in_memory import InMemoryDataset
from ae_lightning.data.sparse_features import SparseFeaturesDataModule
from ae_lightning.explorer.samples import (
    class_names,
    classes_of_test_set,
    drawn_range,
    file_samples,
    flat_batches,
    layout,
    lit_pixels,
)
from ae_lightning.models.overcomplete import OvercompleteAutoencoder


class Held(AutoencoderDataModule):
    """A data module of these arrays."""

    def __init__(self, x, y=None, classes=None, value_range=(-np.inf, np.inf), **options):
        super().__init__()
        self._held = InMemoryDataset(x, y, **options)
        self._range, self._classes = value_range, classes
        self.setup()

    input_shape = property(lambda self: self._held.sample_shape)
    value_range = property(lambda self: self._range)
    num_classes = property(lambda self: self._classes)

    def make_sets(self):
        return self._held, self._held, self._held


def drawn(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def model_for(data, **options):
    return OvercompleteAutoencoder(data.input_shape, latent_dim=3, **options)


@pytest.mark.parametrize("normalize", ["unit", "standard", (0.3, 0.7)])
def test_bytes_stay_bytes_and_come_back_bit_for_bit(normalize):
    data = DigitsDataModule(normalize=normalize)
    data.setup()
    samples = file_samples(model_for(data), data, 100, 0)
    assert samples.stored.dtype == np.uint8
    assert samples.stored.max() == 16
    x, y = data.test_set.take(100)
    assert torch.equal(samples.x, x.flatten(1))
    # As JavaScript has it: products and sums in float64, each rounded to float32.
    product = (samples.stored.astype(np.float64) * samples.scale).astype(np.float32)
    np.testing.assert_array_equal((product.astype(np.float64) + samples.shift).astype(np.float32), x.flatten(1))
    assert samples.labels.dtype == np.int16
    assert samples.labels.tolist() == y.tolist()


def test_a_set_of_fewer_samples_gives_all():
    data = DigitsDataModule()
    data.setup()
    assert len(file_samples(model_for(data), data, 5000, 0).stored) == len(data.test_set) == 360


def test_images_of_floats_are_rounded_to_bytes_over_their_range():
    x = drawn(30, 1, 5, 4)
    samples = file_samples(model_for(data := Held(x)), data, 20, 0)
    assert samples.stored.dtype == np.uint8
    assert {int(samples.stored.min()), int(samples.stored.max())} == {0, 255}
    low, high = float(x[:20].min()), float(x[:20].max())
    assert float((samples.x - x[:20].flatten(1)).abs().max()) <= (high - low) / 255 / 2 * 1.001
    assert samples.labels is None


def test_images_that_are_all_alike():
    samples = file_samples(model_for(data := Held(torch.full((5, 1, 4, 4), 0.3))), data, 5, 0)
    torch.testing.assert_close(samples.x, torch.full((5, 16), 0.3))


def test_scales_by_pixel_make_no_exact_bytes():
    x = torch.randint(0, 256, (9, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    data = Held(x, scale=torch.linspace(0.1, 1, 4))
    samples = file_samples(model_for(data), data, 9, 0)
    torch.testing.assert_close(samples.x, data.test_set.take(9)[0].flatten(1), rtol=0, atol=0.51)


class Brighter(InMemoryDataset):
    """A set that does more to its samples than it says."""

    def __getitems__(self, indices):
        x, y = super().__getitems__(indices)
        return x + 1, y


def test_bytes_that_are_not_what_the_model_sees_are_not_kept():
    x = torch.randint(0, 256, (9, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    data = Held(x, scale=1 / 255)
    data._sets = (Brighter(x, scale=1 / 255),) * 3
    samples = file_samples(model_for(data), data, 9, 0)
    torch.testing.assert_close(samples.x, x.flatten(1) / 255 + 1, rtol=0, atol=1e-2)


def test_vectors_keep_their_numbers_and_each_instance_its_own():
    data = SparseFeaturesDataModule(features=6, instances=3, num_val=10, num_test=40)
    data.setup()
    x = data.test_set.take(30)[0]
    for instance in range(3):
        samples = file_samples(model_for(data, instances=3), data, 30, instance)
        assert (samples.stored.dtype, samples.scale, samples.shift) == (np.float32, 1, 0)
        assert torch.equal(samples.x, x[:, instance])
        assert samples.labels is None  # they are features, not classes


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (None, None),
        (torch.rand(9), None),
        (torch.arange(9), None),
        (torch.rand(9), 3),
        (torch.zeros(9, 2, dtype=torch.int64), 3),
        (torch.arange(9) - 1, 9),
        (torch.arange(9) + 40_000, 50_000),
    ],
)
def test_what_is_no_class_number_is_no_label(y, classes):
    data = Held(drawn(9, 4), y, classes)
    assert classes_of_test_set(data) is None
    assert file_samples(model_for(data), data, 9, 0).labels is None


def test_labels_follow_the_rows_of_a_part():
    y = torch.tensor([3, 1, 2, 0])
    data = Held(drawn(4, 5), y, 4, indices=torch.tensor([2, 0, 3]))
    assert classes_of_test_set(data).tolist() == [2, 3, 0]
    assert file_samples(model_for(data), data, 2, 0).labels.tolist() == [2, 3]


def test_names_of_classes():
    data = Held(drawn(3, 4), torch.tensor([0, 2, 59]), 60)
    classes = classes_of_test_set(data)
    assert class_names(data, classes) == [str(number) for number in range(60)]
    data.class_names = [f"class <{number}>" for number in range(60)]
    assert class_names(data, classes)[59] == "class <59>"
    data.class_names = ["too", "few"]
    assert class_names(data, classes)[1] == "1"


@pytest.mark.parametrize(
    ("shape", "planes", "height", "width", "is_image"),
    [
        ((1, 28, 28), 1, 28, 28, True),
        ((3, 4, 5), 3, 4, 5, True),
        ((2, 4, 5), 1, 8, 5, True),
        ((4, 5), 1, 4, 5, True),
        ((2,), 1, 1, 2, False),
        ((32,), 1, 1, 32, False),
        ((33,), 1, 6, 6, False),
        ((100,), 1, 10, 10, False),
        ((2, 2, 2, 2), 1, 1, 16, False),
    ],
)
def test_the_layout_of_pixels(shape, planes, height, width, is_image):
    wanted = {"shape": list(shape), "planes": planes, "height": height, "width": width, "is_image": is_image}
    assert layout(shape) == wanted


def test_black_and_white():
    x = torch.tensor([[-2.0, 5.0]])
    assert drawn_range(Held(drawn(3, 2), value_range=(-1, 3)), x) == (-1, 3)
    assert drawn_range(Held(drawn(3, 2)), x) == (-2, 5)
    assert drawn_range(Held(drawn(3, 2)), torch.ones(2, 2)) == (1, 2)


def test_lit_pixels_are_those_that_differ_anywhere_in_training():
    data = DigitsDataModule(eval_batch_size=100)
    data.setup()
    train = np.concatenate([x.flatten(1).numpy() for x, _ in data.train_set.batches(500)])
    lit = lit_pixels(model_for(data), data, 0)
    assert lit.dtype == np.uint8
    assert lit.tolist() == (train.std(axis=0) > 0).astype(int).tolist()
    assert 0 < lit.sum() < 64


def test_a_pixel_that_is_always_as_bright_is_not_lit():
    x = torch.tensor([[0.5, 0.5, -1.0], [0.5, 0.25, 3.0]])
    assert lit_pixels(model_for(data := Held(x)), data, 0).tolist() == [0, 1, 1]


def test_batches_hold_the_first_samples_flat():
    data = DigitsDataModule()
    data.setup()
    parts = list(flat_batches(model_for(data), data.test_set, 40, 100, 0))
    assert [len(x) for x, _ in parts] == [40, 40, 20]
    x, y = data.test_set.take(100)
    assert torch.equal(torch.cat([part for part, _ in parts]), x.flatten(1))
    assert torch.equal(torch.cat([part for _, part in parts]), y)

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from ae_lightning.data import DigitsDataModule
from ae_lightning.errors import ConfigError


def made(**options) -> DigitsDataModule:
    data = DigitsDataModule(**options)
    data.setup()
    return data


def test_every_image_is_in_one_set_with_its_own_label():
    data, truth = made(), load_digits()
    known = {(image.astype(np.float32) / 16).tobytes(): label for image, label in zip(*_arrays(truth), strict=True)}
    images = []
    for part in (data.train_set, data.val_set, data.test_set):
        x, y = part.take(10_000)
        assert x.shape[1:] == data.input_shape == (1, 8, 8)
        assert y.dtype == torch.int64
        images += [image.numpy().tobytes() for image in x]
        assert [known[image.numpy().tobytes()] for image in x] == y.tolist()
    assert sorted(images) == sorted((i.astype(np.float32) / 16).tobytes() for i in truth.images)


def _arrays(bunch):
    return bunch.images, bunch.target


def test_sizes_and_stratified_test_set():
    data = made()
    assert [len(s) for s in (data.train_set, data.val_set, data.test_set)] == [1293, 144, 360]
    counts = torch.bincount(data.test_set.take(360)[1], minlength=10)
    shares = 360 * np.bincount(load_digits().target) / 1797
    assert np.abs(counts.numpy() - shares).max() <= 1
    assert data.description == "Digits: 1,293 train, 144 validation, 360 test images of 1×8×8"


def test_split_follows_the_seed():
    assert made().fingerprint() == made().fingerprint() != made(seed=1).fingerprint()


def test_ranges_are_known_before_setup_and_reached():
    for normalize in ("unit", "standard", (0.5, 0.5)):
        data = DigitsDataModule(normalize=normalize)
        low, high = data.value_range
        data.setup()
        x, _ = data.train_set.take(2000)
        assert float(x.min()) == pytest.approx(low)
        assert float(x.max()) == pytest.approx(high)
    assert DigitsDataModule().value_range == (0.0, 1.0)
    assert DigitsDataModule().num_classes == 10


def test_standard_is_that_of_the_bundled_images():
    pixels = load_digits().images / 16
    data = DigitsDataModule(normalize="standard")
    low, high = data.value_range
    assert low == pytest.approx(-pixels.mean() / pixels.std(), abs=1e-3)
    assert high == pytest.approx((1 - pixels.mean()) / pixels.std(), abs=1e-3)


def test_test_fraction_out_of_range():
    with pytest.raises(ConfigError, match=r"--data\.test_fraction is 1\.5; it must lie between 0 and 1"):
        DigitsDataModule(test_fraction=1.5)

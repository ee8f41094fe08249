"""Data that lie far from zero for their spread are centered before float32 takes their last digits."""

import warnings

import numpy as np
import pytest
import torch

from ae_lightning.data import ArraysDataModule
from ae_lightning.data.digits import MAXIMUM, STANDARD
from ae_lightning.data.in_memory import InMemoryDataset
from ae_lightning.data.normalization import Normalization, scale_and_shift
from ae_lightning.data.statistics import scan
from ae_lightning.errors import DataError, Notice
from ae_lightning.evaluation import evaluate
from ae_lightning.models.overcomplete import OvercompleteAutoencoder

# Samples of rank 2 in 4 dimensions, in steps that float64 has also beside 1e12.
RNG = np.random.default_rng(0)
FLAT = np.round(RNG.normal(size=(60, 2)) * 16) / 16 @ np.array([[1.0, 2.0, 0.0, -1.0], [0.5, 0.0, 1.0, 1.0]])


def saved(folder, array, ending=".npy", name="x") -> str:
    path = folder / f"{name}{ending}"
    np.save(path, array) if ending == ".npy" else np.savez(path, x=array)
    return str(path)


def set_up(path, **options) -> ArraysDataModule:
    data = ArraysDataModule(path, val=path, **options)
    data.setup()
    return data


@pytest.mark.parametrize("ending", [".npy", ".npz"])
@pytest.mark.parametrize("offset", [1e7, -1e8, 1e12])
@pytest.mark.parametrize("normalize", ["standard", "unit"])
def test_an_offset_changes_nothing_but_for_rounding(tmp_path, ending, offset, normalize):
    data = set_up(saved(tmp_path, FLAT + offset, ending), normalize=normalize)
    middle, width = (FLAT.mean(), FLAT.std()) if normalize == "standard" else (FLAT.min(), np.ptp(FLAT))
    wanted = (FLAT - middle) / width
    slack = 5e-5 if offset == 1e12 else 4e-7  # the mean itself is rounded to float64's 1e-4 there
    for one in (data.train_set, data.val_set, data.train_set.to("cpu")):
        x = one.take(60)[0]
        assert x.dtype == torch.float32
        np.testing.assert_allclose(x.numpy(), wanted, atol=slack)
    assert data.value_range == pytest.approx((wanted.min(), wanted.max()), abs=slack)


@pytest.mark.parametrize("ending", [".npy", ".npz"])
@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint32, np.uint64, np.float32, np.longdouble, ">f8", "<i2"])
def test_numbers_of_every_wide_type_are_centered_first(tmp_path, ending, dtype):
    whole = np.arange(40).reshape(10, 4) % 7
    offset = 30_000 if dtype == "<i2" else 16_000_000
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Notice)
        data = set_up(saved(tmp_path, (whole + offset).astype(dtype), ending), normalize="standard")
    wanted = (whole - whole.mean()) / whole.std()
    np.testing.assert_allclose(data.train_set.take(10)[0].numpy(), wanted, atol=3e-7)


def test_the_second_of_two_sets_is_centered_as_the_first(tmp_path):
    train, test = saved(tmp_path, FLAT + 1e7, ".npz"), saved(tmp_path, FLAT + 1e7 + 3, ".npz", "y")
    data = ArraysDataModule(train, test=test, normalize="standard")
    data.setup()
    assert data.development_set.x is data.train_set.x  # one copy in memory
    assert data.train_set.x.dtype == torch.float32
    moved = data.test_set.take(60)[0].numpy() - data.development_set.take(60)[0].numpy()
    np.testing.assert_allclose(moved, 3 / (FLAT + 1e7)[data.train_set.indices.numpy()].std(), rtol=1e-5)


@pytest.mark.parametrize("ending", [".npy", ".npz"])
def test_pca_that_is_exact_and_training_are_those_of_the_data_without_the_offset(tmp_path, ending, make_trainer):
    found = []
    for name, offset in (("far", 1e7), ("near", 0.0)):
        data = set_up(saved(tmp_path, FLAT + offset, ending, name), normalize="standard", batch_size=20)
        torch.manual_seed(0)
        model = OvercompleteAutoencoder((4,), latent_dim=2)
        make_trainer(max_epochs=3).fit(model, datamodule=data)
        found.append(evaluate(model, data)["errors"]["test"])
    far, near = found
    assert far["pca"]["mse_per_pixel"] < 1e-12
    assert far["mean_image"]["mse_per_pixel"] == pytest.approx(1, rel=1)
    assert far["autoencoder"]["mse_per_pixel"] == pytest.approx(near["autoencoder"]["mse_per_pixel"], rel=1e-5)


def test_what_float32_hides_of_data_that_are_not_normalized_is_told(tmp_path):
    path = saved(tmp_path, FLAT + 1e7)
    with pytest.warns(Notice, match=r"x\.npy lie far from zero \(--data\.normalize none\).* set --data\.normalize st"):
        set_up(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        set_up(path, normalize="standard")
        set_up(saved(tmp_path, FLAT + 100))
        set_up(saved(tmp_path, np.full((60, 3), 0.1)))
        set_up(saved(tmp_path, np.c_[FLAT, np.where(np.arange(60) == 7, 1, 1 + 1e-5)]))  # which hardly ever changes


def test_entries_that_lie_far_from_each_other_are_told(tmp_path):
    path = saved(tmp_path, FLAT + np.array([0, 0, 0, 1e7]))
    for normalize in ("none", "standard"):
        with pytest.warns(Notice, match="subtract the mean of each entry"):
            set_up(path, normalize=normalize)


def test_whole_numbers_beyond_float64_are_told(tmp_path):
    path = saved(tmp_path, np.arange(40).reshape(10, 4) * 2**57)
    with pytest.warns(Notice, match=r"whole numbers of up to 5\.62e\+18, of which float64 keeps the first 53 bits"):
        set_up(path, normalize="unit")


def test_numbers_beyond_float32_are_refused_or_normalized(tmp_path):
    path = saved(tmp_path, FLAT * 1e60)
    with pytest.raises(DataError, match=r"x\.npy holds \d+ values that are infinite in float32, the first in row 0 .*"):
        set_up(path)
    assert float(set_up(path, normalize="standard").train_set.take(60)[0].std()) == pytest.approx(1, rel=0.01)
    outlier = FLAT.copy()
    outlier[7, 1] = 1e300
    with pytest.raises(DataError, match="holds 1 values that are infinite in float32, the first in row 7 "):
        ArraysDataModule(saved(tmp_path, FLAT), val=saved(tmp_path, outlier, name="v"), normalize="unit").setup()


@pytest.mark.parametrize("pieces", [1, 8, 1 << 22])
def test_statistics_in_pieces_are_those_of_numpy(monkeypatch, pieces):
    monkeypatch.setattr("ae_lightning.data.statistics.CHUNK", pieces)
    x = RNG.normal(size=(30, 4)) + np.array([0, 1e8, -1e8, 5.0])
    found = scan(InMemoryDataset(x, indices=torch.arange(20)), "x.npy")
    np.testing.assert_allclose(found.entry_means, x[:20].mean(0), rtol=1e-14)
    assert found.spread == pytest.approx(np.sqrt(x[:20].var(0).mean()), rel=1e-7)
    truth = x[:20].min(), x[:20].max(), x[:20].mean(), x[:20].std()
    assert found[:4] == pytest.approx(truth, rel=1e-12, abs=1e-7)  # a sum of numbers near 1e8 is not known better


def test_data_near_zero_are_normalized_as_before():
    assert Normalization.about(2.0, 0.5) == (2.0, -4.0, None)
    assert Normalization.about(2.1, 0.5) == (2.0, 0.0, 2.1)
    assert Normalization.about(0.0, 1e-40).center == 0.0  # a factor that float32 has not


@pytest.mark.parametrize(("maximum", "standard"), [(MAXIMUM, STANDARD), (255, (0.1307, 0.3081)), (255, (0.9, 0.02))])
def test_every_pixel_is_normalized_to_the_rounding_of_what_it_becomes(maximum, standard):
    scale, shift = scale_and_shift("standard", maximum, standard)
    pixels = torch.arange(maximum + 1, dtype=torch.uint8)[:, None]
    x = InMemoryDataset(pixels, scale=scale, shift=shift).take(256)[0].double()
    truth = (pixels.double() / maximum - standard[0]) / standard[1]
    assert float((x - truth).abs().max()) < 2**-23 * float(truth.abs().max() + 1)

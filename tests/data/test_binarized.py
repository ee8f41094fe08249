"""Pixels drawn as 0 or 1: anew in training, once for all elsewhere."""

import pytest
import torch
from scipy import stats

from ae_lightning.data.digits import DigitsDataModule
from ae_lightning.errors import ConfigError


@pytest.fixture
def data() -> DigitsDataModule:
    data = DigitsDataModule(binarize=True, batch_size=100)
    data.setup()
    return data


@pytest.fixture
def gray() -> DigitsDataModule:
    data = DigitsDataModule(batch_size=100)
    data.setup()
    return data


def epoch(data: DigitsDataModule, number: int) -> list[torch.Tensor]:
    loader = data.train_dataloader()
    loader.sampler.set_epoch(number)
    return [x for x, _ in loader]


def test_pixels_are_zero_or_one_with_the_gray_value_as_probability(data, gray):
    for drawn, original in ((data.train_set, gray.train_set), (data.test_set, gray.test_set)):
        x, y = drawn.take(2000)
        probabilities, labels = original.take(2000)
        assert x.shape == probabilities.shape
        assert set(x.unique().tolist()) == {0.0, 1.0}
        assert torch.equal(y, labels)
        assert torch.equal(x[probabilities == 1], torch.ones_like(x[probabilities == 1]))
        assert not x[probabilities == 0].any()
        for level in (4 / 16, 8 / 16, 12 / 16):
            pixels = x[probabilities == level]
            assert stats.binomtest(int(pixels.sum()), pixels.numel(), level).pvalue > 1e-3


def test_training_draws_them_anew_in_each_epoch_by_seed_epoch_and_batch_alone(data, gray, monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "3")
    first, again, second = epoch(data, 0), epoch(data, 0), epoch(data, 1)
    probabilities = epoch(gray, 0)
    assert all(map(torch.equal, first, again))
    # The order of an epoch is that of gray images: where these are not gray, so are the pixels drawn of them.
    certain = [(p == 0) | (p == 1) for p in probabilities]
    assert all(torch.equal(x[c], p[c]) for x, p, c in zip(first, probabilities, certain, strict=True))
    order = torch.cat([index for index in (data.train_dataloader().sampler.indices(),)])
    fixed = data.train_set.__getitems__(order[:100])[0]
    assert not torch.equal(first[0], fixed)
    assert not torch.equal(first[0], second[0])
    monkeypatch.setenv("PL_GLOBAL_SEED", "4")
    assert not torch.equal(epoch(data, 0)[0], first[0])


def test_an_epoch_that_is_taken_up_in_its_middle_draws_what_it_would_have(data):
    whole = epoch(data, 2)
    loader = data.train_dataloader()
    loader.load_state_dict({"epoch": 2, "batches": 5})
    assert all(map(torch.equal, whole[5:], [x for x, _ in loader]))


def test_evaluation_sees_the_same_pixels_each_time_and_those_of_its_seed(data):
    first, again = ([x for x, _ in data.val_dataloader()] for _ in range(2))
    assert all(map(torch.equal, first, again))
    other = DigitsDataModule(binarize=True, seed=1)
    other.setup()
    assert data.test_set.fingerprint() != other.test_set.fingerprint()


def test_a_copy_on_a_device_holds_its_rows_and_draws_of_them(data):
    moved = data.train_set.to("cpu")
    rows = torch.tensor([3, 1, 700])
    assert torch.equal(moved.__getitems__(rows)[0], data.train_set.__getitems__(rows)[0])
    for ours, theirs in zip(moved.redrawn(rows, 5), data.train_set.redrawn(rows, 5), strict=True):
        assert torch.equal(ours, theirs)


def test_pixels_that_are_no_probabilities_are_refused():
    with pytest.raises(ConfigError, match=r"--data\.binarize .* set --data\.normalize unit"):
        DigitsDataModule(normalize="standard", binarize=True)

"""What part of a loss is recovered, by hand."""

import math

import numpy as np
import pytest
import torch

from ae_lightning.evaluation.splice.losses import Summed
from ae_lightning.evaluation.splice.meter import MEAN, ORIGINAL, SPLICED, ZERO, LossMeter

# Sums of three sequences of 1, 2 and 3 tokens.
COUNTS = torch.tensor([1.0, 2.0, 3.0])
SUMS = {ORIGINAL: [1.0, 2.0, 3.0], SPLICED: [1.5, 2.0, 4.0], MEAN: [3.0, 4.0, 8.0], ZERO: [5.0, 9.0, 16.0]}


def metered(sums: dict[str, list[float]], *splits: int) -> LossMeter:
    meter = LossMeter()
    for way, values in sums.items():
        for part, counts in zip(torch.tensor(values).split(splits), COUNTS.split(splits), strict=True):
            meter.add(way, {"nats": Summed(part.double(), counts.double())})
    return meter


def test_the_numbers_by_hand():
    found = metered(SUMS, 3).compute()["nats"]
    assert found["positions"] == 6
    assert [found[way] for way in SUMS] == pytest.approx([1, 7.5 / 6, 2.5, 5])
    assert found["original_se"] == pytest.approx(0)
    assert found["increase"] == pytest.approx(0.25)
    # within a sequence it grows by (0.5, 0, 1), of which a quarter a token are (0.25, 0.5, 0.75)
    assert found["increase_se"] == pytest.approx(math.sqrt(1.5 * (0.25**2 + 0.5**2 + 0.25**2)) / 6)
    assert found["recovered_of_mean"] == pytest.approx((15 - 7.5) / (15 - 6))
    assert found["recovered_of_zero"] == pytest.approx((30 - 7.5) / (30 - 6))
    kept, lost = np.array([1.5, 2, 4]), np.array([2.0, 2, 5])
    spread = ((kept - 7.5 / 9 * lost) ** 2).sum()
    assert found["recovered_of_mean_se"] == pytest.approx(math.sqrt(1.5 * spread) / 9)


def test_batches_do_not_matter():
    assert metered(SUMS, 1, 2).compute() == metered(SUMS, 3).compute()
    assert metered(SUMS, 1, 2).samples == 3


def test_an_ablation_without_effect_recovers_nothing_that_could_be_told():
    found = metered({**SUMS, MEAN: SUMS[ORIGINAL], ZERO: [0.0, 4.0, 3.2]}, 3).compute()["nats"]
    for name, kind in (("recovered_of_mean", "mean"), ("recovered_of_zero", "zero")):
        assert math.isnan(found[name])
        assert math.isnan(found[f"{name}_se"])
        assert found[f"{name}_reason"] == f"{kind} ablation moves it by no more than 2 standard errors"


def test_losses_that_are_not_finite_are_told():
    found = metered({**SUMS, ZERO: [math.inf, 9.0, 16.0]}, 3).compute()["nats"]
    assert found["recovered_of_zero_reason"] == "losses are not finite"
    assert found["recovered_of_mean"] == pytest.approx(7.5 / 9)

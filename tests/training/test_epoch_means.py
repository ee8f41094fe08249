import pytest
import torch

from ae_lightning.training.epoch_means import EpochMeans


def values(**named: float) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(value) for name, value in named.items()}


def test_each_value_counts_by_its_weight():
    means = EpochMeans()
    means.add(values(loss=1.0, l1=10.0), 3)
    means.add(values(loss=5.0, l1=20.0), 1)
    found = means.compute()
    assert {name: float(value) for name, value in found.items()} == {"loss": 2.0, "l1": 12.5}


def test_empty_before_the_first_value_and_after_reset():
    means = EpochMeans()
    assert means.compute() == {}
    means.add(values(loss=1.0), 1)
    means.reset()
    assert means.compute() == {}
    means.add(values(other=4.0), 2)
    assert {name: float(value) for name, value in means.compute().items()} == {"other": 4.0}


def test_what_was_added_is_not_kept_alive_or_changed():
    means = EpochMeans()
    first = torch.tensor(2.0)
    means.add({"loss": first}, 4)
    means.add({"loss": torch.tensor(3.0)}, 4)
    assert float(first) == 2.0
    assert float(means.compute()["loss"]) == 2.5


def test_half_precision_values_are_summed_in_float32():
    means = EpochMeans()
    for _ in range(1000):  # in bfloat16 a sum of ones stops at 256
        means.add({"loss": torch.tensor(1.0, dtype=torch.bfloat16)}, 1)
    assert means.sums["loss"].dtype == torch.float32
    assert float(means.sums["loss"]) == 1000.0


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_sum_stays_broken_once_a_value_was(bad):
    means = EpochMeans()
    means.add(values(loss=1.0, l1=bad), 1)
    means.add(values(loss=1.0, l1=1.0), 1)
    assert bool(torch.isfinite(means.sums["loss"]))
    assert not torch.isfinite(means.sums["l1"])


def test_the_mean_continues_from_a_saved_state():
    whole, first, second = EpochMeans(), EpochMeans(), EpochMeans()
    for value in (1.0, 4.0, 7.0):
        whole.add(values(loss=value), 2)
    first.add(values(loss=1.0), 2)
    second.load_state_dict(first.state_dict())
    for value in (4.0, 7.0):
        second.add(values(loss=value), 2)
    assert float(second.compute()["loss"]) == float(whole.compute()["loss"]) == 4.0


def test_a_saved_state_does_not_move_on():
    means = EpochMeans()
    means.add(values(loss=1.0), 1)
    saved = means.state_dict()
    means.add(values(loss=9.0), 1)
    restored = EpochMeans()
    restored.load_state_dict(saved)
    assert float(restored.compute()["loss"]) == 1.0


def test_an_empty_state_is_a_fresh_start():
    means = EpochMeans()
    means.add(values(loss=1.0), 1)
    means.load_state_dict({})
    assert means.compute() == {}

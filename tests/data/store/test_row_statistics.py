"""Statistics of the whole set as numpy and scipy have them, and what storing in each type costs."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import norm

from ae_lightning.data.store import StoredArray, StoreIndex
from ae_lightning.data.store import statistics as module

Write = Callable[..., StoreIndex]
DTYPES = ["float32", "float16", "bfloat16"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_statistics_are_those_of_the_values_as_stored(
    dtype: str, offset: float, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_AT_ONCE", 1000)  # in many pieces, that do not fit the shards
    random = torch.Generator().manual_seed(1)
    x = torch.randn(3000, 24, generator=random) * torch.linspace(0.1, 5, 24) + offset
    index = write(tmp_path / "store", {"a": x}, dtype, shard_rows=700)
    found = index.statistics("a")
    stored = x.to(getattr(torch, dtype)).double().numpy()
    norms = np.linalg.norm(stored, axis=1)
    assert found.count == 3000
    np.testing.assert_allclose(found.mean.numpy(), stored.mean(0), rtol=1e-10)
    np.testing.assert_allclose(found.variance.numpy(), stored.var(0), rtol=1e-10)
    covariance = np.cov(stored.T, bias=True)
    np.testing.assert_allclose(found.covariance.numpy(), covariance, rtol=0, atol=1e-10 * covariance.max())
    np.testing.assert_allclose(found.mean_norm, norms.mean(), rtol=1e-10)
    np.testing.assert_allclose(found.mean_squared_norm, np.square(norms).mean(), rtol=1e-10)
    assert (found.minimum, found.maximum) == (stored.min(), stored.max())
    assert found.largest == np.abs(stored).max()


def test_each_shard_has_its_own(store: StoreIndex, rows: dict[str, torch.Tensor]) -> None:
    import json

    shards = json.loads((store.folder / "index.json").read_text())["shards"]
    for shard in shards:
        x = rows["block"][shard["first_row"] :][: shard["rows"]].double().numpy()
        found = shard["statistics"]["block"]
        np.testing.assert_allclose(found["mean_norm"], np.linalg.norm(x, axis=1).mean(), rtol=1e-12)
        assert (found["minimum"], found["maximum"]) == (x.min(), x.max())


@pytest.mark.parametrize(("covariance", "kept"), [(None, [True, False]), (True, [True, True]), (False, [False, False])])
def test_a_covariance_is_kept_up_to_a_width_or_as_asked(
    covariance: bool | None, kept: list[bool], write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ae_lightning.data.store.writer.WIDEST_COVARIANCE", 8)
    x = torch.randn(100, 9, generator=torch.Generator().manual_seed(0))
    index = write(tmp_path / "store", {"narrow": x[:, :8], "wide": x}, covariance=covariance, shard_rows=30)
    assert [index.statistics(name).covariance is not None for name in index.arrays] == kept
    np.testing.assert_allclose(index.statistics("wide").variance.numpy(), x.double().numpy().var(0), rtol=1e-12)


def rounding(bits: int) -> float:
    """Part of the variance of N(0, 1) that rounding to a significand of so many bits takes, for a uniform remainder."""
    exponents = np.arange(-30, 4)
    shares = 2 * (norm.cdf(2.0 ** (exponents + 1)) - norm.cdf(2.0**exponents))
    steps = 2.0 ** (exponents - bits + 1)
    return float((shares * steps**2 / 12).sum())


@pytest.mark.parametrize(
    ("dtype", "bits", "low", "high"),
    [("bfloat16", 8, 2e-6, 3e-6), ("float16", 11, 3e-8, 5e-8), ("float32", 24, 0, 1e-13)],
)
def test_a_type_costs_what_its_significand_says(
    dtype: str, bits: int, low: float, high: float, write: Write, tmp_path: Path
) -> None:
    x = torch.randn(4000, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    index = write(tmp_path / "store", {"a": x}, dtype, shard_rows=4096, batch=4000)
    stored = StoredArray(index, "a").read(0, 4000).double()
    unexplained = float((stored - x).square().sum() / (x - x.mean(0)).square().sum())
    assert low <= unexplained <= high
    assert unexplained == pytest.approx(rounding(bits), rel=0.02)

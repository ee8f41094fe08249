"""Metrics that compare codes with known features, beside plain loops over samples and scikit-learn."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import precision_recall_fscore_support
from torch import Tensor

from ae_lightning.metrics.absorption import Absorption
from ae_lightning.metrics.codes import Codes
from ae_lightning.metrics.correlation import CorrelationMCC
from ae_lightning.metrics.detection import Detection
from ae_lightning.metrics.entries import Entries
from ae_lightning.metrics.hedging import Hedging
from ae_lightning.metrics.matching import Matching
from ae_lightning.metrics.shrinkage import NormRatio, ShrinkageSlope
from ae_lightning.nn.sparse_code import Places, SparseCode

LATENTS, FEATURES, INPUTS, SAMPLES = 7, 6, 5, 300
# 0 has the children 1 and 2, and 1 has the child 3; 4 and 5 stand alone.
PARENTS = torch.tensor([-1, 0, 0, 1, -1, -1])


def sparse(code: Tensor) -> SparseCode:
    """The same as indices and values, with a zero among these."""
    kept = code != 0
    kept.view(-1)[0] = True
    flat = kept.flatten().nonzero().squeeze(-1)
    return SparseCode(code.flatten()[flat], Places.of_flat(flat, code.shape))


def drawn(seed: int = 0, instances: int | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Rows, directions, codes of either sign, features in trees, and samples."""
    generator = torch.Generator().manual_seed(seed)
    lead = () if instances is None else (instances,)
    directions = torch.randn(FEATURES, INPUTS, generator=generator)
    rows = torch.randn(*lead, LATENTS, INPUTS, generator=generator)
    rows[..., : FEATURES - 1, :] += 4 * directions[:-1]
    y = torch.rand(SAMPLES, FEATURES, generator=generator) * (torch.rand(SAMPLES, FEATURES, generator=generator) < 0.5)
    for child, parent in enumerate(PARENTS.tolist()):
        if parent >= 0:
            y[:, child] *= y[:, parent] > 0
    seen = torch.cat([y, torch.rand(SAMPLES, 1, generator=generator)], 1)
    z = seen * (torch.rand(*lead, SAMPLES, LATENTS, generator=generator) < 0.7)
    z = z - 0.3 * (torch.rand(*lead, SAMPLES, LATENTS, generator=generator) < 0.2)
    return rows, directions, z, y, y @ directions + 0.5


def cosines_of(rows: Tensor, directions: Tensor) -> np.ndarray:
    a, b = rows.double().numpy(), directions.double().numpy()
    return (a / np.linalg.norm(a, axis=1, keepdims=True)) @ (b / np.linalg.norm(b, axis=1, keepdims=True)).T


def latents_of_truths(rows: Tensor, directions: Tensor) -> dict[int, int]:
    latents, truths = linear_sum_assignment(np.abs(cosines_of(rows, directions)), maximize=True)
    return dict(zip(truths.tolist(), latents.tolist(), strict=True))


@pytest.mark.parametrize("two_sided", [False, True])
def test_each_latent_is_the_detector_that_scikit_learn_scores(two_sided: bool) -> None:
    rows, directions, z, y, _ = drawn()
    metric = Detection(Matching.of(rows, directions), two_sided=two_sided)
    metric.update(z, y)
    fires = (z != 0) if two_sided else (z > 0)
    best = np.abs(cosines_of(rows, directions)).argmax(1)
    found = metric.per_latent()
    for latent in range(LATENTS):
        expected = precision_recall_fscore_support(y[:, best[latent]] > 0, fires[:, latent], average="binary")
        assert [float(found[name][latent]) for name in ("precision", "recall", "f1")] == pytest.approx(expected[:3])
    means = metric.compute()
    assert float(means["f1"]) == pytest.approx(float(found["f1"].mean()))
    truths = metric.per_truth()
    for truth in range(FEATURES):
        scores = [
            precision_recall_fscore_support(y[:, truth] > 0, fires[:, latent], average="binary")[:3]
            for latent in range(LATENTS)
        ]
        top = max(range(LATENTS), key=lambda latent: scores[latent][2])
        assert int(truths["detector"][truth]) == top
        assert [float(truths[name][truth]) for name in ("precision", "recall", "f1")] == pytest.approx(scores[top])
    assert float(means["truth_f1"]) == pytest.approx(float(truths["f1"].mean()))


def test_detection_by_hand() -> None:
    # Latent 0 fires on two of the three samples with truth 0, and on one without; latent 1 never does.
    z = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 0.0], [3.0, 0.0], [0.0, 0.0]])
    y = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    metric = Detection(Matching.of(torch.eye(2), torch.eye(2)))
    metric.update(z, y)
    found = {name: float(value) for name, value in metric.compute().items()}
    # Truth 1 never fired: it counts 0 for its latent, and is no truth that could be missed.
    assert found == pytest.approx({"precision": 2 / 6, "recall": 2 / 6, "f1": 2 / 6, "truth_f1": 2 / 3})
    assert metric.per_truth()["f1"].isnan().tolist() == [False, True]


def test_correlations_are_numpys() -> None:
    _, _, z, y, _ = drawn()
    z[:, 3] = 0.25  # does not vary
    metric = CorrelationMCC()
    metric.update(z, y)
    varying = [0, 1, 2, 4, 5, 6]
    expected = np.zeros((LATENTS, FEATURES))
    both = np.corrcoef(z[:, varying].double().numpy().T, y.double().numpy().T)
    expected[varying] = both[: len(varying), len(varying) :]
    np.testing.assert_allclose(metric.correlations(), expected, atol=1e-9)
    best = np.abs(expected)[linear_sum_assignment(np.abs(expected), maximize=True)]
    assert float(metric.compute()["correlation_mcc"]) == pytest.approx(best.sum() / FEATURES)
    assert float(metric.compute()["correlation_mcc_matched"]) == pytest.approx(best.mean())


def test_truths_without_a_latent_lower_one_correlation_alone() -> None:
    y = drawn()[3]
    metric = CorrelationMCC()
    metric.update(y[:, :2], y)
    assert float(metric.compute()["correlation_mcc"]) == pytest.approx(2 / FEATURES)
    assert float(metric.compute()["correlation_mcc_matched"]) == pytest.approx(1)


def test_the_slope_is_that_of_a_regression_through_the_origin() -> None:
    rows, directions, z, y, _ = drawn()
    metric = ShrinkageSlope(Matching.of(rows, directions))
    metric.update(z, y)
    cosines, latents = cosines_of(rows, directions), latents_of_truths(rows, directions)
    slopes = []
    for truth in range(FEATURES):
        latent = latents[truth]
        if abs(cosines[latent, truth]) <= 0.5**0.5:
            slopes.append(np.nan)
            continue
        both = ((z[:, latent] != 0) & (y[:, truth] != 0)).numpy()
        written = (
            z[both, latent].double().numpy() * np.linalg.norm(rows[latent].double()) * np.sign(cosines[latent, truth])
        )
        true = y[both, truth].double().numpy() * np.linalg.norm(directions[truth].double())
        slopes.append(np.linalg.lstsq(true[:, None], written, rcond=None)[0][0])
    assert 1 <= np.isnan(slopes).sum() < FEATURES
    np.testing.assert_allclose(metric.per_truth(), slopes, rtol=1e-6)
    assert float(metric.compute()) == pytest.approx(np.nanmean(slopes), rel=1e-6)


def test_a_constant_that_is_taken_off_codes_shows_as_a_slope_below_one() -> None:
    y = torch.rand(1000, 3, generator=torch.Generator().manual_seed(0))
    match = Matching.of(2 * torch.eye(3), torch.eye(3))
    slopes = []
    for z in (y / 2, (y - 0.2).relu() / 2):
        metric = ShrinkageSlope(match)
        metric.update(z, y)
        slopes.append(float(metric.compute()))
    # Of numbers between 0.2 and 1: the mean of (y − 0.2) y over that of y².
    assert slopes == pytest.approx([1, 1 - 0.2 * 0.6 / (1.24 / 3)], abs=0.01)


def test_the_ratio_of_norms_leaves_out_samples_that_are_zero() -> None:
    metric = NormRatio()
    x = torch.tensor([[3.0, 4.0], [0.0, 0.0], [0.0, 2.0]])
    metric.update(x, torch.tensor([[0.0, 2.5], [1.0, 1.0], [2.0, 0.0]]))
    assert float(metric.compute()) == pytest.approx((0.5 + 1) / 2)


def test_absorption_is_counted_sample_by_sample() -> None:
    rows, directions, z, y, _ = drawn()
    z[:, 0] *= (y[:, 2] == 0) | (torch.arange(SAMPLES) % 3 == 0)  # the latent of 0 is often silent with its child 2
    metric = Absorption(Matching.of(rows, directions), PARENTS)
    metric.update(z, y)
    latents, best = latents_of_truths(rows, directions), np.abs(cosines_of(rows, directions)).argmax(1)
    fires, true = (z > 0).numpy(), (y > 0).numpy()
    expected, hits, rates = 0.0, 0.0, np.full(FEATURES, np.nan)
    absorbed, length, pairs = 0.0, 0.0, 0
    for child, parent in enumerate(PARENTS.tolist()):
        if parent < 0:
            continue
        children = [c for c in range(FEATURES) if PARENTS[c] == parent]
        alone = [n for n in range(SAMPLES) if true[n, parent] and not any(true[n, c] for c in children)]
        both = [n for n in range(SAMPLES) if true[n, parent] and true[n, child]]
        recall = np.mean([fires[n, latents[parent]] for n in alone])
        with_child = np.mean([fires[n, latents[parent]] for n in both])
        unit = directions[parent].double() / directions[parent].double().norm()
        for n in both:
            length += float(y[n, parent]) * float(directions[parent].double().norm())
            for latent in range(LATENTS):
                if best[latent] == child:
                    absorbed += float(z[n, latent]) * float(rows[latent].double() @ unit)
        if recall > 0.5:
            rates[child] = 1 - with_child / recall
            expected, hits, pairs = expected + recall * len(both), hits + with_child * len(both), pairs + 1
    assert pairs >= 2
    np.testing.assert_allclose(metric.rates(), rates, rtol=1e-9)
    found = metric.compute()
    assert float(found["absorption"]) == pytest.approx(1 - hits / expected)
    assert 0.1 < float(found["absorption"]) < 0.9
    assert int(found["absorption_pairs"]) == pairs
    assert float(found["absorbed_share"]) == pytest.approx(absorbed / length, rel=1e-5)


def test_absorption_by_hand() -> None:
    """A parent that fires alone, with a child, or with another; three dictionaries for it."""
    directions, parents = torch.eye(3), torch.tensor([-1, 0, 0])
    y = torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [1.0, 0.0, 1.0], [1.0, 0.0, 1.0]])
    without = y * torch.tensor([[1.0], [0.0], [1.0], [1.0]]) ** torch.tensor([1.0, 0.0, 0.0])  # silent with child 1
    absorbing = directions.clone()
    absorbing[1] = torch.tensor([1.0, 1.2, 0.0])
    found = {}
    for name, (rows, z) in {
        "true": (directions, y),
        "absorbing": (absorbing, without),
        "none for the parent": (directions, y * torch.tensor([0.0, 1.0, 1.0])),
    }.items():
        metric = Absorption(Matching.of(rows, directions), parents)
        metric.update(z, y)
        found[name] = {key: float(value) for key, value in metric.compute().items()}
    assert found["true"] == {"absorption": 0.0, "absorbed_share": 0.0, "absorption_pairs": 2}
    # One of three samples with a child; there the child's latent writes the whole parent.
    assert found["absorbing"] == pytest.approx({"absorption": 1 / 3, "absorbed_share": 1 / 3, "absorption_pairs": 2})
    # A latent that never fires has nothing to lose.
    assert found["none for the parent"]["absorption_pairs"] == 0
    assert np.isnan(found["none for the parent"]["absorption"])


def hedged(correlation: float, mixing: float) -> float:
    """Hedging of two latents in as many dimensions that mix in some of each other's feature."""
    generator = torch.Generator().manual_seed(0)
    first = torch.rand(4000, generator=generator) < 0.4
    same = torch.rand(4000, generator=generator) < abs(correlation)
    second = torch.where(same, first if correlation > 0 else ~first, torch.rand(4000, generator=generator) < 0.4)
    y = torch.stack([first, second], 1).float()
    rows = torch.tensor([[1.0, mixing], [mixing, 1.0]])
    metric = Hedging(Matching.of(rows, torch.eye(2)))
    metric.update(y, y)
    return float(metric.compute())


@pytest.mark.parametrize("mixing", [-0.5, 0.0, 0.5])
@pytest.mark.parametrize("correlation", [-0.5, 0.5])
def test_hedging_has_the_sign_of_the_correlation(correlation: float, mixing: float) -> None:
    # In the plane the company of one is the other's direction, with the sign of their correlation.
    expected = mixing / np.hypot(1, mixing) * np.sign(correlation)
    assert hedged(correlation, mixing) == pytest.approx(expected, abs=1e-6)


def test_hedging_is_the_cosine_with_what_comes_with_a_truth() -> None:
    rows, directions, _, y, x = drawn()
    metric = Hedging(Matching.of(rows, directions))
    metric.update(y, x)
    latents, cosines, leaning = latents_of_truths(rows, directions), cosines_of(rows, directions), []
    for truth in range(FEATURES):
        pull = x[y[:, truth] > 0].double().mean(0).numpy() - x.double().mean(0).numpy()
        unit = directions[truth].double().numpy() / np.linalg.norm(directions[truth].double())
        pull -= (pull @ unit) * unit
        row = rows[latents[truth]].double().numpy() * np.sign(cosines[latents[truth], truth])
        leaning.append(row @ pull / np.linalg.norm(row) / np.linalg.norm(pull))
    np.testing.assert_allclose(metric.per_truth(), leaning, atol=1e-5)
    assert float(metric.compute()) == pytest.approx(np.mean(leaning), abs=1e-5)


def test_truths_that_never_fire_or_have_no_company_do_not_hedge() -> None:
    y = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    metric = Hedging(Matching.of(torch.eye(2), torch.eye(2)))
    metric.update(y, y)
    assert metric.per_truth().isnan().all()


METRICS: dict[str, Callable[[Matching], tuple[Any, bool]]] = {
    "detection": lambda match: (Detection(match), False),
    "correlation": lambda match: (CorrelationMCC(), False),
    "slope": lambda match: (ShrinkageSlope(match), False),
    "absorption": lambda match: (Absorption(match, PARENTS), False),
    "hedging": lambda match: (Hedging(match), True),
}


def numbers(metric: Any) -> dict[str, Tensor]:
    found = metric.compute()
    return found if isinstance(found, dict) else {"": found}


def measured(name: str, match: Matching, batches: list[tuple[Codes, Codes, Tensor]]) -> dict[str, Tensor]:
    metric, of_samples = METRICS[name](match)
    for z, y, x in batches:
        metric.update(*((y, x) if of_samples else (z, y)))
    return numbers(metric)


@pytest.mark.parametrize("name", METRICS)
def test_batches_formats_and_instances_do_not_change_the_numbers(name: str) -> None:
    rows, directions, z, y, x = drawn(instances=3)
    match = Matching.of(rows, directions)
    whole = measured(name, match, [(z, y, x)])
    cuts = [slice(0, 1), slice(1, 120), slice(120, SAMPLES)]
    others = {
        "in batches": measured(name, match, [(z[:, cut], y[cut], x[cut]) for cut in cuts]),
        "as indices and values": measured(name, match, [(sparse(z), sparse(y), x)]),
        "as entries": measured(name, match, [(Entries.of(z), Entries.of(y), x)]),  # type: ignore[list-item]
    }
    if name != "hedging":
        others["own samples"] = measured(name, match, [(z, y.expand(3, -1, -1), x)])
    for how, found in others.items():
        for key, value in found.items():
            assert value.tolist() == pytest.approx(whole[key].tolist(), rel=1e-6, abs=1e-7), (how, key)
    for instance in range(3):
        alone = measured(name, Matching.of(rows[instance], directions), [(z[instance], y, x)])
        for key, value in alone.items():
            torch.testing.assert_close(whole[key][instance], value, rtol=1e-6, atol=1e-7)


def test_pairs_are_looked_at_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, directions, z, y, x = drawn()
    match = Matching.of(rows, directions)
    whole = measured("correlation", match, [(z, y, x)])
    monkeypatch.setattr("ae_lightning.metrics.entries._PAIRS", 5)
    parts = measured("correlation", match, [(z, y, x)])
    torch.testing.assert_close(parts, whole)


def test_a_batch_without_an_entry_counts_as_samples() -> None:
    match = Matching.of(torch.eye(2), torch.eye(2))
    for metric in (Detection(match), ShrinkageSlope(match), Absorption(match, torch.tensor([-1, 0]))):
        metric.update(torch.zeros(4, 2), torch.zeros(4, 2))
    detection = Detection(match)
    detection.update(torch.zeros(4, 2), torch.zeros(4, 2))
    assert int(detection.samples) == 4
    assert float(detection.compute()["f1"]) == 0


def test_codes_and_truths_of_other_samples_are_refused() -> None:
    match = Matching.of(torch.eye(2), torch.eye(2))
    with pytest.raises(ValueError, match="codes of 3 samples, but true features of 4"):
        Detection(match).update(torch.zeros(3, 2), torch.zeros(4, 2))
    with pytest.raises(ValueError, match=r"instances \(3,\) do not fit instances \(2,\)"):
        Detection(match).update(torch.zeros(2, 4, 2), torch.zeros(3, 4, 2))
    with pytest.raises(ValueError, match="of shape"):
        Absorption(match, torch.tensor([-1]))
    with pytest.raises(ValueError, match="are not of samples"):
        Hedging(match).update(torch.zeros(4, 2), torch.zeros(3, 2))

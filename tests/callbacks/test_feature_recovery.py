import lightning as L
import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.metrics.pairwise import cosine_similarity
from torch import Tensor
from torch.utils.data import DataLoader

from ae_lightning.callbacks.feature_recovery import FeatureRecovery
from ae_lightning.data import SparseFeaturesDataModule
from ae_lightning.models.fully_connected import FullyConnectedAutoencoder
from ae_lightning.models.standard_sae import StandardSAE
from ae_lightning.models.toy_model import ToyModel

NAMES = ["duplicates", "fraction_recovered", "fully_recovered", "mcc", "mmcs"]
TRUE = torch.tensor([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 0.5], [1.0, 1.0, 1.0]])


class Directed(SparseFeaturesDataModule):
    """Three features, which are said to be sums of four known directions."""

    def __init__(self, directions: Tensor | None = TRUE, **options) -> None:
        super().__init__(3, 0.5, **{"batch_size": 16, "steps_per_epoch": 3, "num_val": 20, "num_test": 20, **options})
        self.directions = directions

    @property
    def feature_directions(self) -> Tensor | None:
        return self.directions


def logged(recorder) -> dict[str, dict[int | None, float]]:
    names = {name for _, metrics in recorder.rows for name in metrics if name.startswith("recovery/")}
    return {name.removeprefix("recovery/"): recorder.series(name) for name in names}


def by_hand(rows: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """The scores of one instance: rows (latents, input) with scipy and scikit-learn."""
    cosines = cosine_similarity(rows, true)
    matched = np.abs(cosines)[linear_sum_assignment(-np.abs(cosines))]
    has = cosines.argmax(1)[cosines.max(1) > 0.95]
    return {
        "mcc": matched.sum() / len(true),
        "mmcs": cosines.max(0).mean(),
        "fraction_recovered": (cosines.max(0) > 0.95).mean(),
        "fully_recovered": float((cosines.max(0) > 0.95).all()),
        "duplicates": sum((has == feature).sum() for feature in range(len(true)) if (has == feature).sum() > 1),
    }


@pytest.mark.parametrize("instances", [None, 3])
@pytest.mark.parametrize("own", [False, True])
def test_scores_are_those_of_scipy_after_each_validation(instances, own, make_trainer, recorder):
    torch.manual_seed(0)
    model = StandardSAE((3,), 6, instances=instances)
    with torch.no_grad():
        first = model.decoder_vectors if instances is None else model.decoder_vectors[0]
        first[:5] = torch.cat([TRUE, TRUE[:1]]) + 0.01  # one instance recovers all features, and one of them twice
    seen = []

    class Keeping(L.Callback):
        def on_validation_epoch_end(self, trainer, pl_module):
            seen.append(pl_module.decoder_vectors.detach().clone())

    data = Directed(instances=instances if own else None)
    make_trainer(FeatureRecovery(), Keeping(), logger=recorder, max_epochs=2).fit(model, data)
    found = logged(recorder)
    assert sorted(found) == NAMES
    for step, rows in zip((3, 6), seen, strict=True):
        each = [by_hand(one.numpy(), TRUE.numpy()) for one in (rows if instances else rows[None])]
        for name in NAMES:
            assert found[name][step] == pytest.approx(np.mean([scores[name] for scores in each]), abs=1e-5), name
    assert all(list(series) == [3, 6] for series in found.values())
    assert found["fully_recovered"][3] == pytest.approx(1 / (instances or 1))
    assert found["duplicates"][3] >= 2 / (instances or 1)


@pytest.mark.parametrize(
    ("model", "data"),
    [
        (lambda: StandardSAE((3,), 6), lambda: Directed(directions=None)),
        (lambda: FullyConnectedAutoencoder((3,), 2, (4,)), Directed),
        (lambda: ToyModel((3,), 2), Directed),
    ],
    ids=["no known directions", "a deep variant", "a toy model, which makes directions of its own"],
)
def test_nothing_is_said_where_there_is_nothing_to_compare(model, data, make_trainer, recorder):
    make_trainer(FeatureRecovery(), logger=recorder).fit(model(), data())
    assert recorder.series("val/loss")
    assert logged(recorder) == {}


def test_data_that_are_not_ours_and_the_sanity_check_are_left_alone(make_trainer, recorder):
    x = DataLoader([(torch.rand(3), torch.empty(0)) for _ in range(4)], batch_size=2)
    make_trainer(FeatureRecovery(), logger=recorder).fit(StandardSAE((3,), 6), x, x)
    assert logged(recorder) == {}
    make_trainer(FeatureRecovery(), logger=recorder, num_sanity_val_steps=1).fit(StandardSAE((3,), 6), Directed())
    assert {step for series in logged(recorder).values() for step in series} == {3}


def test_looking_leaves_no_trace_in_training(make_trainer, recorder):
    states = []
    for callbacks in ([], [FeatureRecovery()]):
        torch.manual_seed(0)
        model = StandardSAE((3,), 6, instances=2)
        make_trainer(*callbacks, logger=recorder, max_epochs=2).fit(model, Directed())
        states.append([*model.state_dict().values(), torch.get_rng_state()])
    assert all(torch.equal(without, with_it) for without, with_it in zip(*states, strict=True))

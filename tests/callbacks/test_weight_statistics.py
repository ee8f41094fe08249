import numpy as np
import pytest
import torch
from lightning.pytorch import Callback

from ae_lightning.analysis.spectrum import weight_statistics
from ae_lightning.callbacks.schedule import Schedule
from ae_lightning.callbacks.weight_statistics import WeightStatistics
from ae_lightning.models.fully_connected import FullyConnectedAutoencoder
from ae_lightning.models.overcomplete import OvercompleteAutoencoder


def by_hand(weight: torch.Tensor) -> tuple[float, float]:
    """Effective rank exp(entropy of normalized singular values) and Frobenius norm, by numpy's SVD."""
    matrices = weight.detach().double().numpy().reshape(-1, *weight.shape[-2:])
    ranks, norms = [], []
    for matrix in matrices:
        sigma = np.linalg.svd(matrix, compute_uv=False)
        p = sigma / sigma.sum()
        ranks.append(np.exp(-(p * np.log(p)).sum()))
        norms.append(np.linalg.norm(matrix))
    return float(np.mean(ranks)), float(np.mean(norms))


def test_of_known_matrices():
    model = OvercompleteAutoencoder((4,), 4)
    with torch.no_grad():
        model.encoder_vectors[:] = 3 * torch.eye(4)  # four equal directions
        model.decoder_vectors[:] = 0
        model.decoder_vectors[2] = torch.tensor([0.0, 3, 4, 0])  # a single one, of norm 5
    assert weight_statistics(model.encoder_vectors, model.decoder_vectors) == {
        "weights/encoder_effective_rank": pytest.approx(4),
        "weights/encoder_norm": pytest.approx(6),
        "weights/decoder_effective_rank": pytest.approx(1),
        "weights/decoder_norm": pytest.approx(5),
    }


@pytest.mark.parametrize("instances", [None, 2])
def test_each_epoch_s_end_is_measured(instances, make_trainer, recorder, digits):
    class Witness(Callback):
        def __init__(self) -> None:
            self.seen: dict[int, tuple] = {}

        def on_train_start(self, trainer, pl_module) -> None:
            self.on_train_batch_end(trainer, pl_module)

        def on_train_batch_end(self, trainer, pl_module, *args) -> None:
            d = pl_module.dictionary
            self.seen[trainer.global_step] = (d.W_enc.detach().clone(), d.W_dec.detach().clone())

    witness = Witness()
    model = OvercompleteAutoencoder((1, 8, 8), 20, instances=instances)
    make_trainer(WeightStatistics(), witness, logger=recorder, max_epochs=2).fit(model, digits)
    for side, which in (("encoder", 0), ("decoder", 1)):
        ranks = recorder.series(f"weights/{side}_effective_rank")
        norms = recorder.series(f"weights/{side}_norm")
        assert list(ranks) == list(norms) == [0, 6, 12]
        for step in ranks:
            rank, norm = by_hand(witness.seen[step][which])
            assert ranks[step] == pytest.approx(rank, rel=1e-6)
            assert norms[step] == pytest.approx(norm, rel=1e-6)
        assert norms[0] != norms[12]


def test_a_run_that_ends_early_is_measured_once_more(make_trainer, recorder, digits):
    make_trainer(
        WeightStatistics(Schedule(every=4, unit="steps")), logger=recorder, max_epochs=-1, max_time=None, max_steps=5
    ).fit(OvercompleteAutoencoder((1, 8, 8), 20), digits)
    assert list(recorder.series("weights/encoder_norm")) == [0, 4, 5]


def test_deep_models_are_left_alone(make_trainer, recorder, digits):
    make_trainer(WeightStatistics(), logger=recorder).fit(FullyConnectedAutoencoder((1, 8, 8), 3), digits)
    assert not [name for _, metrics in recorder.rows for name in metrics if name.startswith("weights/")]

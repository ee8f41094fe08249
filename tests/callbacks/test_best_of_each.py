"""`best.ckpt` of a population holds each instance as it was at its own lowest validation loss."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor

from ae_lightning.callbacks.best_of_each import with_instances
from ae_lightning.callbacks.run_checkpoints import RunCheckpoints
from ae_lightning.data.gaussian import GaussianDataModule
from ae_lightning.errors import ConfigError
from ae_lightning.models.checkpoint import load_autoencoder
from ae_lightning.models.standard_sae import StandardSAE
from ae_lightning.models.topk_sae import TopKSAE

# Validation losses of each instance after the epochs: instance 0 is best after the second, 1 after the first, 2 last.
LOSSES = [[3.0, 1.0, 9.0], [2.0, 2.0, 8.0], [5.0, 3.0, 7.0]]


class Scripted(TopKSAE):
    """Its loss in evaluation is written down; in training it is its own."""

    def reconstruction_terms(self, done: Any) -> dict[str, Tensor]:
        found = super().reconstruction_terms(done)
        if self.training:
            return found
        epoch = min(self.trainer.current_epoch, len(LOSSES) - 1)
        # In the second epoch the batches of 8 and of 2 samples are off in opposite ways: their mean by samples is not.
        off = (5.0 if len(done.z[0]) == 8 else -20.0) * (epoch == 1)
        return {"reconstruction": torch.tensor(LOSSES[epoch]) + off}


class States(Callback):
    """The state at the end of each epoch."""

    def __init__(self) -> None:
        self.found: list[dict[str, Tensor]] = []
        self.moments: list[Tensor] = []

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        self.found.append({name: value.clone() for name, value in pl_module.state_dict().items()})
        self.moments.append(trainer.optimizers[0].state[pl_module.dictionary.W_enc]["exp_avg"].clone())


def data() -> GaussianDataModule:
    return GaussianDataModule(dim=6, rank=3, num_train=48, num_val=10, num_test=4, batch_size=8, eval_batch_size=8)


def keep(folder: Path, **options: Any) -> RunCheckpoints:
    return RunCheckpoints(folder, "best", monitor="val/loss", save_last=True, enable_version_counter=False, **options)


def fit(make_trainer: Any, folder: Path, model: Any, *others: Any, ckpt: Path | None = None, **options: Any) -> Trainer:
    torch.manual_seed(0)
    trainer = make_trainer(keep(folder), *others, enable_checkpointing=True, **{"max_epochs": 3} | options)
    trainer.fit(model, data(), ckpt_path=ckpt, weights_only=True)
    return trainer


def scripted() -> Scripted:
    return Scripted((6,), 12, k=[2, 3, 4], seed=[0, 1, 2], lr_scheduler=constant, optimizer=adam)


def constant(optimizer: Any) -> Any:
    return torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0)


def adam(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=0.01)


def assert_best(folder: Path, states: States) -> None:
    """Instance 0 of the second epoch, 1 of the first and 2 of the third, with the optimizer's moments."""
    best = torch.load(folder / "best.ckpt", weights_only=True)
    for number, epoch in enumerate([1, 0, 2]):
        for name, value in best["state_dict"].items():
            of_instance = value.ndim > 0 and len(value) == 3
            wanted = states.found[epoch][name][number] if of_instance else states.found[2][name]
            assert torch.equal(value[number] if of_instance else value, wanted), (name, number)
        assert torch.equal(best["optimizer_states"][0]["state"][0]["exp_avg"][number], states.moments[epoch][number])
    assert best["global_step"] == 18


def test_each_instance_is_kept_at_its_own_lowest_loss(make_trainer, tmp_path):
    fit(make_trainer, tmp_path, scripted(), states := States())
    assert_best(tmp_path, states)
    last = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(value, states.found[2][name]) for name, value in last.items())


def test_a_run_that_goes_on_keeps_what_was_best_before(make_trainer, tmp_path):
    fit(make_trainer, tmp_path, scripted(), states := States(), max_epochs=2)
    fit(make_trainer, tmp_path, scripted(), states, ckpt=tmp_path / "last.ckpt")
    assert_best(tmp_path, states)


def test_in_another_folder_the_best_begins_anew(make_trainer, tmp_path):
    fit(make_trainer, tmp_path / "one", scripted(), max_epochs=2)
    fit(make_trainer, tmp_path / "two", scripted(), states := States(), ckpt=tmp_path / "one" / "last.ckpt")
    best = torch.load(tmp_path / "two" / "best.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(value, states.found[-1][name]) for name, value in best.items())


def test_a_run_that_chose_by_the_mean_goes_on_so(make_trainer, tmp_path):
    """As checkpoints of earlier versions do, which hold no losses of instances."""
    fit(make_trainer, tmp_path, scripted(), max_epochs=2)
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    for state in checkpoint["callbacks"].values():
        state.pop("losses", None)
    torch.save(checkpoint, tmp_path / "last.ckpt")
    fit(make_trainer, tmp_path, scripted(), ckpt=tmp_path / "last.ckpt")
    # The mean is 13/3, 4 and 5.
    assert torch.load(tmp_path / "best.ckpt", weights_only=True)["global_step"] == 12


def test_each_is_what_the_best_of_a_fit_alone_is(make_trainer, tmp_path):
    """With a rate so high that losses go up and down."""
    options: dict[str, Any] = {"optimizer": lambda p: torch.optim.Adam(p, lr=0.3)}
    trainers = {"max_epochs": 6, "precision": "64-true"}
    fit(make_trainer, tmp_path, StandardSAE((6,), 12, penalty_weight=[0.01, 0.1, 1.0], seed=4, **options), **trainers)
    steps = set()
    for number, weight in enumerate([0.01, 0.1, 1.0]):
        folder = tmp_path / str(number)
        fit(make_trainer, folder, StandardSAE((6,), 12, penalty_weight=weight, seed=4, **options), **trainers)
        alone = torch.load(folder / "best.ckpt", weights_only=True)
        steps.add(alone["global_step"])
        ours = load_autoencoder(tmp_path / "best.ckpt", instance=number).state_dict()
        for name, value in alone["state_dict"].items():
            torch.testing.assert_close(ours[name], value, rtol=1e-7, atol=1e-9)
    assert len(steps) > 1, "nothing was put together"


class Summed(StandardSAE):
    """A variant whose terms are sums over instances."""

    def reconstruction_terms(self, done: Any) -> dict[str, Tensor]:
        found = super().reconstruction_terms(done)
        if self.training:
            return found
        return {"reconstruction": torch.tensor([9.0, 6.0, 12.0][min(self.trainer.current_epoch, 2)])}


def test_where_terms_are_sums_all_are_kept_at_their_lowest_mean(make_trainer, tmp_path):
    fit(make_trainer, tmp_path, Summed((6,), 12, penalty_weight=[0.0, 0.0]))
    assert torch.load(tmp_path / "best.ckpt", weights_only=True)["global_step"] == 12


@pytest.mark.parametrize("options", [{"save_top_k": 2}, {"mode": "max"}, {"save_weights_only": True}])
def test_another_choice_of_the_best_is_refused(options, make_trainer, tmp_path):
    trainer = make_trainer(keep(tmp_path, **options), enable_checkpointing=True)
    with pytest.raises(ConfigError, match=r"^best\.ckpt holds each of 3 instances at its own lowest val/loss: leave"):
        trainer.fit(scripted(), data())
    assert not list(tmp_path.glob("*.ckpt"))


def test_instances_are_taken_from_an_earlier_state():
    newest = {"w": torch.arange(6.0).view(3, 2), "n": torch.tensor(5), "list": [{"m": torch.zeros(3)}], "name": "new"}
    earlier = {"w": -torch.ones(3, 2), "n": torch.tensor(1), "list": [{"m": torch.ones(3)}], "name": "old"}
    found = with_instances(newest, earlier, [0, 2], 3)
    assert found["w"].tolist() == [[-1, -1], [2, 3], [-1, -1]]
    assert found["list"][0]["m"].tolist() == [1, 0, 1]
    assert (int(found["n"]), found["name"]) == (5, "new")

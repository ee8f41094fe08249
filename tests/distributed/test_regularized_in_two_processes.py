"""Objectives with noise, projections and a prior on two processes: resumed bit for bit, validated as on one."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer

from ae_lightning.data.digits import DigitsDataModule
from ae_lightning.losses.mmd import imq_mmd
from ae_lightning.models import wasserstein
from ae_lightning.models.contractive import ContractiveAutoencoder
from ae_lightning.models.denoising import DenoisingAutoencoder
from ae_lightning.models.wasserstein import WassersteinAutoencoder
from ae_lightning.nn.networks import MLPNetwork

pytestmark = pytest.mark.slow

KINDS: dict[str, Callable[..., Any]] = {
    "denoising": DenoisingAutoencoder,
    "contractive": ContractiveAutoencoder,
    "wae": WassersteinAutoencoder,
}
WEIGHT = 7.0

TRAIN = """
import sys
from test_regularized_in_two_processes import train_all
train_all(sys.argv[1])
"""


class StopAfterAnEpoch(Callback):
    def on_train_epoch_end(self, trainer: Trainer, *args: Any) -> None:
        trainer.should_stop = True


class FirstGradients(Callback):
    """What each process was given at the first step, and the gradients that all of them share."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.found.setdefault("x", batch[0].clone())

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: Any, optimizer: Any) -> None:
        gradients = {name: part.grad.clone() for name, part in pl_module.named_parameters()}
        self.found.setdefault("gradients", gradients)


def built(name: str) -> Any:
    torch.manual_seed(0)
    weight = {"mmd_weight": WEIGHT} if name == "wae" else {}
    return KINDS[name]((1, 8, 8), latent_dim=4, network=MLPNetwork((16,)), **weight)


def digits() -> DigitsDataModule:
    return DigitsDataModule(batch_size=256, eval_batch_size=50)


def trainer_in(folder: str, *callbacks: Callback, devices: int = 2) -> Trainer:
    return Trainer(
        accelerator="cpu",
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        precision="64-true",
        max_epochs=2,
        callbacks=[*callbacks],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=folder,
    )


def train_all(folder: str) -> None:
    """Train each of them once without a stop and once with one, and leave behind what came of it."""
    compared: list[Any] = []

    def recording(codes: Any, prior: Any) -> Any:
        compared.append((codes.detach().clone(), prior.clone()))
        return imq_mmd(codes, prior)

    wasserstein.imq_mmd = recording  # type: ignore[assignment]
    for name in KINDS:
        first = FirstGradients()
        whole = built(name)
        trainer = trainer_in(folder, first)
        trainer.fit(whole, digits())
        validated = trainer.validate(whole, digits(), verbose=False)[0]
        trainer = trainer_in(folder, StopAfterAnEpoch())
        trainer.fit(built(name), digits())
        path = f"{folder}/{name}.ckpt"
        trainer.save_checkpoint(path)
        resumed = built(name)
        trainer = trainer_in(folder)
        trainer.fit(resumed, digits(), ckpt_path=path, weights_only=True)
        kept = {
            "whole": whole.state_dict(),
            "resumed": resumed.state_dict(),
            "validated": validated,
            "first": first.found,
            "compared": compared[:1],
        }
        torch.save(kept, f"{folder}/{name}_{trainer.global_rank}.pt")


@pytest.fixture(scope="module")
def ends(run_twice: Callable[[str, list[Path]], Path]) -> Path:
    """A folder with what each process of one launch ended with."""
    return run_twice(TRAIN, [Path(__file__).parent])


@pytest.mark.parametrize("name", KINDS)
def test_a_run_that_is_resumed_is_the_same_and_is_validated_as_on_one_process(name: str, ends: Path) -> None:
    of_each = [torch.load(ends / f"{name}_{rank}.pt", weights_only=True) for rank in (0, 1)]
    first, second = of_each
    for key, weight in first["whole"].items():
        assert torch.equal(first["resumed"][key], weight), key
        assert torch.equal(second["whole"][key], weight), key
    model = built(name)
    model.double()
    model.load_state_dict(first["whole"])
    if name == "wae":
        return  # whose discrepancy is that of a batch
    alone = trainer_in(str(ends), devices=1).validate(copy.deepcopy(model), digits(), verbose=False)[0]
    assert first["validated"] == pytest.approx(alone, rel=1e-9)


def test_codes_of_both_processes_are_compared_and_get_the_gradients_of_one_with_all(ends: Path) -> None:
    of_each = [torch.load(ends / f"wae_{rank}.pt", weights_only=True) for rank in (0, 1)]
    (codes, prior), (others, same) = (end["compared"][0] for end in of_each)
    assert torch.equal(codes, others)
    assert torch.equal(prior, same)
    model = built("wae").double()
    halves = [end["first"]["x"] for end in of_each]
    outputs = [model(x) for x in halves]
    z = torch.cat([output.z for output in outputs])
    torch.testing.assert_close(z.detach(), codes)
    assert len({*prior[:, 0].tolist()}) == len(prior)  # each process has draws of its own
    errors = [(output.x_hat - x).square().flatten(1).sum(1).mean() for output, x in zip(outputs, halves, strict=True)]
    (sum(errors) / 2 + WEIGHT * imq_mmd(z, prior)).backward()  # type: ignore[union-attr]
    for name, part in model.named_parameters():
        torch.testing.assert_close(of_each[0]["first"]["gradients"][name], part.grad, msg=name)

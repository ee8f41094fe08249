"""Lists of settings on the command line and in configs; what cannot be asked of a population is one sentence."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from ae_lightning.models.checkpoint import load_autoencoder
from ae_lightning.run.run import Run

#: Digits for two steps, without callbacks.
QUICK = [
    *("--trainer.max_epochs", "1", "--trainer.limit_train_batches", "2", "--model.latent_dim", "16"),
    *("--trainer.callbacks", "null", "--snapshots.schedule.count", "2", "--images.schedule.count", "1"),
]
TOGETHER = (
    "the 2 instances of a population are trained as if alone, but {} acts on all of them together: leave it out, "
)


@pytest.mark.parametrize(
    ("variant", "options", "sentence"),
    [
        (
            "TopKSAE",
            ("--model.k", "[2, 4]", "--model.seed", "[0, 1, 2]"),
            "--model.k has 2 entries and --model.seed has 3 entries: give both one for each instance",
        ),
        (
            "JumpReLUSAE",
            ("--model.threshold", "[0.1, 1]", "--model.instances", "3"),
            "--model.threshold has 2 entries, but --model.instances is 3: give one for each, or leave "
            "--model.instances out",
        ),
        (
            "StandardSAE",
            ("--model.latent_dim", "[16, 32]"),
            "--model.latent_dim should be a whole number, but it is '[16, 32]'; a number for each instance can be "
            "given to k, penalty_weight, target_l0, threshold and seed",
        ),
        (
            "StandardSAE",
            ("--model.penalty_weight", "[0.1, -2]"),
            "--model.penalty_weight of instance 1 is -2; it must be at least 0",
        ),
        (
            "StandardSAE",
            ("--model.target_l0", "[4, 40]"),
            "--model.target_l0 is 40; it must be above 0 and at most --model.latent_dim, which is 16",
        ),
        (
            "TopKSAE",
            ("--model.k", "[2, 40]"),
            "--model.k is 40; it has to be from 1 to the 16 latents",
        ),
        (
            "OvercompleteAutoencoder",
            ("--model.seed", "[0, 1]", "--model.optimizer", "LBFGS"),
            TOGETHER.format("--model.optimizer LBFGS") + "or train one by one",
        ),
        (
            "TopKSAE",
            ("--model.k", "[2, 4]", "--trainer.callbacks+", "EarlyStopping", "--trainer.callbacks.monitor", "val/loss"),
            TOGETHER.format("EarlyStopping") + "or train one by one",
        ),
    ],
)
def test_what_cannot_be_is_one_sentence(variant: str, options: tuple[str, ...], sentence: str, ae: Any, tmp_path: Path):
    code, _, err = ae("fit", "--model", variant, *QUICK, *options)
    assert (code, err.strip()) == (2, f"ae-lightning: error: {sentence}")
    assert not list(tmp_path.glob("lightning_logs/*/*"))


@pytest.fixture
def population(ae: Callable[..., Any], tmp_path: Path) -> Run:
    """A run whose lists stand in a config."""
    settings = {"k": [2, 4.5], "seed": [7, 8], "norm_weighted": False}
    config = {"model": {"class_path": "BatchTopKSAE", "init_args": settings}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    assert ae("fit", "--config", "mine.yaml", *QUICK).code == 0
    return Run.load(next(tmp_path.glob("lightning_logs/mine/version_0")))


def test_lists_of_a_config_are_those_of_the_model(population: Run):
    model = load_autoencoder(population.folder)
    assert model.instance_settings == [{"k": 2.0, "seed": 7}, {"k": 4.5, "seed": 8}]
    assert model.dictionary.activation.each_k == [2.0, 4.5]
    single = load_autoencoder(population.folder, instance=1)
    assert (single.instances, single.hparams["k"], single.hparams["seed"]) == (None, 4.5, 8)
    x = torch.rand(5, 1, 8, 8)
    torch.testing.assert_close(single(x).x_hat, model(x).x_hat[1])


def test_it_goes_on_with_its_lists_and_no_others(population: Run, ae: Callable[..., Any]):
    last = str(population.folder / "checkpoints" / "last.ckpt")
    assert ae("fit", "--ckpt_path", last, "--trainer.max_epochs", "2").code == 0
    assert Run.load(population.folder).last_values("val")["val/loss"] > 0
    code, _, err = ae("fit", "--ckpt_path", last, "--trainer.max_epochs", "3", "--model.k", "[2, 4]")
    assert code == 2
    assert "--model.k is [2.0, 4.0], but the model in" in err

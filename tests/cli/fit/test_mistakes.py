"""The parser's defaults, and that settings of one class do not stay in force for another."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from ae_lightning.cli.fit.mistakes import explain


@pytest.fixture
def resolved(ae: Callable[..., Any]) -> Callable[..., dict[str, Any]]:
    """Settings that arguments of fit resolve to."""

    def resolve(*arguments: str) -> dict[str, Any]:
        outcome = ae("fit", *arguments, "--print_config")
        assert outcome.code == 0, outcome.err
        return yaml.safe_load(outcome.out)

    return resolve


def test_digits_are_the_default_data(resolved: Callable[..., Any]) -> None:
    data = resolved("--model", "OvercompleteAutoencoder", "--data.batch_size", "7")["data"]
    assert data["class_path"].endswith(".DigitsDataModule")
    assert data["init_args"]["batch_size"] == 7


@pytest.mark.parametrize("way", ["command line", "config", "second config", "over a config"])
def test_the_default_datas_settings_do_not_reach_other_data(
    way: str, resolved: Callable[..., Any], tmp_path: Path
) -> None:
    np.save(tmp_path / "x.npy", np.zeros((4, 3), np.float32))
    (tmp_path / "arrays.yaml").write_text("data:\n  class_path: ArraysDataModule\n  init_args:\n    train: x.npy\n")
    on_the_line = ["--data", "ArraysDataModule", "--data.train", "x.npy"]
    arguments = {
        "command line": ["--model", "OvercompleteAutoencoder", *on_the_line],
        "config": ["--config", "arrays.yaml", "--model", "OvercompleteAutoencoder"],
        "second config": ["--config", "overcomplete_digits", "--config", "arrays.yaml"],
        "over a config": ["--config", "overcomplete_digits", *on_the_line],
    }
    data = resolved(*arguments[way])["data"]
    assert data["class_path"].endswith(".ArraysDataModule")
    assert data["init_args"]["normalize"] == "none"  # digits default to unit


@pytest.mark.parametrize(("optimizer", "option", "value"), [("AdamW", "weight_decay", 0.01), ("Adadelta", "lr", 1.0)])
def test_the_default_optimizers_settings_do_not_reach_another(
    optimizer: str, option: str, value: float, resolved: Callable[..., Any]
) -> None:
    model = resolved("--model", "OvercompleteAutoencoder", "--model.optimizer", optimizer)["model"]
    assert model["init_args"]["optimizer"]["init_args"][option] == value


@pytest.mark.parametrize("way", ["part", "inline", "spelled with an equals sign", "overridden"])
def test_an_optimizer_keeps_its_own_defaults_and_what_is_set(
    way: str, resolved: Callable[..., Any], tmp_path: Path
) -> None:
    model = "class_path: OvercompleteAutoencoder\ninit_args:\n  optimizer:\n    class_path: torch.optim.AdamW\n"
    (tmp_path / "part.yaml").write_text(model + "    init_args: {lr: 0.5}\n")
    (tmp_path / "by_part.yaml").write_text("model: part.yaml\n")
    inline = "model:\n  " + (model + "    init_args: {lr: 0.5}").replace("\n", "\n  ")
    (tmp_path / "inline.yaml").write_text(inline)
    arguments = {
        "part": ["--config", "by_part.yaml"],
        "inline": ["--config", "inline.yaml"],
        "spelled with an equals sign": ["--model=OvercompleteAutoencoder", "--model.optimizer=AdamW"],
        "overridden": ["--config", "inline.yaml", "--model.optimizer.weight_decay", "0.25"],
    }
    optimizer = resolved(*arguments[way])["model"]["init_args"]["optimizer"]
    assert optimizer["class_path"] == "torch.optim.AdamW"
    assert optimizer["init_args"]["weight_decay"] == (0.25 if way == "overridden" else 0.01)
    assert optimizer["init_args"]["lr"] == (0.001 if "equals" in way else 0.5)
    assert optimizer["init_args"]["fused"] is None


def test_the_default_optimizer_is_fused_adam(resolved: Callable[..., Any]) -> None:
    optimizer = resolved("--model", "OvercompleteAutoencoder", "--model.optimizer.lr", "0.01")["model"]["init_args"]
    assert optimizer["optimizer"]["class_path"] == "torch.optim.Adam"
    assert optimizer["optimizer"]["init_args"]["lr"] == 0.01
    assert optimizer["optimizer"]["init_args"]["fused"] is True


def test_later_options_win_over_the_config(resolved: Callable[..., Any]) -> None:
    config = resolved("--config", "overcomplete_digits", "--model.latent_dim", "5", "--trainer.max_epochs", "2")
    assert config["model"]["init_args"]["latent_dim"] == 5
    assert config["trainer"]["max_epochs"] == 2
    assert config["seed_everything"] == 17


def test_a_message_of_no_known_kind_is_told_in_one_line() -> None:
    assert explain("something\n  quite\n\nnew", [], []) == "something quite new"


def test_an_unknown_option_names_the_nearest_and_only_if_it_is_near() -> None:
    options = ["--trainer.max_epochs", "--model"]
    assert explain("unrecognized arguments: --trainer.max_epoch 3", options, []).endswith("mean --trainer.max_epochs?")
    assert explain("unrecognized arguments: --frobnicate", options, []) == "there is no option --frobnicate"

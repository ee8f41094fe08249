"""`--safe`: what a config, an option, a run's folder or a checkpoint may name, and that nothing else is imported."""

import json
import shutil
import sys

import pytest
import torch

from ae_lightning import safe_mode
from ae_lightning.cli.sweep import runs as sweep_runs
from ae_lightning.errors import ConfigError
from ae_lightning.models.checkpoint import load_autoencoder

MODEL = "model:\n  class_path: OvercompleteAutoencoder\n  init_args:\n    latent_dim: 8\n"
ONLY = "--safe allows only classes of ae_lightning, lightning and torch.optim"


pytestmark = pytest.mark.usefixtures("unsafe_again")


@pytest.fixture
def stranger(tmp_path, monkeypatch):
    """A module `stranger` that writes a file when it is imported; answers whether it was."""
    code = """
from pathlib import Path
Path(__file__).with_name("imported").touch()
from lightning.pytorch import Callback
from ae_lightning.data.digits import DigitsDataModule
from ae_lightning.models.overcomplete import OvercompleteAutoencoder
from torch.optim import Adam
class Model(OvercompleteAutoencoder): pass
class Data(DigitsDataModule): pass
class Watcher(Callback): pass
class Optimizer(Adam): pass
"""
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "stranger.py").write_text(code)
    monkeypatch.syspath_prepend(folder)
    yield (folder / "imported").exists
    sys.modules.pop("stranger", None)


#: Text of mine.yaml and options in which a class of another package is named.
STRANGERS = {
    "model": ("model:\n  class_path: stranger.Model\n  init_args:\n    latent_dim: 8\n", []),
    "data": (f"{MODEL}data: stranger.Data\n", []),
    "callback": (f"{MODEL}trainer:\n  callbacks:\n  - class_path: stranger.Watcher\n", []),
    "single callback": (f"{MODEL}trainer:\n  callbacks: stranger.Watcher\n", []),
    "optimizer": (f"{MODEL}    optimizer: stranger.Optimizer\n", []),
    "optimizer with settings": (f"{MODEL}    optimizer:\n      class_path: stranger.Optimizer\n", []),
    "scheduler": (f"{MODEL}    lr_scheduler: stranger.Scheduler\n", []),
    "logger": (f"{MODEL}trainer:\n  logger:\n    class_path: stranger.Logger\n", []),
    "profiler": (f"{MODEL}trainer:\n  profiler: {{class_path: stranger.Profiler}}\n", []),
    "plugin": (f"{MODEL}trainer:\n  plugins: [{{class_path: stranger.Plugin}}]\n", []),
    "inside another": (
        f"{MODEL}trainer:\n  callbacks:\n  - class_path: LambdaCallback\n"
        "    init_args:\n      on_fit_start: stranger.Watcher\n",
        [],
    ),
    "schedule": (f"{MODEL}snapshots:\n  schedule:\n    class_path: stranger.Schedule\n", []),
    "schedule of a callback": (
        f"{MODEL}trainer:\n  callbacks:\n  - class_path: LinearProbe\n"
        "    init_args:\n      schedule: {class_path: stranger.Schedule}\n",
        [],
    ),
    "option for a schedule": (MODEL, ["--images.schedule", json.dumps({"class_path": "stranger.Schedule"})]),
    "part": ("model: part.yaml\n", []),
    "option for the model": (MODEL, ["--model", "stranger.Model"]),
    "option for the data": (MODEL, ["--data", "stranger.Data"]),
    "option for a callback": (MODEL, ["--trainer.callbacks+", "stranger.Watcher"]),
    "option for the optimizer": (MODEL, ["--model.optimizer", "stranger.Optimizer"]),
    "option in JSON": (MODEL, ["--data", json.dumps({"class_path": "stranger.Data"})]),
    "option with a class path": (MODEL, ["--data.class_path", "stranger.Data"]),
    "help": (MODEL, ["--model.help", "stranger.Model"]),
}


@pytest.mark.parametrize("name", STRANGERS)
def test_a_class_of_another_package_is_refused_and_not_imported(name, ae, tmp_path, stranger):
    text, options = STRANGERS[name]
    (tmp_path / "mine.yaml").write_text(text)
    (tmp_path / "part.yaml").write_text("class_path: stranger.Model\n")
    before = sorted(tmp_path.rglob("*"))
    outcome = ae("--safe", "fit", "--config", "mine.yaml", *options)
    assert outcome.code == 2
    assert not stranger()
    message = outcome.err.strip().splitlines()[-1]
    assert "stranger." in message
    assert ONLY in message
    assert "leave --safe out" in message
    assert sorted(tmp_path.rglob("*")) == before


def test_the_same_class_is_welcome_without_it(ae, quick, stranger):
    assert ae("fit", *quick, "--trainer.callbacks+", "stranger.Watcher", "--data", "stranger.Data").code == 0
    assert stranger()


@pytest.mark.parametrize("place", ["before", "after", "at the end"])
def test_the_option_may_stand_anywhere(place, ae, stranger):
    command = ["fit", "--model", "stranger.Model"]
    at = {"before": 0, "after": 1, "at the end": 3}[place]
    assert ONLY in ae(*command[:at], "--safe", *command[at:]).err
    assert not stranger()


@pytest.mark.parametrize(
    "path",
    [
        "os.system",
        "subprocess.Popen",
        "torch.load",
        "torch.nn.Linear",
        "torchvision.models.resnet18",
        "lightning_evil.Model",
        "ae_lightning_evil.Model",
        "jsonargparse.set_parsing_settings",
    ],
)
def test_only_three_packages_are_allowed(path, ae):
    outcome = ae("--safe", "fit", "--model", path)
    assert (outcome.code, ONLY in outcome.err, path in outcome.err) == (2, True, True)


@pytest.mark.parametrize(
    "path",
    [
        "lightning.pytorch.cli.os.system",
        "ae_lightning.run.run.ArgumentParser",
        "ae_lightning.cli.sweep.runs.subprocess.Popen",
    ],
)
def test_what_an_allowed_module_has_imported_is_not_allowed_by_that(path, ae):
    outcome = ae("--safe", "fit", "--config", "overcomplete_digits", "--data", path)
    assert outcome.code == 2
    assert "Traceback" not in outcome.err


#: All that a run may name and --safe allows: callbacks of ours and of Lightning, an optimizer and a scheduler.
ALLOWED = [
    *("--trainer.callbacks", "[LinearProbe, DecoderNorm, {class_path: EarlyStopping, init_args: {monitor: val/loss}}]"),
    *("--model.optimizer", "SGD", "--model.lr_scheduler", "StepLR", "--model.lr_scheduler.step_size", "1"),
]


def test_a_run_and_what_goes_on_from_it_need_nothing_else(ae, quick, tmp_path):
    assert ae("--safe", "fit", *quick, *ALLOWED).code == 0
    run = tmp_path / "lightning_logs" / "overcomplete_digits" / "version_0"
    assert ae("--safe", "evaluate", run).code == 0
    assert ae("--safe", "predict", "--ckpt_path", run / "checkpoints" / "best.ckpt").code == 0
    assert ae("--safe", "fit", "--ckpt_path", run / "checkpoints" / "last.ckpt", "--trainer.max_epochs", "2").code == 0


@pytest.mark.slow
def test_what_is_drawn_of_a_run_needs_nothing_else(ae, quick, tmp_path):
    assert ae("--safe", "fit", *quick, *ALLOWED).code == 0
    run = tmp_path / "lightning_logs" / "overcomplete_digits" / "version_0"
    for command in ("report", "latent", "sparsity", "explore"):
        outcome = ae("--safe", command, run)
        assert outcome.code == 0, outcome.err


@pytest.mark.parametrize("command", ["evaluate", "report", "latent", "sparsity", "explore", "test", "predict", "fit"])
def test_what_a_runs_folder_names_is_refused_and_not_imported(command, ae, trained, tmp_path, stranger):
    run = shutil.copytree(trained, tmp_path / "run" / "version_0")
    config = (run / "config.yaml").read_text()
    assert "ae_lightning.DigitsDataModule" in config
    (run / "config.yaml").write_text(config.replace("ae_lightning.DigitsDataModule", "stranger.Data"))
    by_checkpoint = command in ("test", "predict", "fit")
    where = ["--ckpt_path", run / "checkpoints" / "last.ckpt"] if by_checkpoint else [run]
    outcome = ae("--safe", command, *where)
    assert outcome.code == 2
    assert ONLY in outcome.err
    assert not stranger()


@pytest.mark.parametrize("place", ["class", "optimizer"])
def test_what_a_checkpoint_names_is_refused_and_not_imported(place, ae, trained, tmp_path, stranger):
    run = shutil.copytree(trained, tmp_path / "run" / "version_0")
    path = run / "checkpoints" / "best.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    if place == "class":
        checkpoint["autoencoder"]["class_path"] = "stranger.Model"
    else:
        checkpoint["hyper_parameters"]["optimizer"]["class_path"] = "stranger.Optimizer"
    torch.save(checkpoint, path)
    outcome = ae("--safe", "evaluate", run)
    assert (outcome.code, ONLY in outcome.err) == (2, True), outcome.err
    assert not stranger()
    assert type(load_autoencoder(trained)).__name__ == "OvercompleteAutoencoder"


def test_a_sweep_is_refused_before_its_first_run(ae, tmp_path, stranger):
    (tmp_path / "mine.yaml").write_text(f"{MODEL}data: stranger.Data\n")
    outcome = ae("--safe", "sweep", "--config", "mine.yaml", "--seeds", "0,1")
    assert (outcome.code, ONLY in outcome.err) == (2, True)
    assert not stranger()
    assert not (tmp_path / "lightning_logs").exists()


def test_the_runs_of_a_sweep_are_safe_too(ae, quick, monkeypatch):
    started = []
    popen = sweep_runs.subprocess.Popen

    def start(command, **options):
        started.append(command)
        return popen([sys.executable, "-S", "-c", "raise SystemExit(2)"], **options)

    monkeypatch.setattr(sweep_runs.subprocess, "Popen", start)
    assert ae("--safe", "sweep", *quick, "--seeds", "0").code == 1
    assert [command[:3] for command in started] == [[*sweep_runs._program(), "--safe"]]


def test_help_tells_of_it(ae):
    help_text = " ".join(ae("--help").out.split())
    assert "--safe refuse classes that are not of ae_lightning, lightning or torch.optim" in help_text


def test_a_part_is_no_class(ae, quick, tmp_path):
    (tmp_path / "part.yaml").write_text("class_path: DigitsDataModule\n")
    assert ae("--safe", "fit", *quick, "--data", "part.yaml").code == 0


def test_a_package_whose_name_only_begins_like_an_allowed_one_is_refused() -> None:
    """What a checkpoint names is looked at here alone; a config's classes the parser looks at, too."""
    strangers = ["lightning_evil.Model", "ae_lightningevil.Model", "torch.optim_evil.SGD", "torch.optimizer.SGD"]
    safe_mode.switch_on()
    for name in strangers:
        with pytest.raises(ConfigError, match=f"it names {name}, but --safe allows only"):
            safe_mode.refuse_unsafe(name, "it")
    for name in ("lightning.pytorch.Callback", "ae_lightning.StandardSAE", "torch.optim.SGD"):
        safe_mode.refuse_unsafe(name, "it")


def test_a_process_that_was_made_safe_stays_so(ae, stranger):
    ae("--safe", "configs")
    assert ONLY in ae("fit", "--model", "stranger.Model").err
    assert not stranger()

"""Every callback, logger and profiler that Lightning ships, named in a config: it works, or one sentence refuses it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch.callbacks
import lightning.pytorch.loggers
import lightning.pytorch.profilers
import pytest
import torch
import yaml
from lightning.pytorch import Callback

from ae_lightning.run.run import Run

FIT = [
    *("fit", "--config", "overcomplete_digits", "--model.latent_dim", "8", "--trainer.callbacks", "null"),
    *("--trainer.max_epochs", "2", "--trainer.limit_train_batches", "3"),
    *("--snapshots.schedule.count", "2", "--images.schedule.count", "1"),
]
RUN = Path("lightning_logs/overcomplete_digits/version_0")
LAST = RUN / "checkpoints" / "last.ckpt"

#: What a callback needs besides its name.
ARGUMENTS = {
    "EarlyStopping": {"monitor": "val/loss"},
    "GradientAccumulationScheduler": {"scheduling": "{0: 2}"},
    "BatchSizeFinder": {"max_val": 8},
    "LearningRateFinder": {"num_training_steps": 12},
    "ModelPruning": {"pruning_fn": "l1_unstructured"},
    "OnExceptionCheckpoint": {"dirpath": "broken"},
    "StochasticWeightAveraging": {"swa_lrs": 0.01},
    "ThroughputMonitor": {"batch_size_fn": "builtins.len"},
}
#: What a callback that cannot be had is refused with, and when: at once, named twice, or when its run is to go on.
AT_ONCE = {
    "BackboneFinetuning": "BackboneFinetuning cannot be used here ('OvercompleteAutoencoder' object has no attribute",
    "BaseFinetuning": "BaseFinetuning is only the base of other callbacks",
    "ModelPruning": "no module of OvercompleteAutoencoder has a parameter called weight or bias",
}
TWICE = {
    *("EarlyStopping", "ModelCheckpoint", "SpikeDetection", "Timer"),
    *("EMAWeightAveraging", "StochasticWeightAveraging", "WeightAveraging"),
}
RESUMED = {"SpikeDetection": "SpikeDetection cannot be used here"}  # Lightning does not load what it has saved
NAMES = [name for name in lightning.pytorch.callbacks.__all__ if name != "Callback"]


def named(name: str) -> list[str]:
    inner = ARGUMENTS.get(name, {}).items()
    arguments = [text for key, value in inner for text in (f"--trainer.callbacks.{key}", str(value))]
    return ["--trainer.callbacks+", name, *arguments]


def refused(outcome: Any, *words: str) -> None:
    """One sentence with these words, and nothing written."""
    assert outcome.code == 2, outcome
    message = outcome.err.strip().splitlines()[-1]
    assert message.startswith("ae-lightning: error: ")
    assert "Traceback" not in outcome.err
    for word in words:
        assert word in message, f"{word!r} is not in: {message}"
    assert not list(Path().iterdir())


# Those that were mended; the others take as long and are to find out what a new release of Lightning brings.
QUICK = {*AT_ONCE, *RESUMED, "BatchSizeFinder", "RichProgressBar", "StochasticWeightAveraging", "Timer"}


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]
)
def test_a_callback_of_lightning_s(name: str, ae: Callable[..., Any]) -> None:
    once = ae(*FIT, *named(name))
    if name in AT_ONCE:
        refused(once, AT_ONCE[name])
        return
    assert once.code == 0, once.err
    resumed = ae("fit", "--ckpt_path", LAST, "--trainer.max_epochs", "3")
    if name in RESUMED:
        assert resumed.code == 2
        assert RESUMED[name] in resumed.err
        assert "Traceback" not in resumed.err
    else:
        assert resumed.code == 0, resumed.err
        epochs = torch.load(LAST, weights_only=True)["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
        assert epochs == 3


@pytest.mark.parametrize("name", [name for name in NAMES if name not in AT_ONCE])
def test_the_same_callback_twice(name: str, ae: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    fits: list[Any] = []
    monkeypatch.setattr("lightning.pytorch.Trainer.fit", lambda trainer, *_, **__: fits.append(trainer))
    monkeypatch.setattr("ae_lightning.cli.fit.lightning_cli.AutoencoderCLI.after_fit", lambda _: None)
    outcome = ae(*FIT, *named(name), *named(name))
    if name in TWICE:
        refused(outcome, f"trainer.callbacks lists {name} twice")
    else:
        assert outcome.code == 0, outcome.err
        assert len(fits) == 1


@pytest.mark.parametrize(
    ("name", "hint"),
    [("Throughput", "already: leave it out"), ("ModelCheckpoint", "already: set it by --checkpoint.…")],
)
def test_a_callback_that_every_fit_has(name: str, hint: str, ae: Callable[..., Any]) -> None:
    same = ["--trainer.callbacks.monitor", "val/loss"] if name == "ModelCheckpoint" else []
    refused(ae(*FIT, "--trainer.callbacks+", name, *same), f"lists {name}, which every fit has {hint}")


def test_a_callback_of_the_config_s_and_another(ae: Callable[..., Any]) -> None:
    config = ["fit", "--config", "overcomplete_digits", "--trainer.max_epochs", "1"]
    refused(ae(*config, "--trainer.callbacks+", "LinearProbe"), "lists LinearProbe twice", "leave one out")


@pytest.mark.parametrize("name", ["RichProgressBar", "TQDMProgressBar", "ProgressBar"])
def test_a_progress_bar_is_asked_for_on_a_terminal_only(
    name: str, ae: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    bars: list[Any] = []
    fit = lambda trainer, *_, **__: bars.append(trainer.progress_bar_callback)  # noqa: E731
    monkeypatch.setattr("lightning.pytorch.Trainer.fit", fit)
    monkeypatch.setattr("ae_lightning.cli.fit.lightning_cli.AutoencoderCLI.after_fit", lambda _: None)
    assert ae(*FIT, *named(name)).code == 0
    assert ae(*FIT, *named(name), "--trainer.enable_progress_bar", "true").code == 0
    assert [type(bar).__name__ for bar in bars] == ["NoneType", name]


LOGGERS = {"CometLogger": "comet-ml", "MLFlowLogger": "mlflow", "WandbLogger": "wandb"}


@pytest.mark.parametrize("name", [name for name in lightning.pytorch.loggers.__all__ if name != "Logger"])
def test_a_logger_of_lightning_s(name: str, ae: Callable[..., Any]) -> None:
    if name in LOGGERS:
        package = LOGGERS[name]
        refused(ae(*FIT, "--trainer.logger", name), f"{name}: a package that it needs is not installed", package)
    elif name == "LitLogger":  # none of Lightning's trainer
        refused(ae(*FIT, "--trainer.logger", name), "there is no class LitLogger")
    else:
        outcome = ae(*FIT, "--trainer.logger", name, "--trainer.logger.save_dir", "logs")
        assert outcome.code == 0, outcome.err


@pytest.mark.parametrize("name", ["XLAProfiler", "xla"])
def test_a_profiler_whose_package_is_missing(name: str, ae: Callable[..., Any]) -> None:
    refused(ae(*FIT, "--trainer.profiler", name), "XLAProfiler: a package that it needs is not installed", "torch_xla")


UNRELATED = {
    "gradient_clip_algorithm": ("foo", "foo", "'norm'"),
    "limit_val_batches": ("-3", "-3", "limit_val_batches"),
    "profiler": ("nonsense", "'simple'"),
    "max_time": ("soon", "'soon'", "DD:HH:MM:SS"),
    "max_epochs": ("-5", "-5", "max_epochs"),
}


@pytest.mark.parametrize("option", UNRELATED)
def test_a_mistake_that_is_not_the_hardware_s_is_not_put_down_to_it(option: str, ae: Callable[..., Any]) -> None:
    value, *words = UNRELATED[option]
    outcome = ae(*FIT, "--trainer.gradient_clip_val", "1", f"--trainer.{option}", value)
    refused(outcome, "the trainer does not take its options", *words)
    assert "accelerator" not in outcome.err


def test_a_mistake_about_the_hardware_names_what_was_given(ae: Callable[..., Any]) -> None:
    outcome = ae(*FIT, "--trainer.accelerator", "quantum")
    refused(outcome, "there can be no trainer with --trainer.accelerator quantum: ")
    assert "--trainer.devices" not in outcome.err


@pytest.mark.parametrize(
    ("name", "lost", "argument"),
    [("Timer", "interval", "duration"), ("StochasticWeightAveraging", "device", "swa_lrs")],
)
def test_a_default_that_yaml_has_no_form_for_is_left_out(
    name: str, lost: str, argument: str, ae: Callable[..., Any]
) -> None:
    outcome = ae(*FIT, *named(name), "--print_config")
    assert outcome.code == 0, outcome.err
    (callback,) = yaml.safe_load(outcome.out)["trainer"]["callbacks"]
    assert lost not in callback["init_args"]
    assert argument in callback["init_args"]
    if name == "Timer":
        outcome = ae(*FIT, *named(name), "--trainer.callbacks.interval", "epoch", "--print_config")
        assert yaml.safe_load(outcome.out)["trainer"]["callbacks"][0]["init_args"]["interval"] == "epoch"


def test_a_text_that_might_be_a_function_is_written_as_it_is(ae: Callable[..., Any]) -> None:
    model = ["--model", "FullyConnectedAutoencoder", "--model.hidden_dims", "[8]"]
    outcome = ae("fit", *model, *named("ModelPruning"), "--print_config")
    (callback,) = yaml.safe_load(outcome.out)["trainer"]["callbacks"]
    assert callback["init_args"]["pruning_fn"] == "l1_unstructured"


# --- searches ----------------------------------------------------------------------------------


def settings(run: Path) -> dict[str, Any]:
    return yaml.safe_load((run / "config.yaml").read_text())


def test_what_was_found_is_told_kept_and_not_looked_for_again(ae: Callable[..., Any]) -> None:
    whole = [*FIT, "--trainer.limit_train_batches", "1.0"]
    finder = ["--trainer.callbacks+", "BatchSizeFinder", "--trainer.callbacks.max_val", "128"]
    searched = ae(*whole, *finder, "--trainer.default_root_dir", "searched")
    assert searched.code == 0, searched.err
    assert "batch size: 128 (found by BatchSizeFinder)" in searched.out
    run = "searched" / RUN
    assert settings(run)["data"]["init_args"]["batch_size"] == 128
    assert not list(run.glob("config.1.yaml"))
    assert ae(*whole, "--data.batch_size", "128", "--trainer.default_root_dir", "given").code == 0
    assert_equal(run, "given" / RUN)
    for root in ("searched", "given"):
        resumed = ae("fit", "--ckpt_path", root / LAST, "--trainer.max_epochs", "3")
        assert resumed.code == 0, resumed.err
        assert "found by" not in resumed.out
    assert_equal(run, "given" / RUN)
    assert set(Run.load(run).series("val/loss")[0]) == {0, 11, 22, 33}


def assert_equal(run: Path, other: Path) -> None:
    ended, wanted = (torch.load(each / "checkpoints" / "last.ckpt", weights_only=True) for each in (run, other))
    assert ended["global_step"] == wanted["global_step"]
    assert all(torch.equal(ended["state_dict"][name], value) for name, value in wanted["state_dict"].items())


def test_a_rate_that_was_found_is_in_the_settings_of_run_and_checkpoint(ae: Callable[..., Any]) -> None:
    finder = ["--trainer.callbacks+", "LearningRateFinder", "--trainer.callbacks.num_training_steps", "20"]
    outcome = ae(*FIT, *finder, "--trainer.limit_train_batches", "4", "--trainer.max_epochs", "5")
    found = float(outcome.out.partition("learning rate: ")[2].split()[0])
    stored = torch.load(LAST, weights_only=True)
    rates = [
        settings(RUN)["model"]["init_args"]["optimizer"]["init_args"]["lr"],
        stored["hyper_parameters"]["optimizer"]["init_args"]["lr"],
        stored["optimizer_states"][0]["param_groups"][0]["lr"],
    ]
    assert rates == pytest.approx([found] * 3, rel=1e-5)
    assert found != 0.001
    assert ae("fit", "--ckpt_path", LAST, "--trainer.max_epochs", "6").code == 0


class PutsBack(Callback):
    """A search of somebody else's, which does what Lightning's do."""

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        trainer.save_checkpoint("before.ckpt")
        trainer._checkpoint_connector.restore("before.ckpt")


def test_a_run_that_a_callback_has_put_back_is_not_written_over(ae: Callable[..., Any]) -> None:
    assert ae(*FIT).code == 0
    before = (RUN / "metrics.csv").read_text()
    outcome = ae(
        *("fit", "--ckpt_path", LAST, "--trainer.max_epochs", "3"), "--trainer.callbacks+", f"{__name__}.PutsBack"
    )
    assert outcome.code == 2
    assert (
        "was to go on at step 6, but starts at step 0: one of the callbacks (PutsBack) has put it back" in outcome.err
    )
    assert (RUN / "metrics.csv").read_text() == before

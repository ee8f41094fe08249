"""Releases of other packages that were never seen: what is private in them may be gone, and everything goes on."""

import ast
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import lightning.pytorch.cli
import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

import ae_lightning
from ae_lightning import upstream
from ae_lightning.callbacks.resampling import ResampleDeadLatents
from ae_lightning.cli.fit.parsing import ParsedCLI
from ae_lightning.cli.main import main
from ae_lightning.models.overcomplete import OvercompleteAutoencoder
from ae_lightning.models.stacked import StackedAutoencoder
from ae_lightning.run.loggers import RunTensorBoard, write_pictures
from ae_lightning.run.place import predictions_of
from ae_lightning.training.trainer import trainer_of

PACKAGE = Path(ae_lightning.__file__).parent
QUICK = [
    *("--config", "overcomplete_digits", "--model.latent_dim", "16"),
    *("--trainer.callbacks", "null", "--trainer.max_epochs", "1", "--trainer.limit_train_batches", "2"),
    *("--snapshots.schedule.count", "2", "--images.schedule.count", "1"),
]


# --- releases ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("package", "release", "tested"),
    [
        ("lightning", "2.6.3", False),
        ("lightning", "2.6.4", True),
        ("lightning", "2.6.10", True),
        ("lightning", "2.6.5.post1", True),
        ("lightning", "2.7.0", False),
        ("lightning", "2.7.0.dev20270101", False),
        ("lightning", "2.10.0", False),
        ("lightning", "3.0.0", False),
        ("torch", "2.5.1", False),
        ("torch", "2.6.0", True),
        ("torch", "2.15.0+cu130", True),
        ("torch", "2.16.0a0+git123", False),
        ("jsonargparse", "4.9.0", False),
        ("jsonargparse", "4.53.7", True),
        ("jsonargparse", "4.54.0", False),
        ("jsonargparse", "unknown", False),
        ("jsonargparse", None, False),
    ],
)
def test_a_release_is_tested_from_the_first_to_the_last_of_a_series(
    package: str, release: str | None, tested: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(asked: str) -> str:
        assert asked == package
        if release is None:
            raise PackageNotFoundError(package)
        return release

    monkeypatch.setattr(upstream, "version", version)
    upstream._installed.cache_clear()
    try:
        assert upstream.is_tested(package) == tested
    finally:
        upstream._installed.cache_clear()


def test_what_is_installed_is_told_without_importing_it() -> None:
    code = (
        "import json, sys; from ae_lightning.upstream import TESTED, is_tested\n"
        "print(json.dumps([{name: is_tested(name) for name in TESTED}, list(sys.modules)]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    told, modules = json.loads(done.stdout)
    assert told == {name: upstream.is_tested(name) for name in upstream.TESTED}
    assert not {*upstream.TESTED} & {*modules}


# --- private attributes -----------------------------------------------------------------------------------------------


def named_by_us() -> set[str]:
    """Names that some file of ours gives to a function, a class, or an attribute of its own object."""
    names: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                names.add(node.name)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                names.add(node.attr)
    return names


def private_names_in(source: str) -> Iterator[str]:
    """Names with a leading underscore that are read from objects or imported, dunder names and named tuples' aside."""
    for node in ast.walk(ast.parse(source)):
        names = [node.attr] if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) else []
        if isinstance(node, ast.ImportFrom):
            names = [name for alias in node.names for name in f"{node.module}.{alias.name}".split(".")]
        yield from (name for name in names if name.startswith("_") and not name.startswith("__"))


def test_private_names_are_found_in_source() -> None:
    assert [*private_names_in("from a._b import _c, d\nx._e.f = y._g(__name__)._asdict().__dict__")] == [
        *("_b", "_c", "_b"),
        *("_e", "_asdict", "_g"),
    ]


def test_nothing_private_of_others_is_used_but_by_private_and_in_the_lean_loop() -> None:
    ours = named_by_us() | {"_asdict", "_replace", "_fields"}  # the last are public, of named tuples
    used = {
        (path.relative_to(PACKAGE).as_posix(), name)
        for path in PACKAGE.rglob("*.py")
        for name in private_names_in(path.read_text(encoding="utf-8"))
        if name not in ours
    }
    assert {file for file, _ in used} == {"lean_loop.py"}, sorted(used)
    assert ("lean_loop.py", "_logger_connector") in used


@pytest.fixture
def nothing_private(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if every private attribute that is asked for were gone."""
    users = [module for module in list(sys.modules.values()) if vars(module).get("private") is upstream.private]
    assert {user.__name__.rpartition(".")[2] for user in users} >= {"upstream", "loggers", "stacked", "parsing"}
    for user in users:
        monkeypatch.setattr(user, "private", lambda owner, name, default: default)


def events_below(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0}).Reload()


def test_scalars_reach_tensorboard_by_the_public_way(nothing_private: None, tmp_path: Path) -> None:
    folder = tmp_path / "experiment" / "version_0"
    logger = RunTensorBoard(folder)
    logger.log_hyperparams({"model": {"latent_dim": 3}})
    for step in (2, 5):
        logger.log_metrics({"train/loss": step / 4, "lr": 0.5}, step)
    logger.save()
    events = events_below(folder)
    assert [(event.step, event.value) for event in events.Scalars("train/loss")] == [(2, 0.5), (5, 1.25)]
    assert [(event.step, event.value) for event in events.Scalars("lr")] == [(2, 0.5), (5, 0.5)]
    assert [path.name for path in (tmp_path / "experiment").iterdir()] == ["version_0"]


def test_pictures_reach_tensorboard_by_the_public_way(nothing_private: None, tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (4, 6, 3)).astype(np.uint8)
    with SummaryWriter(str(tmp_path)) as writer:
        write_pictures(writer, {"one": picture}, 7)
    (event,) = events_below(tmp_path).Images("one")
    assert (event.step, event.height, event.width) == (7, 4, 6)


def test_a_stack_on_several_processes_is_not_refused_where_the_strategy_does_not_tell(
    nothing_private: None, make_trainer: Callable[..., Any]
) -> None:
    trainer = make_trainer(strategy="ddp", devices=1)
    model = StackedAutoencoder((1, 8, 8), 4, (8,), pretrain_epochs=1)
    model.trainer = trainer
    model.setup("fit")
    assert model.phase == "layer_1"


@pytest.mark.parametrize("command", ["fit", "evaluate"])
def test_a_misspelt_option_is_refused_without_a_guess(
    command: str, nothing_private: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ae(command, "--trainer.max_epoch" if command == "fit" else "--batch-siz", "3") == 2
    told = capsys.readouterr().err
    assert "there is no option --" in told
    assert "did you mean" not in told


def ae(*arguments: str) -> int:
    """Exit code of `ae-lightning` with these arguments."""
    try:
        return main([*arguments])
    except SystemExit as stop:
        return int(stop.code or 0)


# --- Lightning's classes ----------------------------------------------------------------------------------------------

RENAMED = [
    *("_get", "_parse_ckpt_path", "_parser", "_prepare_subcommand_parser", "_run_subcommand"),
    *("_set_seed", "_subcommand_method_arguments", "_subcommand_parsers"),
]


@pytest.fixture
def renamed() -> Iterator[None]:
    """As if Lightning had other names for the private methods and attributes of its command line."""
    source = inspect.getsource(lightning.pytorch.cli.LightningCLI)
    for name in RENAMED:
        source, count = re.subn(rf"\b{name}\b", f"_other{name}", source)
        assert count > 0, name
    names = vars(lightning.pytorch.cli).copy()
    exec(source, names)
    assert not any(hasattr(names["LightningCLI"], name) for name in RENAMED)
    before = ParsedCLI.__bases__
    ParsedCLI.__bases__ = (names["LightningCLI"],)
    yield
    ParsedCLI.__bases__ = before


def test_a_run_is_made_and_goes_on_whatever_lightning_calls_its_own(
    renamed: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")  # which Lightning overwrites, and is put back
    assert ae("fit", *QUICK) == 0
    run = tmp_path / "lightning_logs" / "overcomplete_digits" / "version_0"
    last = str(run / "checkpoints" / "last.ckpt")
    assert ae("fit", "--ckpt_path", last, "--trainer.max_epochs", "2") == 0
    assert torch.load(last, weights_only=True)["global_step"] == 4
    assert ae("predict", "--ckpt_path", last) == 0
    assert predictions_of(Path(last)).is_file()
    capsys.readouterr()
    assert ae("fit", "--ckpt_path", last, "--model.latent_dim", "17") == 2
    assert "--model.latent_dim is 17, but the model in" in capsys.readouterr().err
    assert ae("fit", "--trainer.max_epoch", "3") == 2
    assert "did you mean --trainer.max_epochs?" in capsys.readouterr().err


def test_a_module_knows_its_trainer_whatever_lightning_calls_it(
    make_trainer: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def trainer(module: LightningModule) -> Any:
        if "other_trainer" not in vars(module):
            raise RuntimeError("not attached")
        return vars(module)["other_trainer"]

    model = OvercompleteAutoencoder((1, 8, 8), 4)
    monkeypatch.setattr(LightningModule, "trainer", property(trainer))
    del model._trainer
    assert trainer_of(model) is None
    assert model.warmed_up(0.5, 10) == 0.5
    assert np.isnan(model.learning_rate)
    model.configure_optimizers()
    vars(model)["other_trainer"] = made = make_trainer()
    assert trainer_of(model) is made


def test_a_callback_s_state_goes_by_the_name_that_lightning_would_give_it() -> None:
    callback = ResampleDeadLatents(every=7, window=3)
    assert callback.state_key == callback._generate_state_key(every=7, window=3)

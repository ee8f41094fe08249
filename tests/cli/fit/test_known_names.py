"""A typo is told before PyTorch is imported, in the very sentence that the parser's message becomes later."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ae_lightning.cli.command_line import CommandLine
from ae_lightning.cli.configs import packaged, resolve_names
from ae_lightning.cli.fit import known_names
from ae_lightning.cli.fit.known_names import KnownNames, keep, refuse_unknown_names
from ae_lightning.cli.fit.parsing import OnlySettings, prepare
from ae_lightning.cli.main import TRAINER_COMMANDS
from ae_lightning.errors import ConfigError

DIGITS = ("--config", "overcomplete_digits")
MISTAKES = [
    (*DIGITS, "--model.latent_dmi", "3"),
    (*DIGITS, "--model.init_args.latent_dmi=3"),
    (*DIGITS, "--model.lr", "0.1"),
    (*DIGITS, "--model.hidden_dims", "[3]"),
    (*DIGITS, "--model.optimizer.lrr", "0.1"),
    (*DIGITS, "--data.bach_size", "3"),
    (*DIGITS, "--data.root", "x"),
    ("--model", "overcomplete", "--data.train", "x.npy"),
    ("--model", "overcomplete", "--model.optimizer.momentum", "0.9"),
    ("--model", "overcomplete", "--data", "gaussian", "--data.normalize", "unit"),
    (*DIGITS, "--trainer.max_epoch", "3"),
    (*DIGITS, "--snapshot.schedule.count", "3"),
    (*DIGITS, "--snapshots.schedule.cuont", "3"),
    (*DIGITS, "--nonsense"),
    ("--model", "OvercompleteAutoencoderr"),
    ("--model", "overcompleet"),
    ("--model", "Qwxyz"),
    ("--data", "Digits", "--model", "deep"),
    ("--model", "StandardSAE", "--model.hidden_dims", "3"),
]
SETTINGS = {
    "model": {"class_path": "OvercompleteAutoencoder", "init_args": {"latent_dim": 8}},
    "data": {"class_path": "DigitsDataModule", "init_args": {"batch_size": 32}},
    "trainer": {
        "max_epochs": 2,
        "callbacks": [{"class_path": "LinearProbe"}],
        "strategy": {"class_path": "DDPStrategy"},
    },
    "snapshots": {"schedule": {"count": 5}},
}
SGD = {"class_path": "torch.optim.SGD", "init_args": {"lrr": 0.1}}
MISTAKES_IN_CONFIGS = {
    "trainre": {"trainre": {"max_epochs": 2}},
    "a word": {"experimnet": "x"},
    "trainer.max_epoch": {"trainer": {"max_epoch": 2}},
    "snapshots.shedule": {"snapshots": {"shedule": {"count": 5}}},
    "snapshots.schedule.cuont": {"snapshots": {"schedule": {"cuont": 5}}},
    "model.latent_dmi": {"model": {"class_path": "OvercompleteAutoencoder", "init_args": {"latent_dmi": 8}}},
    "model.optimizer.lrr": {"model": {"class_path": "OvercompleteAutoencoder", "init_args": {"optimizer": SGD}}},
    "data.bach_size": {"data": {"class_path": "ae_lightning.DigitsDataModule", "init_args": {"bach_size": 8}}},
    "class of the model": {"model": {"class_path": "OvercompleteAutoencoderr"}},
    "class of the data": {"data": {"class_path": "Digits", "init_args": {"batch_size": 8}}},
}
FINE = [
    *((*("--config", name),) for name in packaged() if "/" not in name),
    (*DIGITS, "--model.optimizer", "SGD", "--model.optimizer.momentum", "0.9"),
    (*DIGITS, "--model.optimizer.betas", "[0.9, 0.99]", "--model.lr_scheduler", "StepLR"),
    (*DIGITS, "--model.lr_scheduler_interval", "step"),
    (*DIGITS, "--model.lr_scheduler.step_size", "3", "--trainer.callbacks+", "EarlyStopping"),
    (*DIGITS, "--trainer.callbacks.monitor", "val/loss", "--trainer.logger.name", "x"),
    (*DIGITS, "--model.init_args.latent_dim=3", "--model.reconstruction_loss", "mae", "--data.drop_last", "true"),
    ("--model", "my_package.Mine", "--model.anything", "3", "--data.class_path", "other.Data", "--data.x", "1"),
    ("--model", '{"class_path": "StandardSAE"}', "--model.penalty_weight", "3"),
    ("--model", "null"),
    ("--print_config", "-h", "-c", "overcomplete_digits", "--trainer", "debug"),
    ("--ckpt_path", "run/checkpoints/last.ckpt", "--data.root", "x", "--model.latent_dim", "3"),
]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def names() -> KnownNames:
    """What a start finds out."""
    with pytest.MonkeyPatch.context() as patch:
        kept: list[KnownNames] = []
        patch.setattr(known_names, "keep", lambda command, options, kinds: kept.append(KnownNames(options, kinds)))
        OnlySettings(prepare(CommandLine(["fit", *DIGITS])))
        return kept[0]


@pytest.mark.parametrize("options", MISTAKES, ids=" ".join)
def test_the_sentence_is_the_one_that_the_parser_comes_to(options: tuple[str, ...], names: KnownNames) -> None:
    line = resolve_names(CommandLine(["fit", *options]))
    with pytest.raises(ConfigError) as early:
        names.refuse_unknown(line)
    with pytest.raises(ConfigError) as late:
        OnlySettings(prepare(line))
    assert str(early.value) == str(late.value)


@pytest.mark.parametrize("mistake", MISTAKES_IN_CONFIGS)
def test_a_typo_in_a_config_is_told_in_the_same_sentence(mistake: str, names: KnownNames, tmp_path: Path) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text(yaml.safe_dump(SETTINGS | MISTAKES_IN_CONFIGS[mistake], sort_keys=False))
    line = CommandLine(["fit", "--config", str(config)])
    with pytest.raises(ConfigError) as early:
        names.refuse_unknown(line)
    with pytest.raises(ConfigError) as late:
        OnlySettings(prepare(line))
    assert str(early.value) == str(late.value)
    config.write_text(yaml.safe_dump(SETTINGS))
    names.refuse_unknown(line)


def test_what_is_right_or_cannot_be_known_passes(names: KnownNames) -> None:
    for options in FINE:
        names.refuse_unknown(resolve_names(CommandLine(["fit", *options])))
    names.refuse_unknown(CommandLine(["fit", *(f"{name}=1" for name in names.options if name.startswith("--"))]))


CONFIGS = {
    "noisy.yaml": "data: {class_path: GaussianDataModule}",
    "short.yaml": "trainer: {max_epochs: 2}",
    "dotted.yaml": "data.class_path: GaussianDataModule\n"
    "model: {class_path: StandardSAE, init_args: {optimizer.lr: 0.1}}",
    "sgd.yaml": "model: {class_path: StandardSAE, init_args: {optimizer: SGD}}",
    "wide.yaml": "model: {init_args: {latent_dim: 5}}",
    "global.yaml": "fit: {model: {class_path: StandardSAE}}",
    "odd.yaml": "trainer: {on: 2}\nmodel: {class_path: StandardSAE, init_args: {1: 2}}",
    "mypart": "class_path: StandardSAE",
}
UNUSUAL = [
    "fit --config noisy.yaml --config short.yaml --model StandardSAE --data.noise 0.2",
    "fit --data gaussian --config short.yaml --model StandardSAE --data.noise 0.2",
    "fit --config dotted.yaml --data.noise 0.2",
    "fit --config sgd.yaml --config wide.yaml --model.optimizer.momentum 0.9",
    "fit --model StandardSAE --model.init_args.optimizer SGD --model.optimizer.momentum 0.9",
    "fit --model {class_path:StandardSAE,init_args:{optimizer:SGD}} --model.optimizer.momentum 0.9",
    "fit --model mine.Model --model.optimizer.anything 3",
    "fit --ckpt_path last.ckpt --model.optimizer.momentum 0",
    "fit --model StandardSAE --trainer.max_time.minutes 3",
    "fit --model mypart",
    "fit --model StandardSAE --model.optimizer.amsgrad true --model.optimizer SGD",
    "fit --model.tied true --model OvercompleteAutoencoder",
    "--config global.yaml fit",
    "fit --config odd.yaml",
]


def test_what_is_told_in_an_unusual_way_is_left_to_the_parser(
    names: KnownNames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in CONFIGS.items():
        Path(name).write_text(text)
    for words in UNUSUAL:
        names.refuse_unknown(resolve_names(CommandLine(words.split())))


def test_every_argument_of_a_class_is_known(names: KnownNames) -> None:
    for option in ("--model", "--data"):
        for kind, (arguments, is_abstract) in names.classes[option].items():
            if not is_abstract:
                typed = [f"{option}={kind}", *(f"{option}.{argument}=1" for argument in arguments)]
                names.refuse_unknown(CommandLine(["fit", *typed]))


def test_a_second_start_imports_no_torch_for_a_typo(tmp_path: Path) -> None:
    code = (
        "import sys; from ae_lightning.cli.main import main; code = main(sys.argv[1:]);"
        "print(code, *({'torch', 'lightning', 'jsonargparse'} & sys.modules.keys()))"
    )

    def start(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", code, *arguments], cwd=tmp_path, capture_output=True, text=True)

    first, second = (start("fit", *DIGITS, "--model.latent_dmi", "3") for _ in range(2))
    assert first.stdout.split()[1:]
    assert "first fit with these versions: loading PyTorch takes some seconds" in first.stderr
    assert second.stdout.split() == ["2"]
    assert second.stderr.startswith("ae-lightning: error: there is no option --model.latent_dmi")
    assert first.stderr.splitlines()[-1] == second.stderr.splitlines()[-1]
    assert start("fti").stdout.split() == ["2"]  # which needs no earlier start


def test_names_are_kept_for_the_same_versions_and_sources_only(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = CommandLine(["fit", "--modle", "x"])
    assert not refuse_unknown_names(line)
    keep("fit", ["--model"], {owner: {} for owner in known_names.OWNERS})
    with pytest.raises(ConfigError, match="no option --modle; did you mean --model"):
        refuse_unknown_names(line)
    assert not refuse_unknown_names(CommandLine(["test", "--modle", "x"]))
    monkeypatch.setattr(known_names, "__version__", "0.0.0")
    assert not refuse_unknown_names(line)


@pytest.mark.parametrize(
    "content", ["", "{}", "[1]", '{"key": 1', "\x00", '{"key": KEY, "options": null, "classes": {}}']
)
def test_a_damaged_file_is_as_none(cache: Path, content: str) -> None:
    keep("fit", ["--model"], {owner: {} for owner in known_names.OWNERS})
    (path,) = cache.rglob("*.json")
    path.write_text(content.replace("KEY", json.dumps(json.loads(path.read_text())["key"])))
    assert not refuse_unknown_names(CommandLine(["fit", "--modle"]))
    keep("fit", ["--model"], {owner: {} for owner in known_names.OWNERS})
    assert json.loads(path.read_text())["options"] == ["--model"]


def test_a_place_that_cannot_be_written_costs_only_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    keep("fit", ["--model"], {owner: {} for owner in known_names.OWNERS})
    assert not refuse_unknown_names(CommandLine(["fit", "--modle"]))


def test_the_commands_are_those_of_lightning() -> None:
    assert tuple(OnlySettings.subcommands()) == tuple(TRAINER_COMMANDS)

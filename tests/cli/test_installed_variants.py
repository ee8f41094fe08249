"""Variants of an installed package: listed, guessed at, trained, measured, drawn; in safe mode not even imported."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from ae_lightning import safe_mode
from ae_lightning.cli.command_line import CommandLine
from ae_lightning.cli.fit.known_names import OWNERS, keep, refuse_unknown_names
from ae_lightning.errors import ConfigError, Notice
from ae_lightning.models import faults, variants
from ae_lightning.models.checkpoint import load_autoencoder

MODULE = '''
from pathlib import Path

from torch import nn

from ae_lightning.models.base import Autoencoder

Path(__file__).with_name("imported").touch()


class Borrowed(Autoencoder):
    """A code as wide as is asked for, of a package that only this test has.

    Args:
        input_shape: Shape of one sample.
        breadth: Number of latents.
        **kwargs: Arguments of `Autoencoder`.
    """

    def __init__(self, input_shape: tuple[int, ...], breadth: int = 5, **kwargs) -> None:
        super().__init__(input_shape, **kwargs)
        self.encoder = nn.Linear(self.input_size, breadth)
        self.latent_activation = nn.ReLU()
        self.decoder = nn.Linear(breadth, self.input_size)

    def encode(self, x):
        return self.latent_activation(self.encoder(x.flatten(1)))

    def decode(self, z):
        return self.decoder(z).unflatten(-1, self.input_shape)

    def report_sections(self):
        from lender.section import Tides

        return [Tides]


class Renamed(Borrowed):
    """Declared by another name."""


class Half(Autoencoder):
    """Abstract: it has no decoder."""

    def encode(self, x):
        return x


class Stranger:
    """No variant."""


number = 3
'''

SECTION = """
from matplotlib.figure import Figure

from ae_lightning.report.contributed import SectionMaker


class Tides(SectionMaker):
    title = "Tides"
    readings = {"tides": ("How latents swing", "A line is a latent.")}

    def figures(self):
        return {"tides": lambda: Figure(figsize=(1, 1))}
"""


def declare(folder: Path, distribution: str, **variants: str) -> None:
    """Write what installing a package leaves behind: its name, its version and its entry points."""
    info = folder / f"{distribution.replace('-', '_')}-0.3.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 0.3\n")
    lines = [f"{name} = {value}\n" for name, value in variants.items()]
    (info / "entry_points.txt").write_text("".join(["[ae_lightning.variants]\n", *lines]))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of installed packages with one variant."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "lender").mkdir()
    (folder / "lender" / "__init__.py").touch()
    (folder / "lender" / "mine.py").write_text(MODULE)
    (folder / "lender" / "section.py").write_text(SECTION)
    declare(folder, "lender-models", Borrowed="lender.mine:Borrowed")
    return folder


@pytest.fixture
def installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(site)


@pytest.fixture
def unwelcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], bool]:
    """Install a variant that no test imports; answers whether it was."""
    folder = tmp_path / "unwelcome_site"
    folder.mkdir()
    (folder / "unwelcome.py").write_text(MODULE.replace("Borrowed", "Unwelcome"))
    declare(folder, "unwelcome-models", Unwelcome="unwelcome:Unwelcome")
    monkeypatch.syspath_prepend(folder)
    return (folder / "imported").exists


@pytest.fixture(scope="module")
def run(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the installed variant; for reading only."""
    from ae_lightning.cli.main import main

    root = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as environment:
        environment.syspath_prepend(site)
        environment.setenv("PL_GLOBAL_SEED", "0")
        environment.chdir(root)
        assert main(["fit", "--model", "Borrowed", "--model.breadth", "7", *SHORT]) == 0
    return root / "lightning_logs" / "Borrowed" / "version_0"


SHORT = (
    *("--trainer.max_epochs", "1", "--trainer.limit_train_batches", "2", "--snapshots.schedule.count", "2"),
    *("--images.schedule.count", "1"),
)


@pytest.mark.usefixtures("installed")
def test_it_is_listed_and_explained(ae: Callable[..., Any]) -> None:
    listed = ae("fit", "--model.help").out
    assert "  A code as wide as is asked for, of a package that only this test has." in listed
    assert listed.index("StandardSAE ") < listed.index("Borrowed ")
    help_text = ae("fit", "--model.help", "Borrowed").out
    assert "Number of latents." in help_text
    assert "--model.breadth" in help_text


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("options", "meant"),
    [
        (["--model", "Borowed"], "--model: there is no class Borowed and no packaged part of that name"),
        (["--model.help", "Borowed"], "--model.help: there is no class Borowed"),
        (["--model", "Borrowed", "--model.bredth", "3"], "there is no option --model.bredth"),
        (["--model", "lender.mine.Borrowed", "--model.bredth", "3"], "there is no option --model.bredth"),
    ],
)
def test_a_typo_is_told_with_what_was_meant(options: list[str], meant: str, ae: Callable[..., Any]) -> None:
    outcome = ae("fit", *options)
    near = "--model.breadth" if options[-1] == "3" else "Borrowed"
    assert (outcome.code, outcome.err) == (2, f"ae-lightning: error: {meant}; did you mean {near}?\n")


@pytest.mark.usefixtures("installed")
def test_the_early_check_knows_its_name_and_leaves_its_options_to_the_parser(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    keep("fit", ["--model", "--data"], {owner: {} for owner in OWNERS})
    assert refuse_unknown_names(CommandLine(["fit", "--model", "Borrowed", "--model.bredth", "3"]))
    with pytest.raises(ConfigError, match=r"no class Borowed .*; did you mean Borrowed\?"):
        refuse_unknown_names(CommandLine(["fit", "--model", "Borowed"]))
    with pytest.raises(ConfigError, match=r"--data: there is no class Borrowed and"):
        refuse_unknown_names(CommandLine(["fit", "--data", "Borrowed"]))


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("name", ["Borrowed", "lender.mine.Borrowed"])
def test_a_config_of_it_names_the_whole_path(name: str, ae: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "part.yaml").write_text(f"class_path: {name}\ninit_args: {{breadth: 9}}\n")
    settings = yaml.safe_load(ae("fit", "--model", "part.yaml", "--print_config").out)
    assert settings["model"]["class_path"] == "lender.mine.Borrowed"
    assert settings["model"]["init_args"]["breadth"] == 9


@pytest.mark.usefixtures("installed")
def test_a_run_of_it_is_measured_and_loaded(run: Path, ae: Callable[..., Any], tmp_path: Path) -> None:
    assert yaml.safe_load((run / "config.yaml").read_text())["model"]["class_path"] == "lender.mine.Borrowed"
    copy = shutil.copytree(run, tmp_path / "run")
    outcome = ae("evaluate", copy)
    assert outcome.code == 0, outcome.err
    assert "Borrowed" in outcome.out
    model = load_autoencoder(copy)
    assert type(model) is variants()["Borrowed"]
    assert model.latent_size == 7
    more = ae("fit", "--ckpt_path", copy / "checkpoints" / "last.ckpt", "--trainer.max_epochs", "2")
    assert more.code == 0, more.err


@pytest.mark.slow
@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("command", ["explore", "report"])
def test_a_run_of_it_is_drawn(command: str, run: Path, ae: Callable[..., Any], tmp_path: Path) -> None:
    outcome = ae(command, shutil.copytree(run, tmp_path / "run"))
    assert outcome.code == 0, outcome.err
    if command == "report":
        page = (tmp_path / "run" / "report" / "report.html").read_text(encoding="utf-8")
        assert "<h2>Tides</h2>" in page
        assert "<figcaption>A line is a latent.</figcaption>" in page
        assert (tmp_path / "run" / "report" / "figures" / "tides.png").is_file()


@pytest.mark.slow
def test_it_is_swept(site: Path, ae: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("PYTHONPATH", str(site))  # for the processes of the runs
    outcome = ae("sweep", "--model", "Borrowed", *SHORT, "--grid", "model.breadth=3,4")
    assert outcome.code == 0, outcome.err
    checkpoints = sorted(tmp_path.rglob("best.ckpt"))
    assert [load_autoencoder(path).latent_size for path in checkpoints] == [3, 4]


@pytest.mark.usefixtures("unsafe_again")
def test_safe_mode_neither_lists_nor_imports_it(ae: Callable[..., Any], unwelcome: Callable[[], bool]) -> None:
    listed = ae("--safe", "fit", "--model.help")
    assert listed.code == 0
    assert "StandardSAE" in listed.out
    assert "Unwelcome" not in listed.out
    assert "Unwelcome" not in variants()
    assert not unwelcome()
    assert "did you mean" not in ae("--safe", "fit", "--model", "Unwelcom").err
    assert not unwelcome()


@pytest.mark.usefixtures("unsafe_again")
@pytest.mark.parametrize("how", ["short name", "path", "config", "help", "part", "help with the path"])
def test_safe_mode_refuses_whatever_names_it(
    how: str, ae: Callable[..., Any], unwelcome: Callable[[], bool], tmp_path: Path
) -> None:
    (tmp_path / "mine.yaml").write_text("model:\n  class_path: Unwelcome\n")
    (tmp_path / "part.yaml").write_text("class_path: Unwelcome\n")
    options = {
        "short name": ["--model", "Unwelcome"],
        "path": ["--model", "unwelcome.Unwelcome"],
        "config": ["--config", "mine.yaml"],
        "part": ["--model", "part.yaml"],
        "help": ["--model.help", "Unwelcome"],
        "help with the path": ["--model.help", "unwelcome.Unwelcome"],
    }[how]
    outcome = ae("--safe", "fit", *options)
    assert outcome.code == 2
    assert "names unwelcome.Unwelcome, but --safe allows only classes of ae_lightning, lightning" in outcome.err
    assert not unwelcome()


@pytest.mark.usefixtures("unsafe_again")
def test_safe_mode_refuses_a_checkpoint_of_it(
    run: Path, ae: Callable[..., Any], unwelcome: Callable[[], bool], tmp_path: Path
) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    for name in ("best.ckpt", "last.ckpt"):
        checkpoint = torch.load(copy / "checkpoints" / name, weights_only=True)
        checkpoint["autoencoder"]["class_path"] = "unwelcome.Unwelcome"
        torch.save(checkpoint, copy / "checkpoints" / name)
    outcome = ae("--safe", "evaluate", copy)
    assert outcome.code == 2
    assert "the checkpoint names unwelcome.Unwelcome, but --safe allows only" in outcome.err
    assert safe_mode.is_on()
    assert not unwelcome()


BROKEN = {
    "Absent": (
        "nowhere.at_all:Absent",
        "importing nowhere.at_all.Absent ended in ModuleNotFoundError: No module",
    ),
    "Missing": ("lender.mine:Missing", "importing lender.mine.Missing ended in AttributeError"),
    "Leaving": ("leaving:Leaving", "importing leaving.Leaving ended in SystemExit: 3"),
    "Half": ("lender.mine:Half", "lender.mine.Half is abstract: it lacks decode"),
    "Stranger": ("lender.mine:Stranger", "lender.mine.Stranger is not an Autoencoder"),
    "number": ("lender.mine:number", "lender.mine.number is not an Autoencoder"),
    "Alias": ("lender.mine:Renamed", "the class is called Renamed; call its entry point in ae_lightning.variants the"),
    "Nothing": ("lender.mine", "its entry point in ae_lightning.variants must be package.module:Class"),
    "Hidden": ("lender._mine:Hidden", "its entry point in ae_lightning.variants must be package.module:Class"),
    "StandardSAE": ("taken:StandardSAE", "a variant of ae_lightning has this name"),
    "Beside": ("taken:Beside", "beside it taken declares StandardSAE, as a variant of ae_lightning is called"),
    "Twice": ("lender.mine:Twice", "other-models 0.3 declares one of this name too"),
}


@pytest.fixture
def broken(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install all that can be wrong with an entry point, beside the variant that is right."""
    folder = tmp_path / "broken_site"
    folder.mkdir()
    (folder / "taken.py").write_text(MODULE.replace("Borrowed", "StandardSAE"))
    (folder / "leaving.py").write_text("raise SystemExit(3)\n")
    declare(folder, "broken-models", **{name: value for name, (value, _) in BROKEN.items()})
    declare(folder, "other-models", Twice="leaving:Twice", Borrowed="lender.mine:Borrowed")
    monkeypatch.syspath_prepend(site)
    monkeypatch.syspath_prepend(folder)


@pytest.mark.usefixtures("broken")
def test_an_entry_point_that_is_of_no_use_is_told_of_and_left_out() -> None:
    with pytest.warns(Notice) as told:
        found = variants()
    assert "StandardSAE" in found
    assert not (BROKEN.keys() - {"StandardSAE"}) & found.keys()
    assert found["StandardSAE"].__module__ == "ae_lightning.models.standard_sae"
    for name, (_, why) in BROKEN.items():
        assert faults()[name].startswith(f"the variant {name} of broken-models 0.3 cannot be used: {why}")
    assert {str(each.message) for each in told} >= set(faults().values())


@pytest.mark.usefixtures("broken")
def test_nothing_else_breaks_by_it(ae: Callable[..., Any]) -> None:
    listed = ae("fit", "--model.help")
    assert listed.code == 0
    assert "StandardSAE" in listed.out
    assert "ae_lightning.StandardSAE" in ae("fit", "--model", "StandardSAE", "--print_config").out
    outcome = ae("fit", "--model", "Absent")
    assert outcome.code == 2
    error = outcome.err.splitlines()[-1]
    assert error.startswith("ae-lightning: error: --model: the variant Absent of broken-models 0.3 cannot be used: imp")

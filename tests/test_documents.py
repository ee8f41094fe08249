"""Every code block of the documents can be pasted: it is read wholly, and run where that is quick.

A block in a language that has no reader here fails, and so does a command of a program that has none. What stands on
several pages is tried once. A block is not run where the line before it is `<!-- not run: why -->`.
"""

import contextlib
import importlib
import io
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
import pytest
import yaml

import ae_lightning
from ae_lightning.cli import compare, explore, latent, report, sparsity
from ae_lightning.cli.command_line import CommandLine, apart_from_data
from ae_lightning.cli.command_parser import CommandParser
from ae_lightning.cli.fit.parsing import OnlySettings, prepare
from ae_lightning.cli.harvest import command as harvest
from ae_lightning.cli.harvest.shown_by_options import data_settings
from ae_lightning.cli.lab import command as lab
from ae_lightning.cli.main import SAFE, TRAINER_COMMANDS, main
from ae_lightning.cli.numbers import whole_of
from ae_lightning.cli.sweep import command as sweep
from ae_lightning.cli.sweep.grid import parse_grid, parse_seeds
from ae_lightning.cli.sweep.settings import fit_options
from ae_lightning.entry_points import declared_variants
from ae_lightning.models import variants

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # which pytest brings there

ROOT = Path(ae_lightning.__file__).resolve().parents[1]
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "docs/**/*.md")
SHORT = (
    *("--trainer.max_epochs", "1", "--trainer.limit_train_batches", "2", "--trainer.limit_val_batches", "1"),
    *("--snapshots.schedule.count", "2", "--images.schedule.count", "1"),
)
pytestmark = pytest.mark.skipif(not (ROOT / "README.md").is_file(), reason="needs a checkout")

#: Why a command is read to its end, but not run: by its program, its subcommand, or an option.
NOT_RUN = {
    "make": "it installs everything, and runs all tests or trains for minutes",
    "source": "it is the shell's own",
    "pip": "it installs",
    "python": "it trains for minutes",
    "torchrun": "it takes several processes; tests/distributed starts two",
    "srun": "it needs SLURM",
    "lab": "it trains for minutes; tests/cli/lab trains a small one",
    "harvest": "it takes a network of the reader's; tests/cli/harvest fills a store",
    "sweep": "it trains a dozen runs; tests/cli/sweep trains small ones",
    SAFE: "a process that was made safe stays so; see tests/cli/test_safe_mode.py",
    "fit --ckpt_path": "it goes on with a run that was stopped; see tests/cli/fit/test_resume.py",
    "fit of MNIST": "it needs the images; tests/cli/fit/test_every_config.py trains every config",
}
#: Run by each `make test`; the others of those that can be run, by `make test-slow`.
QUICK = ("evaluate", "test", "predict", "configs")


class Block(NamedTuple):
    """A fenced block: where it begins, its language, what it holds, and why it is not run where the page says so."""

    where: str
    language: str
    text: str
    not_run: str = ""

    @property
    def page(self) -> str:
        return self.where.partition(":")[0]


class Command(NamedTuple):
    """A command of a shell block: its words, without comments and redirections, and the line they begin at."""

    where: str
    words: tuple[str, ...]

    @property
    def program(self) -> str:
        return self.words[0]

    @property
    def arguments(self) -> list[str]:
        """What `ae-lightning` is given, whatever starts it."""
        own = ("ae-lightning", "ae_lightning")
        return list(self.words[next(i for i, word in enumerate(self.words) if word in own) + 1 :])

    @property
    def subcommand(self) -> str:
        return next((word for word in self.arguments if not word.startswith("-")), "")

    def why_not_run(self) -> str | None:
        """The reason from `NOT_RUN`, or None where it is run."""
        found = [self.program, *self.words]
        if self.program in ("ae-lightning", "torchrun", "srun") and self.subcommand == "fit":
            found += ["fit --ckpt_path"] * ("--ckpt_path" in self.words)
            found += ["fit of MNIST"] * any("mnist" in word for word in self.words)
        return next((NOT_RUN[key] for key in found if key in NOT_RUN), None)


def blocks_in(file: Path) -> Iterator[Block]:
    text = file.read_text(encoding="utf-8")
    for match in re.finditer(r"^(?:<!-- not run: ([^\n]+) -->\n)?```(\S*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        line = text[: match.start(3)].count("\n") + 1
        yield Block(f"{file.relative_to(ROOT).as_posix()}:{line}", match[2], match[3], match[1] or "")


def commands_in(block: Block) -> Iterator[Command]:
    name, line = block.where.split(":")
    rest, at = block.text, int(line)
    while rest:
        whole = re.match(r"(?:[^\n]*\\\n)*[^\n]*\n", rest)
        assert whole, f"{block.where} ends within a line"
        words = shlex.split(whole[0].replace("\\\n", " "), comments=True)
        if ">" in words:
            words = words[: words.index(">")]
        if words:
            yield Command(f"{name}:{at}", tuple(words))
        at, rest = at + whole[0].count("\n"), rest[whole.end() :]


def once(commands: Iterable[Command]) -> list[Command]:
    """Without those that differ from an earlier one by the run that they look at, which is the same here."""
    kept: dict[tuple[str, ...], Command] = {}
    for command in commands:
        kept.setdefault(tuple(RUN.sub("RUN", word) for word in command.words), command)
    return list(kept.values())


RUN = re.compile(r"lightning_logs/[^'\"\s]*?version_\d+")
PAGES = [file for name in DOCUMENTS for file in sorted(ROOT.glob(name))]
BLOCKS = [block for file in PAGES for block in blocks_in(file)]
COMMANDS = once(
    command for block in BLOCKS if block.language == "sh" and not block.not_run for command in commands_in(block)
)


def of(language: str) -> list[Block]:
    return [block for block in BLOCKS if block.language == language]


def by_place(items: Iterable[Block | Command]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("item", [pytest.param(item, id=item.where) for item in items])


# --- the pages as such -----------------------------------------------------------------------------------------


def places_in(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and the site make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links_of(page: Path) -> list[str]:
    """Addresses of links and pictures that lead to a file of this repository, or to a place in one."""
    text = re.sub(r"^```.*?^```$|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return [to for to in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"[a-z]+:", to)]


@pytest.mark.parametrize("page", [pytest.param(page, id=page.relative_to(ROOT).as_posix()) for page in PAGES])
def test_links_lead_somewhere(page):
    for link in links_of(page):
        name, _, place = link.partition("#")
        target = page.parent / name if name else page
        assert target.is_file(), f"there is no {link}"
        assert not place or place in places_in(target), f"{name or page.name} has no heading #{place}"


def test_the_readme_is_a_first_page():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_every_picture_is_made_by_a_command_that_the_gallery_names():
    gallery = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    pictures = {file.name for file in (ROOT / "docs" / "pictures").iterdir()}
    table = gallery[gallery.index("| picture | what makes it |") :]
    assert pictures == set(re.findall(r"`([a-z0-9_]+\.(?:png|webp))`", table))


# --- what the blocks name --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def place(made_once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """A folder with all that the blocks name: a small run of digits stands for every run, and a config for a file."""

    def fill(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("PL_GLOBAL_SEED", "0")
            environment.chdir(folder)
            small = ("--model.latent_dim", "8", "--trainer.log_every_n_steps", "1")
            assert main(["fit", "--config", "overcomplete_digits", *SHORT, *small]) == 0
        trained = folder / "lightning_logs" / "overcomplete_digits" / "version_0"
        runs = {run for block in BLOCKS for run in RUN.findall(block.text)}
        for run in {*runs, "their_run"} - {str(trained.relative_to(folder))}:
            shutil.copytree(trained, folder / run)
        experiment = next(block.text for block in of("yaml") if "\nmodel:" in block.text)
        drawn = np.random.default_rng(0)
        for name in {word for command in COMMANDS for word in command.words if "/" not in word}:
            if name.endswith(".yaml"):
                (folder / name).write_text(experiment)
            elif name.endswith(".npy"):
                array = drawn.integers(3, size=300) if "labels" in name else drawn.normal(size=(300, 12))
                np.save(folder / name, array)

    return made_once("documents", fill)


@pytest.fixture
def here(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Be in a copy of that folder, which may be written into."""
    folder = tmp_path / "here"
    shutil.copytree(place, folder)
    monkeypatch.chdir(folder)
    before = dict(os.environ)
    yield folder
    os.environ.clear()
    os.environ.update(before)


def ended_well(arguments: list[str]) -> bool:
    try:
        return main(arguments) == 0
    except SystemExit as end:  # of --help and --print_config
        return end.code in (0, None)


# --- shell -----------------------------------------------------------------------------------------------------


def read_fit(arguments: list[str]) -> None:
    with contextlib.suppress(SystemExit):  # of --help and --print_config; a mistake is an error of another kind
        OnlySettings(prepare(CommandLine(arguments)))


def read_sweep(arguments: list[str]) -> None:
    ours, options = sweep._parser().parse_known_args(sweep._joined(arguments))
    point = {key: values[-1] for key, values in parse_grid(ours.grid).items()}
    whole_of("--jobs", ours.jobs)
    seeds = parse_seeds(ours.seeds) if ours.seeds else [0]
    read_fit(["fit", *fit_options(options, point, seeds[0])])


def read_lab(arguments: list[str]) -> None:
    ours, options = lab._parser().parse_known_args(arguments)
    whole_of("--jobs", ours.jobs)
    asked = lab.asked_for(ours, options)
    for run in asked.runs:
        read_fit(["fit", *run.options])


def read_harvest(arguments: list[str]) -> None:
    ours, of_data = apart_from_data(arguments)
    harvest._parser().parse_args(ours)
    data_settings(of_data, None)


def read_of_run(make: Callable[[], CommandParser]) -> Callable[[list[str]], None]:
    def read(arguments: list[str]) -> None:
        options = make().parse_args(arguments[1:])
        for path in getattr(options, "runs", None) or [options.run]:
            assert path.exists(), f"there is no {path}"

    return read


def read_make(words: list[str]) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert {word for word in words if "=" not in word} <= set(targets)


def read_source(words: list[str]) -> None:
    assert words == [".venv/bin/activate"]  # which `make` creates


def read_pip(words: list[str]) -> None:
    assert words[0] == "install"
    assert all((ROOT / word).exists() for word in words[1:] if not word.startswith("-"))


def read_python(words: list[str]) -> None:
    shown = io.StringIO()
    asked = mock.patch.object(sys, "argv", [words[0], "--help"])
    with asked, contextlib.redirect_stdout(shown), pytest.raises(SystemExit):
        runpy.run_path(str(ROOT / words[0]), run_name="__main__")
    known = set(re.findall(r"(?<!\w)--?[a-z][a-z-]*", shown.getvalue()))
    assert {word for word in words if word.startswith("-")} <= known
    assert all(word in shown.getvalue() for word in words if word.endswith((".png", ".webp")))


#: Of programs that are not ours, what reads the words after their name.
PROGRAMS: dict[str, Callable[[list[str]], None]] = {
    "make": read_make,
    "source": read_source,
    "pip": read_pip,
    "python": read_python,
}
READERS: dict[str, Callable[[list[str]], None]] = {
    **dict.fromkeys(TRAINER_COMMANDS, read_fit),
    "sweep": lambda arguments: read_sweep(arguments[1:]),
    "lab": lambda arguments: read_lab(arguments[1:]),
    "harvest": lambda arguments: read_harvest(arguments[1:]),
    "report": read_of_run(report._parser),
    "explore": read_of_run(explore._parser),
    "latent": read_of_run(latent._parser),
    "sparsity": read_of_run(sparsity._parser),
    "compare": read_of_run(compare._parser),
}


@by_place(COMMANDS)
@pytest.mark.usefixtures("capsys")
def test_every_command_is_understood_to_its_last_word(item, place, monkeypatch):
    monkeypatch.chdir(place)
    if read := PROGRAMS.get(item.program):
        read(list(item.words[1:]))
        return
    assert item.program in ("ae-lightning", "torchrun", "srun"), f"{item.program} has no reader here"
    if item.why_not_run() is None and item.subcommand not in READERS:
        assert item.subcommand in QUICK, f"{item.subcommand} is neither read nor run by each test"
        return
    READERS[item.subcommand]([word for word in item.arguments if word != SAFE])


@by_place(command for command in COMMANDS if command.why_not_run() is None and command.subcommand in QUICK)
def test_quick_commands_run(item, here):
    assert ended_well(item.arguments)


@pytest.mark.slow
@by_place(command for command in COMMANDS if command.why_not_run() is None and command.subcommand not in QUICK)
def test_other_commands_run(item, here):
    ends_early = any(word.endswith(".help") or word == "--print_config" for word in item.words)
    assert ended_well([*item.arguments, *(SHORT if item.subcommand == "fit" and not ends_early else ())])


# --- Python and YAML -------------------------------------------------------------------------------------------


def test_every_block_has_a_reader():
    unknown = [f"{block.where} ({block.language or 'none'})" for block in BLOCKS
               if block.language not in ("sh", "python", "toml", "yaml", "text")]  # fmt: skip
    assert not unknown, "blocks of a language that nothing here reads; what is no code is `text`"
    assert {block.language for block in BLOCKS} >= {"sh", "python", "yaml"}


def file_of(block: Block) -> str | None:
    """Name of the file that a block is the whole of, which its first line says."""
    named = re.match(r"# ([\w/]+\.(?:py|toml|yaml))\n", block.text)
    return named[1] if named else None


def install(folder: Path) -> None:
    """Write the files that blocks are the whole of, and what installing their package leaves behind."""
    for block in BLOCKS:
        if name := file_of(block):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(block.text, encoding="utf-8")
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = project["entry-points"].items()
    lines = [line for group, each in groups for line in (f"[{group}]", *(f"{key} = {each[key]}" for key in each))]
    (info / "entry_points.txt").write_text("\n".join(lines))


@pytest.fixture
def _importable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    install(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("block_"):
            del sys.modules[name]


def run_python(block: Block, folder: Path) -> None:
    """Run a block as a module of its own, so that classes in it can be found again."""
    if file := file_of(block):
        importlib.import_module(file.removesuffix(".py").replace("/", "."))
        return
    name = "block_" + re.sub(r"\W", "_", block.where)
    (folder / f"{name}.py").write_text(block.text, encoding="utf-8")
    importlib.import_module(name)


@by_place(of("python"))
@pytest.mark.usefixtures("_importable")
def test_every_block_of_python_runs(item, here, tmp_path):
    if item.not_run:
        compile(item.text, item.where, "exec")
        return
    run_python(item, tmp_path)


@by_place(of("yaml"))
@pytest.mark.usefixtures("_importable")
def test_every_block_of_yaml_is_trained(item, here, tmp_path):
    """Of a part, with the classes that the blocks of Python beside it define."""
    content = yaml.safe_load(item.text)
    (here / "pasted.yaml").write_text(item.text, encoding="utf-8")
    if "class_path" not in content:
        assert ended_well(["fit", "--config", "pasted.yaml", *SHORT[:6], "--model.latent_dim", "32"])
        return
    for block in of("python"):
        if block.page == item.page and not block.not_run:
            run_python(block, tmp_path)
    assert ended_well(["fit", "--model", "pasted.yaml", *SHORT])


@pytest.mark.usefixtures("_importable")
def test_the_package_of_one_s_own_declares_its_variant():
    (declared,) = declared_variants()
    kind = variants()[declared.name]
    assert f"{kind.__module__}.{kind.__qualname__}" == declared.class_path
    assert declared.distribution == "my-variants 0.1"
    assert [file_of(block) for block in of("toml")] == ["pyproject.toml"]


@pytest.mark.slow
def test_its_tests_pass_where_it_is_installed(tmp_path):
    install(tmp_path)
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_denoising.py"]
    done = subprocess.run(tests, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 15


def test_a_line_is_read_as_a_shell_reads_it():
    text = "# nothing\nae-lightning fit --a 'b c'  \\\n  --d e  # why\nmake demo > log\n"
    found = list(commands_in(Block("x.md:7", "sh", text)))
    assert found == [
        Command("x.md:8", ("ae-lightning", "fit", "--a", "b c", "--d", "e")),
        Command("x.md:10", ("make", "demo")),
    ]

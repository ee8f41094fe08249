"""The packaged experiments: where they are, how they are found by name, and `ae-lightning configs`."""

import difflib
from pathlib import Path

from ae_lightning.cli.command_line import CONFIG, CommandLine, Option, is_file
from ae_lightning.errors import ConfigError
from ae_lightning.yaml_file import first_comment

PACKAGE = Path(__file__).resolve().parent.parent

#: Options whose value may be the name of a packaged file instead of a path.
FILE_OPTIONS = (CONFIG, "--model", "--data", "--trainer")


def config_folder() -> Path:
    """Folder of the packaged configs: inside the package when installed, beside it in a checkout."""
    inside = PACKAGE / "configs"
    return inside if inside.is_dir() else PACKAGE.parent / "configs"


def packaged(folder: Path | None = None) -> dict[str, Path]:
    """Packaged files by name without the ending, such as `overcomplete_mnist` or `model/overcomplete`."""
    folder = folder or config_folder()
    files = sorted(folder.rglob("*.yaml"), key=lambda path: (len(path.parts), path))
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in files}


def packaged_name(path: Path) -> str | None:
    """The name of a packaged file, such as `overcomplete_mnist`; None of a file of one's own."""
    return next((name for name, file in packaged().items() if file.resolve() == path.resolve()), None)


def resolve_names(line: CommandLine) -> CommandLine:
    """Replace names of packaged configs by their paths.

    Raises:
        ConfigError: A `--config` is neither a file nor the name of a packaged one.
    """

    def resolved(option: Option) -> list[Option]:
        if option.name not in FILE_OPTIONS or option.value is None:
            return [option]
        return [option.with_value(_resolve(option.name, option.value))]

    return line.rewritten(resolved)


def _resolve(option: str, value: str) -> str:
    if is_file(Path(value)):
        return value
    known = packaged()
    # A part and an experiment may have the same name: the option says which is meant.
    for name in (f"{option.lstrip('-')}/{value}".removesuffix(".yaml"), value.removesuffix(".yaml")):
        if name in known:
            return str(known[name])
    if option == "--trainer":  # which is no class that the parser could know
        near = _near(f"trainer/{value}", [name for name in known if name.startswith("trainer/")])
        raise ConfigError(f"--trainer {value}: there is no such file, and no packaged part of that name{near}")
    if option == CONFIG:
        raise ConfigError(
            f"--config {value}: there is no such file, and no packaged config of that name{_nearest(value)}"
        )
    return value  # a class name, which the parser knows about


def _nearest(value: str) -> str:
    return _near(Path(value).stem, [name for name in packaged() if "/" not in name])


def _near(value: str, names: list[str]) -> str:
    close = difflib.get_close_matches(value, names, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0].rpartition('/')[2]}?" if close else ""
    return f"{hint} (`ae-lightning configs` lists them all)" if names else hint


def main(arguments: list[str]) -> int:
    """Print the packaged configs with a line each."""
    from ae_lightning.cli.command_parser import CommandParser

    parser = CommandParser(
        "configs",
        description="List the packaged configs. Use one by name (--config overcomplete_mnist), a part by its option "
        "(--model overcomplete). For a file of your own: ae-lightning fit --config NAME --print_config > mine.yaml",
    )
    parser.parse_args(arguments)
    files = packaged()
    width = max(map(len, files))
    print(f"in {config_folder()}")
    for name, path in files.items():
        print(f"  {name:<{width}}  {first_comment(path)}")
    return 0

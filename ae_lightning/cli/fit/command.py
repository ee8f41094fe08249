"""`fit`, `validate`, `test` and `predict`: what can be refused at once, before Lightning's command line is imported."""

import sys

from ae_lightning.cli.command_line import CommandLine
from ae_lightning.cli.configs import resolve_names
from ae_lightning.cli.fit.config_files import check_files
from ae_lightning.cli.fit.known_names import refuse_unknown_names
from ae_lightning.cli.guesses import no_command
from ae_lightning.cli.main import COMMANDS, TRAINER_COMMANDS
from ae_lightning.errors import ConfigError
from ae_lightning.processes import process_number


def main(arguments: list[str]) -> int:
    """Run one of Lightning's subcommands."""
    line = CommandLine(arguments)
    if line.command not in TRAINER_COMMANDS:
        raise ConfigError(no_command(line.command, [*TRAINER_COMMANDS, *COMMANDS]))
    if "torch" not in sys.modules:  # else nothing is gained, and there may be classes that no other start knows
        _refuse_early(line)
    from ae_lightning.cli.fit.lightning_cli import run

    return run(line)


def _refuse_early(line: CommandLine) -> None:
    if line.has("--help", "--version") or any(option.name.endswith(".help") for option in line.options):
        return
    line = resolve_names(line)
    check_files(line)
    if not refuse_unknown_names(line) and process_number() == 0:
        print(
            f"ae-lightning: first {line.command} with these versions: loading PyTorch takes some seconds",
            file=sys.stderr,
        )

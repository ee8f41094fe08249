"""The entry point: finds the command, and turns a user's mistake into one sentence and exit code 2.

Nothing heavy is imported here, so that `--version` and `configs` answer at once.
"""

import contextlib
import importlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from ae_lightning import safe_mode
from ae_lightning.errors import EndedByFirst, Stopped, UserError
from ae_lightning.parser_errors import denied_in, is_wrapped, reason_of
from ae_lightning.printable import printable
from ae_lightning.processes import process_number
from ae_lightning.version import __version__

COMMANDS = {
    "configs": ("ae_lightning.cli.configs", "List the packaged experiments with a line each."),
    "evaluate": (
        "ae_lightning.cli.evaluate",
        "Print a run's final numbers beside those of simple baselines.",
    ),
    "sweep": (
        "ae_lightning.cli.sweep.command",
        "Train every combination of some settings and seeds, and compare them.",
    ),
    "lab": (
        "ae_lightning.cli.lab.command",
        "Train dictionaries on a known world, and rank them by the truth that they recover.",
    ),
    "harvest": (
        "ae_lightning.cli.harvest.command",
        "Write the activations of a network's layers into a store, to train dictionaries on.",
    ),
    "report": (
        "ae_lightning.cli.report",
        "Turn a run into figures and one HTML page, with its numbers beside baselines.",
    ),
    "explore": (
        "ae_lightning.cli.explore",
        "Turn a run into one HTML page in which its network can be explored unit by unit.",
    ),
    "latent": (
        "ae_lightning.cli.latent",
        "Draw a run's latent space: codes by class, lines and sums of codes, a grid of them.",
    ),
    "sparsity": (
        "ae_lightning.cli.sparsity",
        "Draw how sparse a run's code is, what its latents stand for, and an animation.",
    ),
    "compare": (
        "ae_lightning.cli.compare",
        "Put runs side by side: a table and their curves.",
    ),
}
"""Commands beside Lightning's own: module with a `main(arguments)`, and a line of help."""

TRAINER_COMMANDS = {
    "fit": "Train a model, and print its numbers beside those of simple baselines.",
    "validate": "Measure a trained model on the validation set.",
    "test": "Measure a trained model on the test set.",
    "predict": "Write what a trained model makes of the test set.",
}
"""Lightning's own commands, methods of its trainer, with a line of help."""

SAFE = "--safe"
"""Anywhere among the arguments: only classes of ours, of Lightning and of torch.optim may be named."""

USER_MISTAKE = 2
INTERRUPTED = 128 + signal.SIGINT


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        args: Arguments without the program's name; those of the process by default.

    Returns:
        0 when all went well, 2 for a mistake of the user's, 130 after Ctrl-C, 143 after SIGTERM.
    """
    arguments = list(sys.argv[1:] if args is None else args)
    debug, safe = "--debug" in arguments, SAFE in arguments
    arguments = [argument for argument in arguments if argument not in ("--debug", SAFE)]
    if arguments == ["--version"]:
        print(f"ae-lightning {__version__}")
        return 0
    if arguments in (["--help"], ["-h"]):
        print(overview(), end="")
        return 0
    try:
        if safe:
            safe_mode.switch_on()
        with _sigterm_ends_as_an_exception():
            code = _dispatch(arguments)
            sys.stdout.flush()
            return code
    except BrokenPipeError:
        if not _nobody_reads():
            raise
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except Stopped as stop:
        return int(stop.code or 0)
    except EndedByFirst:  # Lightning kills the first process as soon as another ends with a code
        return 0
    except Exception as error:
        message = explain(error)
        if debug or message is None:
            raise
        number = process_number()  # of several, all may have met the same
        whose = f" in process {number}" if number else ""
        print(f"ae-lightning: error{whose}: {printable(message)}", file=sys.stderr)
        return USER_MISTAKE


def _nobody_reads() -> bool:
    """Whether what reads the output, such as `head`, has gone; what is left of it is then dropped."""
    try:
        print(flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


@contextlib.contextmanager
def _sigterm_ends_as_an_exception() -> Iterator[None]:
    """Let SIGTERM, which ends a process where it stands, take half-written files away first."""

    def stop(number: int, *_: Any) -> None:
        raise Stopped(number)

    if threading.current_thread() is not threading.main_thread():  # only there can it be
        yield
        return
    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def overview() -> str:
    """What `ae-lightning --help` prints: every command with its line, and what any of them takes."""
    commands = {**TRAINER_COMMANDS, **{name: line for name, (_, line) in COMMANDS.items()}}
    options = {
        "--help": "list the commands; after a command, its options",
        "--debug": "show the traceback of an error",
        SAFE: "refuse classes that are not of ae_lightning, lightning or torch.optim",
        "--version": "print the version",
    }
    width = max(map(len, {**commands, **options}))

    def listed(lines: dict[str, str]) -> str:
        return "".join(f"  {name:<{width}}  {line}\n" for name, line in lines.items())

    begin = "  ae-lightning fit --config bottleneck_digits\n"
    return (
        f"usage: ae-lightning COMMAND ...\n\nTrain and study autoencoders.\n\ncommands:\n{listed(commands)}\n"
        f"options:\n{listed(options)}\nexample:\n{begin}"
    )


def _dispatch(arguments: list[str]) -> int:
    command = arguments[0] if arguments else ""
    module, _ = COMMANDS.get(command, ("ae_lightning.cli.fit.command", ""))
    rest = arguments[1:] if command in COMMANDS else arguments
    return importlib.import_module(module).main(rest)


def explain(error: Exception) -> str | None:
    """One sentence for an error the user can mend; None for a fault of ours, which keeps its traceback."""
    cause: BaseException | None = error
    while cause is not None:  # the parser wraps what a class refuses when it is built
        if isinstance(cause, UserError):
            return str(cause)
        if safe_mode.is_on() and (denied := denied_in(str(cause))):  # where the parser takes no class at all
            return safe_mode.refusal(denied, "a setting")
        if is_out_of_memory(cause):
            return _OUT_OF_MEMORY
        cause = cause.__cause__
    if is_wrapped(str(error)):  # a class did not take its arguments
        return reason_of(str(error))
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {(error.strerror or 'cannot be used').lower()}"
    if type(error).__name__ == "MisconfigurationException":  # Lightning's own, not imported here
        return str(error)
    return None


_OUT_OF_MEMORY = (
    "there is not enough memory for this: lower --data.batch_size, --data.eval_batch_size, or the sizes of the model, "
    "such as --model.latent_dim"
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there was no more memory, on the CPU or on a GPU."""
    told = ("can't allocate memory", "Storage size calculation overflowed")  # torch's words, on the CPU
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"  # torch's own on a GPU, not imported here
        or any(words in str(error) for words in told)
    )

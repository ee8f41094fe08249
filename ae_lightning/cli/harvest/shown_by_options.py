"""The data that the options of a harvest name."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ae_lightning.cli.sweep.settings import parse_fit
from ae_lightning.run.config import is_run, read_config
from ae_lightning.run.place import run_of

# The parser of fit wants a model; this one fits any data, and none is built.
_ANY = "--model=fully_connected"


def data_settings(options: Sequence[str], model: Path | None) -> dict[str, Any] | None:
    """Class and arguments of a data module.

    Args:
        options: Those that fit takes, `--data` and `--data.…`.
        model: What may be a run, whose data are taken where no options name any; None where none are to be taken.

    Returns:
        The settings, or None where nothing names data.

    Raises:
        ConfigError: fit would refuse the options.
        RunFolderError: The settings of the run are damaged.
    """
    if options:
        return parse_fit([_ANY, *options])["data"]
    if model is None or not model.exists():
        return None
    run = model if is_run(model) else run_of(model)
    return None if run is None else read_config(run).get("data")

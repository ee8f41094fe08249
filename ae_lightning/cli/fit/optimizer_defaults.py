"""An optimizer named by the user keeps its own defaults.

The parser fills in the settings of the default optimizer, Adam, and keeps those of the same name when another class is
named: AdamW would silently run without weight decay. So the arguments that the user left out are spelled out.
"""

import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from ae_lightning.cli.command_line import CONFIG, CommandLine, Option, is_file
from ae_lightning.yaml_file import read_settings, read_yaml

_OPTION = "--model.optimizer"
_OPTIONS = (_OPTION, "--model.init_args.optimizer")


def with_own_defaults(line: CommandLine) -> CommandLine:
    """Spell out the settings of an optimizer that is named on the command line or in a config."""

    def spelled(option: Option) -> Iterator[Option]:
        if option.name in _OPTIONS and (optimizer := _spell_out(option.value or "", {})):
            yield option.with_value(optimizer)
        else:
            yield option
        if option.name == CONFIG and is_file(path := Path(option.value or "")):
            named = _optimizer_of(path)
            if optimizer := _spell_out(named.get("class_path") or "", named.get("init_args") or {}):
                yield Option(_OPTION, optimizer, (f"{_OPTION}={optimizer}",))

    return line.rewritten(spelled)


def _optimizer_of(config: Path) -> dict[str, Any]:
    """The optimizer that a config, or the model part it names, sets; empty where it leaves the default."""
    model = read_settings(config).get("model")
    if isinstance(model, str) and is_file(part := config.parent / model):
        model = read_yaml(part)
    settings = model.get("init_args") or {} if isinstance(model, dict) else {}
    optimizer = settings.get("optimizer")
    if isinstance(optimizer, dict):
        return optimizer
    return {"class_path": optimizer} if isinstance(optimizer, str) else {}  # what else it is the parser refuses


def _spell_out(class_path: str, given: dict[str, Any]) -> str:
    """The optimizer with all its settings as JSON; empty for Adam, and for anything that is no torch optimizer."""
    kind = getattr(torch.optim, class_path.rpartition(".")[2], None)
    if not inspect.isclass(kind) or kind is torch.optim.Adam:
        return ""
    own = inspect.signature(kind).parameters
    defaults = {name: p.default for name, p in own.items() if p.default is not inspect.Parameter.empty}
    return json.dumps({"class_path": f"torch.optim.{kind.__name__}", "init_args": defaults | given})

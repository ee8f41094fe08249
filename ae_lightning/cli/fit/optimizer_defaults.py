"""An optimizer named by the user keeps its own defaults.

The parser fills in the settings of the default optimizer, Adam, and keeps those of the same name when another class is
named: AdamW would silently run without weight decay. So the arguments that the user left out are spelled out.
"""

import inspect
import json
from pathlib import Path
from typing import Any

import torch
import yaml

from ae_lightning.cli.configs import CONFIG_OPTIONS, is_file

_OPTION = "--model.optimizer"


def with_own_defaults(arguments: list[str]) -> list[str]:
    """Spell out the settings of an optimizer that is named on the command line or in a config."""
    spelled: list[str] = []
    option = ""
    for argument in arguments:
        name, equals, value = argument.partition("=")
        option, value = (name, value) if equals else (option, argument)
        if option == _OPTION and (optimizer := _spell_out(value, {})):
            spelled.append(f"{_OPTION}={optimizer}" if equals else optimizer)
        else:
            spelled.append(argument)
        if option in CONFIG_OPTIONS and is_file(Path(value)):
            named = _optimizer_of(Path(value))
            optimizer = _spell_out(named.get("class_path") or "", named.get("init_args") or {})
            spelled += [f"{_OPTION}={optimizer}"] if optimizer else []
        option = "" if equals else argument
    return spelled


def _optimizer_of(config: Path) -> dict[str, Any]:
    """The optimizer that a config, or the model part it names, sets; empty where it leaves the default."""
    model = yaml.safe_load(config.read_text(encoding="utf-8")).get("model")
    if isinstance(model, str) and (part := config.parent / model).is_file():
        model = yaml.safe_load(part.read_text(encoding="utf-8"))
    settings = model.get("init_args") or {} if isinstance(model, dict) else {}
    optimizer = settings.get("optimizer")
    if isinstance(optimizer, dict):
        return optimizer
    return {"class_path": optimizer} if isinstance(optimizer, str) else {}  # what else it is the parser refuses


def _spell_out(class_path: str, given: dict[str, Any]) -> str:
    """The optimizer with all its settings as JSON; empty for Adam itself and for what is no optimizer of torch's."""
    kind = getattr(torch.optim, class_path.rpartition(".")[2], None)
    if not inspect.isclass(kind) or kind is torch.optim.Adam:
        return ""
    own = inspect.signature(kind).parameters
    defaults = {name: p.default for name, p in own.items() if p.default is not inspect.Parameter.empty}
    return json.dumps({"class_path": f"torch.optim.{kind.__name__}", "init_args": defaults | given})

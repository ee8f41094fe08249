"""A model made of plain settings, such as a checkpoint or a population has of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from ae_lightning.parser_limits import limit_parser
from ae_lightning.yaml_file import require_regular_files


def build_model(kind: type[nn.Module], settings: Mapping[str, Any]) -> Any:
    """Build a model of a class.

    Args:
        kind: The class.
        settings: Constructor arguments, of which those that are classes may stand as `class_path` and `init_args`.
    """
    # The command line stores optimizers so; its own parser turns them into callables.
    from lightning.pytorch.cli import instantiate_module

    if any(isinstance(value, dict) and "class_path" in value for value in settings.values()):
        limit_parser()
        require_regular_files(settings, Path())
        class_path = f"{kind.__module__}.{kind.__qualname__}"
        return instantiate_module(kind, {"_class_path": class_path, **settings})
    return kind(**settings)

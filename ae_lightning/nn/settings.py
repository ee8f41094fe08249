"""Parts of a model as plain values, by which a checkpoint builds them again."""

import inspect
from typing import Any

from ae_lightning.errors import ConfigError


def settings_of(part: object) -> dict[str, Any]:
    """The class and the constructor arguments of a part that keeps each argument under the argument's name.

    Returns:
        `class_path` and `init_args`, as a YAML has them.

    Raises:
        ConfigError: It does not keep one.
    """
    kind = type(part)
    names = list(inspect.signature(kind).parameters)
    if forgotten := [name for name in names if not hasattr(part, name)]:
        raise ConfigError(
            f"{kind.__name__} does not keep its argument {forgotten[0]} as an attribute of that name, by which a "
            f"checkpoint builds it again: write self.{forgotten[0]} = {forgotten[0]} into its __init__"
        )
    return {
        "class_path": f"{kind.__module__}.{kind.__qualname__}",
        "init_args": {name: getattr(part, name) for name in names},
    }

"""Safe mode: a config, or a checkpoint, may then name only classes that are known to do nothing but what they say.

Naming a class imports its module and calls it, so that a config from a stranger runs whatever it names. Everything that
is named in a config, a part of one, an option or a run's folder is resolved by jsonargparse, and what a checkpoint
names by `models.checkpoint`; both ask here first.
"""

from ae_lightning.errors import ConfigError

ALLOWED = ("ae_lightning", "lightning", "torch.optim")
"""Packages whose classes safe mode allows: this one, Lightning, and optimizers with their schedules."""

_state = {"on": False}


def switch_on() -> None:
    """Refuse all other classes from now on; a process that was made safe stays so.

    There is no way back on purpose: what is refused could otherwise ask for it.
    """
    from jsonargparse import set_parsing_settings

    set_parsing_settings(
        import_path_denylist=["*"],
        import_path_allowlist=list(ALLOWED),
        instantiate_subclass_spec_in_any=False,  # an argument of no known type could otherwise be any of these classes
    )
    _state["on"] = True


def is_on() -> bool:
    """Whether this process is in safe mode."""
    return _state["on"]


def refuse_unsafe(class_path: str, where: str) -> None:
    """Check, before anything is imported, that safe mode allows a class; outside of safe mode all are allowed.

    Args:
        class_path: Dotted path of the class.
        where: What names it, for the message.

    Raises:
        ConfigError: It is not allowed.
    """
    if is_on() and not any(class_path.startswith(f"{package}.") for package in ALLOWED):
        raise ConfigError(refusal(class_path, where))


def refusal(class_path: str, where: str) -> str:
    """The sentence that refuses a class."""
    return (
        f"{where} names {class_path}, but --safe allows only classes of {', '.join(ALLOWED[:-1])} and {ALLOWED[-1]}: "
        "name one of these, or leave --safe out if you trust whoever wrote it"
    )

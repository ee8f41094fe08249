"""Limits for jsonargparse, which takes any text for YAML, and any file that a setting names for a part of a config."""

import functools
from pathlib import Path
from typing import Any

import yaml

from ae_lightning.errors import ConfigError
from ae_lightning.yaml_file import BeyondMeasure, parse_yaml

_SHORT = 1000  # characters that, without aliases, hold neither many values nor many brackets


@functools.cache
def limit_parser() -> None:
    """Let jsonargparse, in this process, read no YAML that is beyond the limits of `yaml_file`."""
    from jsonargparse import get_loader, set_loader

    plain = get_loader("yaml")

    def load(text: str) -> Any:
        if len(text) > _SHORT or "&" in text:
            _refuse_beyond_measure(text)
        return plain(text)

    set_loader("yaml", load, (yaml.YAMLError,))


def _refuse_beyond_measure(text: str) -> None:
    """Refuse what would not come to an end; of all else the parser says itself what is wrong."""
    try:
        parse_yaml(text, Path("a part of the config"))
    except BeyondMeasure:
        raise
    except ConfigError:
        return

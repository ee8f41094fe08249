"""Checkpoints with something in them changed, as tests of damaged and of crafted ones need them."""

import io
from collections.abc import Callable
from typing import Any

import torch


def saved(content: object, **options: Any) -> bytes:
    """What `torch.save` writes of an object."""
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


def changed(*path_and_value: Any) -> Callable[[dict[str, Any]], bytes]:
    """A change of a checkpoint, which answers the changed one as bytes.

    What stands at a path of keys becomes the last argument, or what that makes of it if it is a function; KeyError
    removes it.
    """
    *path, last, value = path_and_value

    def change(checkpoint: dict[str, Any]) -> bytes:
        inner = checkpoint
        for key in path:
            inner = inner[key]
        if value is KeyError:
            del inner[last]
        else:
            inner[last] = value(inner[last]) if callable(value) else value
        return saved(checkpoint)

    return change

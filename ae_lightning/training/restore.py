"""Writing a snapshot of weights back into a model."""

from collections.abc import Mapping

import torch
from torch import Tensor


@torch.no_grad()
def write_back(snapshot: Mapping[str, Tensor], parts: Mapping[str, Tensor], variant: str) -> None:
    """Copy the tensors of a snapshot into those of a model, all of them or none.

    Args:
        snapshot: Tensors by name, on any device.
        parts: The model's, which share memory with its parameters and buffers.
        variant: Name of its class, for the message.

    Raises:
        ValueError: Names or shapes differ; nothing is written then.
    """
    require_fit(snapshot, parts, variant)
    for name, part in parts.items():
        part.copy_(snapshot[name])


def require_fit(snapshot: Mapping[str, Tensor], parts: Mapping[str, Tensor], variant: str) -> None:
    """Check that a snapshot has the names and shapes of a model's parts.

    Raises:
        ValueError: It has not.
    """
    has, needs = _shapes(snapshot), _shapes(parts)
    there = {name: shape for name, shape in has.items() if needs.get(name) != shape}
    here = {name: shape for name, shape in needs.items() if has.get(name) != shape}
    if (there and here) or not has:
        raise ValueError(f"the snapshot holds {_listed(there)}, but {variant} has {_listed(here)}")
    if here:
        raise ValueError(f"the snapshot lacks {_listed(here)}, which {variant} has")
    if there:
        raise ValueError(f"the snapshot holds {_listed(there)}, which {variant} has not")


def _shapes(parts: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(part.shape) for name, part in parts.items()}


def _listed(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {shape}" for name, shape in sorted(shapes.items())) or "nothing"

"""What tells a model from another: a hash of its weights."""

import hashlib

import torch
from torch import Tensor, nn


def weights_hash(model: nn.Module) -> str:
    """The SHA-256 of a model's weights and buffers, 64 hexadecimal digits.

    It covers the name, type, shape and bytes of each tensor of the state dict, sorted by name, so that it is the same
    on every device, and another after any change. What a state dict leaves out, it leaves out too.

    Args:
        model: Any module; weights that have no memory yet (of the device `meta`) cannot be hashed.
    """
    digest = hashlib.sha256()
    state = model.state_dict()
    for name in sorted(state):
        if isinstance(value := state[name], Tensor):  # modules may add objects of their own
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
            digest.update(_bytes_of(value))
    return digest.hexdigest()


def _bytes_of(value: Tensor) -> memoryview:
    return value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data

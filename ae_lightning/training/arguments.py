"""Arguments that a model's methods do not take, told in a sentence."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from ae_lightning.errors import ConfigError

_ARRAY = np.ndarray


def refusing_arrays(method: Callable[..., Any]) -> Callable[..., Any]:
    """The same method of a model, which says so where it is given a NumPy array in place of a tensor.

    PyTorch's own answers are those of whatever operation comes first, and name neither the method nor the array.
    """

    @functools.wraps(method)
    def checked(self: Any, *args: Any, **kwargs: Any) -> Any:
        if args and issubclass(type(args[0]), _ARRAY):  # `isinstance` asks a tensor for its class, which takes longer
            raise ConfigError(
                f"{type(self).__name__}.{method.__name__} takes tensors, but it was given a NumPy array of "
                f"{args[0].dtype}: torch.from_numpy(array).float() is one"
            )
        return method(self, *args, **kwargs)

    return checked

"""Numbers that may be given once, for each feature, or for each instance of a population."""

import torch
from torch import Tensor

from ae_lightning.errors import ConfigError

PerFeature = float | list[float] | list[list[float]]
"""One number for all features; a list with one for each; or a list for each instance, of one or of all features'."""


def per_feature(option: str, value: PerFeature, features: int, instances: int | None) -> Tensor:
    """The numbers of an option as a tensor (features,), or (instances, features) if they were given by instance.

    Args:
        option: Its name, such as `--data.probability`.
        value: What was given.
        features: Number of features.
        instances: Number of instances, None where there are none.

    Raises:
        ConfigError: There are not as many numbers as features or instances.
    """
    rows = value if isinstance(value, list) and value and isinstance(value[0], list) else [value]
    given = [row if isinstance(row, list) else [row] for row in rows]
    for row in given:
        if isinstance(value, list) and len(row) not in ({1, features} if rows is value else {features}):
            raise ConfigError(f"{option} has {_numbers(len(row))} for {features} features; give one for each")
    numbers = torch.stack([torch.tensor(row, dtype=torch.float32, device="cpu").expand(features) for row in given])
    if rows is not value:
        return numbers[0]
    if instances is None or len(rows) != instances:
        have = "there are no instances" if instances is None else f"there are {instances} instances"
        raise ConfigError(f"{option} has a list for each of {len(rows)} instances, but {have}")
    return numbers


def _numbers(count: int) -> str:
    return "1 number" if count == 1 else f"{count} numbers"

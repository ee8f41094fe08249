"""The sampler of a name, where it fits the model."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ae_lightning.analysis.sampler_names import COMPONENTS, check_sampler
from ae_lightning.analysis.samplers import Empirical, FittedNormal, GaussianMixture, Sampler
from ae_lightning.errors import ConfigError


def chosen_sampler(
    name: str,
    model: str,
    prior: Sampler | None,
    codes: Callable[[], Tensor],
    is_discrete: bool,
    components: int = COMPONENTS,
) -> Sampler:
    """Make the sampler of a name.

    Args:
        name: One of `SAMPLERS`.
        model: What to call the model in a message.
        prior: The model's prior, if it has one.
        codes: Gives training codes (m, *latent_shape), once they are needed; indices int64 of a discrete code.
        is_discrete: Whether the code is discrete.
        components: Gaussians of a mixture.

    Raises:
        ConfigError: There is no such sampler, or it does not fit the model or its codes.
    """
    check_sampler(name)
    fitted = "empirical" if is_discrete else "normal, gmm or empirical"
    if name == "prior":
        if prior is None:
            raise ConfigError(f"{model} has no prior to draw codes from; choose the sampler {fitted}")
        return prior
    if is_discrete and name != "empirical":
        raise ConfigError(f"{model} has discrete codes, to which the sampler {name} cannot be fitted; choose {fitted}")
    try:
        if name == "gmm":
            return GaussianMixture(codes(), components)
        return FittedNormal(codes()) if name == "normal" else Empirical(codes())
    except ValueError as error:
        raise ConfigError(f"the sampler {name} cannot be fitted: {error}") from error

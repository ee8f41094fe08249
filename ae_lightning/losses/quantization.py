"""Terms that draw vectors and the codes that replace them towards each other.

Source: van den Oord et al. (2017), "Neural Discrete Representation Learning", equation 3.
"""

from torch import Tensor


def commitment(residuals: Tensor, chosen: Tensor) -> Tensor:
    """Squared distance of vectors from their codes, which draws the vectors; without its coefficient of 0.25.

    Args:
        residuals: What each depth of a codebook read, (depth, …, width).
        chosen: The codes that replaced it, of the same shape.

    Returns:
        A scalar: the mean over vectors and their entries, summed over depths. It has a gradient to `residuals` alone.
    """
    return (residuals - chosen.detach()).square().flatten(1).mean(1).sum()


def codebook(residuals: Tensor, chosen: Tensor) -> Tensor:
    """The same number, which draws the codes: it has a gradient to `chosen` alone."""
    return commitment(chosen, residuals)

"""Worlds: features whose directions, frequencies, correlations and trees are known, and what is drawn from them."""

from ae_lightning.data.worlds.magnitudes import Magnitude
from ae_lightning.data.worlds.world import World

__all__ = ["Magnitude", "World"]

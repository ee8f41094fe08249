"""Rows in which everything is known: what fires where, on which samples, on which tokens."""

import latent_worlds
import numpy as np
import pytest
from latent_worlds import World

from ae_lightning.explorer.latents.contents import Contents


@pytest.fixture
def texts() -> World:
    return latent_worlds.text_world()


@pytest.fixture
def text_contents(texts: World) -> Contents:
    return latent_worlds.text_contents(texts)


@pytest.fixture
def pictures() -> np.ndarray:
    return latent_worlds.gray_pictures()


@pytest.fixture
def images() -> World:
    return latent_worlds.image_world()


@pytest.fixture
def image_contents(images: World, pictures: np.ndarray) -> Contents:
    return latent_worlds.image_contents(images, pictures)


@pytest.fixture
def words() -> list[str]:
    return latent_worlds.WORDS

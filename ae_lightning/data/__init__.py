"""Data modules: batches ``(x, y)`` from MNIST and its like, digits, arrays of your own, and toys with a known truth."""

from ae_lightning.data.activations import ActivationsDataModule
from ae_lightning.data.arrays import ArraysDataModule
from ae_lightning.data.base import AutoencoderDataModule
from ae_lightning.data.digits import DigitsDataModule
from ae_lightning.data.gaussian import GaussianDataModule
from ae_lightning.data.in_memory import InMemoryDataset
from ae_lightning.data.loader import BatchLoader
from ae_lightning.data.mnist import MNISTDataModule
from ae_lightning.data.shapes import ShapesDataModule
from ae_lightning.data.sparse_features import SparseFeaturesDataModule
from ae_lightning.data.split import split_train_val
from ae_lightning.data.toy_activations import ToyActivationsDataModule
from ae_lightning.data.world import WorldDataModule
from ae_lightning.data.worlds import World

__all__ = [
    "ActivationsDataModule",
    "ArraysDataModule",
    "AutoencoderDataModule",
    "BatchLoader",
    "DigitsDataModule",
    "GaussianDataModule",
    "InMemoryDataset",
    "MNISTDataModule",
    "ShapesDataModule",
    "SparseFeaturesDataModule",
    "ToyActivationsDataModule",
    "World",
    "WorldDataModule",
    "split_train_val",
]

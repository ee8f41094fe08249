"""Activations on disk: a folder of numbered shards of rows, with an index of what they are."""

from ae_lightning.data.store.index import StoreIndex
from ae_lightning.data.store.samples import StoredSamples
from ae_lightning.data.store.shuffle import shuffle_store
from ae_lightning.data.store.statistics import RowStatistics
from ae_lightning.data.store.stored_array import StoredArray
from ae_lightning.data.store.verify import verify
from ae_lightning.data.store.writer import StoreWriter

__all__ = ["RowStatistics", "StoreIndex", "StoreWriter", "StoredArray", "StoredSamples", "shuffle_store", "verify"]

"""Batches in an order that depends on (seed, epoch) alone and that can be taken up again anywhere."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import SequentialSampler

from ae_lightning.data.in_memory import InMemoryDataset
from ae_lightning.errors import ConfigError, DataError
from ae_lightning.training.batch import Batch
from ae_lightning.training.seeds import seeded_generator

# The last seed of what is drawn of a batch's samples, apart from the order of an epoch, which has no such one.
_DRAWN = 1


class EpochCount:
    """Which epoch it is: the one that Lightning tells, or counted on from a checkpoint's."""

    def __init__(self) -> None:
        self._told = 0
        self._offset = 0

    @property
    def epoch(self) -> int:
        """The present epoch."""
        return self._told + self._offset

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; Lightning calls this before each one."""
        self._told = epoch

    def resume_at(self, epoch: int) -> None:
        """Take what ``set_epoch`` said last to mean ``epoch``, and count on from there."""
        self._offset = epoch - self._told


class EpochOrder(EpochCount):
    """The order in which one process sees the rows of a set: a pure function of (seed, epoch).

    The rows are shuffled first and then dealt out, ``order[rank::world_size]``, so that the processes'
    shares are disjoint. The global random state is never touched.

    Args:
        size: Number of rows.
        shuffle: Whether to shuffle, anew in each epoch.
        seed: Seed of the shuffle, non-negative.
        rank: This process.
        world_size: Number of processes.
        even: Whether to leave out the last ``size % world_size`` rows of the order, so that all processes
            have equally many. Without it the shares cover the whole set and may differ by one row.
    """

    def __init__(
        self, size: int, *, shuffle: bool, seed: int, rank: int = 0, world_size: int = 1, even: bool = False
    ) -> None:
        super().__init__()
        self.size = size - size % world_size if even else size
        self.shuffle = shuffle
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self._rows = size

    def __len__(self) -> int:
        return len(range(self.rank, self.size, self.world_size))

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices().tolist())

    def indices(self) -> Tensor:
        """This process's rows in the order of the epoch, (len(self),) int64."""
        order = self._permutation() if self.shuffle else torch.arange(self._rows)
        return order[: self.size][self.rank :: self.world_size]

    def _permutation(self) -> Tensor:
        return torch.randperm(self._rows, generator=seeded_generator(self.seed, self.epoch))


class DataOrder(EpochOrder, SequentialSampler):
    """The order of the data; Lightning takes only a ``SequentialSampler`` for an unshuffled one."""


class Epochs(EpochCount, SequentialSampler):
    """Counts epochs of what has no sampler; Lightning takes only a ``SequentialSampler`` where it overfits batches."""


class ResumableLoader(ABC):
    """Batches that are a function of (epoch, number) and can be taken up again in the middle of an epoch.

    Lightning takes any sized iterable, saves its state and restores it (``state_dict``, ``load_state_dict``).

    After a state was loaded the loader counts epochs from that state. Lightning counts one epoch too many
    when a run that stopped at ``max_steps`` is resumed, and the batches would differ from an uninterrupted
    run's.

    Args:
        sampler: Counts the epochs; Lightning looks for it here.
        batch_size: Samples a batch, per process.
        limit: How much of an epoch is used, as ``Trainer(limit_train_batches)`` has it: a number of
            batches, or a fraction of them. The loader still offers all of them; it needs to know when an
            epoch is over.
    """

    # Lightning looks at this attribute of everything that has a sampler.
    batch_sampler = None

    def __init__(self, sampler: EpochCount, batch_size: int, limit: int | float = 1.0) -> None:
        if batch_size < 1:
            raise ConfigError(f"A batch of {batch_size} samples is not possible; give --data.batch_size at least 1.")
        self.sampler = sampler
        self.batch_size = batch_size
        self.limit = limit
        self._epoch = self._batches = 0  # batches given in the epoch that was iterated last
        self._resuming = False

    @abstractmethod
    def __len__(self) -> int:
        """Batches per epoch of this process."""

    @abstractmethod
    def batches(self, first: int) -> Iterator[Batch]:
        """The batches of the sampler's epoch from the one numbered ``first`` on; they leave the state alone."""

    def __iter__(self) -> Iterator[Batch]:
        # A generator, so that nothing happens before the first batch is asked for: Lightning makes the
        # iterator first, and only then says which epoch it is.
        first = self._first_batch()
        epoch = self.sampler.epoch
        for number, batch in enumerate(self.batches(first), start=first):
            self._epoch, self._batches = epoch, number + 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Where the next batch is: ``epoch``, and ``batches`` of it that were given already."""
        if self._batches >= self._epoch_length():
            return {"epoch": self._epoch + 1, "batches": 0}
        return {"epoch": self._epoch, "batches": self._batches}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Let the next iteration, and only that one, begin where ``state`` was saved."""
        self._epoch, self._batches = state["epoch"], state["batches"]
        self._resuming = True

    def _first_batch(self) -> int:
        if not self._resuming:
            return 0
        self._resuming = False
        position = self.state_dict()
        self.sampler.resume_at(position["epoch"])
        return position["batches"]

    def _epoch_length(self) -> int:
        limit = self.limit if isinstance(self.limit, int) else int(len(self) * self.limit)
        return max(1, min(limit, len(self)))


class BatchLoader(ResumableLoader):
    """The batches of an in-memory set, as a sized iterable in place of ``torch.utils.data.DataLoader``.

    It has four properties that the ordinary loader lacks: the order is a pure function of (seed, epoch),
    whatever else draws random numbers; an epoch can be taken up in its middle; it works where the data are
    already on the device; and it shards itself over processes without padding evaluation sets.

    Args:
        dataset: The samples.
        batch_size: Samples a batch, per process.
        shuffle: Whether to shuffle, and to draw what a set draws at random of its samples, anew in each epoch.
        seed: Seed of the order, non-negative.
        drop_last: Whether to leave out the last batch of an epoch if it is smaller than ``batch_size``.
        rank: This process.
        world_size: Number of processes.
        even_shards: Whether all processes get equally many samples (up to ``world_size - 1`` are left out),
            without which training on several would hang. A shuffled loader always does so.
        limit: As ``ResumableLoader`` has it.

    Raises:
        ConfigError: If ``batch_size`` is not positive.
        DataError: If the set has no batch for this process.
    """

    sampler: EpochOrder

    def __init__(
        self,
        dataset: InMemoryDataset,
        batch_size: int,
        *,
        shuffle: bool = False,
        seed: int = 0,
        drop_last: bool = False,
        rank: int = 0,
        world_size: int = 1,
        even_shards: bool = False,
        limit: int | float = 1.0,
    ) -> None:
        kind = EpochOrder if shuffle else DataOrder
        order = kind(
            len(dataset),
            shuffle=shuffle,
            seed=seed,
            rank=rank,
            world_size=world_size,
            even=shuffle or even_shards,
        )
        super().__init__(order, batch_size, limit)
        self.dataset = dataset
        self.drop_last = drop_last
        if len(self) == 0:
            raise DataError(self._too_small())

    def __len__(self) -> int:
        whole, rest = divmod(len(self.sampler), self.batch_size)
        return whole if self.drop_last or rest == 0 else whole + 1

    def batches(self, first: int) -> Iterator[Batch]:
        """The batches of the sampler's epoch from the one numbered ``first`` on."""
        order = self.sampler.indices().to(self.dataset.device)
        epoch, rank = self.sampler.epoch, self.sampler.rank
        for number in range(first, len(self)):
            rows = order[number * self.batch_size : (number + 1) * self.batch_size]
            if self.sampler.shuffle:
                yield self.dataset.redrawn(rows, self.sampler.seed, epoch, number, rank, _DRAWN)
            else:
                yield self.dataset.__getitems__(rows)

    def _too_small(self) -> str:
        samples, processes = len(self.dataset), self.sampler.world_size
        if self.drop_last and len(self.sampler) > 0:
            return (
                f"The {len(self.sampler):,} samples of a process do not fill a batch of {self.batch_size:,}, "
                "and --data.drop_last leaves out what is smaller; lower --data.batch_size, or set "
                "--data.drop_last false."
            )
        return (
            f"A set of {samples:,} samples cannot be shared out among {processes} processes; lower --trainer.devices."
        )

"""Batches in an order that depends on (seed, epoch) alone and that can be taken up again anywhere."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import SequentialSampler

from ae_lightning.data.in_memory import Batch, InMemoryDataset
from ae_lightning.errors import ConfigError, DataError


def seeded_generator(*seeds: int) -> torch.Generator:
    """A generator whose stream depends on all the numbers and their order, and not on any global state."""
    # Adding the numbers instead would make run 1 repeat run 0 one epoch late.
    mixed = np.random.SeedSequence(seeds).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(mixed[0]))


class EpochOrder:
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
        self.size = size - size % world_size if even else size
        self.shuffle = shuffle
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self._rows = size
        self._told = 0
        self._offset = 0

    @property
    def epoch(self) -> int:
        """The epoch whose order this is."""
        return self._told + self._offset

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; Lightning calls this before each one."""
        self._told = epoch

    def resume_at(self, epoch: int) -> None:
        """Take what ``set_epoch`` said last to mean ``epoch``, and count on from there."""
        self._offset = epoch - self._told

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


class BatchLoader:
    """The batches of an in-memory set, as a sized iterable in place of ``torch.utils.data.DataLoader``.

    Lightning takes any sized iterable. This one has four properties that the ordinary loader lacks: the
    order is a pure function of (seed, epoch), whatever else draws random numbers; an epoch can be taken up
    in its middle (``state_dict`` and ``load_state_dict``, which Lightning saves and restores); it works
    where the data are already on the device; and it shards itself over processes without padding evaluation
    sets.

    After a state was loaded the loader counts epochs from that state. Lightning counts one epoch too many
    when a run that stopped at ``max_steps`` is resumed, and the order would differ from an uninterrupted
    run's.

    Args:
        dataset: The samples.
        batch_size: Samples a batch, per process.
        shuffle: Whether to shuffle, anew in each epoch.
        seed: Seed of the order, non-negative.
        drop_last: Whether to leave out the last batch of an epoch if it is smaller than ``batch_size``.
        rank: This process.
        world_size: Number of processes.
        even_shards: Whether all processes get equally many samples (up to ``world_size - 1`` are left out),
            without which training on several would hang. A shuffled loader always does so.
        limit: How much of an epoch is used, as ``Trainer(limit_train_batches)`` has it: a number of
            batches, or a fraction of them. The loader still offers all of them; it needs to know when an
            epoch is over.

    Raises:
        ConfigError: If ``batch_size`` is not positive.
        DataError: If the set has no batch for this process.
    """

    # Lightning looks at this attribute of everything that has a sampler.
    batch_sampler = None

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
        if batch_size < 1:
            raise ConfigError(f"A batch of {batch_size} samples is not possible; give --data.batch_size at least 1.")
        self.dataset = dataset
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.limit = limit
        order = EpochOrder if shuffle else DataOrder
        self.sampler = order(
            len(dataset),
            shuffle=shuffle,
            seed=seed,
            rank=rank,
            world_size=world_size,
            even=shuffle or even_shards,
        )
        if len(self) == 0:
            raise DataError(self._too_small())
        self._epoch = self._batches = 0  # batches given in the epoch that was iterated last
        self._resuming = False

    def __len__(self) -> int:
        """Batches per epoch of this process."""
        whole, rest = divmod(len(self.sampler), self.batch_size)
        return whole if self.drop_last or rest == 0 else whole + 1

    def __iter__(self) -> Iterator[Batch]:
        # A generator, so that nothing happens before the first batch is asked for: Lightning makes the
        # iterator first, and only then says which epoch it is.
        first = self._first_batch()
        epoch = self.sampler.epoch
        order = self.sampler.indices().to(self.dataset.device)
        for number in range(first, len(self)):
            self._epoch, self._batches = epoch, number + 1
            yield self.dataset.__getitems__(order[number * self.batch_size : (number + 1) * self.batch_size])

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

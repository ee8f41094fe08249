"""Batches of rows in an order of windows, of sets that need not fit into memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ae_lightning.data.in_memory import InMemoryDataset
from ae_lightning.data.loader import Epochs, ResumableLoader
from ae_lightning.data.window_reader import WindowReader
from ae_lightning.data.windowed_rows import WindowedRows
from ae_lightning.data.windows import Share, WindowOrder
from ae_lightning.errors import ConfigError, DataError
from ae_lightning.training.batch import Batch


class WindowLoader(ResumableLoader):
    """The batches of rows that need not fit into memory, as a sized iterable.

    The order is that of `WindowOrder`: a pure function of (seed, epoch), whether rows are read whole or in windows. The
    global batches are the same for one process or several, see `Share`; so an epoch can be taken up by another number
    of processes where the global batch stays as large. A state is a few integers; one of other rows, seeds, windows
    or sizes of batches is refused.

    Args:
        rows: The training rows.
        dataset: The same as a set. Where it is in memory batches are gathered from it; else it only scales them.
        batch_size: Samples a batch, per process.
        seed: Seed of the order, non-negative.
        drop_last: Whether to leave out the last batch of an epoch if it is smaller.
        rank: This process.
        world_size: Number of processes.
        fixed: Whether every epoch is the first one again.
        pin: Whether batches are in memory that a GPU can copy from by itself.
        limit: As ``ResumableLoader`` has it.

    Raises:
        ConfigError: If ``batch_size`` is not positive.
        DataError: If there are fewer rows than a batch has over all processes.
    """

    def __init__(
        self,
        rows: WindowedRows,
        dataset: InMemoryDataset,
        batch_size: int,
        *,
        seed: int = 0,
        drop_last: bool = False,
        rank: int = 0,
        world_size: int = 1,
        fixed: bool = False,
        pin: bool = False,
        limit: int | float = 1.0,
    ) -> None:
        super().__init__(Epochs(), batch_size, limit)
        self.rows = rows
        self.dataset = dataset
        self.seed = seed
        self.fixed = fixed
        self.pin = pin
        self.share = Share(len(rows.selection), batch_size, rank, world_size, drop_last)
        if self.share.rows < self._global_batch:
            each = "" if world_size == 1 else f", {batch_size:,} on each of {world_size} processes"
            raise DataError(
                f"There are {self.share.rows:,} training rows, fewer than a batch of {self._global_batch:,}{each}; "
                "lower --data.batch_size."
            )

    def __len__(self) -> int:
        return self.share.batches

    def batches(self, first: int) -> Iterator[Batch]:
        """The batches of the sampler's epoch from the one numbered ``first`` on."""
        if first < len(self):
            order = self.rows.order(self.seed, 0 if self.fixed else self.sampler.epoch)
            yield from (self._from_memory if self.rows.is_whole else self._from_windows)(order, first)

    def state_dict(self) -> dict[str, int]:
        """Where the next batch is, and in which order of which rows."""
        return {**super().state_dict(), **self._identity()}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Let the next iteration, and only that one, begin where ``state`` was saved.

        Raises:
            ConfigError: It lies within an epoch of another order, or of other rows.
        """
        for name, own in self._identity().items():
            if state["batches"] and state.get(name) != own:
                raise ConfigError(_refusal(name, state.get(name), own))
        super().load_state_dict(state)

    @property
    def _global_batch(self) -> int:
        return self.batch_size * self.share.world_size

    def _identity(self) -> dict[str, int]:
        return {
            "data": self.rows.fingerprint,
            "rows": self.share.rows,
            "window": self.rows.window,
            "seed": self.seed,
            "global_batch": self._global_batch,
        }

    def _from_memory(self, order: WindowOrder, first: int) -> Iterator[Batch]:
        present, numbers = -1, np.empty(0, dtype=np.int64)
        for batch in range(first, len(self)):
            parts = []
            for window, start, stop in order.spans(*self.share.places(batch)):
                if window != present:
                    present, numbers = window, self.rows.in_order(order, window)
                parts.append(numbers[start:stop])
            yield self.dataset.__getitems__(torch.from_numpy(np.concatenate(parts)))

    def _from_windows(self, order: WindowOrder, first: int) -> Iterator[Batch]:
        # Of this process's rows alone: how many come before each window, and before the batch.
        edges = self.share.before(order.starts).tolist()
        place = first * self.batch_size
        window = int(np.searchsorted(edges, place, side="right")) - 1
        with WindowReader(self.rows, order, self.share, window) as reader:
            for number in range(first, len(self)):
                made = _Batch(self.rows, self.dataset, self.share.size(number), self.pin)
                stop = place + self.share.size(number)
                while place < stop:
                    start, end = edges[window], min(stop, edges[window + 1])
                    if end > place:
                        parts, rows = reader.window(window)
                        made.add(parts, rows[place - start : end - start])
                    place, window = end, window + (end == edges[window + 1])
                yield made.finished()


class _Batch:
    """A batch that is put together from pieces of stored rows, which are converted as they are copied."""

    def __init__(self, rows: WindowedRows, dataset: InMemoryDataset, size: int, pin: bool) -> None:
        self._set = dataset
        self._filled = 0

        def room(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
            return torch.empty(size, *shape, dtype=dtype, pin_memory=pin)

        self._x = room(dataset.x.shape[1:], _arithmetic(dataset))
        self._y = None if rows.y is None else room(rows.y.shape[1:], rows.y.dtype)
        targets = dataset.target
        self._target = None if targets is None else room(targets.x.shape[1:], _arithmetic(targets))
        sides = self._x.split([part.shape[1] for part in rows.x], dim=1) if len(rows.x) > 1 else (self._x,)
        self._goals = [*sides, *(part for part in (self._y, self._target) if part is not None)]

    def add(self, parts: list[Tensor], rows: Tensor) -> None:
        """Add some rows of each array."""
        for goal, part in zip(self._goals, parts, strict=True):
            place = goal[self._filled : self._filled + len(rows)]
            if goal.dtype == part.dtype and place.is_contiguous():
                torch.index_select(part, 0, rows, out=place)
            else:
                place.copy_(part.index_select(0, rows))
        self._filled += len(rows)

    def finished(self) -> Batch:
        """The batch as models get it."""
        x = self._set.normalized(self._x)
        y = x.new_empty(len(x), 0) if self._y is None else self._y
        if self._target is None or self._set.target is None:
            return x, y
        return x, y, self._set.target.normalized(self._target)


def _arithmetic(dataset: InMemoryDataset) -> torch.dtype:
    """The type in which a set's samples are scaled."""
    return torch.float32 if dataset.center is None else torch.float64


def _refusal(name: str, saved: int | None, own: int) -> str:
    """Why a state is refused that differs in one of the integers."""
    reasons = {
        "window": "windows of {saved:,} rows, and these have {own:,}: give --data.window {saved}",
        "seed": "--seed_everything {saved}, and this run has {own}: give the same",
        "global_batch": (
            "batches of {saved:,} rows over all processes, and this run has {own:,}: choose --data.batch_size and "
            "--trainer.devices so that their product is {saved}"
        ),
    }
    if saved is None or name not in reasons:
        return (
            "The checkpoint's epoch was begun on other rows than these, and cannot go on: name the same --data.root, "
            "--data.layer, split and --data.seed, or start from the weights alone with --start_from."
        )
    return f"The checkpoint's epoch was begun with {reasons[name].format(saved=saved, own=own)}."

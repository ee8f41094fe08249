"""Data modules whose training rows may be seen in an order of windows, since they need not fit into memory."""

from __future__ import annotations

import warnings
from abc import ABC

from ae_lightning.data.base import AutoencoderDataModule, run_seed
from ae_lightning.data.byte_sizes import bytes_of_size
from ae_lightning.data.loader import ResumableLoader
from ae_lightning.data.window_loader import WindowLoader
from ae_lightning.data.windowed_rows import WindowedRows
from ae_lightning.errors import ConfigError, Notice


class WindowedDataModule(AutoencoderDataModule, ABC):
    """What makes sets of rows that are read in windows calls `read_in_windows` in its `make_sets`.

    Args:
        batch_size: Samples in a training batch, per device.
        eval_batch_size: Samples in a validation or test batch, per device.
        val_fraction: Part of the training data that is held out for validation.
        seed: Seed of the split, not of the training order.
        drop_last: Whether to leave out the last training batch of an epoch if it is smaller.
        device_resident: Whether to keep the data on the training device.
        memory: Memory that rows may take in each process.
        window: Rows that are shuffled together, or None.

    Raises:
        ConfigError: If a number is out of range, or the memory no size.
    """

    def __init__(
        self,
        batch_size: int,
        eval_batch_size: int,
        val_fraction: float,
        seed: int,
        drop_last: bool,
        device_resident: bool,
        memory: int | str,
        window: int | None,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, val_fraction, seed, drop_last, device_resident)
        if window is not None and window < 1:
            raise ConfigError(f"--data.window is {window}; it must be at least 1.")
        self.memory = bytes_of_size(memory, "--data.memory")
        self.window = window
        self._rows: WindowedRows | None = None

    def read_in_windows(self, rows: WindowedRows) -> None:
        """See the training rows in the order of windows.

        Raises:
            ConfigError: They are to be on the device, and do not fit into the memory.
        """
        if self.device_resident and not rows.is_whole:
            raise ConfigError(
                f"--data.device_resident needs all rows in memory, and they are {rows.description}; raise "
                "--data.memory, or leave it out."
            )
        self._rows = rows

    @property
    def description(self) -> str:
        """One line for a person, after ``setup``: the name, the sizes, the shape, and what is in memory."""
        return super().description + ("" if self._rows is None else f"; {self._rows.description}")

    def setup(self, stage: str | None = None) -> None:
        """Make all sets; of a training say how much memory its rows take."""
        is_first = self._sets is None
        super().setup(stage)
        if is_first and stage == "fit" and self._rows is not None:
            warnings.warn(f"{self.title}: {self._rows.description}.", Notice, stacklevel=2)

    def train_dataloader(self) -> ResumableLoader:  # type: ignore[override]
        """Training batches, in an order that follows from (PL_GLOBAL_SEED, epoch)."""
        if self._rows is None:
            return super().train_dataloader()
        rank, world_size = self._process()
        trainer = self.trainer
        return WindowLoader(
            self._rows,
            self.train_set,
            self.batch_size,
            seed=run_seed(),
            drop_last=self.drop_last,
            rank=rank,
            world_size=world_size,
            fixed=getattr(trainer, "overfit_batches", 0) > 0,
            pin=trainer is not None and trainer.strategy.root_device.type == "cuda",
            limit=1.0 if trainer is None else trainer.limit_train_batches,
        )

"""What every data module shares: the split, the loaders, their order, and the checks."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning import LightningDataModule
from torch import Tensor

from ae_lightning.data.factors import Factor
from ae_lightning.data.in_memory import InMemoryDataset, draw_rows
from ae_lightning.data.loader import BatchLoader
from ae_lightning.data.split import check_fraction
from ae_lightning.errors import ConfigError, DataError
from ae_lightning.training.batch import Known, labels_of
from ae_lightning.training.seeds import run_seed, seeded_generator

Sets = tuple[InMemoryDataset, InMemoryDataset, InMemoryDataset]

# The stream of the run's seed that samples for a model's start come from; the orders of its epochs have the first ones.
_START = 2**31


class AutoencoderDataModule(LightningDataModule, ABC):
    """Training, validation and test sets that yield batches ``(x, y)``, or ``(x, y, target)``.

    A subclass answers ``input_shape``, ``value_range`` and ``num_classes`` without loading anything, and
    makes the sets in ``make_sets``. ``x`` is float32, (batch, *input_shape), or with samples of each instance's
    own (batch, instances, *input_shape); ``y`` is a class label (batch,) int64, the values of factors
    (batch, factors) int64, a vector of true features (batch, …, k), or empty (batch, 0). A target (batch,
    *target_shape) is what is to be produced where that is not x.

    The split follows ``seed``; the order of training follows ``seed_everything`` (through the environment
    variable PL_GLOBAL_SEED, as in Lightning's own sampler), so that another run sees the same split in
    another order.

    Args:
        batch_size: Samples in a training batch, per device.
        eval_batch_size: Samples in a validation or test batch, per device.
        val_fraction: Part of the training data that is held out for validation.
        seed: Seed of the split (and of generated data), not of the training order.
        drop_last: Whether to leave out the last training batch of an epoch if it is smaller.
        device_resident: Whether to keep the data on the training device, which saves a copy per batch.

    Raises:
        ConfigError: If a number is out of range.
    """

    def __init__(
        self,
        batch_size: int = 256,
        eval_batch_size: int = 1024,
        val_fraction: float = 0.1,
        seed: int = 0,
        drop_last: bool = False,
        device_resident: bool = False,
    ) -> None:
        super().__init__()
        for option, size in (("batch_size", batch_size), ("eval_batch_size", eval_batch_size)):
            if size < 1:
                raise ConfigError(f"--data.{option} is {size}; it must be at least 1.")
        check_fraction("val_fraction", val_fraction)
        if seed < 0:
            raise ConfigError(f"--data.seed is {seed}; it must not be negative.")
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.val_fraction = val_fraction
        self.seed = seed
        self.drop_last = drop_last
        self.device_resident = device_resident
        self._sets: Sets | None = None

    @property
    @abstractmethod
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample, such as (1, 28, 28); known before ``setup``."""

    @property
    @abstractmethod
    def value_range(self) -> tuple[float, float]:
        """Smallest and largest value that x can take after normalization; known before ``setup``."""

    @property
    @abstractmethod
    def num_classes(self) -> int | None:
        """Number of classes, or None for data without class labels; known before ``setup``."""

    @abstractmethod
    def make_sets(self) -> Sets:
        """Load or generate the training, validation and test sets."""

    @property
    def instances(self) -> int | None:
        """Instances that have samples of their own, x (batch, instances, *input_shape); None where all share them."""
        return None

    @property
    def target_shape(self) -> tuple[int, ...] | None:
        """Shape of what is to be produced of a sample, where that is not the sample itself; known before ``setup``."""
        return None

    @property
    def factors(self) -> Sequence[Factor]:
        """The factors that samples were made from, where y is (batch, factors) int64, the numbers of their values.

        Empty where none are known.
        """
        return ()

    def classes_of(self, y: Known) -> Tensor:
        """The class of each sample, (batch,), of data that have classes; others have labels or true features.

        Args:
            y: What a batch, or a set, holds as y.
        """
        return labels_of(y)

    @property
    def feature_directions(self) -> Tensor | None:
        """The directions that samples are sums of, where they are known, (features, input), after ``setup``."""
        return None

    @property
    def feature_parents(self) -> Tensor | None:
        """The parent (features,) of each known feature, without which it is never present, int64; -1 for none.

        None where there are no trees.
        """
        return None

    def report_sections(self) -> Sequence[type[Any]]:
        """Sections that these data add to a report: subclasses of `ae_lightning.report.contributed.SectionMaker`.

        Import them in here, so that no training waits for what draws.
        """
        return ()

    @property
    def title(self) -> str:
        """What the data are called in a report."""
        return type(self).__name__.removesuffix("DataModule")

    @property
    def train_set(self) -> InMemoryDataset:
        """The training set, after ``setup``."""
        return self._set(0)

    @property
    def val_set(self) -> InMemoryDataset:
        """The validation set, after ``setup``."""
        return self._set(1)

    @property
    def test_set(self) -> InMemoryDataset:
        """The test set, after ``setup``."""
        return self._set(2)

    @property
    def test_is_validation(self) -> bool:
        """Whether the test set is the validation set, by which checkpoints are chosen, after ``setup``."""
        val, test = self.val_set, self.test_set
        return val is test or (len(val) == len(test) and val.fingerprint() == test.fingerprint())

    @property
    def development_set(self) -> InMemoryDataset:
        """Training and validation samples together, in the order they are stored.

        The same whatever the split, so that "the first 5,000 images" means the same in every run.
        """
        train, val = self.train_set, self.val_set
        if train.x is not val.x or train.indices is None or val.indices is None:
            return train
        rows = torch.cat([train.indices, val.indices]).sort().values
        return train.subset(rows)

    @property
    def kept_in(self) -> Path:
        """Folder of the data, for what is made of them once, such as a classifier of their labels.

        It is the environment variable AE_LIGHTNING_DATA, or else `data`, unless a data module has another.
        """
        return Path(os.environ.get("AE_LIGHTNING_DATA") or "data").expanduser()

    @property
    def description(self) -> str:
        """One line for a person, after ``setup``: the name, the sizes and the shape."""
        train, val, test = (f"{len(self._set(number)):,}" for number in range(3))
        what = "images" if len(self.input_shape) == 3 else "samples"
        shape = "×".join(str(size) for size in self.input_shape)
        same = ", the test set being the validation set" if self.test_is_validation else ""
        return f"{self.title}: {train} train, {val} validation, {test} test {what} of {shape}{same}"

    def setup(self, stage: str | None = None) -> None:
        """Make all sets; the second call costs nothing.

        Raises:
            DataError: If a set is empty, or a file is missing or damaged.
        """
        if self._sets is None:
            sets = self.make_sets()
            for name, dataset in zip(("training", "validation", "test"), sets, strict=True):
                if len(dataset) == 0:
                    raise DataError(f"The {name} set of {self.title} is empty; it needs at least one sample.")
            self._sets = sets
        if self.device_resident and self.trainer is not None:
            device = self.trainer.strategy.root_device
            self._sets = tuple(s if s.device == device else s.to(device) for s in self._sets)  # type: ignore[assignment]

    def train_dataloader(self) -> BatchLoader:
        """Training batches, in an order that follows from (PL_GLOBAL_SEED, epoch)."""
        overfit = getattr(self.trainer, "overfit_batches", 0) > 0
        rank, world_size = self._process()
        return BatchLoader(
            self.train_set,
            self.batch_size,
            # Overfitting means the same batches again and again; Lightning unshuffles its own loaders only.
            shuffle=not overfit,
            seed=run_seed(),
            drop_last=self.drop_last,
            rank=rank,
            world_size=world_size,
            even_shards=True,
            limit=1.0 if self.trainer is None else self.trainer.limit_train_batches,
        )

    def val_dataloader(self) -> BatchLoader:
        """Validation batches, in the order of the data."""
        return self._evaluation_loader(self.val_set)

    def test_dataloader(self) -> BatchLoader:
        """Test batches, in the order of the data."""
        return self._evaluation_loader(self.test_set)

    def predict_dataloader(self) -> BatchLoader:
        """The test batches again: predictions are made for the test set."""
        return self._evaluation_loader(self.test_set)

    def examples(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw training samples at random, without replacement; all of them if there are fewer than n.

        Args:
            n: How many.
            generator: What they are drawn with, on the CPU; data that are generated are generated with it.

        Returns:
            Samples (n, *input_shape) as training batches hold them.
        """
        train = self.train_set
        return train.__getitems__(draw_rows(len(train), n, generator))[0]

    def example_pairs(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The same samples, and what is to be produced of them, (n, *target_shape): targets, or the samples themselves.

        Args:
            n: How many.
            generator: What they are drawn with, on the CPU.
        """
        train = self.train_set
        if train.target is None:
            x = self.examples(n, generator)
            return x, x
        x, _, *targets = train.__getitems__(draw_rows(len(train), n, generator))
        return x, targets[0]

    def starting_samples(self, n: int) -> Tensor:
        """Training samples (n, *input_shape) for a model that starts from them: the same ones for the same run seed.

        Args:
            n: How many; all of them if there are fewer.
        """
        return self.starting_pairs(n)[0]

    def starting_pairs(self, n: int) -> tuple[Tensor, Tensor]:
        """The same samples, and what is to be produced of them.

        Args:
            n: How many; all of them if there are fewer.
        """
        return self.example_pairs(n, seeded_generator(run_seed(), _START))

    def fingerprint(self) -> str:
        """Hash of the training set, for the record of a run; see ``InMemoryDataset.fingerprint``."""
        return self.train_set.fingerprint()

    def _evaluation_loader(self, dataset: InMemoryDataset) -> BatchLoader:
        rank, world_size = self._process()
        return BatchLoader(dataset, self.eval_batch_size, rank=rank, world_size=world_size)

    def _process(self) -> tuple[int, int]:
        return (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)

    def _set(self, number: int) -> InMemoryDataset:
        if self._sets is None:
            raise DataError(f"{type(self).__name__} has no data yet; call its setup() before asking for a set.")
        return self._sets[number]

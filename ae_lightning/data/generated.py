"""Data that are generated as they are needed, a new batch for each step of training."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

import torch
from torch import Tensor

from ae_lightning.data.base import AutoencoderDataModule, Sets, run_seed
from ae_lightning.data.in_memory import InMemoryDataset
from ae_lightning.data.loader import Epochs, ResumableLoader, seeded_generator
from ae_lightning.errors import ConfigError
from ae_lightning.training.batch import LabeledBatch

# Streams of random numbers for a seed of the data; the sets take the three after this one.
_TRAINING = 0


class GeneratedLoader(ResumableLoader):
    """Batches that are generated on the device from (seeds, rank, step), where step counts batches over all epochs.

    Those of several steps are drawn in one call, since for small batches a call costs more than its numbers: step s is
    the one numbered s modulo `at_once` of what is drawn with (seeds, rank, s divided by `at_once`).

    Args:
        draw_steps: Makes the batches of so many steps, each of so many samples, with a generator, on its device.
        batch_size: Samples a batch, per process.
        steps: Batches an epoch.
        at_once: Steps that are drawn in one call.
        seeds: What the batches depend on, beside rank and step.
        rank: This process.
        device: Where to generate.
        fixed: Whether every epoch is the first one again.
        limit: As ``ResumableLoader`` has it.
    """

    def __init__(
        self,
        draw_steps: Callable[[int, int, torch.Generator], Sequence[LabeledBatch]],
        batch_size: int,
        steps: int,
        *,
        at_once: int = 1,
        seeds: tuple[int, ...] = (),
        rank: int = 0,
        device: torch.device | str = "cpu",
        fixed: bool = False,
        limit: int | float = 1.0,
    ) -> None:
        super().__init__(Epochs(), batch_size, limit)
        self.draw_steps = draw_steps
        self.steps = steps
        self.at_once = at_once
        self.seeds = seeds
        self.rank = rank
        self.device = device
        self.fixed = fixed

    def __len__(self) -> int:
        return self.steps

    def batches(self, first: int) -> Iterator[LabeledBatch]:
        """The batches of the sampler's epoch from the one numbered ``first`` on."""
        before = 0 if self.fixed else self.sampler.epoch * self.steps
        for block, steps in groupby(range(before + first, before + self.steps), lambda step: step // self.at_once):
            generator = seeded_generator(*self.seeds, self.rank, block, device=self.device)
            drawn = self.draw_steps(self.at_once, self.batch_size, generator)
            yield from (drawn[step % self.at_once] for step in steps)


class GeneratedDataModule(AutoencoderDataModule):
    """Samples from a known distribution: training batches are generated on the training device, for each step anew.

    A batch follows from ``seed``, ``seed_everything``, the process and the number of the step, so that a run can be
    repeated and resumed, and several processes see different samples. The validation and test sets are fixed, and so
    is the set that baselines are fitted to in place of the training samples, ``train_set``; they follow from ``seed``.

    Args:
        batch_size: Samples in a training batch, per device.
        eval_batch_size: Samples in a validation or test batch, per device.
        steps_per_epoch: Training batches an epoch, after which the validation set is measured.
        num_val: Validation samples.
        num_test: Test samples.
        seed: Seed of all samples.

    Raises:
        ConfigError: If a number is out of range.
    """

    #: Samples that stand for the training distribution where a finite set is asked for.
    REFERENCE = 8192
    #: Most steps, and most numbers, that are drawn in one call.
    STEPS_AT_ONCE = 16
    NUMBERS_AT_ONCE = 2**22

    def __init__(
        self,
        batch_size: int = 1024,
        eval_batch_size: int = 1024,
        steps_per_epoch: int = 500,
        num_val: int = 4096,
        num_test: int = 8192,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, seed=seed)
        for option, size in (("steps_per_epoch", steps_per_epoch), ("num_val", num_val), ("num_test", num_test)):
            if size < 1:
                raise ConfigError(f"--data.{option} is {size}; it must be at least 1.")
        self.steps_per_epoch = steps_per_epoch
        self.sizes = (self.REFERENCE, num_val, num_test)

    @abstractmethod
    def draw(self, n: int, generator: torch.Generator) -> LabeledBatch:
        """Draw n samples x (n, *input_shape), or (n, instances, *input_shape), and y, on the generator's device."""

    def draw_steps(self, steps: int, n: int, generator: torch.Generator) -> Sequence[LabeledBatch]:
        """Draw the batches of several steps, each of n samples as `draw` gives them."""
        return [self.draw(n, generator) for _ in range(steps)]

    @property
    def steps_at_once(self) -> int:
        """Steps whose training batches are drawn in one call; the samples depend on it."""
        numbers = self.batch_size * (self.instances or 1) * math.prod(self.input_shape)
        return max(1, min(self.STEPS_AT_ONCE, self.NUMBERS_AT_ONCE // numbers))

    @property
    def num_classes(self) -> None:
        """There are no classes."""
        return None

    @property
    def description(self) -> str:
        """One line for a person, after ``setup``: the name, the sizes and the shape."""
        val, test = (f"{len(part):,}" for part in (self.val_set, self.test_set))
        shape = "×".join(str(size) for size in self.input_shape)
        own = "" if self.instances is None else f", other ones for each of {self.instances} instances"
        return f"{self.title}: samples of {shape} generated for each step{own}; {val} validation, {test} test samples"

    def make_sets(self) -> Sets:
        """Draw each set from its own stream, so that the size of one does not change the others."""
        train, val, test = (
            InMemoryDataset(*self.draw(size, seeded_generator(self.seed, _TRAINING + stream)))
            for stream, size in enumerate(self.sizes, start=1)
        )
        return train, val, test

    def train_dataloader(self) -> GeneratedLoader:  # type: ignore[override]
        """Training batches, generated as they are asked for."""
        rank, _ = self._process()
        trainer = self.trainer
        return GeneratedLoader(
            self.draw_steps,
            self.batch_size,
            self.steps_per_epoch,
            at_once=self.steps_at_once,
            seeds=(self.seed, _TRAINING, run_seed()),
            rank=rank,
            device="cpu" if trainer is None else trainer.strategy.root_device,
            fixed=getattr(trainer, "overfit_batches", 0) > 0,
            limit=1.0 if trainer is None else trainer.limit_train_batches,
        )

    def examples(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw n fresh samples, as training batches hold them.

        Args:
            n: How many.
            generator: What they are drawn with, on the CPU.

        Returns:
            Samples (n, *input_shape), or (n, instances, *input_shape).
        """
        return self.draw(n, generator)[0]

"""What a network is shown: batches in an order that is always the same."""

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ae_lightning.data.base import AutoencoderDataModule
from ae_lightning.errors import ConfigError, DataError

SPLITS = ("development", "test")
"""Parts of a data module: the training and validation samples in the order they are stored, or the test samples."""


class Inputs(NamedTuple):
    """A batch that a network is given at once, `module(*args, **kwargs)`."""

    args: tuple[Tensor, ...]
    kwargs: dict[str, Tensor]
    samples: int
    kept: Tensor | None = None  #: tokens (samples, tokens) bool of which rows are kept; None keeps all
    y: Tensor | None = None  #: class of each sample (samples,) int64; None where there are none
    tokens: tuple[Tensor, ...] = ()  #: ids (n,) of each sample that is a sequence of tokens, without padding
    places: Tensor | None = None  #: of each position (samples, tokens) int64 in its sample's `tokens`
    done: float = math.nan  #: part of all there is that has been given with this batch; NaN where it is not known

    def first(self, samples: int) -> "Inputs":
        """The first samples of the batch alone."""
        return self.selected(torch.arange(min(samples, self.samples)))

    def selected(self, samples: Tensor) -> "Inputs":
        """Some samples (n,) int64 of the batch."""
        return self._replace(
            args=tuple(value[samples] for value in self.args),
            kwargs={name: value[samples] for name, value in self.kwargs.items()},
            samples=len(samples),
            kept=None if self.kept is None else self.kept[samples],
            y=None if self.y is None else self.y[samples],
            tokens=tuple(self.tokens[number] for number in samples.tolist()) if self.tokens else (),
            places=None if self.places is None else self.places[samples],
        )

    def to(self, device: torch.device, dtype: torch.dtype | None = None) -> "Inputs":
        """The batch with what the network is given on a device, and its floating-point numbers in a format."""

        def moved(value: Tensor) -> Tensor:
            return value.to(device, dtype if value.is_floating_point() else None)

        return self._replace(
            args=tuple(map(moved, self.args)), kwargs={name: moved(value) for name, value in self.kwargs.items()}
        )

    def beside(self, module: nn.Module) -> "Inputs":
        """The batch on the device and in the format of a network's weights."""
        weights = next((weights for weights in module.parameters() if weights.is_floating_point()), None)
        return self if weights is None else self.to(weights.device, weights.dtype)

    @property
    def left_out(self) -> dict[str, int]:
        """How many tokens give no rows, by reason; nothing of samples that are no sequences of tokens."""
        if self.kept is None or not self.tokens:
            return {}
        real = sum(map(len, self.tokens))
        return {"padding": self.kept.numel() - real, "special": real - int(self.kept.sum())}

    @property
    def shapes(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """Name, empty for a positional one, and shape without the samples of each tensor that the network is given."""
        named = [*(("", value) for value in self.args), *self.kwargs.items()]
        return tuple((name, tuple(value.shape[1:])) for name, value in named)


class Source(ABC):
    """Where batches come from."""

    #: Whether classes of the samples are known.
    labeled = False
    #: How many classes there are; None where there are none.
    num_classes: int | None = None
    #: The tokenizer, of samples that are sequences of its tokens.
    tokenizer: Any = None

    @abstractmethod
    def batches(self) -> Iterator[Inputs]:
        """All batches from the first on, always the same ones."""

    @abstractmethod
    def about(self) -> dict[str, Any]:
        """What the samples are, as plain values for a store's index; `kind` is `text`, `images` or `vectors`."""

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """What tells these samples from others, as plain values: a harvest goes on only with the same ones."""

    def first_batch(self) -> Inputs:
        """The first batch.

        Raises:
            DataError: There is none.
        """
        found = next(self.batches(), None)
        if found is None:
            raise DataError("the model has nothing to be shown: the data, or all text files, are empty")
        return found


class DataModuleInputs(Source):
    """Samples of a data module in the order they are stored, which a sample's number counts.

    Args:
        data: The data module; it is set up here.
        batch_size: Samples a batch.
        split: Which samples, of `SPLITS`.
        settings: Class and arguments that the data module can be made of again; None where they are not known.
    """

    def __init__(
        self,
        data: AutoencoderDataModule,
        batch_size: int,
        split: str = SPLITS[0],
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        if split not in SPLITS:
            raise ConfigError(f"--split is {split}; it can be {' or '.join(SPLITS)}")
        data.setup()
        self.data, self.batch_size, self.split, self.settings = data, batch_size, split, settings
        self.samples = data.test_set if split == "test" else data.development_set
        self.num_classes = data.num_classes
        self.labeled = data.num_classes is not None

    def batches(self) -> Iterator[Inputs]:
        """All samples, a batch at a time."""
        done = 0
        for batch in self.samples.batches(self.batch_size):
            x, y = batch[0], batch[1]
            done += len(x)
            classes = self.data.classes_of(y) if self.labeled else None
            yield Inputs((x,), {}, len(x), y=classes, done=done / len(self.samples))

    def about(self) -> dict[str, Any]:
        """The class, its settings, the part, and a hash of the samples."""
        return {
            "kind": "images" if len(self.data.input_shape) == 3 else "vectors",
            "title": self.data.title,
            "settings": None if self.settings is None else dict(self.settings),
            "split": self.split,
            "samples": len(self.samples),
            "shape": list(self.data.input_shape),
            "fingerprint": self._fingerprint,
        }

    def identity(self) -> dict[str, Any]:
        """The number of samples and a hash of them."""
        return {"samples": len(self.samples), "fingerprint": self._fingerprint}

    @cached_property
    def _fingerprint(self) -> str:
        """Hash of the samples, which takes a second a gigabyte."""
        return self.samples.fingerprint()


class IterableInputs(Source):
    """Batches that are made elsewhere, such as by a DataLoader: it has to give the same ones in each pass.

    Args:
        batches: Each of them a tensor (samples, …); a tuple of it and of further ones, of which class numbers
            (samples,) int64 are kept; or tensors by name, as networks of transformers take them, where `attention_mask`
            (samples, tokens) says which tokens are no padding.
        tokenizer: That of `input_ids`, of whose special tokens no rows are kept; None where there is none.
    """

    def __init__(self, batches: Iterable[Any], tokenizer: Any | None = None) -> None:
        self._batches = batches
        self.tokenizer = tokenizer
        self._first = next(iter(batches), None)
        if self._first is None:
            raise ConfigError("the data hold no batches; give at least one")
        self.labeled = self._read(self._first).y is not None

    def batches(self) -> Iterator[Inputs]:
        """The batches as they come."""
        batches = iter(self._batches)
        if batches is self._batches:  # it cannot be begun anew
            batches = itertools.chain([self._first], batches)
        return map(self._read, batches)

    def about(self) -> dict[str, Any]:
        """The kind, as the first batch shows it."""
        first = self._read(self._first)
        if "input_ids" in first.kwargs:
            kind = "text"
        else:
            kind = "images" if next(iter([*first.args, *first.kwargs.values()])).ndim == 4 else "vectors"
        return {"kind": kind, "title": type(self._batches).__name__, "settings": None}

    def identity(self) -> dict[str, Any]:
        """Nothing but the shapes of the first batch: all of them could only be known at the end."""
        return {"first_batch": [[name, *shape] for name, shape in self._read(self._first).shapes]}

    def _read(self, batch: Any) -> Inputs:
        if isinstance(batch, Tensor):
            return Inputs((batch,), {}, len(batch))
        if isinstance(batch, Mapping):
            return self._named({name: value for name, value in batch.items() if isinstance(value, Tensor)})
        if isinstance(batch, (tuple, list)) and batch and isinstance(batch[0], Tensor):
            x, *others = batch
            classes = others[0] if others and _are_classes(others[0], len(x)) else None
            return Inputs((x,), {}, len(x), y=classes)
        raise ConfigError(
            f"a batch of the data is a {type(batch).__name__}; it can be a tensor, a tuple that begins with one, or "
            "tensors by name"
        )

    def _named(self, tensors: dict[str, Tensor]) -> Inputs:
        samples = len(next(iter(tensors.values())))
        ids, mask = tensors.get("input_ids"), tensors.get("attention_mask")
        if ids is None:
            return Inputs((), tensors, samples, None if mask is None else mask.bool())
        return token_inputs(ids, torch.ones_like(ids) if mask is None else mask, self.tokenizer, tensors)


def token_inputs(ids: Tensor, mask: Tensor, tokenizer: Any | None, named: dict[str, Tensor]) -> Inputs:
    """A batch of sequences of tokens; those that are padding or special give no rows.

    Args:
        ids: Tokens (samples, tokens) int64.
        mask: Not 0 where they are no padding, (samples, tokens).
        tokenizer: Knows the ids of special tokens, which stand for no text; None where there are none.
        named: What the network is given, by name; nothing where it is given the ids alone.
    """
    real = mask.bool()
    special = torch.tensor(sorted(getattr(tokenizer, "all_special_ids", ())), dtype=torch.int64)
    kept = real & ~torch.isin(ids, special)
    return Inputs(
        () if named else (ids,),
        named,
        len(ids),
        kept,
        tokens=tuple(sequence[own] for sequence, own in zip(ids, real, strict=True)),
        places=real.cumsum(1) - 1,
    )


def _are_classes(y: Any, samples: int) -> bool:
    return isinstance(y, Tensor) and y.dtype == torch.int64 and tuple(y.shape) == (samples,)

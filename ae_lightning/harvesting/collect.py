"""Rows out of batches: which positions they are of, which of them are there already, and where they go."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from ae_lightning.data.store import StoreIndex, StoreWriter
from ae_lightning.data.store.names import TOKENS
from ae_lightning.errors import ConfigError, DataError
from ae_lightning.files import write_json
from ae_lightning.harvesting.capture import Capture, Taken
from ae_lightning.harvesting.identity import weights_hash
from ae_lightning.harvesting.inputs import Inputs, Source
from ae_lightning.harvesting.layout import places_of
from ae_lightning.harvesting.listing import ENOUGH, require_single_calls
from ae_lightning.harvesting.processes import Result, Work, computed_by, computed_here


class Reached(NamedTuple):
    """How far a harvest is."""

    rows: int  #: rows up to now
    computed: int  #: of which the network was run for so many
    part: float  #: part of the whole, NaN where that is not known


class Collection:
    """One harvest: what is computed, and how batches become rows.

    Args:
        work: The network and the places.
        source: What it is shown.
        rows: Most rows; None for all.
        processes: How many processes compute.
    """

    def __init__(self, work: Work, source: Source, rows: int | None, processes: int) -> None:
        for option, number in (("--rows", rows), ("--processes", processes)):
            if number is not None and number < 1:
                raise ConfigError(f"{option} is {number}; it must be at least 1")
        self.work, self.source, self.rows, self.processes = work, source, rows, processes
        self._positions: dict[Any, int] = {}  # of a sample, by the shapes of the inputs
        self._shape: tuple[int, ...] = ()
        self._widths = self._try()

    def _try(self) -> dict[str, int]:
        """Widths of the arrays, by a pass over the first samples."""
        inputs = self.source.first_batch().first(ENOUGH)
        module = self.work.model.module.to(self.work.device)
        require_single_calls(module, self.work.points, inputs)
        taken = Capture(module, self.work.points, self.work.channels)(inputs)
        self._note(inputs, taken)
        return {name: layout.width for name, layout in taken.layouts.items()}

    def into(
        self,
        folder: Path,
        dtype: str,
        shard_rows: int | None,
        covariance: bool | None,
        command: str,
        tell: Callable[[Reached], None],
    ) -> StoreIndex:
        """Write the store."""
        extras = ("sample", "position", *(["y"] if self.source.labeled else []))
        module = self.work.model.module
        model = {"class": type(module).__name__, "weights_sha256": weights_hash(module)}
        settings = {**self._settings(), "model": model}
        with StoreWriter(
            folder, settings, self._widths, dtype, shard_rows, extras, covariance=covariance, command=command
        ) as writer:
            if writer.finished:
                return StoreIndex.read(folder)
            samples = self._write(writer, tell)
            data = self.source.about()
            if (tokenizer := self.source.tokenizer) is not None:
                write_json(folder / TOKENS, tokenizer.convert_ids_to_tokens(list(range(len(tokenizer)))))
                data["tokens"] = TOKENS
            return writer.finish(
                model={"name": self.work.model.name, **model},
                data=data,
                samples=samples,
                shape=self._shape if len(self._shape) > 1 else None,
                num_classes=self.source.num_classes,
                sides={point.name: (point.layer, point.side) for point in self.work.points},
            )

    def _settings(self) -> dict[str, Any]:
        """All that decides which rows there are."""
        return {
            "points": [list(point) for point in self.work.points],
            "channels": self.work.channels,
            "data": self.source.identity(),
            "batch_size": getattr(self.source, "batch_size", None),
            "rows": self.rows,
        }

    def _write(self, writer: StoreWriter, tell: Callable[[Reached], None]) -> int:
        """Add all rows, and give the number of samples that they are of."""
        samples = computed = 0
        with contextlib.closing(self._computed(writer)) as results:
            for inputs, taken in results:
                if taken is not None:
                    self._note(inputs, taken)
                per_sample = self._per_sample(inputs)
                assert per_sample is not None  # it is known of what is not computed, and of what has been
                sample, position = places_of(self._kept(inputs), inputs.samples, per_sample)
                count = len(sample) if self.rows is None else min(len(sample), self.rows - writer.row)
                if count < len(sample):
                    inputs = inputs.first(int(sample[count - 1]) + 1)
                if taken is None:
                    writer.skip(count)
                else:
                    self._add(writer, inputs, taken, samples, sample[:count], position[:count])
                    computed += count
                if inputs.tokens:
                    writer.add_samples(inputs.tokens)
                samples += inputs.samples
                tell(Reached(writer.row, computed, self._part(writer.row, inputs)))
                if writer.row == self.rows:
                    break
        return samples

    def _add(
        self, writer: StoreWriter, inputs: Inputs, taken: Taken, before: int, sample: Tensor, position: Tensor
    ) -> None:
        """Add the rows at these places in a batch, of samples that so many others came before."""
        whole = len(sample) == len(next(iter(taken.rows.values())).flatten(0, 1))
        rows = {
            name: each.flatten(0, 1) if whole else each[sample.to(each.device), position.to(each.device)]
            for name, each in taken.rows.items()
        }
        if inputs.places is not None and self._shape:  # padding may come before the tokens that are kept
            position = inputs.places[sample, position]
        y = None if inputs.y is None else inputs.y[sample]
        writer.add(rows, before + sample, position, y, inputs.left_out)

    def _computed(self, writer: StoreWriter) -> Generator[Result, None, None]:
        """All batches with what was taken of them; without, where the rows are there already."""
        if self.processes == 1:
            return computed_here(self.work, self._asked(writer))
        return computed_by(self.processes, self.work, self._asked(writer))

    def _asked(self, writer: StoreWriter) -> Iterator[tuple[Inputs, bool]]:
        """All batches, each with whether it is to be computed: its rows are not there, or their number is not known."""
        row: int | None = 0
        for inputs in self.source.batches():
            if row is not None and row == self.rows:
                return
            count = self._count(inputs)
            if row is None or count is None:
                row = None
                yield inputs, True
                continue
            count = count if self.rows is None else min(count, self.rows - row)
            yield inputs, count == 0 or writer.wanted(count, row)  # what leaves out all is to be told of too
            row += count

    def _count(self, inputs: Inputs) -> int | None:
        """Rows of a batch; None where it takes a pass of the network to know."""
        per_sample = self._per_sample(inputs)
        if per_sample is None:
            return None
        kept = self._kept(inputs)
        return inputs.samples * per_sample if kept is None else int(kept.sum())

    def _per_sample(self, inputs: Inputs) -> int | None:
        """Positions of a sample; None where samples of this shape have not been seen yet."""
        if not self._shape:
            return 1
        return self._positions.get(inputs.shapes) if inputs.kept is None else inputs.kept.shape[1]

    def _kept(self, inputs: Inputs) -> Tensor | None:
        """Which positions of a batch give rows; None for all, as of a layer that gives one row for a whole sequence."""
        return inputs.kept if self._shape else None

    def _note(self, inputs: Inputs, taken: Taken) -> None:
        """Keep at which positions samples of this shape give rows.

        Raises:
            DataError: The layers, the mask or earlier samples have other positions.
        """
        (first, layout), *others = taken.layouts.items()
        for name, other in others:
            if other.positions != layout.positions:
                raise DataError(
                    f"layers {first} and {name} give {layout} and {other}: rows of one store are at the same "
                    "positions, so harvest them into stores of their own"
                )
        if inputs.kept is not None and layout.positions and layout.positions != tuple(inputs.kept.shape[1:]):
            raise DataError(f"layer {first} gives {layout} of a sample that has {inputs.kept.shape[1]} tokens")
        seen = self._shape if self._positions else layout.positions
        if len(seen) != len(layout.positions) or (len(seen) > 1 and seen != layout.positions):
            raise DataError(f"layer {first} gives {layout} of some samples and other positions of others")
        self._shape = layout.positions
        self._positions[inputs.shapes] = layout.per_sample

    def _part(self, row: int, inputs: Inputs) -> float:
        return inputs.done if self.rows is None else max(row / self.rows, inputs.done)

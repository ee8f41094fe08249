"""Rows that a network computes at one of its layers, replaced while it runs."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ae_lightning.errors import ConfigError
from ae_lightning.harvesting.capture import hooked
from ae_lightning.harvesting.layout import Layout, from_rows, layout_of, tensor_in, to_rows, usual_channels, with_tensor

Change = Callable[[Tensor], Tensor]
"""What is put in the place of rows: (n, width) to (n, width of where it is put)."""


class Site(NamedTuple):
    """What a layer reads or gives, in rows of a width."""

    layer: str  #: as `named_modules` has it
    side: str  #: "input" or "output"
    width: int

    def __str__(self) -> str:
        return f"the {self.side} of {self.layer}"


@contextlib.contextmanager
def replaced(
    model: nn.Module, read: Site, write: Site, change: Change, samples: int, kept: Tensor | None
) -> Iterator[None]:
    """Put what `change` makes of the rows at one site in the place of those at another, or the same, within the block.

    Args:
        model: The network.
        read: Where rows are read.
        write: Where they are put; the network comes to it after the other.
        change: What is made of them; it is not shown those of positions that are left alone.
        samples: Samples of the batch that the network is given.
        kept: Positions that are replaced, (samples, positions) bool; the others stay as they are. None for all.

    Raises:
        ConfigError: As the network runs: a site has no rows of its width, or other positions than it should, or the
            network comes to the second before the first.
    """
    cut = _Cut(model, read, write, change, samples, kept)
    with contextlib.ExitStack() as hooks:
        # In this order, so that at a single site rows are read before they are replaced.
        for site, act in ((read, cut.read), (write, cut.write)):
            hooks.enter_context(hooked(model.get_submodule(site.layer), site.side, act))
        yield


class _Cut:
    """One replacement: what was made of the rows that were read last, until it is put in its place."""

    def __init__(
        self, model: nn.Module, read: Site, write: Site, change: Change, samples: int, kept: Tensor | None
    ) -> None:
        self._model = model
        self._read, self._write = read, write
        self._change = change
        self._samples = samples
        self._kept = kept
        self._made: Tensor | None = None

    def read(self, value: Any) -> None:
        # At once: what comes next may write into the same memory.
        rows, _ = self._rows(value, self._read)
        self._made = self._change(rows[self._which(rows)])

    def write(self, value: Any) -> Any:
        if self._made is None:
            raise ConfigError(f"{self._write} is computed before {self._read}, and cannot be made of it")
        rows, layout = self._rows(value, self._write)
        which = self._which(rows)
        if int(which.sum()) != len(self._made):
            raise ConfigError(
                f"{self._write} has {int(which.sum()):,} rows where {self._read} has {len(self._made):,}, and cannot "
                "be made of it: both need the same positions"
            )
        rows = rows.clone()
        rows[which] = self._made.to(rows.dtype)
        self._made = None
        return with_tensor(value, from_rows(rows, layout))

    def _rows(self, value: Any, site: Site) -> tuple[Tensor, Layout]:
        tensor = tensor_in(value)
        if tensor is None:
            raise ConfigError(f"{site} is no tensor, and cannot be replaced")
        layout = self._layout(tensor, site)
        return to_rows(tensor, layout), layout

    def _layout(self, tensor: Tensor, site: Site) -> Layout:
        usual = usual_channels(self._model.get_submodule(site.layer), tensor.ndim)
        for channels in (usual, "last" if usual == "first" else "first"):
            layout = layout_of(tensor.shape, self._samples, channels, site.layer)
            if layout.width == site.width:
                return layout
        raise ConfigError(
            f"{site} has the shape {tuple(tensor.shape)}, without rows of the {site.width:,} numbers that are to be "
            "replaced"
        )

    def _which(self, rows: Tensor) -> Tensor:
        """Which rows (samples, positions) are replaced."""
        if self._kept is None:
            return rows.new_ones(rows.shape[:2], dtype=torch.bool)
        if self._kept.shape != rows.shape[:2]:
            raise ConfigError(
                f"{self._read} has {rows.shape[1]:,} positions in a sample of {self._kept.shape[1]:,} tokens, so "
                "that padding cannot be told from the rest"
            )
        return self._kept.to(rows.device)

"""Codes of which few entries are not zero, as indices and values."""

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor


class Places:
    """Which entries of codes (…, batch, latent) are kept; those of a sample lie side by side, by rising latent.

    Instances are taken for one wide dictionary: latent j of instance i is row i · latent + j of all their rows, and
    sample s of instance i is bag i · batch + s. A bag is a sample, or a part of one (`split`).

    Args:
        latents: Rows (kept,) of the entries, int64.
        offsets: Where each bag's entries begin, and at the end their number, (bags + 1,), int64.
        shape: (…, batch, latent).
    """

    def __init__(self, latents: Tensor, offsets: Tensor, shape: Sequence[int]) -> None:
        self.latents = latents
        self.offsets = offsets
        self.shape = torch.Size(shape)

    @classmethod
    def of_flat(cls, flat: Tensor, shape: Sequence[int]) -> "Places":
        """From places (kept,) in rising order, each counted through all entries of codes of a shape."""
        *lead, batch, width = shape
        samples = torch.Size(lead).numel() * batch
        bag = flat // width
        edges = torch.arange(samples + 1, device=flat.device)
        return cls(flat % width + bag // batch * width, torch.searchsorted(bag, edges), shape)

    @property
    def rows(self) -> int:
        """Latents of all instances together."""
        return self.shape[:-2].numel() * self.shape[-1]

    @cached_property
    def bags(self) -> Tensor:
        """The bag (kept,) of each entry."""
        return torch.arange(len(self.offsets) - 1, device=self.offsets.device).repeat_interleave(self.offsets.diff())

    @cached_property
    def samples(self) -> Tensor:
        """The sample (kept,) of each entry, counted through all instances."""
        parts = (len(self.offsets) - 1) // self.shape[:-1].numel()
        return self.bags if parts == 1 else self.bags // parts

    @cached_property
    def by_latent(self) -> tuple[Tensor, Tensor]:
        """The order (kept,) of entries by their latent, and where each latent's begin, (rows + 1,)."""
        offsets = torch.zeros(self.rows + 1, dtype=torch.int64, device=self.latents.device)
        torch.cumsum(torch.bincount(self.latents, minlength=self.rows), 0, out=offsets[1:])
        return self.latents.argsort(stable=True), offsets

    @property
    def flat(self) -> Tensor:
        """The place (kept,) of each entry, counted through all entries of the codes."""
        return self.samples * self.shape[-1] + self.latents % self.shape[-1]

    def over_batch(self, values: Tensor) -> Tensor:
        """Sums (…, latent) over the batch of one value (kept,) for each entry."""
        sums = values.new_zeros(self.rows).index_add_(0, self.latents, values)
        return sums.view(*self.shape[:-2], self.shape[-1])

    def over_latents(self, values: Tensor) -> Tensor:
        """Sums (…, batch) over the latents of one value (kept,) for each entry."""
        samples = self.shape[:-1]
        return values.new_zeros(samples.numel()).index_add_(0, self.samples, values).view(samples)

    def split(self, widths: Sequence[int]) -> "Places":
        """The same entries in as many bags a sample as there are widths, which rise up to all latents.

        The first has the latents below the first width, the next one those from there to the next, and so on.
        """
        starts = torch.tensor([0, *widths[:-1]], device=self.latents.device)
        samples = torch.arange(self.shape[:-1].numel(), device=self.latents.device)
        edges = (samples.unsqueeze(-1) * self.shape[-1] + starts).flatten()
        begins = torch.searchsorted(self.flat, edges)
        return Places(self.latents, torch.cat((begins, self.offsets[-1:])), self.shape)


class SparseCode:
    """Codes z (…, batch, latent) that are zero but at some places.

    A value may be zero too. Each place stands once: what is counted or measured is that of its entries. `to_dense`
    gives the tensor, as a tensor's own `to_dense` does: what reads either calls it.

    Args:
        values: One (kept,) for each place.
        places: Where they stand.

    Example:
        >>> code = SparseCode(torch.tensor([0.5, 2.0]), Places.of_flat(torch.tensor([1, 5]), (2, 3)))
        >>> code.to_dense()
        tensor([[0.0000, 0.5000, 0.0000],
                [0.0000, 0.0000, 2.0000]])
    """

    def __init__(self, values: Tensor, places: Places) -> None:
        self.values = values
        self.places = places

    @property
    def shape(self) -> torch.Size:
        """(…, batch, latent)."""
        return self.places.shape

    @property
    def ndim(self) -> int:
        """How many dimensions the codes have."""
        return len(self.shape)

    @property
    def dtype(self) -> torch.dtype:
        """Format of the values."""
        return self.values.dtype

    @property
    def device(self) -> torch.device:
        """Where the values lie."""
        return self.values.device

    def __len__(self) -> int:
        """Samples, as of a tensor (batch, latent); instances share their number."""
        return self.shape[-2]

    def to(self, device: torch.device | str) -> "SparseCode":
        """The same on a device."""
        places = Places(self.places.latents.to(device), self.places.offsets.to(device), self.shape)
        return SparseCode(self.values.to(device), places)

    def take(self, samples: Tensor) -> "SparseCode":
        """Some samples of a code whose bags are samples, of each instance the same, in the order given.

        Args:
            samples: Which (n,), int64, on the code's device.

        Returns:
            Codes (…, n, latent).
        """
        *lead, batch, width = self.shape
        first = torch.arange(torch.Size(lead).numel(), device=self.device).unsqueeze(-1) * batch
        bags = (first + samples).flatten()
        begins, counts = self.places.offsets[bags], self.places.offsets.diff()[bags]
        offsets = torch.zeros(len(bags) + 1, dtype=torch.int64, device=self.device)
        torch.cumsum(counts, 0, out=offsets[1:])
        entry = torch.arange(int(offsets[-1]), device=self.device) + (begins - offsets[:-1]).repeat_interleave(counts)
        places = Places(self.places.latents[entry], offsets, (*lead, len(samples), width))
        return SparseCode(self.values[entry], places)

    def instance(self, index: int) -> "SparseCode":
        """Codes (batch, latent) of one instance, of a code (instances, batch, latent) whose bags are samples."""
        _, batch, width = self.shape
        offsets = self.places.offsets[index * batch : (index + 1) * batch + 1]
        entries = slice(int(offsets[0]), int(offsets[-1]))
        places = Places(self.places.latents[entries] - index * width, offsets - offsets[0], (batch, width))
        return SparseCode(self.values[entries], places)

    def detach(self) -> "SparseCode":
        """The same without a gradient."""
        return SparseCode(self.values.detach(), self.places)

    def to_dense(self) -> Tensor:
        """Codes (…, batch, latent) with their zeros; entries of the same place add up."""
        zeros = self.values.new_zeros(self.shape.numel())
        return zeros.scatter_add(0, self.places.flat, self.values).view(self.shape)

    def fired(self) -> Tensor:
        """Which latents (…, latent) are not zero for some sample."""
        fired = torch.zeros(self.places.rows, dtype=torch.bool, device=self.device)
        fired[self.places.latents[self.values != 0]] = True
        return fired.view(*self.shape[:-2], self.shape[-1])

    def active(self) -> Tensor:
        """How many latents of each sample are not zero, (…, batch), int64."""
        return torch.bincount(self.places.samples[self.values != 0], minlength=self.shape[:-1].numel()).view(
            self.shape[:-1]
        )

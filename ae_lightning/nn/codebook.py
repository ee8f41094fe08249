"""Codebooks: vectors are replaced by the nearest of a few learned ones, and so become integers."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ae_lightning.errors import ConfigError
from ae_lightning.nn.code_activation import Reduce
from ae_lightning.nn.precision import KeepsPrecision, wide_dtype
from ae_lightning.nn.silence import SilentSamples

MEMORY = 100
"""Optimizer steps over which `Codebook.rates` remember: each keeps all but a hundredth."""

_SMOOTHING = 1e-5
_MOST_DISTANCES = 1 << 24  # computed together: 64 MiB


class Quantized(NamedTuple):
    """What a codebook makes of a code; n vectors stand in each book: groups, samples and places, in this order.

    values (batch, *code_shape) are the chosen codes in place of the vectors, whose gradient goes to the code that was
    quantized. indices (batch, index, *grid) are int64. residuals (depth, book, n, width) are what each depth read, with
    a gradient to the code, and chosen, of the same shape, what it chose, with one to a codebook that has any.
    """

    values: Tensor
    indices: Tensor
    residuals: Tensor
    chosen: Tensor


class Codebook(KeepsPrecision):
    """Replaces each vector of a code by the nearest of `codes` learned vectors.

    The channels of a code (channels, *grid) are split into `groups`, and each group of each place of the grid is a
    vector of channels / groups entries. All share one codebook, unless `product` gives each group its own. With a
    `depth` above 1 a second codebook replaces what the first left over, and so on, and the code is their sum.

    Codes move in one of two ways. As a running mean, each code is Σ m / N of the vectors m that chose it and their
    number N, where both forget by `decay` at each optimizer step, and N is smoothed to (N + ε) / (Σ N + K ε) · Σ N with
    ε = 1e-5; each starts as if one vector had chosen it. Or they are a parameter, which a term of the loss moves.

    `observe` gathers what a training batch chose, `advance` takes it up once for each optimizer step, for all
    processes together, and `forget` drops it.

    Source: van den Oord et al. (2017), "Neural Discrete Representation Learning", with appendix A.1 for the running
    mean; the smoothing is that of Razavi et al. (2019); product codes are those of Jégou et al. (2011), residual ones
    those of Lee et al. (2022).

    Args:
        code_shape: Shape of what is quantized, (channels, *grid), without the batch.
        codes: Number of codes in each codebook.
        groups: Parts of the channels.
        product: Whether each group has a codebook of its own.
        depth: Codebooks one after the other.
        learned: Whether codes are a parameter; else they are running means.
        decay: What a running mean keeps at a step.

    Raises:
        ConfigError: The groups do not divide the channels.

    Shapes:
        codes (book, code, width), float32 or wider, where the books of a depth follow each other; rates (book, code),
        how many vectors chose each, a running mean over the last hundred steps that starts at zero; of running means
        also counts (book, code), N, and sums (book, code, width), Σ m. `silence` counts the steps since each code was
        last chosen. All are in `state_dict`.
    """

    codes: Tensor
    rates: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(
        self,
        code_shape: tuple[int, ...],
        codes: int,
        groups: int = 1,
        product: bool = False,
        depth: int = 1,
        learned: bool = False,
        decay: float = 0.99,
    ) -> None:
        super().__init__()
        channels, *grid = code_shape
        if channels % groups:
            raise ConfigError(
                f"--model.groups is {groups}, which does not divide a code of {channels} channels: choose one of "
                f"{', '.join(str(n) for n in range(1, channels + 1) if channels % n == 0)}, or another "
                "--model.latent_dim"
            )
        self.code_shape = code_shape
        self.groups = groups
        self.books = groups if product else 1
        self.depth = depth
        self.learned = learned
        self.decay = decay
        self.index_shape = (depth * groups, *grid)
        start = _start(depth * self.books, codes, channels // groups)
        if learned:
            self.codes = nn.Parameter(start)
        else:
            self.register_buffer("codes", start)
            self.register_buffer("counts", torch.ones_like(start[..., 0]))
            self.register_buffer("sums", start.clone())
        self.register_buffer("rates", torch.zeros_like(start[..., 0]))
        self.silence = SilentSamples(codes, depth * self.books)
        self._gathered: Tensor | None = None  # no buffer: each process has its own

    @property
    def vectors_of_a_sample(self) -> int:
        """How many vectors of one sample each book replaces."""
        return math.prod(self.code_shape[1:]) * self.groups // self.books

    def forward(self, z: Tensor) -> Quantized:
        """Quantize codes (batch, *code_shape), in the format of the codebook whatever theirs is."""
        with torch.autocast(z.device.type, enabled=False):
            rest = self._vectors(z.to(self.codes.dtype))
            indices, residuals, chosen = [], [], []
            for codes in self._by_depth():
                places = nearest(rest.detach(), codes.detach())
                residuals.append(rest)
                chosen.append(_taken(codes, places))
                indices.append(places)
                rest = rest - chosen[-1].detach()
            values = self._code(torch.stack(chosen).detach().sum(0)).to(z.dtype)
        # So they are the codes' own values to the last digit, which z + (values - z) are not.
        through = values + (z - z.detach())
        return Quantized(through, self._indices(torch.stack(indices)), torch.stack(residuals), torch.stack(chosen))

    def look_up(self, indices: Tensor) -> Tensor:
        """Values (batch, *code_shape) of indices (batch, index, *grid)."""
        chosen = map(_taken, self._by_depth(), self._places(indices))
        return self._code(torch.stack([*chosen]).sum(0))

    def by_index(self) -> Tensor:
        """The codes that each index of a place chooses among, (index, code, width)."""
        return self.codes if self.books == self.groups else self.codes.repeat_interleave(self.groups, 0)

    def of_books(self, counts: Tensor) -> Tensor:
        """Counts (index, code) of each index of a place, added up for each book: (book, code)."""
        return counts.unflatten(0, (self.depth * self.books, -1)).sum(1)

    @torch.no_grad()
    def observe(self, quantized: Quantized) -> None:
        """Gather which codes a training batch chose, and the sums of the vectors that did."""
        residuals = quantized.residuals.detach().flatten(0, 1)
        told = residuals.new_ones(*residuals.shape[:-1], 1)
        if not self.learned:
            told = torch.cat([told, residuals], dim=-1)
        books, codes = self.rates.shape
        first = torch.arange(0, books * codes, codes, device=told.device)
        rows = self._places(quantized.indices).flatten(0, 1) + first[:, None]
        empty = told.new_zeros(books * codes, told.shape[-1])
        gathered = empty.index_add_(0, rows.flatten(), told.flatten(0, 1)).unflatten(0, (books, codes))
        self._gathered = gathered if self._gathered is None else self._gathered + gathered

    @torch.no_grad()
    def advance(self, reduce: Reduce) -> None:
        """Take up what all processes gathered since the last optimizer step, by one sum over them."""
        if self._gathered is None:
            return
        gathered = reduce(self._gathered, "sum")
        self.forget()
        counts, sums = gathered[..., 0], gathered[..., 1:]
        self.silence.take_up(1, counts > 0)
        self.rates.lerp_(counts, 1 / MEMORY)
        if not self.learned:
            self.counts.lerp_(counts, 1 - self.decay)
            self.sums.lerp_(sums, 1 - self.decay)
            self.codes.copy_(self.sums / _smoothed(self.counts)[..., None])

    def forget(self) -> None:
        """Drop what was gathered since the last optimizer step."""
        self._gathered = None

    def usage(self) -> Tensor:
        """Part of all codes that a vector of the last hundred steps chose, a scalar; 0 before the first step."""
        return (self.silence.silent < self.silence.seen.clamp(max=MEMORY)).float().mean()

    @torch.no_grad()
    def revive(self, which: Tensor, vectors: Tensor) -> None:
        """Put vectors (n, width) in place of the n codes (book, code) that are true, as if one vector had chosen each.

        They do not count as chosen until they are.
        """
        self.codes[which] = vectors.to(self.codes)
        if not self.learned:
            self.counts[which] = 1.0
            self.sums[which] = self.codes[which]

    # --- layouts -----------------------------------------------------------------------------------------------

    def _by_depth(self) -> Tensor:
        return self.codes.unflatten(0, (self.depth, self.books))

    def _vectors(self, z: Tensor) -> Tensor:
        """(batch, *code_shape) to (book, n, width)."""
        split = z.reshape(len(z), self.groups, self.codes.shape[-1], math.prod(self.code_shape[1:]))
        return split.permute(1, 0, 3, 2).reshape(self.books, -1, self.codes.shape[-1])

    def _code(self, vectors: Tensor) -> Tensor:
        """(book, n, width) to (batch, *code_shape)."""
        places = math.prod(self.code_shape[1:])
        split = vectors.reshape(self.groups, -1, places, self.codes.shape[-1])
        return split.permute(1, 0, 3, 2).reshape(-1, *self.code_shape)

    def _indices(self, places: Tensor) -> Tensor:
        """(depth, book, n) to (batch, index, *grid)."""
        split = places.reshape(self.depth * self.groups, -1, math.prod(self.code_shape[1:]))
        return split.transpose(0, 1).reshape(-1, *self.index_shape)

    def _places(self, indices: Tensor) -> Tensor:
        """(batch, index, *grid) to (depth, book, n)."""
        return indices.transpose(0, 1).reshape(self.depth, self.books, -1)


@torch.no_grad()
def nearest(vectors: Tensor, codes: Tensor) -> Tensor:
    """Indices (book, n), int64, of the codes (book, code, width) nearest to vectors (book, n, width)."""
    half = codes.square().sum(-1)[:, None] / 2
    size = max(1, _MOST_DISTANCES // half.numel())
    # Half the squared distance, but for a part that is the same for all codes.
    parts = [torch.baddbmm(half, part, codes.mT, alpha=-1).argmin(-1) for part in vectors.split(size, dim=1)]
    return torch.cat(parts, dim=1)


def _taken(codes: Tensor, places: Tensor) -> Tensor:
    """Codes (book, code, width) at places (book, n), as (book, n, width)."""
    return codes.gather(1, places[..., None].expand(-1, -1, codes.shape[-1]))


def _smoothed(counts: Tensor) -> Tensor:
    """Counts (…, code) whose sum is the same and none of which is zero."""
    total = counts.sum(-1, keepdim=True)
    return (counts + _SMOOTHING) / (total + counts.shape[-1] * _SMOOTHING) * total


def _start(books: int, codes: int, width: int) -> Tensor:
    """Codes of norm 1, in the mean square: uniform in each entry, as van den Oord et al. start them."""
    bound = math.sqrt(3 / width)
    return torch.empty(books, codes, width, dtype=wide_dtype()).uniform_(-bound, bound)

"""An exponent that falls in steps, and a coefficient that keeps the penalty's size across them."""

import torch
from torch import Tensor, nn

from ae_lightning.nn.code_activation import Reduce
from ae_lightning.nn.precision import KeepsPrecision, wide_dtype

_MEMORY = 10  # optimizer steps, as dictionary_learning has it


class PAnnealing(KeepsPrecision, nn.Module):
    """The exponent p of a penalty Σ z^p, which goes from `start` to `end` in equal changes, and the penalty's factor.

    At each change `factor` is multiplied by the ratio of the penalty at the old p to that at the new one, each a mean
    over the last 10 optimizer steps (or those since the change before, if they are fewer), so that the penalty weighs
    as much after it as before (Karvonen et al. 2024, and dictionary_learning).

    `observe` takes both penalties of each training batch, and `advance` takes them up once for each optimizer step.
    Nothing here waits for the device.

    Args:
        start: First exponent.
        end: Last exponent.
        changes: Equal changes between them.
        instances: Independent copies, each of which gets a factor of its own; None for a single one.

    Shapes:
        changed (), int64, how often p has changed; factor (…); recent (…, 2, 10), the penalties at this p and the next,
        newest first; known (), int64, how many of these are set.
    """

    changed: Tensor
    factor: Tensor
    recent: Tensor
    known: Tensor

    def __init__(self, start: float, end: float, changes: int, instances: int | None = None) -> None:
        super().__init__()
        lead = () if instances is None else (instances,)
        self.start, self.end, self.changes = start, end, changes
        self.register_buffer("changed", torch.zeros((), dtype=torch.int64))
        self.register_buffer("factor", torch.ones(lead, dtype=wide_dtype()))
        self.register_buffer("recent", torch.zeros(*lead, 2, _MEMORY, dtype=wide_dtype()))
        self.register_buffer("known", torch.zeros((), dtype=torch.int64))
        self._gathered: list[Tensor] = []  # (…, 2) of each batch since the last step

    @property
    def p(self) -> Tensor:
        """The exponent at present, a scalar."""
        return self._after(self.changed)

    def exponents(self, due: int) -> tuple[Tensor, Tensor]:
        """The exponent at present, and that after the next change.

        Args:
            due: How often p will have to have changed after this optimizer step.
        """
        return self.p, self._after((self.changed + 1).clamp(min=due, max=self.changes))

    @torch.no_grad()
    def observe(self, present: Tensor, following: Tensor) -> None:
        """Gather the penalties (…) of a training batch at `exponents`."""
        self._gathered.append(torch.stack((present, following), dim=-1).to(self.recent))

    @torch.no_grad()
    def advance(self, due: int, reduce: Reduce) -> None:
        """Take up what was gathered since the last optimizer step, and change p if that is due; it never turns back."""
        if not self._gathered:
            return
        newest = reduce(torch.stack(self._gathered).mean(0), "mean")
        self._gathered.clear()
        self.recent.copy_(torch.cat((newest.unsqueeze(-1), self.recent[..., :-1]), dim=-1))
        self.known.add_(1).clamp_(max=_MEMORY)
        changes = self.changed < due
        used = torch.arange(_MEMORY, device=self.known.device) < self.known
        old, new = torch.where(used, self.recent, 0).sum(-1).unbind(-1)
        # Where no latent is active there is nothing to keep the size of.
        self.factor.mul_(torch.where(changes & (new > 0), old / new, 1))
        self.known.masked_fill_(changes, 0)
        self.changed.clamp_(min=due)

    def measures(self) -> dict[str, Tensor]:
        """The exponent, and the factor as a geometric mean over instances."""
        return {"p": self.p, "p_factor": self.factor.log().mean().exp()}

    def _after(self, changed: Tensor) -> Tensor:
        """The exponent after so many changes."""
        part = changed.to(self.factor.dtype) / self.changes
        return self.start * (1 - part) + self.end * part

"""For how long each latent has not fired: whether it is dead in training."""

import torch
from torch import Tensor, nn

from ae_lightning.nn.code_activation import Reduce
from ae_lightning.nn.elementwise import any_fires
from ae_lightning.nn.sparse_code import SparseCode


class SilentSamples(nn.Module):
    """Counts, for each latent, the samples of all processes since it last fired; it starts at 0 for all.

    `observe` gathers what each training batch tells, `advance` takes it up once for each optimizer step, and `forget`
    drops it. A latent that fired on any sample of a step, in any process, counts from that step's end. Nothing here
    waits for the device.

    Args:
        latent_dim: Number of latents.
        instances: Number of independent copies, or None for a single one without the extra dimension.

    Shapes:
        silent (…, latent) and seen (1,), the samples that were taken up in all, int64; both are in `state_dict`. What
        was gathered is fired (…, latent), bool, and samples (1,), int64.
    """

    silent: Tensor
    seen: Tensor
    fired: Tensor
    samples: Tensor

    def __init__(self, latent_dim: int, instances: int | None = None) -> None:
        super().__init__()
        shape = (latent_dim,) if instances is None else (instances, latent_dim)
        self.register_buffer("silent", torch.zeros(shape, dtype=torch.int64))
        self.register_buffer("seen", torch.zeros(1, dtype=torch.int64))
        self.register_buffer("fired", torch.zeros(shape, dtype=torch.bool), persistent=False)
        self.register_buffer("samples", torch.zeros(1, dtype=torch.int64), persistent=False)

    @torch.no_grad()
    def observe(self, z: Tensor | SparseCode) -> None:
        """Gather which latents fire, that is, are not zero, in codes z (…, batch, latent)."""
        self.fired.logical_or_(z.fired() if isinstance(z, SparseCode) else any_fires(z))
        self.samples.add_(z.shape[-2])

    @torch.no_grad()
    def advance(self, reduce: Reduce) -> None:
        """Take up what all processes gathered since the last optimizer step, by one sum over them."""
        gathered = reduce(torch.cat([self.samples, self.fired.flatten().long()]), "sum")
        self.take_up(gathered[:1], gathered[1:].view_as(self.silent) > 0)
        self.forget()

    @torch.no_grad()
    def take_up(self, samples: Tensor | int, fired: Tensor) -> None:
        """Count `samples` more for all latents, and anew for those (…, latent) that fired on any of them."""
        self.silent.add_(samples).masked_fill_(fired, 0)
        self.seen.add_(samples)

    @torch.no_grad()
    def forget(self) -> None:
        """Drop what was gathered since the last optimizer step."""
        self.fired.zero_()
        self.samples.zero_()

    def dead(self, after: float) -> Tensor:
        """Which latents (…, latent) have not fired in the last `after` samples; none before so many were seen."""
        return self.silent >= after

    def silent_since(self, seen: int) -> Tensor:
        """Which latents (…, latent) have not fired, nor been revived, since so many samples had been `seen`."""
        return self.silent >= self.seen - seen

    @torch.no_grad()
    def revive(self, which: Tensor) -> None:
        """Count anew for the latents (…, latent) that are true."""
        self.silent.masked_fill_(which, 0)

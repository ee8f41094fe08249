"""How long each latent has been silent, in training samples."""

import torch
from torch import Tensor, nn

from ae_lightning.nn.code_activation import Reduce


class SilentSamples(nn.Module):
    """Training samples, of all processes together, since each latent last fired.

    A latent is dead in training where that is at least as many as are asked for. Counts move once for each optimizer
    step, and never wait for the device.

    Args:
        latent_dim: Number of latents.
        instances: Independent copies, or None for a single one.
    """

    silent: Tensor

    def __init__(self, latent_dim: int, instances: int | None = None) -> None:
        super().__init__()
        shape = (latent_dim,) if instances is None else (instances, latent_dim)
        self.register_buffer("silent", torch.zeros(shape, dtype=torch.int64))
        self._fired: Tensor | None = None
        self._samples = 0

    @torch.no_grad()
    def observe(self, z: Tensor) -> None:
        """Note which latents fire, are above zero, in a training batch's codes z (…, batch, latent)."""
        fired = z.amax(-2) > 0
        self._fired = fired if self._fired is None else self._fired | fired
        self._samples += z.shape[-2]

    @torch.no_grad()
    def advance(self, reduce: Reduce) -> None:
        """Count the samples noted since the last optimizer step."""
        if self._fired is None:
            return
        # Lengths travel with the firing, so that processes wait for each other once.
        noted = torch.cat([self._fired.flatten().long(), self.silent.new_tensor([self._samples])])
        noted = reduce(noted, "sum")
        fired = noted[:-1].reshape(self.silent.shape) > 0
        self.silent.copy_(torch.where(fired, 0, self.silent + noted[-1]))
        self.forget()

    def forget(self) -> None:
        """Drop what was noted since the last optimizer step."""
        self._fired, self._samples = None, 0

    def dead(self, after: float) -> Tensor:
        """Which latents (…, latent) have not fired in the last `after` training samples."""
        return self.silent >= after

    @torch.no_grad()
    def revive(self, which: Tensor) -> None:
        """Begin the count of some latents (…, latent) anew."""
        self.silent[which] = 0

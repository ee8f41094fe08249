"""JumpReLU: pre-activations pass where they exceed a threshold that is learned (Rajamanoharan et al. 2024, 2407.14435).

The code has no slope with respect to the threshold θ. A straight-through estimator takes its place, with a rectangle K
that is 1 within half a bandwidth ε of θ and 0 elsewhere:

    ∂ jump / ∂θ = −(θ / ε) K((pre − θ) / ε)
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ae_lightning.errors import ConfigError
from ae_lightning.nn.block_code import BlockCode, columns
from ae_lightning.nn.code_activation import CodeActivation, Reduce
from ae_lightning.nn.elementwise import in_blocks, where_positive
from ae_lightning.nn.precision import KeepsPrecision, wide_dtype

# What marks the window: a byte, and no truth value, which takes torch ten times as long to turn into numbers and back.
_MARK = torch.int8


def jump(pre: Tensor, threshold: Tensor, bandwidth: float, to_pre: bool = False) -> Tensor:
    """Code pre · 1[pre > θ], in the format of `pre`; θ gets the straight-through gradient of the module's first lines.

    For the gradients one byte a pre-activation is kept beside the code, and not the pre-activations.

    Args:
        pre: Pre-activations (…, batch, latent).
        threshold: θ (…, latent), nowhere negative. Compared, and its gradient summed, in its own format.
        bandwidth: ε > 0, in the units of pre-activations.
        to_pre: Whether pre-activations within the window get (θ / ε) K beside the slope 1[pre > θ], so that whatever
            moves a threshold moves the encoder too (Anthropic, January 2025 update). The paper gives it to θ alone.

    Returns:
        Codes (…, batch, latent). NaN stays NaN.
    """
    z: Tensor = _Jump.apply(pre, threshold, bandwidth, to_pre)
    return z


class _Jump(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, pre: Tensor, threshold: Tensor, bandwidth: float, to_pre: bool) -> Tensor:
        z, window = torch.empty_like(pre), torch.empty_like(pre, dtype=_MARK)
        for some, some_z, some_window, spare in in_blocks(pre, z, window, spare=[_wide(pre, threshold)]):
            _jump(some, threshold, bandwidth, some_z, some_window, spare)
        ctx.save_for_backward(z, window, threshold)
        ctx.bandwidth, ctx.to_pre = bandwidth, to_pre
        return z

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        z, window, threshold = ctx.saved_tensors
        of_pre, slope = torch.empty_like(z), threshold / ctx.bandwidth
        of_threshold = _jump_gradients(gradient, z, window, slope, of_pre, ctx.to_pre)
        return of_pre, of_threshold, None, None


def _wide(pre: Tensor, threshold: Tensor) -> torch.dtype:
    return torch.promote_types(pre.dtype, threshold.dtype)


def _jump(pre: Tensor, threshold: Tensor, bandwidth: float, z: Tensor, window: Tensor, spare: Tensor) -> None:
    """Write the code, and 1 where a pre-activation is in the window, else 0: into `window`, and into spare numbers."""
    torch.sub(pre, threshold.unsqueeze(-2), out=spare)
    where_positive(pre, spare, out=z)
    window.copy_(spare.abs_().lt_(bandwidth / 2))


def _jump_gradients(
    gradient: Tensor, z: Tensor, window: Tensor, slope: Tensor, of_pre: Tensor, to_pre: bool = False
) -> Tensor:
    """Write the gradient of pre-activations, which may be where the code's is; give that of θ, with slope θ / ε."""
    of_threshold = torch.zeros_like(slope)
    blocks = in_blocks(gradient, z, window, of_pre, spare=[gradient.dtype])
    for some, some_z, some_window, some_of_pre, within in blocks:
        within.copy_(some_window).mul_(some)
        of_threshold.sub_(within.sum(dim=-2, dtype=slope.dtype))
        where_positive(some, some_z, out=some_of_pre)  # what passed is above θ, and so above zero
        if to_pre:
            some_of_pre.add_(within * slope.unsqueeze(-2))
    return slope * of_threshold


class JumpCode(BlockCode):
    """The code of a JumpReLU whose window reaches thresholds alone, and counts for a penalty on L0.

    Args:
        threshold: θ (…, latent).
        bandwidth: ε.
    """

    def __init__(self, threshold: Tensor, bandwidth: float) -> None:
        self.threshold = threshold
        self.bandwidth = bandwidth
        self.parameters = (threshold,)
        #: Active latents of all samples, (…), and samples of which a latent is in its window, (…, latent).
        self.active = threshold.new_zeros(threshold.shape[:-1], dtype=torch.float64)
        self.near = torch.zeros_like(threshold)

    def begin(self, z: Tensor) -> None:
        """Make room for a byte beside each entry, which says whether it is in the window."""
        super().begin(z)
        self.window = torch.empty_like(z, dtype=_MARK)

    def encode(self, pre: Tensor, codes: Sequence[Tensor], at: Any) -> None:
        """Write pre · 1[pre > θ], and count."""
        threshold, window, wide = self.threshold[at], self.window[columns(at)], _wide(pre, self.threshold)
        for some, z, some_window, spare in in_blocks(pre, codes[0], window, spare=[wide]):
            _jump(some, threshold, self.bandwidth, z, some_window, spare)
            self.near[at] += spare.sum(-2)
            self.active[at[:-1]] += torch.gt(z, 0, out=spare).sum()

    def backward(self, gradients: Sequence[Tensor], codes: Sequence[Tensor], at: Any) -> tuple[Tensor, ...]:
        """The gradient where the code is above zero, and that of θ from the window."""
        slope, window = self.threshold[at] / self.bandwidth, self.window[columns(at)]
        of_threshold = _jump_gradients(gradients[0], codes[0], window, slope, gradients[0])
        return gradients[0], of_threshold


class JumpReLU(KeepsPrecision, CodeActivation):
    """Code z = pre · 1[pre > θ], with a threshold θ for each latent, learned by straight-through gradients.

    θ stands in the units of pre-activations and is compared with them as they are; norms of decoder rows play no part
    in it, as in the work of Anthropic and in SAELens: there the *penalty* weighs by norm, see `losses.jumprelu`. It
    stays in float32 or wider, for the small steps that it takes vanish in half precision, and `advance` keeps it from
    falling below zero.

    Start and bandwidth must fit the size of pre-activations: next to no sample gives θ a gradient where the bandwidth
    is far below their spread. Pre-activations grow with the inputs, so that values go from one scaling of inputs to
    another by the ratio of the two. Where inputs of d dimensions have mean norm √d, published values are start 0.1
    and bandwidth 2 (Anthropic, January 2025, with the tanh penalty), or 1 and 1 (SynthSAEBench), or 0.01 and 0.05
    (SAELens). Where they have unit mean square, ‖x‖² = 1 on average, all numbers are smaller by √d: 0.001 and 0.001
    (the paper, dictionary_learning), for d of about 2,000.

    Args:
        latent_dim: Number of latents.
        instances: Number of independent copies, or None for a single one without the extra dimension.
        threshold: Start of θ, at least 0, or one for each instance. At 0 the code's own gradient does not move it.
        bandwidth: ε, the width of the window around θ within which pre-activations give it a gradient. Folding scales
            into thresholds does not change it.
        to_pre: Whether the window's gradient goes to pre-activations too, see `jump`.

    Raises:
        ConfigError: `threshold` is negative, or `bandwidth` not positive.
    """

    def __init__(
        self,
        latent_dim: int,
        instances: int | None = None,
        threshold: float | Sequence[float] = 0.1,
        bandwidth: float = 2.0,
        to_pre: bool = False,
    ) -> None:
        super().__init__()
        start = torch.tensor(threshold, dtype=torch.float64, device="cpu").unsqueeze(-1)
        if not bool((start >= 0).all()):
            raise ConfigError(f"the threshold of a JumpReLU must start at 0 or above, but it is {threshold}")
        if not bandwidth > 0:
            raise ConfigError(f"the bandwidth of a JumpReLU must be above 0, but it is {bandwidth}")
        self.start = start  # (1,), or (instances, 1)
        self.bandwidth = bandwidth
        self.to_pre = to_pre
        shape = (latent_dim,) if instances is None else (instances, latent_dim)
        self.threshold = nn.Parameter(torch.empty(shape, dtype=wide_dtype()).copy_(start))

    def forward(self, pre: Tensor, norms: Tensor | None = None) -> Tensor:
        """Codes (…, batch, latent); norms are not looked at."""
        return jump(pre, self.threshold, self.bandwidth, self.to_pre)

    def block_code(self) -> JumpCode | None:
        """The same of some latents at a time, unless the window's gradient goes to pre-activations."""
        if self.to_pre or type(self).forward is not JumpReLU.forward:
            return None
        return JumpCode(self.threshold, self.bandwidth)

    @property
    def latent_axes(self) -> dict[nn.Parameter, int]:
        """The threshold has one entry for each latent."""
        return {self.threshold: -1}

    @torch.no_grad()
    def reset_latents(self, which: Tensor) -> None:
        """Set the thresholds of the latents (…, latent) that are true to their start."""
        self.threshold.copy_(torch.where(which, self.start.to(self.threshold), self.threshold))

    @torch.no_grad()
    def scale_latents(self, factor: Tensor) -> None:
        """Multiply thresholds by a positive factor (…, latent), as their pre-activations are."""
        self.threshold.mul_(factor)

    @torch.no_grad()
    def advance(self, reduce: Reduce) -> None:
        """Raise thresholds that the optimizer has put below zero to zero; all processes hold the same."""
        self.threshold.clamp_(min=0)

    def measures(self) -> dict[str, Tensor]:
        """The mean threshold, in the units of pre-activations."""
        return {"threshold": self.threshold.detach().mean()}

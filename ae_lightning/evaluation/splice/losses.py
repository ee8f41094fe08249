"""Losses of a model on a batch: next-token cross entropy, classification, or a function of the user's."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ae_lightning.errors import ConfigError
from ae_lightning.harvesting.inputs import Inputs

Loss = Callable[[Any, Inputs], Any]
"""A function of what the model gives for a batch, and of the batch.

It answers losses (samples,) or of positions (samples, positions); or these and a boolean tensor of their shape that
says which count; or several of either by name.
"""


class Summed(NamedTuple):
    """Losses of a batch by sample, float64 on the CPU: their sums (samples,), and how many each is of (samples,)."""

    sums: Tensor
    counts: Tensor


def next_token(output: Any, inputs: Inputs) -> dict[str, tuple[Tensor, Tensor]]:
    """Cross entropy of each token given those before it, as causal language models are trained by.

    Args:
        output: Logits (samples, tokens, vocabulary), or an output that has `logits`.
        inputs: Token ids by the name `input_ids`, or as the only argument. `attention_mask` says which of them are no
            padding; without it those are that rows are kept of.

    Returns:
        `cross_entropy`: in nats (samples, tokens − 1); and which of them are of a token after another.

    Raises:
        ConfigError: The model has no such logits.
    """
    logits, tokens = logits_of(output), inputs.kwargs.get("input_ids", next(iter(inputs.args), None))
    if tokens is None or logits is None or logits.ndim != 3 or logits.shape[:2] != tokens.shape:
        raise ConfigError(
            "--loss next_token needs token ids, and logits (samples, tokens, vocabulary) of them, but the model gives "
            f"{_kind(output, logits)}; splice a causal language model, or name a loss with --loss MODULE:NAME"
        )
    # One sequence at a time: a second copy of all logits can be gigabytes.
    losses = [
        F.cross_entropy(of[:-1].float(), ids[1:], reduction="none") for of, ids in zip(logits, tokens, strict=True)
    ]
    mask = inputs.kwargs.get("attention_mask", inputs.kept)
    real = torch.ones_like(tokens, dtype=torch.bool) if mask is None else mask.to(tokens.device).bool()
    return {"cross_entropy": (torch.stack(losses), real[:, 1:] & real[:, :-1])}


def classification(output: Any, inputs: Inputs) -> dict[str, Tensor]:
    """Cross entropy of the right class, in nats, and accuracy, each (samples,).

    Args:
        output: Logits (samples, classes), or an output that has `logits`.
        inputs: What the network was given, with the classes `y` (samples,).

    Raises:
        ConfigError: The model has no such logits, or the data no class labels.
    """
    logits, y = logits_of(output), inputs.y
    if y is None:
        raise ConfigError(
            "--loss classification needs class labels, but the data have none; name data that have some with --data, "
            "or a loss with --loss MODULE:NAME"
        )
    if logits is None or logits.ndim != 2 or len(logits) != len(y) or int(y.max()) >= logits.shape[1]:
        raise ConfigError(
            f"--loss classification needs logits of {len(y):,} samples and {int(y.max()) + 1} classes or more, but the "
            f"model gives {_kind(output, logits)}; splice a classifier of these data, or name a loss with --loss "
            "MODULE:NAME"
        )
    y = y.to(logits.device)
    losses = F.cross_entropy(logits.float(), y, reduction="none")
    return {"cross_entropy": losses, "accuracy": (logits.argmax(1) == y).float()}


BUILT_IN: Mapping[str, Loss] = {"next_token": next_token, "classification": classification}
"""Losses that are known by a name of their own."""


def logits_of(output: Any) -> Tensor | None:
    """The logits of a model's output: its `logits`, its first entry, or itself; None where that is no tensor."""
    found = output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", output)
    found = found[0] if isinstance(found, tuple | list) and found else found
    return found if isinstance(found, Tensor) else None


def summed(found: Any, samples: int, name: str) -> dict[str, Summed]:
    """What a loss answers, summed within each sample.

    Args:
        found: The answer; see `Loss`.
        samples: How many samples the batch has.
        name: What the loss is called, for messages.

    Raises:
        ConfigError: It is none of what a loss may answer.
    """
    parts = found if isinstance(found, Mapping) else {"loss": found}
    if not parts:
        raise ConfigError(f"--loss {name} answers no losses; {_WANTED.format(samples=samples)}")
    return {str(key): _summed(part, samples, name) for key, part in parts.items()}


_WANTED = (
    "it should answer a tensor of one for each of the {samples} samples, or for each position of each, with a boolean "
    "tensor beside it where not all positions count"
)


def _summed(part: Any, samples: int, name: str) -> Summed:
    losses, counted = part if isinstance(part, tuple) and len(part) == 2 else (part, None)
    if not isinstance(losses, Tensor) or losses.ndim == 0 or len(losses) != samples:
        given = f"a tensor of shape {tuple(losses.shape)}" if isinstance(losses, Tensor) else type(losses).__name__
        raise ConfigError(f"--loss {name} answers {given}; {_WANTED.format(samples=samples)}")
    if counted is None:
        counted = torch.ones_like(losses, dtype=torch.bool)
    if not isinstance(counted, Tensor) or counted.dtype != torch.bool or counted.shape != losses.shape:
        raise ConfigError(
            f"--loss {name} answers losses of shape {tuple(losses.shape)} and something else beside them; "
            f"{_WANTED.format(samples=samples)}"
        )
    kept = losses.detach().masked_fill(~counted, 0.0)  # what does not count may be anything, NaN too
    return Summed(*(part.reshape(samples, -1).cpu().double().sum(1) for part in (kept, counted)))


def _kind(output: Any, logits: Tensor | None) -> str:
    return type(output).__name__ if logits is None else f"a tensor of shape {tuple(logits.shape)}"

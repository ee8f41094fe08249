"""A network's loss as it is, with a layer reconstructed by autoencoders, and with the layer ablated."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ae_lightning.data.in_memory import InMemoryDataset
from ae_lightning.evaluation.splice.losses import Loss, Summed, summed
from ae_lightning.evaluation.splice.meter import MEAN, ORIGINAL, SPLICED, ZERO, LossMeter
from ae_lightning.evaluation.splice.surgery import Change, Site, replaced
from ae_lightning.harvesting.capture import run_once
from ae_lightning.harvesting.inputs import Inputs
from ae_lightning.harvesting.named import own_code
from ae_lightning.models.base import Autoencoder
from ae_lightning.nn.precision import adding_device, like_weights

# Numbers in a code that is computed at a time: 64 MB in float32.
_MOST_CODES = 1 << 24


class Cut(NamedTuple):
    """Where a network is cut open: rows are read at one site, and what is made of them is put at another, or there."""

    read: Site
    write: Site


def splice_losses(
    network: nn.Module,
    cut: Cut,
    reconstructions: Sequence[Change],
    mean: Tensor,
    batches: Iterable[Inputs],
    loss: Loss,
    name: str = "loss",
) -> list[LossMeter]:
    """Run a network as it is, with the mean row or zeros where the cut writes, and with each reconstruction there.

    Positions of which `Inputs.kept` says that no rows are made stay as they are, in each of these.

    Args:
        network: The network, in evaluation mode, and on the device of the batches.
        cut: Where it is cut open.
        reconstructions: What is put there, each in passes of its own.
        mean: Mean row (width,) where the cut writes.
        batches: What the network is given.
        loss: What is measured.
        name: What the loss is called, for messages.

    Returns:
        What was measured with each reconstruction, beside the rest.

    Raises:
        ConfigError: The network does not take the batches, cannot be cut there, or has not what the loss needs; or the
            loss fails.
    """

    def losses(inputs: Inputs, site: Site, change: Change | None) -> dict[str, Summed]:
        if change is None:
            output = run_once(network, inputs)
        else:
            with replaced(network, site, cut.write, change, inputs.samples, inputs.kept):
                output = network(*inputs.args, **inputs.kwargs)
        with own_code(f"--loss {name}"):
            answered = loss(output, inputs)
        return summed(answered, inputs.samples, name)

    ablations: dict[str, Change] = {
        MEAN: lambda rows: mean.to(rows.device, rows.dtype).expand_as(rows),
        ZERO: torch.zeros_like,
    }
    meters = [LossMeter() for _ in reconstructions]
    with torch.inference_mode():
        for inputs in batches:
            shared = {ORIGINAL: losses(inputs, cut.write, None)}
            shared |= {way: losses(inputs, cut.write, change) for way, change in ablations.items()}
            for meter, change in zip(meters, reconstructions, strict=True):
                for way, found in {**shared, SPLICED: losses(inputs, cut.read, change)}.items():
                    meter.add(way, found)
    return meters


def reconstruction(model: Autoencoder, samples: InMemoryDataset) -> Change:
    """What an autoencoder makes of rows as a network has them.

    They are normalized as the samples that it was trained on were, and what is made of them is brought back: of a
    model with targets, by the targets' normalization.

    Args:
        model: A single one, no population.
        samples: Samples that were normalized for it.
    """
    at_once = max(1, _MOST_CODES // max(model.latent_size, model.input_size))

    def part(rows: Tensor) -> Tensor:
        x = _normalized(samples, rows).reshape(len(rows), *model.input_shape)
        return _restored(samples.targets, model(like_weights(model, x)).x_hat.flatten(1))

    def change(rows: Tensor) -> Tensor:
        return torch.cat([part(piece) for piece in rows.split(at_once)])

    return change


def _normalized(samples: InMemoryDataset, rows: Tensor) -> Tensor:
    """Rows (n, width) as a set gives samples of which they are stored: float32."""
    wide, scale, shift, center = _widened(samples, rows)
    return ((wide - center) * scale + shift).to(rows.device, torch.float32)


def _restored(samples: InMemoryDataset, rows: Tensor) -> Tensor:
    """Samples (n, width) as they are stored: the inverse of `_normalized`."""
    wide, scale, shift, center = _widened(samples, rows)
    return ((wide - shift) / scale + center).to(rows.device, torch.float32)


def _widened(samples: InMemoryDataset, rows: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Rows, and the scale, shift and center of samples, which are numbers or have the shape of one, in float64."""
    parts = rows, samples.scale, samples.shift, samples.center or 0.0
    device = adding_device(rows.device)
    wide, *others = (torch.as_tensor(part).to(device, torch.float64) for part in parts)
    scale, shift, center = (other.flatten() if other.ndim else other for other in others)
    return wide, scale, shift, center

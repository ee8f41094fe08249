"""A run's autoencoder put into the network whose activations it was trained on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ae_lightning.data.activations import ActivationsDataModule
from ae_lightning.data.base import AutoencoderDataModule
from ae_lightning.errors import ConfigError
from ae_lightning.evaluation.splice.choice import chosen, evenly_spaced
from ae_lightning.evaluation.splice.losses import BUILT_IN, Loss
from ae_lightning.evaluation.splice.measure import Cut, reconstruction, splice_losses
from ae_lightning.evaluation.splice.meter import mean_over
from ae_lightning.evaluation.splice.surgery import Site
from ae_lightning.files import finite
from ae_lightning.harvesting.capture import nearest_layer
from ae_lightning.harvesting.identity import weights_hash
from ae_lightning.harvesting.inputs import DataModuleInputs, Inputs, Source
from ae_lightning.harvesting.named import import_named, nearest
from ae_lightning.harvesting.shown import Data, source_for, source_of
from ae_lightning.harvesting.sources import LoadedModel, load_model
from ae_lightning.harvesting.text import CONTEXT
from ae_lightning.models.base import Autoencoder

SAMPLES = 1000
"""Samples that a network is run on where nothing else is said."""

BATCH_SIZE = 16
"""Samples that it is given at a time."""

Batches = Generator[Inputs, None, None]

# Batches that are read together where only some of their samples are wanted.
_MOST_READ = 8


class Splice:
    """The network that an autoencoder is put into, and what it is run on; checked before anything is computed.

    Args:
        data: The data that the autoencoder was trained on: activations from a store.
        network: The network whose activations they are, or its name as `load_model` takes it. A module is put into
            float32, into evaluation mode and on the device, and stays so.
        shown: What it is run on: a data module, of which the test samples are taken, its settings, or batches. By
            default it is what the store was made of: those samples that `data` holds out for testing.
        text: Text files in its place, cut into sequences as those of the store.
        loss: A function, or its name as MODULE:NAME, or one of `BUILT_IN`; by default next_token for texts, and
            classification for all else.
        samples: Most samples (sequences, images) that the network is run on: evenly spaced ones where there are more,
            but the first ones of text files and of batches.
        batch_size: Samples that the network is given at a time.
        device: Where all is computed.
        watch: What the batches pass through as the network is run on them, such as a progress bar.

    Raises:
        ConfigError: The data are no activations, or of several layers; the network is another than theirs; or there is
            no such loss.
        DataError: What the network is to be run on is missing or damaged.
    """

    def __init__(
        self,
        data: AutoencoderDataModule,
        network: str | Path | nn.Module,
        shown: Data | None = None,
        text: Sequence[str | Path] = (),
        loss: str | Loss | None = None,
        samples: int = SAMPLES,
        batch_size: int = BATCH_SIZE,
        device: torch.device | str = "cpu",
        watch: Callable[[Batches], Batches] = lambda batches: batches,
    ) -> None:
        for option, number in (("--samples", samples), ("--batch-size", batch_size)):
            if number < 1:
                raise ConfigError(f"{option} is {number}; it must be at least 1")
        self.data = _of_one_layer(data)
        loaded = load_model(network, "--splice")
        _require_same(loaded, self.data)
        self.cut = _cut(loaded, self.data)
        self.is_held_out = shown is None and not text
        self.source = self._source(loaded, shown, text, batch_size)
        told = self.source.about()
        self.loss_name, self.loss = _loss(loss, is_text=told["kind"] == "text")
        self.samples, self.batch_size = samples, batch_size
        self.watch = watch
        self.network, self.device = loaded.module.float().to(device), torch.device(device)
        self.about = {"network": loaded.name, "class": type(loaded.module).__name__, "data": told["title"]}

    def __call__(self, model: Autoencoder) -> dict[str, Any]:
        """Measure the network with an autoencoder's reconstruction in it.

        Args:
            model: The autoencoder, which is moved to the device.

        Returns:
            `network`, `class`: what it was put into. `read`, `replaced`: of which layer, and which side, rows were read
            and replaced. `data`: what it was run on, `held_out`: whether these are samples that no row of training is
            of, `samples`: how many. `loss`: its name. `measures`: for each number that the loss answers, what
            `LossMeter.compute` says, with instances the means over them; and `instances`: the same of each.

        Raises:
            ConfigError: The network has no such rows, or not what the loss needs.
        """
        model.to(self.device)
        singles = [model] if model.instances is None else [model.instance(i) for i in range(model.instances)]
        self.data.setup("test")
        changes = [reconstruction(single.eval(), self.data.test_set) for single in singles]
        mean = self.data.index.statistics(self.data.target_layer or self.data.layers[0]).mean.float()
        with contextlib.closing(self.watch(self._batches())) as batches:  # what watches ends with a mistake, too
            meters = splice_losses(self.network, self.cut, changes, mean, batches, self.loss, self.loss_name)
        results = {
            **self.about,
            "read": str(self.cut.read),
            "replaced": str(self.cut.write),
            "held_out": self.is_held_out,
            "samples": meters[0].samples,
            "loss": self.loss_name,
            "measures": mean_over(meters).compute(),
        }
        if model.instances is not None:
            results["instances"] = [meter.compute() for meter in meters]
        return finite(results)

    def _source(self, loaded: LoadedModel, shown: Data | None, text: Sequence[str | Path], batch_size: int) -> Source:
        if not self.is_held_out:
            context = self.data.index.data.get("context", CONTEXT)
            return source_for(loaded, shown, text, batch_size, context, split="test")
        part = len(self._held_out) / self.data.index.samples
        return source_of(self.data.index, loaded, batch_size * min(_MOST_READ, round(1 / part)))

    @property
    def _held_out(self) -> Tensor:
        return self.data.samples_of("test")

    def _batches(self) -> Batches:
        numbers = self._held_out if self.is_held_out else None
        if isinstance(self.source, DataModuleInputs) and numbers is None:
            numbers = torch.arange(len(self.source.samples))
        numbers = None if numbers is None else evenly_spaced(numbers, self.samples)
        for inputs in chosen(self.source, numbers, self.samples, self.batch_size):
            yield inputs.to(self.device)


def _of_one_layer(data: AutoencoderDataModule) -> ActivationsDataModule:
    if not isinstance(data, ActivationsDataModule):
        raise ConfigError(
            f"--splice needs a run on activations of a network, with --data ActivationsDataModule, but this one is on "
            f"{type(data).__name__}"
        )
    if len(data.layers) > 1:
        raise ConfigError(
            f"--splice replaces one layer, but this run reconstructs {len(data.layers)} at once: "
            f"{', '.join(data.layers)}"
        )
    return data


def _require_same(loaded: LoadedModel, data: ActivationsDataModule) -> None:
    """Raise ConfigError unless a network has the weights of which the activations are."""
    said = data.index.model
    found, expected = weights_hash(loaded.module), str(said.get("weights_sha256"))
    if found != expected:
        raise ConfigError(
            f"--splice {loaded.name} has weights {found[:12]}…, but {data.root} was harvested from {said.get('name')} "
            f"with weights {expected[:12]}…; name the network as it was then"
        )


def _cut(loaded: LoadedModel, data: ActivationsDataModule) -> Cut:
    known = dict(loaded.module.named_modules())
    read, write = (_site(data, name, known) for name in (data.layers[0], data.target_layer or data.layers[0]))
    return Cut(read, write)


def _site(data: ActivationsDataModule, name: str, known: Iterable[str]) -> Site:
    said = data.index.arrays[name]
    if (layer := str(said["layer"])) not in known:
        raise ConfigError(
            f"--splice: the network has no layer {layer}, of which {data.root} is{nearest_layer(layer, list(known))}"
        )
    return Site(layer, str(said["side"]), data.index.width(name))


def _loss(loss: str | Loss | None, is_text: bool) -> tuple[str, Loss]:
    """The name of a loss, and the loss."""
    if callable(loss):
        return getattr(loss, "__name__", type(loss).__name__), loss
    name = loss or ("next_token" if is_text else "classification")
    if name in BUILT_IN:
        return name, BUILT_IN[name]
    if ":" not in name:
        raise ConfigError(
            f"--loss {name}: there is no such loss; it can be {', '.join(BUILT_IN)}, or a function of yours as "
            f"MODULE:NAME{nearest(name, BUILT_IN)}"
        )
    found = import_named(name, "--loss")
    if not callable(found):
        raise ConfigError(f"--loss {name} is a {type(found).__name__}, and not a function of an output and a batch")
    return name, found

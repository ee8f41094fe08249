"""What the page is told of a run: numbers in a manifest, arrays in blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ae_lightning.analysis.importance import order
from ae_lightning.explorer.blocks import Blocks
from ae_lightning.explorer.chain import CHECKED, check_network, flat_samples, network_of
from ae_lightning.explorer.code import Elementwise
from ae_lightning.explorer.history import Moment, final_moment, history, moments_with
from ae_lightning.explorer.latent_map import latent_maps
from ae_lightning.explorer.network import DenseLayer
from ae_lightning.explorer.removal import Removal, removal
from ae_lightning.explorer.samples import (
    FileSamples,
    class_names,
    classes_of_test_set,
    drawn_range,
    file_samples,
    flat_batches,
    layout,
    lit_pixels,
)
from ae_lightning.explorer.statistics import UnitStatistics, importances, top_samples, unit_statistics
from ae_lightning.models.checkpoint import load_autoencoder, read_checkpoint
from ae_lightning.run.history import loss_history
from ae_lightning.run.run import Run
from ae_lightning.version import __version__

FORMAT = "ae_lightning.explorer"
SCHEMA = 1
EVALUATED = 10_000
"""How many test samples are behind the numbers on units at most."""

MOST_SAMPLES = 65_535
"""How many samples a file can hold: their numbers have 16 bits, and one number stands for none."""

# Samples over which rounding is looked at, whatever number of them the file holds.
_CALIBRATION = 2000
# Numbers in the samples that statistics are of: 128 MB.
_MOST_NUMBERS = 1 << 25
_POINTS = 300
_LARGEST_CLASS_TABLE = 1 << 22
Manifest = dict[str, Any]


@dataclass(frozen=True)
class Choice:
    """What goes into a file.

    Args:
        snapshots: Moments of the training at most, the checkpoint among them.
        samples: Test samples at most.
        instance: Which instance of a model that has several.

    Raises:
        ValueError: There are to be no snapshots, no samples, or more samples than 16 bits can number.
    """

    snapshots: int = 10
    samples: int = 2000
    instance: int = 0

    def __post_init__(self) -> None:
        if self.snapshots < 1 or not 1 <= self.samples <= MOST_SAMPLES:
            raise ValueError(f"a file has at least one snapshot and from 1 to {MOST_SAMPLES:,} samples, not {self}")


class Content:
    """Manifest and blocks of a run; made when it is built.

    Args:
        run: The run; its data are set up here.
        checkpoint: Which weights are the final ones.
        choice: What goes into the file.
        note: Called with a sentence for each snapshot that is left out.

    Raises:
        ConfigError: The model is no chain of dense layers, has weights that are not finite, or not such an instance.
    """

    def __init__(self, run: Run, checkpoint: Path, choice: Choice, note: Callable[[str], None]) -> None:
        self.run = run
        self.choice = choice
        self.model = load_autoencoder(checkpoint).float()  # the format that the page computes in
        self.network = network_of(self.model, choice.instance)
        self.data = run.data
        self.data.setup()
        check_network(self.network, self.model, self.data.test_set.take(CHECKED)[0], choice.instance)
        self.blocks = Blocks()
        classes = classes_of_test_set(self.data)
        self._classes = None if classes is None else class_names(self.data, classes)
        self.samples = file_samples(self.model, self.data, choice.samples, choice.instance)
        self._x = self.samples.x
        self._final_step = int(read_checkpoint(checkpoint).get("global_step", 0))
        self.manifest = self._manifest(note)

    def _manifest(self, note: Callable[[str], None]) -> Manifest:
        about = self._about()
        units = self._units()
        snapshots = self._snapshots(units.pop("final_importance"), note)
        return about | {
            "snapshots": snapshots,
            "final": [snapshot["step"] for snapshot in snapshots].index(self._final_step),
            **units,
            "curves": curves(self.run.metrics),
            "maps": self._maps(),
            "blocks": self.blocks.described,
        }

    def _about(self) -> Manifest:
        low, high = drawn_range(self.data, self._x)
        lit = lit_pixels(self.model, self.data, self.choice.instance)
        return {
            "format": FORMAT,
            "schema": SCHEMA,
            "version": __version__,
            "title": f"{self.run.title}{self._which()}",
            "variant": type(self.model).__name__,
            "data": self.data.description,
            "instance": None if self.model.instances is None else self.choice.instance,
            "instances": self.model.instances,
            "input": layout(self.model.input_shape) | {"low": low, "high": high, "lit": self.blocks.add("lit", lit)},
            "samples": self._samples(self.samples),
            "layers": [
                {
                    "name": layer.name,
                    "units": layer.weight.shape[1],
                    "activation": layer.activation.name,
                    "threshold": layer.activation.threshold if isinstance(layer.activation, Elementwise) else None,
                }
                for layer in self.network.layers
            ],
            "code": self.network.code,
        }

    def _which(self) -> str:
        """Which instance it is, for the title."""
        count = self.model.instances
        return "" if count is None else f", instance {self.choice.instance} (0 to {count - 1})"

    def _samples(self, samples: FileSamples) -> Manifest:
        labels = samples.labels
        return {
            "count": len(samples.stored),
            "of": len(self.data.test_set),
            "values": self.blocks.add("samples", samples.stored),
            "scale": samples.scale,
            "shift": samples.shift,
            "labels": None if labels is None else self.blocks.add("labels", labels),
            "classes": self._classes,
        }

    def _snapshots(self, final_importance: list[torch.Tensor], note: Callable[[str], None]) -> list[Manifest]:
        count = min(_CALIBRATION, max(1, _MOST_NUMBERS // self.model.input_size))
        x = torch.cat([x for x, _ in self._batches(count)])
        final = final_moment(self.network, x, self._final_step, self.model.images_seen, final_importance)
        steps = moments_with(list(self.run.snapshots), self._final_step, self.choice.snapshots)
        earlier = [step for step in steps if step != self._final_step]
        found = history(self.run, self.model, self.choice.instance, earlier, final, x, note)
        snapshots = [self._snapshot(moment) for moment in chain([final], found)]
        return sorted(snapshots, key=lambda snapshot: snapshot["step"])

    def _snapshot(self, moment: Moment) -> Manifest:
        layers, rounded = [], moment.rounded
        for place, (weight, layer) in enumerate(zip(rounded.weights, rounded.network.layers, strict=True)):
            name = f"{moment.step}.{place}"
            scale = None if weight.scale is None else self.blocks.add(f"{name}.scale", weight.scale)
            layers.append(
                {
                    "weight": self.blocks.add(f"{name}.weight", weight.stored),
                    "scale": scale,
                    "relative": weight.is_relative,
                    "bias": self.blocks.add(f"{name}.bias", layer.bias.numpy()),
                    "parameters": self._parameters(name, layer),
                }
            )
        importance = [
            self.blocks.add(f"{moment.step}.{place}.importance", values.numpy().astype(np.float32))
            for place, values in enumerate(moment.importance)
        ]
        return {"step": moment.step, "samples_seen": moment.samples_seen, "layers": layers, "importance": importance}

    def _parameters(self, name: str, layer: DenseLayer) -> Manifest:
        """What the layer's activation depends on now: numbers, and names of blocks with a number for each unit."""
        return {
            key: self.blocks.add(f"{name}.{key}", value.expand(layer.bias.shape).numpy())
            if isinstance(value, torch.Tensor)
            else value
            for key, value in layer.activation.parameters.items()
        }

    def _units(self) -> Manifest:
        """Numbers on the units of each hidden layer, and the importance of each, float32 (units,)."""
        count = min(EVALUATED, max(1, _MOST_NUMBERS // self.model.input_size))
        batches = partial(self._batches, count)
        classes = None if self._classes is None else len(self._classes)
        statistics = unit_statistics(self.network, batches, classes)
        importance = importances(self.network, [part.magnitude for part in statistics])
        x = flat_samples(self.model, self.data.test_set.take(count)[0], self.choice.instance)
        losses = [removal(self.network, number, x, order(values)) for number, values in enumerate(importance)]
        units = [
            _unit_arrays(*parts) for parts in zip(statistics, importance, (loss.causal for loss in losses), strict=True)
        ]
        for arrays, layer, values in zip(units, self.network.hidden, self.network.outputs(self._x), strict=False):
            arrays["top"], arrays["top_activation"] = top_samples(values, layer.activation.is_rectified)
        return {
            "final_importance": importance,
            "units": [self._add_all(f"units.{number}", arrays) for number, arrays in enumerate(units)],
            "causal_samples": [loss.causal_samples for loss in losses],
            "evaluated": len(x),
            "removal": [_removal(loss) for loss in losses],
        }

    def _add_all(self, name: str, arrays: Mapping[str, Any]) -> dict[str, str | None]:
        """Names of the blocks of these arrays, None of those that there are not."""
        return {
            key: None if array is None else self.blocks.add(f"{name}.{key}", array) for key, array in arrays.items()
        }

    def _batches(self, count: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """The first so many test samples, flat, and their labels."""
        return flat_batches(self.model, self.data.test_set, self.data.eval_batch_size, count, self.choice.instance)

    def _maps(self) -> list[Manifest]:
        codes = self.network.outputs(self._x)[self.network.code].numpy()
        maps = []
        for number, found in enumerate(latent_maps(codes)):
            arrays = {"xy": found.xy, "mean": found.mean, "axes": found.axes}
            maps.append({"name": found.name, **self._add_all(f"map.{number}", arrays), "note": found.note})
        return maps


def curves(metrics: Mapping[str, np.ndarray]) -> list[Manifest]:
    """Losses and probes in the course of the training, at 300 steps each at most.

    Args:
        metrics: The table of a run, `Run.metrics`.
    """
    there = {name: ~np.isnan(values) for name, values in metrics.items()}
    probes = {
        name: (metrics["step"][there[name]], values[there[name]])
        for name, values in metrics.items()
        if name.startswith("probe") and not name.endswith(("_se", "/fitted_on"))
    }
    found = []
    for group, series in (("loss", loss_history(metrics)), ("probe", probes)):
        for name, (steps, values) in series.items():
            steps, values = steps[np.isfinite(values)], values[np.isfinite(values)]
            if len(steps):
                places = np.linspace(0, len(steps) - 1, min(_POINTS, len(steps))).round().astype(int)
                points = {"steps": steps[places].astype(int).tolist(), "values": values[places].tolist()}
                found.append({"name": name, "group": group, **points})
    return found


def _removal(loss: Removal) -> Manifest:
    # Digits beyond those of float32 depend on how many threads have added up.
    errors = [float(f"{error:.8g}") for error in loss.errors]
    return {"counts": loss.counts, "errors": errors, "samples": loss.samples}


def _unit_arrays(part: UnitStatistics, importance: torch.Tensor, causal: Any) -> dict[str, Any]:
    """The arrays of a hidden layer in the types that the file has for them."""
    class_mean = part.class_mean
    if class_mean is not None and class_mean.size > _LARGEST_CLASS_TABLE:
        class_mean = None  # thousands of classes would take more room than the weights
    floats = {
        "importance": importance.numpy(),
        "causal": causal,
        "mean": part.mean,
        "density": part.density,
        "low": part.low,
        "high": part.high,
        "class_mean": class_mean,
    }
    arrays: dict[str, Any] = {n: None if a is None else a.astype(np.float32) for n, a in floats.items()}
    return arrays | {"histogram": part.histogram.astype(np.uint16)}

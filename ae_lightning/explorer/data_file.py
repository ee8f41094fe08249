"""What the page knows as one JSON file, for pages of others.

Its format is `ae_lightning.data`, its schema 1; a change that an earlier reader would misunderstand raises the latter.
Every number is finite; null stands where there is none. Arrays are nested lists, with six significant digits; those of
`parameters` have nine, which tell float32 numbers exactly:

    format, schema         ae_lightning.data and 1
    version                that of this package
    title, variant, data   run, class of the model, and description of the data
    instance, instances    which of a population, and of how many; null of a model without instances
    input                  shape of a sample; planes, height and width as it is drawn; low and high, drawn black and
                           white; lit: 1 where any training sample differs from the others, (input,)
    samples                the first `count` test samples `of` so many: x = values · scale + shift, (count, input);
                           labels (count,) with the names in classes, or null
    layers                 one after the other: name, units, activation, threshold (of shrinking activations). Beside
                           functions of each sum alone there are, for a code: topk, the k largest sums; threshold, sums
                           as they are above a threshold; gated, sums that pass a gate, scaled and shifted
    code                   which of the layers gives the code
    snapshots              moments by step: step, samples_seen; layers: weight (inputs, outputs) and bias (outputs,),
                           so that a layer gives activation(x · weight + bias), and the activation's parameters at this
                           moment (see below); importance of each hidden layer's units, (units,). Scaling of the input
                           and norms of a decoder are in weights, biases and parameters already
    final                  which of the snapshots is the checkpoint that all below is about
    units                  of each hidden layer, an entry for each unit: importance, causal (by how much the squared
                           error per pixel grows without it), mean, density (fraction of samples on which it is not
                           zero), low, high, histogram (24 bins from low to high), class_mean (units, classes);
                           top: numbers of the samples that excite it most, top_activation (units, 16)
    evaluated              over how many test samples these are, but
    causal_samples         over how many `causal` is, of each hidden layer
    removal                of each hidden layer: squared errors without the `counts` most important units
    curves                 losses and probes: name, group, steps, values
    maps                   the code of the samples in the plane: name, note, xy (count, 2); mean and axes where they
                           are a projection

Parameters of an activation of sums s: {} of a function of each sum alone, and else

    topk        k, groups      relu(s) of the k largest of a sample, 0 of the others; with groups (true or false) of the
                               largest of each of k groups of units that lie beside each other
    threshold   threshold      s where s > threshold and s > 0, else 0: one number for all units, or (units,)
    gated       gate_bias, factor, magnitude_bias, (units,) each
                               relu(s · factor + magnitude_bias) where s + gate_bias > 0, else 0
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ae_lightning.explorer.chain import network_of
from ae_lightning.explorer.manifest import Content
from ae_lightning.explorer.network import DenseLayer, Network
from ae_lightning.explorer.statistics import NONE
from ae_lightning.files import as_json, replacing

FORMAT = "ae_lightning.data"
SCHEMA = 1

_OWN = ("format", "schema", "blocks", "snapshots")
# Names under which the manifest says where an array is.
_ARRAYS = {
    *("lit", "values", "labels", "importance", "causal", "mean", "density", "low", "high", "histogram", "class_mean"),
    *("top", "top_activation", "xy", "axes"),
}
Array = np.ndarray[Any, Any]
Pieces = Iterator[str]


def write_data(content: Content, path: Path) -> None:
    """Write the file in one piece, a snapshot at a time; its weights are those of the run, not the page's rounded ones.

    Args:
        content: What the page is told.
        path: The file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.writelines(_file(content))


def _file(content: Content) -> Pieces:
    manifest = content.manifest
    arrays = _Arrays(content)
    yield from _mapping(
        {
            "format": _plain(FORMAT),
            "schema": _plain(SCHEMA),
            **{name: arrays.within(part) for name, part in manifest.items() if name not in _OWN},
            "snapshots": _list(_snapshot(content, arrays, entry) for entry in manifest["snapshots"]),
        }
    )
    yield "\n"


def _snapshot(content: Content, arrays: _Arrays, entry: Mapping[str, Any]) -> Pieces:
    network = _network_at(content, entry["step"])
    return _mapping(
        {
            "step": _plain(entry["step"]),
            "samples_seen": _plain(entry["samples_seen"]),
            "layers": _list(_layer(layer) for layer in network.layers),
            "importance": arrays.within(entry["importance"], "importance"),
        }
    )


def _layer(layer: DenseLayer) -> Pieces:
    parameters = {
        name: _exactly(value.numpy()) if isinstance(value, torch.Tensor) else _plain(value)
        for name, value in layer.activation.parameters.items()
    }
    weight, bias = _numbers(layer.weight.numpy()), _numbers(layer.bias.numpy())
    return _mapping({"weight": weight, "bias": bias, "parameters": _mapping(parameters)})


def _network_at(content: Content, step: int) -> Network:
    """The network of the checkpoint, or of a snapshot that the page has, which can be read therefore."""
    if step == content.manifest["snapshots"][content.manifest["final"]]["step"]:
        return content.network
    then = copy.deepcopy(content.model)
    then.restore(content.run.snapshots[step])
    return network_of(then, content.choice.instance)


class _Arrays:
    """Parts of the manifest with the arrays that they name in place of the names."""

    def __init__(self, content: Content) -> None:
        self._blocks = content.blocks

    def within(self, part: Any, key: str = "") -> Pieces:
        """The text of a part; `key` is the name that it has."""
        if isinstance(part, str) and key in _ARRAYS:
            array = self._blocks.array(part)
            return _numbers(np.where(array == NONE, np.nan, array) if key == "top" else array)
        if isinstance(part, Mapping):
            return _mapping({name: self.within(value, name) for name, value in part.items()})
        if isinstance(part, list) and (key in _ARRAYS or any(isinstance(value, Mapping) for value in part)):
            return _list(self.within(value, key) for value in part)
        return _plain(part)


# --- JSON in pieces: as a whole, in Python's numbers, it would take twenty times the memory of the arrays -------------


def _mapping(parts: Mapping[str, Pieces]) -> Pieces:
    for number, (name, value) in enumerate(parts.items()):
        yield f"{',' if number else '{'}{as_json(name)}:"
        yield from value
    yield "}" if parts else "{}"


def _list(parts: Iterable[Pieces]) -> Pieces:
    yield "["
    for number, value in enumerate(parts):
        yield "," if number else ""
        yield from value
    yield "]"


def _plain(value: Any) -> Pieces:
    yield as_json(value)


def _numbers(array: Array) -> Pieces:
    """An array as nested lists, the numbers of a row in one piece."""
    if array.ndim > 1:
        return _list(map(_numbers, array))
    if array.dtype.kind == "f":
        texts = map("%.6g".__mod__, array.tolist()) if np.isfinite(array).all() else map(_number, array.tolist())
    else:
        texts = map(str, array.tolist())
    return iter([f"[{','.join(texts)}]"])


def _exactly(array: Array) -> Pieces:
    """A number, or a list of them, in as many digits as tell float32 numbers apart."""
    texts = [f"{value:.9g}" if math.isfinite(value) else "null" for value in array.reshape(-1).tolist()]
    return iter([texts[0] if array.ndim == 0 else f"[{','.join(texts)}]"])


def _number(value: float) -> str:
    return f"{value:.6g}" if math.isfinite(value) else "null"

"""A world's folder, in the layout of SAELens: settings, tensors and trees.

`synthetic_model_config.json` has SAELens' settings, `synthetic_model.safetensors` its tensors and some of ours that it
leaves alone, and `hierarchy.json` the trees as nested nodes. What SAELens draws anew from settings, this does alike.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ae_lightning.data.worlds.magnitudes import Magnitude
from ae_lightning.data.worlds.trees import Forest
from ae_lightning.errors import DataError, Notice
from ae_lightning.files import as_json, write_text
from ae_lightning.safetensors_writer import write_tensors

SETTINGS, TENSORS, TREES = "synthetic_model_config.json", "synthetic_model.safetensors", "hierarchy.json"


@dataclass(frozen=True)
class Parts:
    """What a world is made of; `World` says what each is."""

    directions: Tensor
    chances: Tensor
    magnitude_means: Tensor
    magnitude_stds: Tensor
    magnitude: Magnitude = "normal"
    offset: Tensor | None = None
    noise: float = 0.0
    correlation_factor: Tensor | None = None
    correlation_diag: Tensor | None = None
    parents: Tensor = None  # type: ignore[assignment]
    exclusive: Tensor = None  # type: ignore[assignment]
    scale_by_parent: bool = False
    settings: dict[str, Any] = field(default_factory=dict)


def write_parts(parts: Parts, folder: Path) -> None:
    """Write a world's folder; the settings come last, so that a folder with them is whole.

    Raises:
        OSError: A file cannot be written.
    """
    features, dim = parts.directions.shape
    tensors = {
        "feature_vectors": parts.directions,
        "bias": torch.zeros(dim) if parts.offset is None else parts.offset,
        "firing_probabilities": parts.chances.float(),
        "magnitude_means": parts.magnitude_means,
        "magnitude_stds": parts.magnitude_stds,
        "magnitude_law": torch.tensor(get_args(Magnitude).index(parts.magnitude)),
        "noise": torch.tensor(parts.noise, dtype=torch.float64),
    }
    if parts.correlation_factor is not None and parts.correlation_diag is not None:
        tensors |= {"correlation_factor": parts.correlation_factor, "correlation_diag": parts.correlation_diag}
    settings = {
        "num_features": features,
        "hidden_dim": dim,
        "firing_probability": {"generator_name": "constant", "probability": float(parts.chances.mean())},
        "hierarchy": None,
        "orthogonalization": None,
        "correlation": None,
        "std_firing_magnitudes": _law(parts.magnitude_stds),
        "mean_firing_magnitudes": _law(parts.magnitude_means),
        "bias": False if parts.offset is None else float(parts.offset.norm()),
        "dtype": "float32",
        "seed": None,
        **parts.settings,
    }
    _tell_what_is_lost(parts, settings)
    write_tensors(folder / TENSORS, tensors)
    write_text(folder / TREES, as_json({"roots": _nodes(parts)}))
    write_text(folder / SETTINGS, as_json(settings, indent=2))


def read_parts(folder: Path) -> Parts:
    """Read a world's folder that `write_parts` or SAELens wrote.

    Raises:
        DataError: A file is missing, damaged, or says something that is not possible.
    """
    settings = _read_json(folder / SETTINGS)
    tensors = _read_tensors(folder / TENSORS)
    trees = _read_json(folder / TREES) if (folder / TREES).is_file() else {"roots": []}
    try:
        directions = tensors["feature_vectors"].float()
        features, dim = directions.shape
        chances = _sized(tensors["firing_probabilities"].float(), features)
        offset = _sized(tensors["bias"].float(), dim)
        parents, exclusive, scaled = _read_trees(trees["roots"], features)
        means, stds = (
            _sized(tensors.get(ours, _values(settings[theirs], features, settings.get("seed"), seed)), features).float()
            for ours, theirs, seed in (
                ("magnitude_means", "mean_firing_magnitudes", 2),
                ("magnitude_stds", "std_firing_magnitudes", 1),
            )
        )
        return Parts(
            directions=directions / directions.norm(dim=1, keepdim=True),
            chances=chances,
            magnitude_means=means,
            magnitude_stds=stds,
            magnitude=get_args(Magnitude)[int(tensors.get("magnitude_law", torch.tensor(0)))],
            offset=offset if bool(offset.any()) else None,
            noise=float(tensors.get("noise", torch.tensor(0.0))),
            correlation_factor=tensors.get("correlation_factor"),
            correlation_diag=tensors.get("correlation_diag"),
            parents=parents,
            exclusive=exclusive,
            scale_by_parent=scaled,
            settings=settings,
        )
    except (KeyError, IndexError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise DataError(f"{folder} is no saved world that can be read: {_reason(error)}.") from error


def _reason(error: Exception) -> str:
    return f"it has no {error.args[0]}" if isinstance(error, KeyError) else str(error).splitlines()[0]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = (error.strerror or "for an unknown reason").lower()
        raise DataError(f"The saved world's {path} cannot be read ({reason}).") from error
    except ValueError as error:
        raise DataError(f"The saved world's {path} is cut short or damaged; save the world again.") from error
    if not isinstance(found, dict):
        raise DataError(f"The saved world's {path} is no list of settings; save the world again.")
    return found


def _read_tensors(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise DataError(f"The saved world has no {path}; save the world again.")
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise DataError(f"The saved world's {path} is cut short or damaged; save the world again.") from error


def _sized(tensor: Tensor, size: int) -> Tensor:
    if tensor.shape != (size,):
        raise ValueError(f"it has {tuple(tensor.shape)} numbers where there should be {size}")
    return tensor


def _law(values: Tensor) -> float | dict[str, Any]:
    """A setting of SAELens that gives these values, or their mean where there is none."""
    first, last = float(values[0]), float(values[-1])
    if torch.equal(values, torch.full_like(values, first)):
        return first
    if first > 0 and last > 0 and torch.equal(values, torch.linspace(first, last, len(values))):
        return {"generator_name": "linear", "start": first, "end": last}
    return float(values.mean())


def _values(setting: Any, features: int, seed: int | None, offset: int) -> Tensor:
    """What SAELens makes of a setting of magnitudes."""
    if not isinstance(setting, dict):
        return torch.full((features,), float(setting))
    law = setting["generator_name"]
    if law == "constant":
        return torch.full((features,), float(setting["value"]))
    if law == "linear":
        return torch.linspace(setting["start"], setting["end"], features)
    if law == "exponential":
        return setting["start"] * (setting["end"] / setting["start"]) ** torch.linspace(0, 1, features)
    if law == "folded_normal" and seed is not None:
        drawn = torch.randn(features, generator=torch.Generator().manual_seed(seed + offset))
        folded = (setting["mean"] + drawn * setting["std"]).abs()
        low, high = setting.get("min_value"), setting.get("max_value")
        return folded if low is None and high is None else folded.clamp(low, high)
    raise ValueError(f"its magnitudes follow the law {law!r}, which cannot be drawn again")


def _tell_what_is_lost(parts: Parts, settings: dict[str, Any]) -> None:
    """Say what SAELens will not find in the files."""
    lost = []
    if parts.magnitude != "normal":
        lost.append(f"{parts.magnitude} magnitudes")
    else:
        seed, features = settings["seed"], len(parts.directions)
        for name, values, offset in (("mean", parts.magnitude_means, 2), ("std", parts.magnitude_stds, 1)):
            if not torch.equal(_values(settings[f"{name}_firing_magnitudes"], features, seed, offset), values):
                lost.append(f"a magnitude_{name} for each feature")
    if parts.noise:
        lost.append("noise")
    if parts.correlation_factor is not None and "firing_probability" not in parts.settings:
        # It takes the thresholds of coupled features from its settings, and not from the saved probabilities.
        lost.append("probabilities of coupled features")
    if lost:
        said = f"SAELens has no words for {' and '.join(lost)}, and would draw other samples from this saved world"
        warnings.warn(said, Notice, stacklevel=4)


def _nodes(parts: Parts) -> list[dict[str, Any]]:
    """Trees as nested nodes, without features that have neither parent nor child."""
    counts = torch.bincount(parts.parents[parts.parents >= 0], minlength=len(parts.parents))
    nodes: dict[int, dict[str, Any]] = {
        feature: {
            "feature_index": feature,
            "mutually_exclusive_children": bool(parts.exclusive[feature]) and int(counts[feature]) > 1,
            "scale_children_by_parent": parts.scale_by_parent and int(counts[feature]) > 0,
            "feature_id": None,
            "children": [],
        }
        for feature in Forest(parts.parents).members.tolist()
    }
    for feature, node in nodes.items():
        if (parent := int(parts.parents[feature])) >= 0:
            nodes[parent]["children"].append(node)
    return [node for feature, node in nodes.items() if int(parts.parents[feature]) < 0]


def _read_trees(roots: list[Any], features: int) -> tuple[Tensor, Tensor, bool]:
    """Parents (features,), whose children exclude each other (features,), and whether children are scaled."""
    parents, exclusive = torch.full((features,), -1), torch.zeros(features, dtype=torch.bool)
    scaled, seen = set(), set()
    waiting = [(root, -1) for root in roots]
    while waiting:
        node, parent = waiting.pop()
        feature, children = node["feature_index"], node.get("children", [])
        if feature is None:
            raise ValueError("its trees have a node without a feature, which is not known here")
        if not 0 <= feature < features:
            raise ValueError(f"its trees name feature {feature} of {features}")
        if feature in seen:
            raise ValueError(f"its trees have feature {feature} twice")
        seen.add(feature)
        parents[feature] = parent
        exclusive[feature] = node.get("mutually_exclusive_children", False)
        if children:
            scaled.add(bool(node.get("scale_children_by_parent", False)))
        waiting += [(child, feature) for child in children]
    if len(scaled) > 1:
        raise ValueError("its trees scale the children of some parents by them, and not those of others")
    return parents, exclusive, scaled == {True}

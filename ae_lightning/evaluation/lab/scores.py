"""How true the latents of a fit are, and those of the baselines beside it: measured once, and kept in its folder."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from ae_lightning.analysis.known_baselines import (
    Baseline,
    cluster_centers,
    learned_dictionary,
    oracle,
    principal_components,
    random_rows,
)
from ae_lightning.data.loader import seeded_generator
from ae_lightning.data.world import WorldDataModule
from ae_lightning.errors import RunFolderError
from ae_lightning.evaluation.truth import TruthMeter, truth_meter
from ae_lightning.files import read_json, write_bytes, write_json
from ae_lightning.models.checkpoint import load_autoencoder
from ae_lightning.models.sparse_dictionary import SparseDictionary
from ae_lightning.run.run import Run

FILE, ARRAYS = "truth.json", "truth.npz"
ORACLE, RANDOM = "oracle", "random rows"
BASELINES = (ORACLE, "dictionary learning", "k-means", "PCA", RANDOM)
"""Names of the baselines."""

_KEPT = ("cosine", "f1", "hedging", "absorption")
# Samples that baselines are fitted to: so many for each of their latents, and at most.
_FEWEST, _FOR_EACH, _MOST = 8192, 8, 65_536
# The stream of random numbers after those that samples are measured on.
_FITTED = 5


class Scores(NamedTuple):
    """The numbers of some dictionaries."""

    rows: list[dict[str, Any]]  #: `model`, `asked_l0`, and what `truth_scores` answers, of each
    truths: dict[str, np.ndarray]  #: `cosine`, `f1`, `hedging`, `absorption` of each truth, (rows, features)


def scores_of_run(run: Run, name: str, l0s: Sequence[float], samples: int, device: torch.device) -> Scores:
    """Measure the instances of a fit on fresh samples of its world, or read what was measured before.

    Args:
        run: The fit, which has an instance for each L0.
        name: What the model is called.
        l0s: What each instance was asked for.
        samples: How many.
        device: Where to compute.

    Raises:
        RunFolderError: What was measured before is damaged.
    """

    def make() -> Scores:
        model = load_autoencoder(run.checkpoint).to(device)
        assert isinstance(model, SparseDictionary)
        data = run.data
        data.setup()
        meter = truth_meter(model, data, samples)
        named = [{"model": name, "asked_l0": l0} for l0 in l0s]
        return _scores(named, meter)

    return _kept(run.folder, {"samples": samples, "model": name, "l0s": list(l0s)}, make)


def scores_of_baselines(
    folder: Path, data: WorldDataModule, latents: int, l0s: Sequence[float], samples: int, device: torch.device
) -> Scores:
    """Measure the baselines on the same samples, or read what was measured before.

    Args:
        folder: Where the numbers are kept.
        data: Data of the world.
        latents: Latents of the baselines, but for the oracle, which has the world's features.
        l0s: Entries of their codes; rounded to whole numbers.
        samples: How many.
        device: Where to compute.

    Raises:
        RunFolderError: What was measured before is damaged.
    """

    def make() -> Scores:
        data.setup()
        each = []
        for l0 in l0s:
            for baseline in _baselines(data, latents, max(1, round(l0)), device):
                most = len(baseline.decoder_rows)
                meter = truth_meter(baseline, data, samples, min(max(1, round(l0)), most))
                each.append(_scores([{"model": baseline.name, "asked_l0": l0}], meter))
        return _together(each)

    return _kept(folder, {"samples": samples, "latents": latents, "l0s": list(l0s)}, make)


def _baselines(data: WorldDataModule, latents: int, l0: int, device: torch.device) -> Iterator[Baseline]:
    world, count = data.world, min(_MOST, max(_FEWEST, _FOR_EACH * latents))
    x = data.examples(max(count, latents), seeded_generator(data.seed, _FITTED)).to(device)
    offset = torch.zeros(world.dim) if world.offset is None else world.offset
    yield oracle(world.directions.to(device), offset.to(device))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn tells of lassos that have not converged to their last digit
        yield learned_dictionary(x, latents, l0, data.seed)
    yield cluster_centers(x, latents, data.seed)
    yield principal_components(x, latents)
    yield random_rows(x, latents, data.seed)


def _scores(named: Sequence[Mapping[str, Any]], meter: TruthMeter) -> Scores:
    rows = [{**name, **numbers} for name, numbers in zip(named, meter.each(), strict=True)]
    found = meter.truths()
    return Scores(rows, {name: _by_row(found[name], len(rows)) for name in _KEPT if name in found})


def _by_row(values: Tensor, rows: int) -> np.ndarray:
    return values.float().reshape(-1, values.shape[-1]).expand(rows, -1).numpy()


def _together(each: Sequence[Scores]) -> Scores:
    return Scores(
        [row for scores in each for row in scores.rows],
        {name: np.concatenate([scores.truths[name] for scores in each]) for name in each[0].truths},
    )


def _kept(folder: Path, asked: dict[str, Any], make: Callable[[], Scores]) -> Scores:
    """Scores from a folder, where the same was asked for before; else made and written there."""
    if (folder / FILE).is_file():
        content = read_json(folder / FILE, dict)
        if content.get("asked") == asked:
            return _read(folder, content)
    scores = make()
    file = io.BytesIO()
    np.savez_compressed(file, **scores.truths)  # type: ignore[arg-type]
    write_bytes(folder / ARRAYS, file.getvalue())
    write_json(folder / FILE, {"asked": asked, "rows": scores.rows})  # last: where it is, all is
    return _read(folder, read_json(folder / FILE, dict))


def _read(folder: Path, content: Mapping[str, Any]) -> Scores:
    """What was written; None stands for a number that is not finite.

    Raises:
        RunFolderError: A file is damaged.
    """
    found = content.get("rows")
    rows = found if isinstance(found, list) and all(map(_is_row, found)) else []
    try:
        with np.load(folder / ARRAYS, allow_pickle=False) as file:
            truths = {name: file[name] for name in file.files}
    except (OSError, ValueError, BadZipFile) as error:
        raise RunFolderError(f"{folder / ARRAYS} is damaged: remove {folder / FILE}, and it is made anew") from error
    if not rows or any(values.ndim != 2 or len(values) != len(rows) for values in truths.values()):
        raise RunFolderError(f"{folder / FILE} is damaged: remove it, and it is made anew")
    return Scores(rows, truths)


def _is_row(row: Any) -> bool:
    """Whether this is what is known of a model, with numbers and reasons beside its name."""
    if not isinstance(row, dict) or not isinstance(row.get("model"), str):
        return False
    asked = row.get("asked_l0")
    plain = all(value is None or isinstance(value, (int, float, str)) for value in row.values())
    return plain and isinstance(asked, (int, float))

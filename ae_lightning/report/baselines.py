"""The baselines that take seconds: computed once for each data set and width, and kept beside the runs."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path

from ae_lightning.analysis.moments import Moments
from ae_lightning.analysis.pca import Array, as_rows
from ae_lightning.analysis.random_encoder import RandomActivation, RandomEncoder
from ae_lightning.data.in_memory import InMemoryDataset
from ae_lightning.errors import RunFolderError
from ae_lightning.evaluation.baselines import Baselines
from ae_lightning.files import read_json, write_json
from ae_lightning.models.base import Autoencoder
from ae_lightning.models.shallow import ShallowAutoencoder
from ae_lightning.run.run import Run
from ae_lightning.training.batch import Batch

FILE_NAME = "baselines.json"

# A wider code takes minutes, and more memory than a report should.
_WIDEST = 4096
# Samples, and numbers in them, that are read at a time.
_CHUNK = 4096
_CHUNK_NUMBERS = 1 << 20


def random_encoder(run: Run, model: Autoencoder, data_hash: str) -> float | None:
    """Error per pixel on the test set of a random encoder of the model's width, its decoder fitted by least squares.

    Where the data have targets, it is fitted to these.

    Its code is rectified where the model's is. It is kept in `baselines.json` beside the experiments' folders.

    Args:
        run: A run on the data, which are set up.
        model: Its model.
        data_hash: Hash of its training set.

    Returns:
        The error; None where each instance has samples of its own, or the code is wider than 4,096.
    """
    if run.data.instances is not None or model.latent_size > _WIDEST:
        return None
    rectified = isinstance(model, ShallowAutoencoder) and model.fires_above_zero
    key = f"random_encoder {data_hash} {model.latent_size} {'relu' if rectified else 'none'}"
    path = run.folder.absolute().parent.parent / FILE_NAME
    known = _read(path)
    if key not in known:
        known[key] = error_of_sets(
            run.data.train_set, run.data.test_set, model.latent_size, "relu" if rectified else "none"
        )
        _keep(path, known)
    return known[key]


def pca_errors(run: Run, components: int, data_hash: str) -> dict[str, float | None]:
    """Errors on the test set of PCA with so many components, or of a linear regression of that rank on targets.

    They are kept in `baselines.json` beside the experiments' folders.

    Args:
        run: A run on the data, which are set up.
        components: How many.
        data_hash: Hash of its training set.

    Returns:
        `mse_per_pixel` and `fvu`, as `ErrorMeter` answers them.
    """
    keys = {name: f"pca {data_hash} {components} {name}" for name in ("mse_per_pixel", "fvu")}
    path = run.folder.absolute().parent.parent / FILE_NAME
    known = _read(path)
    if not all(key in known for key in keys.values()):
        data = run.data
        errors = Baselines(data.train_set, components, data.instances).errors(data.test_set)["pca"]
        known |= {key: errors[name] for name, key in keys.items()}
        _keep(path, known)
    return {name: known[key] for name, key in keys.items()}


def _keep(path: Path, numbers: dict[str, float | None]) -> None:
    with contextlib.suppress(OSError):  # a folder that cannot be written to: they are computed again next time
        write_json(path, {**_read(path), **numbers})


def _read(path: Path) -> dict[str, float | None]:
    if not path.is_file():
        return {}
    with contextlib.suppress(OSError, RunFolderError):  # damaged: it is computed again
        return {name: value for name, value in read_json(path, dict).items() if isinstance(value, float | None)}
    return {}


def error_of_sets(train: InMemoryDataset, test: InMemoryDataset, latents: int, activation: RandomActivation) -> float:
    """`random_encoder_error` of sets that are read in pieces."""
    sizes = [math.prod(part.shape[1:]) for part in train.take(1)[::2]]  # of a sample, and of a target if there is one
    piece = max(1, min(_CHUNK, _CHUNK_NUMBERS // max(sizes)))
    moments = Moments((sizes[0],), covariance=False)
    for x, *_ in train.batches(piece):
        moments.add(x.flatten(1))
    encoder = RandomEncoder(moments.mean.float().numpy(), latents, activation=activation)
    rows = encoder.drawn(len(train)).to(train.device)
    encoder.fit(*_as_rows(train.__getitems__(rows)))
    error = sum(encoder.squared_error(*_as_rows(batch)) for batch in test.batches(piece))
    return error / (len(test) * sizes[-1])


def _as_rows(batch: Batch) -> list[Array]:
    """Samples of a batch as rows (n, input), and its targets (n, output) if there are any."""
    x, _, *targets = batch
    return [as_rows(part) for part in (x, *targets)]

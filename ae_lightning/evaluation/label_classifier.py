"""A classifier of the data's own labels: trained here once for the same data and settings, and kept."""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy

from ae_lightning.data.in_memory import InMemoryDataset
from ae_lightning.data.loader import seeded_generator
from ae_lightning.errors import CheckpointError, DataError
from ae_lightning.files import as_json
from ae_lightning.models.checkpoint import write_checkpoint
from ae_lightning.nn.label_classifier import LabelClassifier
from ae_lightning.nn.modes import evaluation_mode
from ae_lightning.training.batch import labels_of

_BATCH_SIZE = 128
_LEARNING_RATE = 2e-3
# So many epochs, within these steps: what has learned its samples by heart tells less of others.
_EPOCHS = 20
_LEAST_STEPS, _MOST_STEPS = 300, 2000
_SCALED_ON = 2000
_EVALUATED_AT_ONCE = 1024
# Part of the key: to be raised when the same settings come to give another classifier.
_VERSION = 1


@dataclass(frozen=True)
class ClassifierTraining:
    """How a classifier of labels is trained: Adam at a rate that falls from 0.002 to 0 as a cosine, batches of 128.

    Args:
        data_hash: Hash of the training set, see `InMemoryDataset.fingerprint`.
        input_shape: Shape of one sample.
        classes: Number of classes.
        steps: Optimizer steps.
        seed: Seed of the weights and of the batches.
    """

    data_hash: str
    input_shape: tuple[int, ...]
    classes: int
    steps: int
    seed: int = 0

    def path(self, folder: Path) -> Path:
        """Where the trained classifier is kept within a folder: a file for each combination of settings."""
        settings = as_json({**asdict(self), "version": _VERSION}, sort_keys=True)
        return folder / f"{hashlib.sha256(settings.encode()).hexdigest()[:16]}.ckpt"

    def train(self, train: InMemoryDataset) -> LabelClassifier:
        """Train a classifier from scratch, on the CPU; no global random number is drawn."""
        rows = seeded_generator(self.seed, 1)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.seed)
            model = LabelClassifier(self.input_shape, self.classes)
        model.fit_scale(train.take(_SCALED_ON)[0].cpu())
        optimizer = torch.optim.Adam(model.parameters(), lr=_LEARNING_RATE, fused=True)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.steps)
        for _ in range(self.steps):
            x, y, *_ = train.__getitems__(torch.randint(len(train), (_BATCH_SIZE,), generator=rows).to(train.device))
            with torch.enable_grad():
                loss = cross_entropy(model(x.cpu()), labels_of(y).cpu())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        return model.eval()


@dataclass(frozen=True)
class KeptClassifier:
    """A trained classifier, and how well it does.

    Args:
        model: The classifier, on the CPU.
        accuracy: Part of the test samples that it classifies correctly.
        path: The file that it is kept in.
    """

    model: LabelClassifier
    accuracy: float
    path: Path


def label_classifier(
    train: InMemoryDataset, test: InMemoryDataset, classes: int, folder: Path, steps: int | None = None
) -> KeptClassifier:
    """The classifier of a training set's labels: read from a folder, or trained and kept there.

    Args:
        train: Samples with class labels.
        test: Those that its accuracy is measured on.
        classes: Number of classes.
        folder: Where classifiers are kept, a file for each training set and settings; it is made if needed.
        steps: Optimizer steps; by default those of 20 epochs, at least 300 and at most 2,000.

    Raises:
        CheckpointError: The file is damaged.
        DataError: It cannot be written.
    """
    if steps is None:
        steps = min(max(_LEAST_STEPS, math.ceil(_EPOCHS * len(train) / _BATCH_SIZE)), _MOST_STEPS)
    training = ClassifierTraining(train.fingerprint(), train.sample_shape, classes, steps)
    path = training.path(folder)
    if not path.is_file():
        with _writing(folder):  # before the work is done
            folder.mkdir(parents=True, exist_ok=True)
        model = training.train(train)
        with _writing(folder):
            write_checkpoint({"state_dict": model.state_dict()}, path)
    model = _read(path, training)
    return KeptClassifier(model, _accuracy(model, test), path)


def _read(path: Path, training: ClassifierTraining) -> LabelClassifier:
    with torch.random.fork_rng(devices=[]):  # a model is built with random weights before its own are read
        model = LabelClassifier(training.input_shape, training.classes)
    try:
        model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True)["state_dict"])
    except Exception as error:  # torch raises nearly anything over a file that is not its own
        raise CheckpointError(f"{path} is damaged; delete it, and the classifier is trained anew") from error
    return model.eval()


def _accuracy(model: LabelClassifier, test: InMemoryDataset) -> float:
    with evaluation_mode(model):
        correct = sum(
            int((model(x.cpu()).argmax(1) == labels_of(y).cpu()).sum()) for x, y, *_ in test.batches(_EVALUATED_AT_ONCE)
        )
    return correct / len(test)


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = (error.strerror or "for an unknown reason").lower()
        raise DataError(
            f"the classifier of labels cannot be kept in {folder} ({reason}); name a folder that can be written with "
            "--classifiers"
        ) from error

"""Linear probes: how well does a linear classifier read the label from the code, beside simpler codes?"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from ae_lightning.analysis.baselines import pca_codes
from ae_lightning.analysis.probing import ProbeResult, linear_probe
from ae_lightning.callbacks.observing import log_now, observing
from ae_lightning.callbacks.schedule import Clock, Schedule
from ae_lightning.data.base import AutoencoderDataModule
from ae_lightning.data.loader import seeded_generator
from ae_lightning.errors import ConfigError
from ae_lightning.models.base import Autoencoder
from ae_lightning.nn.precision import like_weights
from ae_lightning.training.batch import Batch

# What the full probe takes of a set at most: images, and numbers in them or in their codes, 256 MB.
_MOST_PROBED = 60_000
_MOST_NUMBERS = 1 << 26

Labeled = tuple[np.ndarray, np.ndarray]
Encoder = Callable[[np.ndarray], list[np.ndarray]]


class LinearProbe(Callback):
    """Logistic regression on the code, beside raw pixels, PCA of the code's width, and the untrained encoder.

    Two protocols. The quick one, `probe/…`, fits on the first `train_size` images, in the order they are stored and
    whichever of training and validation set they fell into, and scores on the `test_size` after them; it runs on
    the schedule. The full one, `probe_full/…`, fits on all training images and
    scores on the test set, whose accuracy it knows much better; it runs at the first and the last moment. Of a set of
    more than 60,000 images, or of images or codes of more than 2²⁶ numbers together, it takes so many drawn at random,
    always the same ones, and logs how many it was fitted on as `probe_full/fitted_on`. Each
    accuracy comes with its binomial standard error, `…_se`: at 1,000 images and 90 % it is 0.0095, so that a
    difference below 0.02 is noise.

    The probe only looks: it draws no random numbers, and training goes on bit for bit as without it. With
    instances the accuracy is the mean over them, and the standard error that of a single one.

    Args:
        schedule: When to probe; by default before the first step and after the last.
        train_size: Images the quick probe is fitted on. Of fewer images, 5/6 are used to fit and the rest to score.
        test_size: Images the quick probe is scored on.
        pca_components: Principal components of the features, fitted on the same images, that the classifier
            reads; null gives it all features.
        full: Whether to run the full protocol too.
        scaled: Whether the features are divided by their root mean square, so that the scale of a code does not
            matter. The overcomplete experiment's own probe, which scores 0.898 on raw pixels, is the quick one with
            `false` here, on MNIST standardized by (0.1307, 0.3081): 0.899, an image of 1,000 more.
    """

    def __init__(
        self,
        schedule: Schedule = Schedule(),  # noqa: B008 - it is frozen
        train_size: int = 5000,
        test_size: int = 1000,
        pca_components: int | None = 50,
        full: bool = True,
        scaled: bool = True,
    ) -> None:
        self.clock = Clock(schedule)
        self.train_size = train_size
        self.test_size = test_size
        self.pca_components = pca_components
        self.full = full
        self.scaled = scaled
        self._baselines: dict[str, float] = {}
        self._probed_step = -1

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse data without labels."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        if stage == "fit" and (not isinstance(data, AutoencoderDataModule) or data.num_classes is None):
            raise ConfigError(
                f"LinearProbe needs class labels, but {type(data).__name__} has none: give it labels "
                "(--data.train_labels for arrays, and --data.label_kind classes where class numbers are in floating "
                "point) or take LinearProbe out of trainer.callbacks"
            )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Probe the untrained encoder and the baselines.

        Raises:
            ConfigError: The images that a probe is fitted on are all of one class.
        """
        self._refuse_one_class(trainer.datamodule)  # type: ignore[attr-defined] # on all processes, so that none waits
        if self.clock.start(trainer):
            self._probe(trainer, pl_module, full=self.full)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Probe if it is time; the last moment is left to `on_train_end`."""
        if self.clock.ticks(trainer) and not self.clock.at_end(trainer):
            self._probe(trainer, pl_module, full=False)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Probe the trained encoder."""
        if self.clock.schedule.last and self._probed_step != trainer.global_step:
            self._probe(trainer, pl_module, full=self.full)

    def state_dict(self) -> dict[str, Any]:
        """The baselines, which a resumed run could not measure again: its encoder is no longer untrained."""
        return {"baselines": self._baselines}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the baselines of the interrupted run."""
        self._baselines = dict(state_dict["baselines"])

    def _probe(self, trainer: Trainer, module: LightningModule, full: bool) -> None:
        self._probed_step = trainer.global_step
        data = trainer.datamodule  # type: ignore[attr-defined]
        if not (trainer.is_global_zero and isinstance(module, Autoencoder)):
            return
        with observing(trainer, module):
            log_now(trainer, self._accuracies("probe", module, *self._quick_sets(data)))
            if full:
                log_now(trainer, self._full(module, data))

    def _full(self, module: Autoencoder, data: AutoencoderDataModule) -> dict[str, float]:
        """Accuracies of the full protocol, and `fitted_on` where the training images are too many for it."""
        of_codes = module.latent_size * (module.instances or 1)
        most = max(1, min(_MOST_PROBED, _MOST_NUMBERS // max(module.input_size, of_codes)))
        train, test = (part.drawn(most, seeded_generator(0)) for part in (data.train_set, data.test_set))
        sets = (_labeled(data, part.batches(4096)) for part in (train, test))
        found = self._accuracies("probe_full", module, *sets)
        return found if train is data.train_set else {**found, "probe_full/fitted_on": float(len(train))}

    def _quick_sets(self, data: AutoencoderDataModule) -> tuple[Labeled, Labeled]:
        train, test = self.train_size, self.test_size
        images = data.development_set
        if len(images) < train + test:
            train = len(images) * 5 // 6
            test = len(images) - train
        x, y = _labeled(data, [images.take(train + test)])
        return (x[:train], y[:train]), (x[train:], y[train:])

    def _accuracies(self, group: str, module: Autoencoder, train: Labeled, test: Labeled) -> dict[str, float]:
        """Accuracies by logged name; those that training does not change are computed once."""
        if f"{group}/raw" not in self._baselines:
            self._baselines |= self._measure(f"{group}/raw", lambda x: [x], train, test)
            width = module.latent_size
            if width < module.input_size:
                names = self._measure(f"{group}/pca", lambda x: [pca_codes(train[0], x, width)], train, test)
            else:  # a rotation of the pixels: the classifier reads the same principal components
                names = {name.replace("raw", "pca"): v for name, v in self._of(group, "raw").items()}
            self._baselines |= names
        latent = self._measure(f"{group}/latent", lambda x: _codes(module, x), train, test)
        if self._probed_step == 0:
            self._baselines |= {name.replace("latent", "untrained"): value for name, value in latent.items()}
        return latent | {name: value for name, value in self._baselines.items() if name.startswith(f"{group}/")}

    def _of(self, group: str, what: str) -> dict[str, float]:
        return {name: value for name, value in self._baselines.items() if name.startswith(f"{group}/{what}")}

    def _refuse_one_class(self, data: AutoencoderDataModule) -> None:
        """Refuse labels that leave nothing to tell apart, before the first step."""
        fitted = {"training images": _all_labels(data)} if self.full else {}
        fitted["first of all images"] = self._quick_sets(data)[0][1]
        for which, labels in fitted.items():
            if len(np.unique(labels)) < 2:
                raise ConfigError(
                    f"LinearProbe needs labels of at least two classes, but those of the {which} are all "
                    f"{labels[0]}: give it other labels, shuffle the samples, or take LinearProbe out of "
                    "trainer.callbacks"
                )

    def _measure(self, name: str, encode: Encoder, train: Labeled, test: Labeled) -> dict[str, float]:
        how: dict[str, Any] = {"pca_components": self.pca_components, "scaled": self.scaled}
        results = [
            linear_probe(train_z, train[1], test_z, test[1], **how)
            for train_z, test_z in zip(encode(train[0]), encode(test[0]), strict=True)
        ]
        return {name: _mean_accuracy(results), f"{name}_se": results[0].standard_error}


def _mean_accuracy(results: list[ProbeResult]) -> float:
    return math.fsum(result.accuracy for result in results) / len(results)


def _all_labels(data: AutoencoderDataModule) -> np.ndarray:
    train = data.train_set
    assert train.y is not None
    y = data.classes_of(train.y)
    return (y if train.indices is None else y[train.indices]).cpu().numpy()


def _labeled(data: AutoencoderDataModule, batches: Iterable[Batch]) -> Labeled:
    xs, ys = zip(*((x.cpu().numpy(), data.classes_of(y).cpu().numpy()) for x, y, *_ in batches), strict=True)
    return np.concatenate(xs), np.concatenate(ys)


def _codes(module: Autoencoder, x: np.ndarray) -> list[np.ndarray]:
    """Flattened codes (n, latent) of x (n, *input_shape), one array for each instance."""
    chunks = [
        module.encode(like_weights(module, torch.from_numpy(x[i : i + 4096]))).float().cpu()
        for i in range(0, len(x), 4096)
    ]
    batch_axis = 0 if module.instances is None else 1
    z = torch.cat(chunks, dim=batch_axis).flatten(batch_axis + 1).numpy()
    return [z] if module.instances is None else list(z)

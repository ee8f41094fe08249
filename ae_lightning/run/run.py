"""`Run`: a finished, interrupted or still running fit, read back from its folder."""

import copy
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from torch import Tensor

from ae_lightning.data.base import AutoencoderDataModule
from ae_lightning.errors import ConfigError, RunFolderError
from ae_lightning.models.base import Autoencoder
from ae_lightning.models.checkpoint import best_checkpoint, load_autoencoder
from ae_lightning.nn.modes import evaluation_mode
from ae_lightning.nn.precision import like_weights
from ae_lightning.parser_errors import denied_in, reason_of
from ae_lightning.parser_limits import limit_parser
from ae_lightning.run.config import CONFIG_NAME, is_run, read_config, read_purpose
from ae_lightning.run.results import read_results
from ae_lightning.run.snapshots import Snapshots, snapshot_folder
from ae_lightning.run.tables import latents_file, read_latents, read_metrics, read_resampled
from ae_lightning.safe_mode import refusal
from ae_lightning.yaml_file import require_regular_files

Kind = TypeVar("Kind", bound="Run")


class Run:
    """What a run's folder holds, each part read when first asked for.

    Args:
        folder: `lightning_logs/<experiment>/version_<n>`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def load(cls: type[Kind], folder: str | Path) -> Kind:
        """Open a run's folder.

        Raises:
            RunFolderError: There is no such folder, or it is not that of a run.
        """
        path = Path(folder)
        if not path.is_dir():
            raise RunFolderError(f"there is no run folder at {path}")
        if not is_run(path):
            inside = sorted(child.parent.name for child in path.glob(f"*/{CONFIG_NAME}"))
            hint = f"; it holds the runs {', '.join(inside)}" if inside else ""
            raise RunFolderError(f"{path} is not a run's folder: it has no {CONFIG_NAME}{hint}")
        return cls(path)

    @property
    def title(self) -> str:
        """Names of the experiment and of the run's own folder, such as `deep/version_0`."""
        folder = self.folder.absolute()
        return f"{folder.parent.name}/{folder.name}"

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved settings of the run's latest fit.

        Raises:
            RunFolderError: The file is damaged.
        """
        return read_config(self.folder)

    @cached_property
    def purpose(self) -> str:
        """What the run was for: the first line of the config that it was started with; empty where none said it.

        Raises:
            RunFolderError: `config.yaml` is damaged.
        """
        return read_purpose(self.folder)

    @property
    def metrics(self) -> dict[str, np.ndarray]:
        """The table of logged scalars by column, NaN where a row has no such value; read anew at each call.

        `step` counts completed optimizer steps; losses are means per pixel and per instance.

        Raises:
            RunFolderError: The table is damaged.
        """
        return read_metrics(self.folder)

    def series(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Steps and values at which the metric `name` was logged.

        Raises:
            KeyError: It was never logged.
        """
        table = self.metrics
        if name not in table:
            raise KeyError(f"{name!r} was not logged in {self.folder}; there are: {', '.join(table)}")
        logged = ~np.isnan(table[name])
        return table["step"][logged].astype(int), table[name][logged]

    def last_values(self, prefix: str) -> dict[str, float]:
        """Last logged value of each metric whose name begins with `prefix`."""
        names = [name for name in self.metrics if name.startswith(prefix)]
        return {name: float(values[-1]) for name in names if len(values := self.series(name)[1])}

    @property
    def snapshots(self) -> Snapshots:
        """Weight snapshots by step, those taken up to now."""
        return Snapshots(snapshot_folder(self.folder))

    @property
    def resampled(self) -> dict[str, np.ndarray]:
        """Columns `step`, `instance` and `latent` of what `ResampleDeadLatents` resampled up to now; empty if nothing.

        The instance is 0 in a model without instances.
        """
        return read_resampled(self.folder)

    @property
    def checkpoint(self) -> Path:
        """The best checkpoint, or the last where there is no best one."""
        return best_checkpoint(self.folder)

    @cached_property
    def model(self) -> Autoencoder:
        """The trained variant, from the best checkpoint, in evaluation mode on the CPU."""
        return load_autoencoder(self.checkpoint)

    def model_at(self, step: int) -> Autoencoder:
        """A copy of the model as it was at the snapshot nearest to `step`.

        Raises:
            RunFolderError: There are no snapshots, or this one is damaged.
            ValueError: It is not one of the model.
        """
        model = copy.deepcopy(self.model)
        model.restore(self.snapshots[self.snapshots.nearest(step)])
        return model

    def activations(self, step: int, n: int = 1000) -> Tensor:
        """Codes of the first n test samples at the snapshot nearest to `step`: (n, …), or (instances, n, …).

        Raises:
            RunFolderError: There are no snapshots, or this one is damaged.
            ValueError: It is not one of the model.
        """
        self.data.setup()
        model = self.model_at(step)
        with evaluation_mode(model):
            return model.encode(like_weights(model, self.data.test_set.take(n)[0]))

    def images_seen(self, steps: Any) -> np.ndarray:
        """Training samples seen until optimizer steps (n,), to put a curve over them; (n,).

        Between and beyond the moments at which it was logged it is a straight line.
        """
        known = self.series("progress/images_seen")
        at, seen = (np.concatenate([[0], values]) for values in known)
        per_step = seen[-1] / max(at[-1], 1)
        steps = np.asarray(steps, dtype=np.float64)
        return np.where(steps <= at[-1], np.interp(steps, at, seen), seen[-1] + (steps - at[-1]) * per_step)

    @property
    def results(self) -> dict[str, Any]:
        """The final numbers, `metrics.json`; empty while the run has not finished.

        Raises:
            RunFolderError: The file is damaged.
        """
        return read_results(self.folder)

    @property
    def latents(self) -> dict[str, np.ndarray]:
        """Columns `instance`, `latent`, `mean_activation`, `firing_density` of `latents.csv`; empty if there is none.

        A row is a latent of the best checkpoint on the test set: the mean of ReLU(z), and the fraction of samples on
        which it fires. The instance is 0 in a model without instances.

        Raises:
            RunFolderError: The file is damaged.
        """
        return read_latents(latents_file(self.folder))

    @cached_property
    def data(self) -> AutoencoderDataModule:
        """The data module the run was trained on, built anew from the settings and not yet set up.

        Raises:
            RunFolderError: The settings name none, or none that there is.
            ConfigError: The process is in safe mode, and they name a class that it does not allow.
        """
        path = self.folder / CONFIG_NAME
        if "data" not in self.config:
            raise RunFolderError(f"{path} names no data: it is damaged, or that of another program")
        require_regular_files(self.config["data"], self.folder)
        return data_of(self.config["data"], path)


def data_of(settings: Any, path: Path) -> AutoencoderDataModule:
    """Build the data module of some settings.

    Args:
        settings: Its class and arguments, as a run's `config.yaml` has them.
        path: Where they are from, for a message.

    Raises:
        RunFolderError: They name data that cannot be built.
        ConfigError: The process is in safe mode, and they name a class that it does not allow.
    """
    from jsonargparse import ArgumentError, ArgumentParser

    import ae_lightning.data  # noqa: F401 - makes the data modules known by their short names

    limit_parser()
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(AutoencoderDataModule, "data")
    try:
        parsed = parser.parse_object({"data": settings})
    except ArgumentError as error:
        if denied := denied_in(str(error)):
            raise ConfigError(refusal(denied, str(path))) from error
        raise RunFolderError(f"{path} names data that cannot be built: {reason_of(str(error))}") from error
    return parser.instantiate_classes(parsed).data

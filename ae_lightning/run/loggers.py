"""The two loggers of a run, side by side in its folder: `metrics.csv` and TensorBoard events."""

import contextlib
import io
from argparse import Namespace
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only
from PIL import Image
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from torch.utils.tensorboard import SummaryWriter

from ae_lightning.run.tables import METRICS_NAME, append_row, read_rows, write_rows
from ae_lightning.upstream import private

if TYPE_CHECKING:
    from tensorboard.backend.event_processing.event_accumulator import ScalarEvent

# Of a color's channel in a picture with a palette.
_KEPT_BITS, _LOST_BITS = 6, 2

HPARAM_METRICS = ("val/loss", "val/reconstruction", "probe/latent")
"""Metrics shown beside the hyper-parameters; TensorBoard wants their names before the first step."""


OVER_SAMPLES = {"train/loss": "loss_over_samples/train", "val/loss": "loss_over_samples/val"}
"""Metrics that TensorBoard shows a second time, over the training samples seen, and what they are called there."""


def run_loggers(
    folder: Path, resume_step: int | None = None, samples_seen: Callable[[], int] | None = None
) -> list[Logger]:
    """Build the loggers of a run that lives in `folder`.

    Args:
        folder: The run's folder, `…/<experiment>/version_<n>`.
        resume_step: Optimizer steps completed in the checkpoint that the run resumes from; what was logged
            after it is dropped, since it will be logged again.
        samples_seen: Says how many samples have been trained on; None draws no curves over them.
    """
    return [RunTensorBoard(folder, resume_step, samples_seen), MetricsCSV(folder, resume_step)]


class MetricsCSV(Logger):
    """One table of all logged scalars: a row for each moment, a column for each metric, empty where not logged.

    Lightning's own CSVLogger deletes the table of an interrupted run and keeps up to a hundred rows in memory;
    this one writes a row at once, so that a killed process loses none, and carries on.

    Args:
        folder: The run's folder; the table is `metrics.csv` in it.
        resume_step: Rows of later steps than this are dropped at the start.
    """

    def __init__(self, folder: Path, resume_step: int | None = None) -> None:
        super().__init__()
        self.path = folder / METRICS_NAME
        self._columns: list[str] = ["step", "epoch"]
        self._started = False
        self._resume_step = resume_step

    @property
    def name(self) -> str:
        """Name of the experiment: the folder's parent."""
        return self.path.parent.parent.name

    @property
    def version(self) -> str:
        """Name of the run's own folder, such as version_0."""
        return self.path.parent.name

    @property
    def log_dir(self) -> str:
        """The run's folder."""
        return str(self.path.parent)

    @property
    def save_dir(self) -> str:
        """The folder above the experiment's."""
        return str(self.path.parent.parent.parent)

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the run's settings are in `config.yaml` beside the table."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append one row; a metric not seen before adds a column to the whole table."""
        if not self._started:
            self._start()
        row = {"step": step, **{name: float(value) for name, value in metrics.items()}}
        if "epoch" in row:
            row["epoch"] = int(metrics["epoch"])
        new = [name for name in row if name not in self._columns]
        if new:
            self._columns += sorted(new)
            write_rows(self.path, self._columns, read_rows(self.path))
        append_row(self.path, self._columns, row)

    def _start(self) -> None:
        self._started = True
        rows = read_rows(self.path)
        if rows:
            self._columns = list(rows[0])
        if self._resume_step is not None:
            rows = [row for row in rows if int(row["step"]) <= self._resume_step]
        write_rows(self.path, self._columns, rows)


class RunTensorBoard(TensorBoardLogger):
    """TensorBoard events in the run's folder, with hyper-parameters, a custom layout, and no second YAML file.

    The losses stand there over steps and, as `OVER_SAMPLES` names them, over samples: runs of different batches can be
    compared. The epoch, which would be the first of all cards, is in `metrics.csv` only.

    Args:
        folder: The run's folder.
        resume_step: Events of later steps than this are hidden from TensorBoard.
        samples_seen: Says how many samples have been trained on; None draws no curves over them.
    """

    def __init__(
        self, folder: Path, resume_step: int | None = None, samples_seen: Callable[[], int] | None = None
    ) -> None:
        purge: dict[str, Any] = {} if resume_step is None else {"purge_step": resume_step + 1}
        super().__init__(
            folder.parent.parent,
            name=folder.parent.name,
            version=folder.name,
            default_hp_metric=False,
            **purge,
        )
        self._samples_seen = samples_seen
        self._earlier = {} if resume_step is None else _over_samples(folder, resume_step)

    @rank_zero_only
    def log_hyperparams(
        self, params: dict[str, Any] | Namespace, *args: Any, varied: Collection[str] = (), **kwargs: Any
    ) -> None:
        """Record the plain settings, and declare the metrics that are shown beside them.

        Only the names are declared; TensorBoard takes the values from the scalars logged later. The public
        `add_hparams` would open a run of its own for them.

        Args:
            params: Settings, which may be nested.
            *args: Ignored.
            varied: Settings, as `flat_settings` names them, that other runs are likely to have other values of:
                TensorBoard shows their columns first.
            **kwargs: Ignored.
        """
        from torch.utils.tensorboard.summary import hparams

        settings = vars(params) if isinstance(params, Namespace) else params
        experiment, *session = hparams(flat_settings(settings), dict.fromkeys(HPARAM_METRICS, 0.0))
        for summary in (_with_varied(experiment, varied), *session):
            _write(self.experiment, summary)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write a row of scalars as one event, and the losses in it as another, over samples."""
        self._add({name: float(value) for name, value in metrics.items() if name != "epoch"}, step)
        over = {tag: float(metrics[name]) for name, tag in OVER_SAMPLES.items() if name in metrics}
        if over and self._samples_seen is not None:
            self._repeat_earlier()
            self._add(over, self._samples_seen())

    def _add(self, scalars: Mapping[str, float], step: int | None, time: float | None = None) -> None:
        """Write scalars as one event.

        With an event for each, as Lightning has it, the thread that writes them wakes up as often, and takes the
        interpreter from the next step.
        """
        values = [Summary.Value(tag=name, simple_value=value) for name, value in scalars.items()]
        if values and not _write(self.experiment, Summary(value=values), step, time):
            for name, value in scalars.items():
                self.experiment.add_scalar(name, value, step, time)

    def _repeat_earlier(self) -> None:
        """Write again what the interrupted run drew over samples, which goes with the steps that are purged."""
        for tag, points in self._earlier.items():
            for point in points:
                self._add({tag: point.value}, point.step, point.wall_time)
        self._earlier = {}

    @rank_zero_only
    def save(self) -> None:
        """Flush the events; settings are in `config.yaml`, so Lightning's `hparams.yaml` is not written."""
        self.experiment.flush()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write what is left. Of a run that failed, what cannot be written does not hide what made it fail."""
        with contextlib.nullcontext() if status == "success" else contextlib.suppress(OSError):
            super().finalize(status)


def write_pictures(writer: SummaryWriter, pictures: Mapping[str, np.ndarray], step: int) -> None:
    """Write RGB pictures (height, width, 3), uint8, to TensorBoard by their tags; their last two bits are lost.

    TensorBoard computes a checksum of every byte in Python, 8 ms for 64 KiB, so a picture costs by its size: one byte
    a pixel where a palette holds its colors. `SummaryWriter.add_image` writes three. All are one event, and drawn
    before it is written: the thread that writes would take the interpreter from what draws the next one.
    """
    values = [Summary.Value(tag=tag, image=_as_png(picture)) for tag, picture in pictures.items()]
    if not _write(writer, Summary(value=values), step):
        for tag, picture in pictures.items():
            writer.add_image(tag, picture, step, dataformats="HWC")


def _write(writer: SummaryWriter, summary: Summary, step: int | None = None, time: float | None = None) -> bool:
    """Write a summary as one event; False, and nothing written, where PyTorch's writer takes no whole ones."""
    file_writer = private(writer, "_get_file_writer", None)
    if file_writer is None:
        return False
    file_writer().add_summary(summary, step, time)
    return True


def _with_varied(summary: Summary, varied: Collection[str]) -> Summary:
    """The declaration of an experiment's settings, in which these are marked as different among runs."""
    plugin_data = summary.value[0].metadata.plugin_data
    content = HParamsPluginData.FromString(plugin_data.content)
    for info in content.experiment.hparam_infos:
        info.differs = info.name in varied
    plugin_data.content = content.SerializeToString()
    return summary


def _over_samples(folder: Path, last_step: int) -> "dict[str, list[ScalarEvent]]":
    """What a run has drawn over samples up to an optimizer step, by its tags.

    A point says how many samples it belongs to; its step is that of the point over steps which was written with it. A
    run of an earlier version has such points from some moment on only, so that they are paired from their ends.
    """
    from tensorboard.backend.event_processing.event_accumulator import (
        EventAccumulator,  # which only a resumed run needs
    )

    events = EventAccumulator(str(folder), {"scalars": 0, "images": 1, "tensors": 1}).Reload()
    there = events.Tags()["scalars"]
    return {
        tag: [
            point
            for over_steps, point in zip(reversed(events.Scalars(name)), reversed(events.Scalars(tag)), strict=False)
            if over_steps.step <= last_step < point.step  # what counts fewer samples than that many is not purged
        ][::-1]
        for name, tag in OVER_SAMPLES.items()
        if tag in there
    }


def _as_png(picture: np.ndarray) -> Summary.Image:
    image = _with_palette(picture) or Image.fromarray(picture)
    png = io.BytesIO()
    image.save(png, format="PNG", compress_level=1)
    height, width, _ = picture.shape
    return Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=png.getvalue())


def _with_palette(picture: np.ndarray) -> Image.Image | None:
    """The picture with a byte a pixel and its colors' last bits set, or None if it has more colors than a palette.

    Colors are looked up in a table of all that six bits a channel can say; to sort them takes five times as long.
    """
    red, green, blue = np.moveaxis(picture >> _LOST_BITS, -1, 0).astype(np.int32)
    codes = (red << 2 * _KEPT_BITS) | (green << _KEPT_BITS) | blue
    seen = np.zeros(1 << 3 * _KEPT_BITS, dtype=bool)
    seen[codes] = True
    colors = np.flatnonzero(seen)
    if len(colors) > 256:
        return None
    places = np.empty(len(seen), dtype=np.uint8)
    places[colors] = np.arange(len(colors))
    image = Image.fromarray(places[codes])
    channels = np.stack([colors >> 2 * _KEPT_BITS, colors >> _KEPT_BITS, colors], axis=1) << _LOST_BITS
    image.putpalette((channels | (1 << _LOST_BITS) - 1).astype(np.uint8).tobytes())
    return image


def flat_settings(settings: Mapping[str, Any], prefix: str = "") -> dict[str, bool | int | float | str]:
    """Nested settings as `a/b` names with plain values; lists and None become text."""
    flat: dict[str, bool | int | float | str] = {}
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat |= flat_settings(value, f"{name}/")
        else:
            flat[name] = value if isinstance(value, (bool, int, float, str)) else str(value)
    return flat

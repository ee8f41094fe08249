import csv
import io
import math
import re
from argparse import Namespace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import plugin_data_pb2
from torch.utils.tensorboard import SummaryWriter

from ae_lightning.cli.main import main
from ae_lightning.errors import RunFolderError
from ae_lightning.models.overcomplete import OvercompleteAutoencoder
from ae_lightning.plots.tiles import to_rgb_gray, to_rgb_signed
from ae_lightning.run.loggers import MetricsCSV, RunTensorBoard, flat_settings, run_loggers, write_pictures
from ae_lightning.run.tables import read_rows


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "lightning_logs" / "experiment" / "version_3"


def table(folder: Path) -> list[list[str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.reader(file))


# --- metrics.csv -----------------------------------------------------------------------------------------------------


def test_a_row_for_each_moment_and_a_column_for_each_metric(folder):
    logger = MetricsCSV(folder)
    logger.log_metrics({"train/loss": 0.5, "epoch": 0.0}, step=1)
    assert table(folder) == [["step", "epoch", "train/loss"], ["1", "0", "0.5"]]
    logger.log_metrics({"train/loss": 0.25, "epoch": 1.0}, step=2)
    assert table(folder)[2] == ["2", "1", "0.25"]


def test_a_new_metric_adds_a_column_to_the_whole_table(folder):
    logger = MetricsCSV(folder)
    logger.log_metrics({"train/loss": 0.5}, step=1)
    logger.log_metrics({"val/loss": 2.0, "a": 3.0}, step=1)
    logger.log_metrics({"train/loss": 0.25}, step=2)
    assert table(folder) == [
        ["step", "epoch", "train/loss", "a", "val/loss"],
        ["1", "", "0.5", "", ""],
        ["1", "", "", "3.0", "2.0"],
        ["2", "", "0.25", "", ""],
    ]
    assert list(folder.iterdir()) == [folder / "metrics.csv"]


def test_rows_are_on_disk_at_once(folder):
    logger = MetricsCSV(folder)
    for step in range(5):
        logger.log_metrics({"loss": step}, step=step)
        assert len(table(folder)) == step + 2  # without save() or finalize()


@pytest.mark.parametrize(
    "value", [0.1, 1 / 3, 1e-308, -1.7976931348623157e308, 2**53 + 0.0, float(np.float32(0.1)), math.inf, -0.0]
)
def test_values_survive_exactly(value, folder):
    MetricsCSV(folder).log_metrics({"loss": value}, step=1)
    (row,) = read_rows(folder / "metrics.csv")
    assert float(row["loss"]).hex() == value.hex()


def test_nan_is_written_as_such_and_not_as_missing(folder):
    MetricsCSV(folder).log_metrics({"loss": math.nan}, step=1)
    assert read_rows(folder / "metrics.csv")[0]["loss"] == "nan"


def test_a_resumed_run_drops_the_rows_after_its_checkpoint(folder):
    logger = MetricsCSV(folder)
    for step in (2, 4, 6):
        logger.log_metrics({"train/loss": float(step)}, step=step)
    logger.log_metrics({"val/loss": 1.0}, step=6)
    resumed = MetricsCSV(folder, resume_step=4)
    assert len(table(folder)) == 5  # nothing is lost before there is something new to say
    resumed.log_metrics({"train/loss": 60.0}, step=6)
    assert table(folder) == [
        ["step", "epoch", "train/loss", "val/loss"],
        ["2", "", "2.0", ""],
        ["4", "", "4.0", ""],
        ["6", "", "60.0", ""],
    ]


def test_another_process_carries_on_without_losing_a_row(folder):
    MetricsCSV(folder).log_metrics({"b": 1.0}, step=1)
    logger = MetricsCSV(folder)
    logger.log_metrics({"a": 2.0}, step=2)
    logger.log_metrics({"b": 3.0}, step=3)
    assert table(folder) == [
        ["step", "epoch", "b", "a"],
        ["1", "", "1.0", ""],
        ["2", "", "", "2.0"],
        ["3", "", "3.0", ""],
    ]


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_last_line_cut_short_is_left_out_and_written_over(cut, folder):
    logger = MetricsCSV(folder)
    logger.log_metrics({"train/loss": 0.125}, step=1)
    whole = (folder / "metrics.csv").read_bytes()
    logger.log_metrics({"train/loss": 0.25}, step=2)
    row = (folder / "metrics.csv").read_bytes()[len(whole) :]
    assert row == b"2,,0.25\r\n"
    (folder / "metrics.csv").write_bytes(whole + row[: min(cut, 7)])  # but for the end of the line
    assert [r["step"] for r in read_rows(folder / "metrics.csv")] == ["1"]
    MetricsCSV(folder).log_metrics({"train/loss": 0.5}, step=2)
    assert table(folder) == [["step", "epoch", "train/loss"], ["1", "", "0.125"], ["2", "", "0.5"]]


def test_no_table_yet_has_no_rows_and_another_table_is_refused(tmp_path):
    assert read_rows(tmp_path / "metrics.csv") == []
    (tmp_path / "metrics.csv").write_text("name,price\napple,3\n")
    with pytest.raises(RunFolderError, match=r"metrics\.csv is not a table of metrics: it has no column `step`"):
        read_rows(tmp_path / "metrics.csv")


def test_a_table_of_a_run_killed_before_its_first_row_is_taken_up(folder):
    folder.mkdir(parents=True)
    (folder / "metrics.csv").write_text("step,ep")
    MetricsCSV(folder, resume_step=0).log_metrics({"loss": 1.0}, step=1)
    assert table(folder) == [["step", "epoch", "loss"], ["1", "", "1.0"]]


def test_both_loggers_name_the_run_alike(folder):
    for logger in run_loggers(folder):
        assert (logger.name, logger.version) == ("experiment", "version_3")
        assert Path(logger.log_dir) == folder
        assert Path(logger.save_dir) == folder.parent.parent


# --- TensorBoard -----------------------------------------------------------------------------------------------------


def events_of(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0}).Reload()


def in_order(folder: Path) -> None:
    """Name the newest file so that it comes before those of the same second, which are read in the order of names."""
    named = sorted(folder.glob("events.out.tfevents.?"))
    (newest,) = set(folder.glob("events.out.tfevents.*")) - set(named)
    newest.rename(folder / f"events.out.tfevents.{len(named)}")


def test_both_loggers_hold_the_same_numbers(folder, make_trainer, digits):
    make_trainer(logger=run_loggers(folder), max_epochs=2).fit(OvercompleteAutoencoder((1, 8, 8), 5), digits)
    events, rows = events_of(folder), read_rows(folder / "metrics.csv")
    tags = events.Tags()["scalars"]
    assert {"train/loss", "val/loss", "train/loss_epoch", "optim/lr", "progress/images_seen"} <= set(tags)
    for tag in tags:
        shown = [(event.step, event.value) for event in events.Scalars(tag)]
        written = [(int(row["step"]), np.float32(row[tag])) for row in rows if row[tag]]
        assert shown == written, tag
    assert not list(folder.rglob("hparams.yaml"))


def test_losses_over_samples_outlive_that_their_steps_are_taken_for_later_ones(folder):
    """Steps of 10 samples; the first checkpoint was of the second step, and another one of the fifth."""
    seen = [0]
    over = {"train/loss": "loss_over_samples/train", "val/loss": "loss_over_samples/val"}

    def log(resume_step: int | None, steps: range, factor: float) -> None:
        logger = RunTensorBoard(folder, resume_step, lambda: seen[0])
        for step in steps:
            seen[0] = 10 * step
            logger.log_metrics({"train/loss": factor * step, "epoch": 0.0}, step=step)
            if step % 2 == 0:
                logger.log_metrics({"val/loss": -factor * step}, step=step)
        logger.finalize("success")
        in_order(folder)

    log(None, range(0, 5), 1.0)
    log(2, range(3, 7), 10.0)
    log(5, range(6, 8), 100.0)
    events = events_of(folder)
    train = [(0, 0), (1, 1), (2, 2), (3, 30), (4, 40), (5, 50), (6, 600), (7, 700)]
    wanted = {"train/loss": train, "val/loss": [(0, 0), (2, -2), (4, -40), (6, -600)]}
    for name, tag in over.items():
        assert [(event.step, event.value) for event in events.Scalars(name)] == wanted[name]
        assert [(event.step, event.value) for event in events.Scalars(tag)] == [(10 * s, v) for s, v in wanted[name]]
    assert set(events.Tags()["scalars"]) == {*over, *over.values()}  # no epoch


def test_a_resumed_run_hides_the_scalars_after_its_checkpoint(folder):
    first = RunTensorBoard(folder)
    for step in (2, 4, 6, 8):
        first.log_metrics({"loss": float(step)}, step=step)
    first.finalize("success")
    in_order(folder)
    second = RunTensorBoard(folder, resume_step=4)
    second.log_metrics({"loss": 60.0}, step=6)
    second.finalize("success")
    assert [(event.step, event.value) for event in events_of(folder).Scalars("loss")] == [(2, 2), (4, 4), (6, 60)]


def hparams_in(folder: Path) -> tuple[dict, set[str]]:
    """Hyper-parameters and the metrics declared beside them, as the plugin stores them."""
    metadata = events_of(folder).PluginTagToContent("hparams")
    start = plugin_data_pb2.HParamsPluginData.FromString(metadata["_hparams_/session_start_info"])
    experiment = plugin_data_pb2.HParamsPluginData.FromString(metadata["_hparams_/experiment"])
    values = {}
    for name, value in start.session_start_info.hparams.items():
        values[name] = getattr(value, value.WhichOneof("kind"))
    return values, {info.name.tag for info in experiment.experiment.metric_infos}


@pytest.mark.parametrize("wrap", [dict, lambda settings: Namespace(**settings)], ids=["dict", "namespace"])
def test_hyper_parameters_appear(wrap, folder):
    logger = RunTensorBoard(folder)
    settings = {"seed": 3, "model": {"latent_dim": 20, "hidden_dims": [400], "instances": None}, "fast": True}
    logger.log_hyperparams(wrap(settings))
    logger.save()
    values, metrics = hparams_in(folder)
    assert values == {
        "seed": 3,
        "model/latent_dim": 20,
        "model/hidden_dims": "[400]",
        "model/instances": "None",
        "fast": True,
    }
    assert {"val/loss", "probe/latent"} <= metrics
    # Only declared: no point at step 0 pretends to be a measurement.
    assert events_of(folder).Tags()["scalars"] == []


def test_flat_settings():
    assert flat_settings({"a": {"b": {"c": 1.5}}, "d": (1, 2), "e": False}) == {"a/b/c": 1.5, "d": "(1, 2)", "e": False}
    assert flat_settings({}) == {}


def test_a_run_of_the_command_line_has_settings_charts_and_pictures(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options = ["--data.batch_size=256", "--trainer.max_epochs=1", "--trainer.accelerator=cpu", "--model.latent_dim=70"]
    options += ["--trainer.log_every_n_steps=2", "--trainer.callbacks=WeightStatistics"]
    assert main(["fit", "--model=OvercompleteAutoencoder", "--experiment=mine", "--seed_everything=5", *options]) == 0
    folder = tmp_path / "lightning_logs" / "mine" / "version_0"
    values, _ = hparams_in(folder)
    assert values["seed"] == 5
    assert values["model/class"] == "OvercompleteAutoencoder"
    assert values["model/latent_dim"] == 70
    events = events_of(folder)
    assert len(events.Images("images/reconstructions")) == 7
    content = events.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0]
    charts = [chart for category in layout_pb2.Layout.FromString(content).category for chart in category.chart]
    tags = {tag for chart in charts for tag in chart.multiline.tag}
    # Every curve of the layout was logged; a chart of nothing would be a broken promise.
    logged = events.Tags()["scalars"]
    drawn = [[name for name in logged if re.search(tag, name)] for tag in tags]
    assert all(len(names) == 1 for names in drawn)
    assert {"train/loss", "val/loss", "weights/encoder_effective_rank", "sparsity/l0"} <= {*chain(*drawn)}


@pytest.mark.parametrize(("colors", "mode"), [("3", "P"), ("256", "P"), ("grays and shades", "P"), ("4000", "RGB")])
def test_pictures_are_shown_as_they_are_but_for_the_last_bits(tmp_path, colors, mode):
    rng = np.random.default_rng(0)
    if colors == "grays and shades":  # what a reconstruction and its error have
        grays = np.arange(256, dtype=np.float32)[:, None, None, None]
        palette = np.concatenate([to_rgb_gray(grays)[:, 0, 0], to_rgb_signed(grays - 128, limit=256)[:, 0, 0]])
    else:
        palette = rng.integers(0, 256, (int(colors), 3), dtype=np.uint8)
    picture = palette[rng.integers(0, len(palette), (60, 80))]
    writer = SummaryWriter(tmp_path)
    write_pictures(writer, {"images/test": picture, "images/part": picture[:20]}, 7)
    writer.close()
    for tag, height in (("images/test", 60), ("images/part", 20)):
        (event,) = events_of(tmp_path).Images(tag)
        image = Image.open(io.BytesIO(event.encoded_image_string))
        assert (event.step, event.width, event.height, image.mode) == (7, 80, height, mode)
        shown = np.asarray(image.convert("RGB")).astype(int)
        off = np.abs(shown - picture[:height])
        assert off.max() <= (3 if mode == "P" else 0)
        assert not off[picture[:height] == 255].any()  # white stays white

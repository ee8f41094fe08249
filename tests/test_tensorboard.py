"""What TensorBoard shows of a run, read with TensorBoard's own reader."""

import csv
import io
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.custom_scalar.custom_scalars_plugin import CustomScalarsPlugin
from tensorboard.plugins.hparams import plugin_data_pb2
from tensorboard.plugins.scalar.scalars_plugin import ScalarsPlugin

from ae_lightning.cli.main import main
from ae_lightning.models.overcomplete import OvercompleteAutoencoder

# 1,293 training images in batches of 256: six steps an epoch, 24 in all.
OPTIONS = [
    *("--config", "overcomplete_digits", "--model.latent_dim", "24", "--data.batch_size", "256"),
    *("--trainer.max_epochs", "4", "--trainer.log_every_n_steps", "3", "--snapshots.schedule.count", "2"),
]
OVER_SAMPLES = "loss over samples seen, in place of steps"


def read(run: Path) -> EventAccumulator:
    """All events of a run, none left out."""
    kinds = ("scalars", "images", "tensors", "compressedHistograms", "histograms")
    return EventAccumulator(str(run), size_guidance=dict.fromkeys(kinds, 0)).Reload()


def fit(root: Path, *options: str) -> Path:
    with pytest.MonkeyPatch.context() as environment:  # puts back what Lightning writes its seed into
        environment.setenv("PL_GLOBAL_SEED", "0")
        assert main(["fit", *OPTIONS, *options, "--trainer.default_root_dir", str(root)]) == 0
    return run_below(root)


def run_below(root: Path) -> Path:
    return root / "lightning_logs" / "overcomplete_digits" / "version_0"


@pytest.fixture(scope="module")
def run(made_once: Callable[..., Path]) -> Path:
    """Folder of a finished run with a probe; for reading only."""
    return run_below(made_once("board", fit))


@pytest.fixture(scope="module")
def events(run: Path) -> EventAccumulator:
    return read(run)


def table(run: Path) -> dict[str, list[tuple[int, float]]]:
    """Steps and values of each metric in `metrics.csv`."""
    found: dict[str, list[tuple[int, float]]] = {}
    with (run / "metrics.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            for name, value in row.items():
                if value and name not in ("step", "epoch"):
                    found.setdefault(name, []).append((int(row["step"]), float(value)))
    return found


def test_scalars_are_those_of_the_table(run: Path, events: EventAccumulator) -> None:
    expected = table(run)
    tags = set(events.Tags()["scalars"])
    assert set(expected) <= tags
    # No card of epochs comes first; the losses, which are there over samples too, do.
    assert tags - set(expected) == {"loss_over_samples/train", "loss_over_samples/val"}
    assert min(tags) == "loss_over_samples/train"
    for name, points in expected.items():
        shown = [(event.step, event.value) for event in events.Scalars(name)]
        assert [step for step, _ in shown] == [step for step, _ in points], name
        np.testing.assert_allclose([value for _, value in shown], [value for _, value in points], rtol=1e-6)


def test_scalars_are_grouped_and_at_the_right_steps(events: EventAccumulator) -> None:
    groups = {tag.partition("/")[0] for tag in events.Tags()["scalars"] if "/" in tag}
    assert {"train", "val", "sparsity", "weights", "probe", "optim", "speed"} <= groups
    steps = {tag: [event.step for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    assert steps["train/loss"] == [3, 6, 9, 12, 15, 18, 21, 24]
    assert steps["val/loss"] == [0, 6, 12, 18, 24]
    assert steps["train/loss_epoch"] == [6, 12, 18, 24]
    assert steps["weights/encoder_effective_rank"] == [0, 6, 12, 18, 24]
    assert steps["probe/latent"] == steps["probe/raw"] == [0, 24]
    assert [event.value for event in events.Scalars("optim/lr")] == pytest.approx([1e-3] * 8)


def test_losses_are_drawn_over_samples_too(run: Path, events: EventAccumulator) -> None:
    """1,293 images an epoch, in batches of 256 of which the sixth holds 13; a point is less than 100 bytes."""
    seen = {
        tag: [event.step for event in events.Scalars(tag)]
        for tag in ("loss_over_samples/train", "progress/images_seen")
    }
    assert seen["loss_over_samples/train"] == [int(value) for _, value in table(run)["progress/images_seen"]]
    assert seen["loss_over_samples/train"][:2] == [768, 1293]
    assert [event.step for event in events.Scalars("loss_over_samples/val")] == [0, 1293, 2586, 3879, 5172]
    for part in ("train", "val"):
        over_steps, over_samples = (events.Scalars(tag) for tag in (f"{part}/loss", f"loss_over_samples/{part}"))
        assert [event.value for event in over_samples] == [event.value for event in over_steps]
    points = sum(len(events.Scalars(f"loss_over_samples/{part}")) for part in ("train", "val"))
    (file,) = run.glob("events.out.tfevents.*")
    assert 100 * points < 0.05 * file.stat().st_size


def test_pictures(events: EventAccumulator) -> None:
    tags = events.Tags()["images"]
    assert sorted(tags) == ["images/decoder_weights", "images/encoder_weights", "images/reconstructions"]
    for tag in tags:
        pictures = events.Images(tag)
        steps = [picture.step for picture in pictures]
        assert len(steps) == len(set(steps)) == 10  # as many as TensorBoard keeps
        assert (steps[0], steps[-1]) == (0, 24)
        gaps = np.diff(steps)
        assert (np.diff(gaps) >= -1).all()  # denser at the start
        assert gaps[-1] > 2 * gaps[0]
        for picture in pictures:
            decoded = np.asarray(Image.open(io.BytesIO(picture.encoded_image_string)).convert("RGB"))
            assert decoded.dtype == np.uint8
            assert decoded.shape == (picture.height, picture.width, 3)
            assert len(np.unique(decoded)) > 10
    first, last = (
        np.asarray(Image.open(io.BytesIO(events.Images(tags[0])[i].encoded_image_string)).convert("RGB"))
        for i in (0, -1)
    )
    assert not np.array_equal(first, last)


def text_of(events: EventAccumulator, tag: str) -> str:
    (event,) = events.Tensors(tag)
    return event.tensor_proto.string_val[0].decode()


def test_settings_are_there_as_text(run: Path, events: EventAccumulator) -> None:
    text = text_of(events, "config/text_summary")
    assert text.startswith("```yaml\n")
    assert text.endswith("```")
    assert yaml.safe_load(text[8:-3]) == yaml.safe_load((run / "config.yaml").read_text())


def plugin_data(events: EventAccumulator, tag: str) -> Any:
    content = events.SummaryMetadata(tag).plugin_data.content
    return plugin_data_pb2.HParamsPluginData.FromString(content)


def test_hyper_parameters_and_the_metrics_beside_them(events: EventAccumulator) -> None:
    session = plugin_data(events, "_hparams_/session_start_info").session_start_info
    settings = {
        name: value.WhichOneof("kind") and getattr(value, value.WhichOneof("kind"))
        for name, value in session.hparams.items()
    }
    assert settings["seed"] == 17
    assert settings["model/class"] == "OvercompleteAutoencoder"
    assert settings["model/latent_dim"] == 24
    assert settings["model/optimizer/init_args/lr"] == 0.001
    assert settings["data/class"] == "DigitsDataModule"
    assert settings["data/batch_size"] == 256
    # What was typed, as a sweep types it, is what runs are likely to differ in; of the trainer that alone is there.
    experiment = plugin_data(events, "_hparams_/experiment").experiment
    assert {name for name in settings if name.startswith("trainer/")} == {
        "trainer/max_epochs",
        "trainer/log_every_n_steps",
    }
    assert {info.name for info in experiment.hparam_infos} == set(settings)
    assert {info.name for info in experiment.hparam_infos if info.differs} == {
        *("model/latent_dim", "data/batch_size"),
        *(name for name in settings if name.startswith("trainer/")),
    }
    metrics = {metric.name.tag for metric in experiment.metric_infos}
    assert metrics == {"val/loss", "val/reconstruction", "probe/latent"}
    assert metrics <= set(events.Tags()["scalars"])


def test_the_layout_names_curves_that_are_there(run: Path) -> None:
    assert drawn(run) == {
        "loss": ["train/loss", "val/loss"],
        OVER_SAMPLES: ["loss_over_samples/train", "loss_over_samples/val"],
        "linear probe": ["probe/latent", "probe/raw", "probe/pca", "probe/untrained"],
        "rank": ["weights/encoder_effective_rank", "weights/decoder_effective_rank"],
        "active latents per sample (L0)": ["sparsity/l0"],
        "fraction of latents dead on the validation set": ["sparsity/dead_fraction"],
    }


@pytest.mark.parametrize(
    ("options", "measured"),
    [
        (["BatchTopKSAE", "--model.k.start", "8", "--model.k.end", "4"], ["dead_latents", "k", "threshold"]),
        (["JumpReLUSAE", "--model.target_l0", "4"], ["l0_multiplier", "threshold"]),
        (["OvercompleteAutoencoder", "--model.auxk_weight", "0.1"], ["dead_latents"]),
    ],
)
def test_measures_are_in_the_table_and_in_tensorboard_with_charts_for_them(
    options: list[str], measured: list[str], tmp_path: Path
) -> None:
    data = ["--model.latent_dim", "16", "--data", "digits", "--data.batch_size", "256", "--trainer.max_epochs", "1"]
    rows_each = ["--trainer.log_every_n_steps", "2", "--snapshots.schedule.count", "2"]
    place = [*rows_each, "--experiment", "measured", "--trainer.default_root_dir", str(tmp_path)]
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PL_GLOBAL_SEED", "0")
        assert main(["fit", "--model", *options, *data, *place]) == 0
    run = tmp_path / "lightning_logs" / "measured" / "version_0"
    events, rows = read(run), table(run)
    names = [f"measures/{name}" for name in measured]
    assert sorted(name for name in rows if name.startswith("measures/")) == names
    for name in names:
        assert [step for step, _ in rows[name]] == [2, 4, 6]
        shown = [(event.step, event.value) for event in events.Scalars(name)]
        assert shown == [(step, pytest.approx(value, rel=1e-6)) for step, value in rows[name]]
    infos = plugin_data(events, "_hparams_/experiment").experiment.hparam_infos
    assert [info.name for info in infos if info.differs][:2] == ["model/class", "model/latent_dim"]
    assert ("model/k/start" in [info.name for info in infos if info.differs]) == ("k" in measured)
    charts = drawn(run)
    assert all(charts.values())
    assert {tag for tags in charts.values() for tag in tags if tag.startswith("measures/")} == set(names)
    if "k" in measured:
        assert charts["active latents per sample (L0)"] == ["sparsity/l0", "measures/k"]
        # From 8 to 4 over the six steps.
        k = [value for _, value in rows["measures/k"]]
        assert k == pytest.approx([8 - 4 * at / 6 for at in (1, 3, 5)], abs=0.01)


def drawn(run: Path) -> dict[str, list[str]]:
    """The curves of each custom chart, as TensorBoard's own plugin gives them to its page."""
    multiplexer = EventMultiplexer({"run": str(run)}).Reload()
    plugins: dict[str, Any] = {}
    provider = MultiplexerDataProvider(multiplexer, str(run))
    context = TBContext(data_provider=provider, logdir=str(run), plugin_name_to_instance=plugins)
    plugins["scalars"] = ScalarsPlugin(context)
    plugin, request = CustomScalarsPlugin(context), RequestContext()
    (category,) = json.loads(plugin.layout_impl(request, ""))["category"]
    found = {}
    for chart in category["chart"]:
        answers = [plugin.scalars_impl(request, "run", tag, "") for tag in chart["multiline"]["tag"]]
        assert all(answer["regex_valid"] for answer in answers)
        found[chart["title"]] = [tag for answer in answers for tag in answer["tag_to_events"]]
    return found


def test_without_a_probe_there_is_no_empty_chart(tmp_path: Path) -> None:
    run = fit(tmp_path, "--trainer.callbacks", "null", "--trainer.max_epochs", "1")
    charts = drawn(run)
    assert set(charts) == {
        *("loss", OVER_SAMPLES),
        *("active latents per sample (L0)", "fraction of latents dead on the validation set"),
    }
    assert all(charts.values())


def interrupted_after(step: int, how: str) -> Callable[..., Any]:
    """A training step during which the run is stopped once, by Ctrl-C or by an exception."""
    train = OvercompleteAutoencoder.training_step
    done = []

    def stop_once(self: OvercompleteAutoencoder, batch: Any, batch_idx: int) -> Any:
        if self.trainer.global_step == step and not done:
            done.append(step)
            if how == "killed":
                raise RuntimeError("killed")
            signal.raise_signal(signal.SIGINT)
        return train(self, batch, batch_idx)

    return stop_once


@pytest.mark.parametrize("how", ["Ctrl-C", "killed"])
def test_a_resumed_run_shows_every_step_once(
    how: str, events: EventAccumulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OvercompleteAutoencoder, "training_step", interrupted_after(16, how))
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")  # and put back at the end
    arguments = ["fit", *OPTIONS, "--trainer.default_root_dir", str(tmp_path)]
    if how == "killed":
        with pytest.raises(RuntimeError, match="killed"):
            main(arguments)
    else:
        assert main(arguments) == 130
    run = tmp_path / "lightning_logs" / "overcomplete_digits" / "version_0"
    assert main(["fit", "--ckpt_path", str(run / "checkpoints" / "last.ckpt")]) == 0

    resumed = read(run)
    assert len(list(run.glob("events.out.tfevents.*"))) == 2
    assert set(resumed.Tags()["scalars"]) == set(events.Tags()["scalars"])
    for tag in events.Tags()["scalars"]:
        if not tag.startswith("speed/"):
            whole, parts = ([(e.step, e.value) for e in board.Scalars(tag)] for board in (events, resumed))
            assert parts == whole, tag
    for tag in events.Tags()["images"]:
        whole, parts = ([(e.step, e.encoded_image_string) for e in board.Images(tag)] for board in (events, resumed))
        assert parts == whole, tag

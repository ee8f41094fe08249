"""Figures in the run's folder and in TensorBoard, and the codes in its projector."""

import io
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from google.protobuf import text_format
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

from ae_lightning.callbacks.figures import Figures
from ae_lightning.callbacks.schedule import Schedule
from ae_lightning.data.arrays import ArraysDataModule
from ae_lightning.data.gaussian import GaussianDataModule
from ae_lightning.errors import ConfigError, Notice
from ae_lightning.gallery import Gallery
from ae_lightning.models.convolutional import DeepConvAutoencoder
from ae_lightning.models.fully_connected import FullyConnectedAutoencoder
from ae_lightning.models.overcomplete import OvercompleteAutoencoder
from ae_lightning.run.loggers import run_loggers

SPARSE = ["arithmetic", "interpolation", "reconstructions", "scatter"]
DEEP = sorted([*SPARSE, "grid", "layers", "samples"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "experiment" / "version_0"


@pytest.fixture
def model() -> FullyConnectedAutoencoder:
    torch.manual_seed(0)
    return FullyConnectedAutoencoder((1, 8, 8), 3, (16,))


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "figures").iterdir()) if (folder / "figures").is_dir() else []


def images_in(folder: Path) -> dict[str, list]:
    events = EventAccumulator(str(folder), size_guidance={"images": 0}).Reload()
    return {tag: events.Images(tag) for tag in events.Tags()["images"]}


def projector_of(folder: Path) -> tuple[ProjectorConfig, np.ndarray]:
    config = text_format.Parse((folder / "projector_config.pbtxt").read_text(), ProjectorConfig())
    return config, np.loadtxt(folder / config.embeddings[0].tensor_path, delimiter="\t", ndmin=2)


def test_figures_of_the_last_step_lie_in_the_folder_and_in_tensorboard(make_trainer, model, digits, folder):
    make_trainer(Figures(), logger=run_loggers(folder)).fit(model, digits)
    assert files_in(folder) == [f"{name}_step_00000006.png" for name in DEEP]
    found = images_in(folder)
    assert sorted(found) == [f"figures/{name}" for name in DEEP]
    for name in DEEP:
        (event,) = found[f"figures/{name}"]
        assert event.step == 6
        logged = np.asarray(Image.open(io.BytesIO(event.encoded_image_string)).convert("RGB")).astype(int)
        filed = np.asarray(Image.open(folder / "figures" / f"{name}_step_00000006.png").convert("RGB"))
        assert logged.shape == filed.shape
        assert np.abs(logged - filed).max() < 4  # what is logged has a palette of colors without their last two bits
        assert min(filed.shape[:2]) > 200 or name in ("arithmetic", "interpolation")
        assert len(np.unique(filed.astype(int) @ [1, 256, 256**2])) > 20  # colors


def test_figures_show_the_weights_of_their_moment(make_trainer, model, digits, folder):
    schedule = Schedule(every=3, unit="steps", first=True)
    make_trainer(Figures(schedule, names=["scatter"], projector=False), logger=run_loggers(folder)).fit(model, digits)
    assert files_in(folder) == [f"scatter_step_{step:08d}.png" for step in (0, 3, 6)]
    assert [event.step for event in images_in(folder)["figures/scatter"]] == [0, 3, 6]
    pictures = [np.asarray(Image.open(folder / "figures" / name)) for name in files_in(folder)]
    assert not np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[1], pictures[2])


def test_a_run_that_ends_early_shows_its_last_state_once(make_trainer, digits, folder):
    callback = Figures(Schedule(every=2, unit="steps", first=False), names=["grid"], projector=False)
    trainer = make_trainer(callback, logger=run_loggers(folder), max_epochs=-1, max_steps=4)
    trainer.fit(OvercompleteAutoencoder((1, 8, 8), 5), digits)
    assert [event.step for event in images_in(folder)["figures/grid"]] == [2, 4]


def test_what_does_not_fit_is_left_out(make_trainer, digits, folder):
    make_trainer(Figures(), logger=run_loggers(folder)).fit(OvercompleteAutoencoder((1, 8, 8), 5), digits)
    assert files_in(folder) == [f"{name}_step_00000006.png" for name in SPARSE]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("scater", "Figures: OvercompleteAutoencoder has no figure scater; did you mean scatter?"),
        ("xyz", "Figures: OvercompleteAutoencoder has no figure xyz; there are reconstructions, interpolation, "),
        ("layers", "Figures: OvercompleteAutoencoder has no figure layers; there are reconstructions, "),
    ],
    ids=["misspelt", "unknown", "not of this variant"],
)
def test_a_figure_that_there_is_not_is_refused_before_training(name, message, make_trainer, digits, folder):
    model = OvercompleteAutoencoder((1, 8, 8), 5)
    with pytest.raises(ConfigError) as caught:
        make_trainer(Figures(names=["grid", name]), logger=run_loggers(folder)).fit(model, digits)
    assert str(caught.value).startswith(message)
    assert model.images_seen == 0


def test_no_samples_for_the_projector_are_refused():
    with pytest.raises(ConfigError, match="projector_samples must be at least 1, not 0"):
        Figures(projector_samples=0)


@pytest.mark.parametrize(("precision", "names"), [("32-true", DEEP), ("bf16-mixed", ["grid", "layers"])])
def test_drawing_leaves_no_trace_in_training(precision, names, make_trainer, digits, tmp_path):
    states = []
    for number, callbacks in enumerate(
        ([], [Figures(Schedule(every=4, unit="steps", first=False, last=False), names=names)])
    ):
        torch.manual_seed(0)
        model = FullyConnectedAutoencoder((1, 8, 8), 3, (16,), batch_norm=True, dropout=0.3)
        loggers = run_loggers(tmp_path / "experiment" / f"version_{number}")
        make_trainer(*callbacks, logger=loggers, precision=precision).fit(model, digits)
        states.append([*model.state_dict().values(), torch.get_rng_state()])
    assert all(torch.equal(without, with_figures) for without, with_figures in zip(*states, strict=True))
    assert len(files_in(tmp_path / "experiment" / "version_1")) == len(names)  # at step 4 of 6


def test_a_figure_that_fails_is_named_and_the_others_are_drawn(make_trainer, model, digits, folder, monkeypatch):
    def fail(self: Gallery) -> None:
        raise ValueError("codes must be finite")

    monkeypatch.setattr(Gallery, "grid", fail)
    with pytest.warns(Notice, match="the figure grid was not drawn at step 6: codes must be finite"):
        make_trainer(Figures(names=["grid", "scatter"]), logger=run_loggers(folder)).fit(model, digits)
    assert files_in(folder) == ["scatter_step_00000006.png"]


def test_codes_that_are_not_finite_leave_what_can_be_drawn(make_trainer, model, digits, folder):
    class Break(Figures):
        def on_train_batch_end(self, trainer, pl_module, *args):
            if trainer.global_step == 6:
                with torch.no_grad():
                    list(pl_module.encoder.parameters())[-1].fill_(torch.nan)
            super().on_train_batch_end(trainer, pl_module, *args)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        callback = Break(names=["grid", "layers", "reconstructions", "samples", "scatter"])
        make_trainer(callback, logger=run_loggers(folder), limit_val_batches=0).fit(model, digits)
    said = " ".join(str(warning.message) for warning in caught)
    for name in ("grid", "samples", "scatter"):
        assert f"the figure {name} was not drawn at step 6" in said
    assert {"reconstructions_step_00000006.png", "layers_step_00000006.png"} <= set(files_in(folder))


def test_a_fault_of_ours_is_not_hidden(make_trainer, model, digits, folder, monkeypatch):
    monkeypatch.setattr(Gallery, "grid", lambda self: {}["missing"])
    with pytest.raises(KeyError):
        make_trainer(Figures(names=["grid"]), logger=run_loggers(folder)).fit(model, digits)


def test_the_projector_holds_the_codes_classes_and_pictures_of_the_first_test_images(
    make_trainer, model, digits, folder
):
    make_trainer(Figures(names=[], projector_samples=50), logger=run_loggers(folder)).fit(model, digits)
    config, codes = projector_of(folder)
    (embedding,) = config.embeddings
    assert embedding.tensor_name == "codes:00006"
    x, y = digits.test_set.take(50)
    with torch.no_grad():
        np.testing.assert_allclose(codes, model.eval().encode(x).numpy(), rtol=1e-5, atol=1e-6)
    assert (folder / embedding.metadata_path).read_text().split() == [str(label) for label in y.tolist()]
    assert list(embedding.sprite.single_image_dim) == [8, 8]
    sprite = np.asarray(Image.open(folder / embedding.sprite.image_path).convert("L")).astype(float)
    assert sprite.shape == (64, 64)  # 8 × 8 places for 50 images
    place = sprite[8:16, 16:24]  # the third of the second row
    assert np.abs(place - 255 * x[8 + 2, 0].numpy()).max() <= 1
    assert files_in(folder) == []


def test_the_projector_takes_codes_that_are_maps_and_of_the_first_instance(make_trainer, digits, tmp_path):
    deep, population = DeepConvAutoencoder((1, 8, 8)), OvercompleteAutoencoder((1, 8, 8), 5, instances=2)
    x = digits.test_set.take(30)[0]
    for model, first in ((deep, lambda z: z), (population, lambda z: z[0])):
        folder = tmp_path / type(model).__name__ / "version_0"
        make_trainer(Figures(names=[], projector_samples=30), logger=run_loggers(folder)).fit(model, digits)
        with torch.no_grad():
            expected = first(model.eval().encode(x)).flatten(1)
        np.testing.assert_allclose(projector_of(folder)[1], expected.numpy(), rtol=1e-4, atol=1e-5)


def test_vectors_without_classes_have_neither_pictures_nor_metadata_in_the_projector(make_trainer, folder):
    data = GaussianDataModule(dim=20, rank=3, num_train=50, num_val=20, num_test=20)
    make_trainer(Figures(names=["grid"]), logger=run_loggers(folder)).fit(OvercompleteAutoencoder((20,), 12), data)
    config, codes = projector_of(folder)
    (embedding,) = config.embeddings
    assert codes.shape == (20, 12)
    assert not embedding.metadata_path
    assert not embedding.HasField("sprite")


@pytest.mark.parametrize("shape", [(9, 4), (3, 4, 9)], ids=["tall", "wide, in color"])
def test_pictures_that_are_not_square_keep_their_shape_in_the_projector(shape, make_trainer, folder, tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(30, *shape)).astype(np.float32))
    data = ArraysDataModule(str(tmp_path / "x.npy"))
    make_trainer(Figures(names=[]), logger=run_loggers(folder)).fit(OvercompleteAutoencoder(shape, 3), data)
    (embedding,) = projector_of(folder)[0].embeddings
    assert list(embedding.sprite.single_image_dim) == [9, 9]
    sprite = np.asarray(Image.open(folder / embedding.sprite.image_path)).astype(float)
    x, _ = data.test_set.take(30)
    low, high = data.value_range
    if not np.isfinite([low, high]).all():
        low, high = float(x.min()), float(x.max())
    first = ((x[0].numpy() - low) / (high - low)).clip(0, 1) * 255
    shown = sprite[: shape[-2], : shape[-1]]
    expected = np.moveaxis(first, 0, -1) if len(shape) == 3 else np.repeat(first[..., None], 3, axis=2)
    assert np.abs(shown - expected).max() <= 1.01
    assert (sprite[shape[-2] : 9, :9] == 0).all()


@pytest.mark.parametrize("options", [{"fast_dev_run": True}, {"logger": False}], ids=["a trial run", "without loggers"])
def test_a_run_without_a_folder_writes_nothing(options, make_trainer, model, digits, folder, tmp_path):
    make_trainer(Figures(), **{"logger": run_loggers(folder), **options}).fit(model, digits)
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".png", ".pbtxt", ".tsv")]


def test_without_tensorboard_there_are_files_alone(make_trainer, model, digits, folder, tmp_path):
    logger = CSVLogger(tmp_path, "experiment", 0)
    make_trainer(Figures(names=["grid"]), logger=logger).fit(model, digits)
    assert files_in(folder) == ["grid_step_00000006.png"]
    assert not (folder / "projector_config.pbtxt").exists()


def test_only_the_first_process_draws(make_trainer, model, digits, folder, monkeypatch):
    trainer = make_trainer(Figures(), logger=run_loggers(folder))
    monkeypatch.setattr(type(trainer), "is_global_zero", False)
    trainer.fit(model, digits)
    assert files_in(folder) == []
    assert not (folder / "projector_config.pbtxt").exists()


def test_a_resumed_run_draws_the_same_again(
    make_trainer: Callable, digits, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    def fit(epochs: int, checkpoint: Path | None = None) -> None:
        torch.manual_seed(0)
        model = FullyConnectedAutoencoder((1, 8, 8), 3, (16,))
        figures = Figures(Schedule(every=1, first=False), names=["scatter"])
        saver = ModelCheckpoint(tmp_path / "checkpoints", save_top_k=-1, filename="{step}")
        loggers = run_loggers(folder, None if checkpoint is None else 6)
        trainer = make_trainer(figures, saver, logger=loggers, max_epochs=epochs, enable_checkpointing=True)
        trainer.fit(model, digits, ckpt_path=checkpoint)

    fit(3)
    before = {name: (folder / "figures" / name).read_bytes() for name in files_in(folder)}
    assert len(before) == 3
    for name in before:
        if "00000006" not in name:
            (folder / "figures" / name).write_text("to be drawn again")
    fit(3, tmp_path / "checkpoints" / "step=6.ckpt")
    assert {name: (folder / "figures" / name).read_bytes() for name in files_in(folder)} == before
    assert len(projector_of(folder)[0].embeddings) == 1
    assert "warning" not in capsys.readouterr().out.lower()

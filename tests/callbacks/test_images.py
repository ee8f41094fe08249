import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ae_lightning.callbacks.images import TensorBoardImages
from ae_lightning.callbacks.schedule import Schedule
from ae_lightning.data.arrays import ArraysDataModule
from ae_lightning.data.gaussian import GaussianDataModule
from ae_lightning.data.in_memory import InMemoryDataset
from ae_lightning.data.sparse_features import SparseFeaturesDataModule
from ae_lightning.models.fully_connected import FullyConnectedAutoencoder
from ae_lightning.models.overcomplete import OvercompleteAutoencoder
from ae_lightning.run.loggers import run_loggers

RECONSTRUCTIONS = "images/reconstructions"
WEIGHTS = ["images/decoder_weights", "images/encoder_weights"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "experiment" / "version_0"


def images_in(folder: Path) -> dict[str, list]:
    """Image events by tag, read back as TensorBoard reads them."""
    events = EventAccumulator(str(folder), size_guidance={"images": 0}).Reload()
    return {tag: events.Images(tag) for tag in events.Tags()["images"]}


def decode(event) -> np.ndarray:
    pixels = np.asarray(Image.open(io.BytesIO(event.encoded_image_string)).convert("RGB"))
    assert pixels.shape == (event.height, event.width, 3)
    return pixels


def fit(model, data, folder, make_trainer, callback=None, **options):
    callback = callback or TensorBoardImages()
    make_trainer(callback, logger=run_loggers(folder), **options).fit(model, data)
    return images_in(folder)


def test_a_shallow_model_shows_reconstructions_and_weights_ten_times(make_trainer, digits, folder):
    found = fit(OvercompleteAutoencoder((1, 8, 8), 70), digits, folder, make_trainer, max_epochs=4)
    assert sorted(found) == [*WEIGHTS, RECONSTRUCTIONS]
    for events in found.values():
        steps = [event.step for event in events]
        assert len(steps) == 10  # as many as TensorBoard keeps
        assert steps == sorted(set(steps))
        assert (steps[0], steps[-1]) == (0, 24)


def test_a_deep_model_shows_reconstructions_alone(make_trainer, digits, folder):
    found = fit(FullyConnectedAutoencoder((1, 8, 8), 3), digits, folder, make_trainer)
    assert list(found) == [RECONSTRUCTIONS]
    assert [event.step for event in found[RECONSTRUCTIONS]] == list(range(7))  # every step of a short run


def test_the_picture_is_of_the_first_latents_each_on_its_own_scale(make_trainer, digits, folder):
    model = OvercompleteAutoencoder((1, 8, 8), 70)
    with torch.no_grad():
        model.encoder_vectors[0] = 0.001 * torch.eye(8).flatten()  # red on white, however small
        model.encoder_vectors[1] = -1000 * torch.eye(8).flatten()  # blue on white
    callback = TensorBoardImages(Schedule(last=False), units=4)
    found = fit(model, digits, folder, make_trainer, callback)
    (event,) = found["images/encoder_weights"]
    picture = decode(event).astype(int)
    assert picture.shape == (2 * 9 + 1, 2 * 9 + 1, 3)  # four images of 8×8 and a pixel between and around
    first, second = picture[1:9, 1:9], picture[1:9, 10:18]
    off_diagonal = ~np.eye(8, dtype=bool)
    for image in (first, second):
        assert (image[off_diagonal] == 255).all()
    red, _, blue = first[~off_diagonal].T
    assert (red > blue + 50).all()
    red, _, blue = second[~off_diagonal].T
    assert (blue > red + 50).all()


def test_the_reconstructions_are_those_of_the_first_validation_images(make_trainer, digits, folder):
    model = OvercompleteAutoencoder((1, 8, 8), 70)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.dictionary.b_dec.fill_(0.5)  # whatever it sees, it answers a middle gray
    callback = TensorBoardImages(Schedule(last=False), samples=1)
    found = fit(model, digits, folder, make_trainer, callback)
    (event,) = found[RECONSTRUCTIONS]
    picture = decode(event).astype(int)
    # 8 pixels are enlarged fourfold; three views side by side, with a pixel around each and two around all.
    side = 32
    assert picture.shape == (2 + 1 + side + 1 + 2, 2 + 3 * (side + 1) + 1 + 2, 3)
    views = [picture[3 : 3 + side, 3 + i * (side + 1) : 3 + i * (side + 1) + side][::4, ::4] for i in range(3)]
    truth = digits.val_set.take(1)[0][0, 0].numpy()
    assert np.abs(views[0][..., 0] - 255 * truth).max() <= 3.5  # the last two bits of a color are set
    assert np.abs(views[1] - 127.5).max() <= 3.5
    too_dark, too_bright = truth > 0.9, truth < 0.1
    red, blue = views[2][..., 0], views[2][..., 2]
    assert (blue[too_dark] > red[too_dark]).all()
    assert (red[too_bright] > blue[too_bright]).all()


def test_with_instances_the_first_is_shown(make_trainer, digits, folder, tmp_path):
    torch.manual_seed(0)
    population = OvercompleteAutoencoder((1, 8, 8), 70, instances=2)
    single = OvercompleteAutoencoder((1, 8, 8), 70)
    with torch.no_grad():
        for one, many in zip(single.parameters(), population.parameters(), strict=True):
            one.copy_(many[0])
    once = Schedule(last=False)
    first = fit(population, digits, folder, make_trainer, TensorBoardImages(once), max_steps=1)
    other = fit(single, digits, tmp_path / "b" / "version_0", make_trainer, TensorBoardImages(once), max_steps=1)
    for tag in (*WEIGHTS, RECONSTRUCTIONS):
        assert np.array_equal(decode(first[tag][0]), decode(other[tag][0]))


@pytest.mark.parametrize(
    "shape", [(20,), (3, 6, 6), (2, 6, 6), (6, 6), (100,)], ids=lambda shape: "×".join(map(str, shape))
)
def test_data_of_any_shape_can_be_shown(shape, make_trainer, folder, tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((60, *shape), dtype=np.float32))
    data = ArraysDataModule(str(tmp_path / "x.npy"))
    found = fit(OvercompleteAutoencoder(shape, 12), data, folder, make_trainer, max_steps=1)
    assert sorted(found) == [*WEIGHTS, RECONSTRUCTIONS]
    for events in found.values():
        assert decode(events[-1]).std() > 0


def test_data_without_bounds_can_be_shown(make_trainer, folder):
    data = GaussianDataModule(dim=20, rank=3, num_train=50, num_val=20, num_test=20)
    found = fit(OvercompleteAutoencoder((20,), 12), data, folder, make_trainer, max_steps=1)
    pixels = decode(found[RECONSTRUCTIONS][0])
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20


def test_a_run_that_ends_early_shows_its_last_state(make_trainer, digits, folder):
    callback = TensorBoardImages(Schedule(every=4, unit="steps"))
    found = fit(
        OvercompleteAutoencoder((1, 8, 8), 5), digits, folder, make_trainer, callback, max_epochs=-1, max_steps=5
    )
    assert [event.step for event in found[RECONSTRUCTIONS]] == [0, 4, 5]


def test_without_tensorboard_nothing_is_drawn(make_trainer, digits, recorder, monkeypatch):
    monkeypatch.setattr(TensorBoardImages, "_weights", lambda *args: pytest.fail("drew for nobody"))
    make_trainer(TensorBoardImages(), logger=recorder).fit(OvercompleteAutoencoder((1, 8, 8), 5), digits)
    assert recorder.series("train/loss")


def test_drawing_leaves_no_trace_in_training(make_trainer, digits, folder):
    states = []
    for callbacks in ([], [TensorBoardImages(Schedule(every=1, unit="steps"))]):
        torch.manual_seed(0)
        model = OvercompleteAutoencoder((1, 8, 8), 70)
        make_trainer(*callbacks, logger=run_loggers(folder)).fit(model, digits)
        states.append([*model.state_dict().values(), torch.get_rng_state()])
    assert all(torch.equal(without, with_images) for without, with_images in zip(*states, strict=True))


def test_where_each_instance_has_samples_of_its_own_the_first_is_shown_on_its_own(make_trainer, folder, tmp_path):
    torch.manual_seed(0)
    once = TensorBoardImages(Schedule(last=False), samples=3)
    own = SparseFeaturesDataModule(features=6, probability=0.5, instances=2, steps_per_epoch=1, num_val=20)
    own.setup()
    population, single = OvercompleteAutoencoder((6,), 7, instances=2), OvercompleteAutoencoder((6,), 7)
    with torch.no_grad():
        for one, many in zip(single.parameters(), population.parameters(), strict=True):
            one.copy_(many[0])
    found = fit(population, own, folder, make_trainer, once)
    # The samples of the first instance as ordinary data, all of them in the validation set and in their order.
    alone = SparseFeaturesDataModule(features=6, probability=0.5, steps_per_epoch=1, num_val=20)
    alone.setup()
    alone._sets = (alone.train_set, InMemoryDataset(own.val_set.take(20)[0][:, 0]), alone.test_set)
    other = fit(single, alone, tmp_path / "b" / "version_0", make_trainer, TensorBoardImages(once.clock.schedule, 3))
    for tag in (*WEIGHTS, RECONSTRUCTIONS):
        assert np.array_equal(decode(found[tag][0]), decode(other[tag][0])), tag

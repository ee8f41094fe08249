import dataclasses
import os
from typing import IO

import pytest
import torch

from ae_lightning.data import SparseFeaturesDataModule
from ae_lightning.data.generated import GeneratedLoader
from ae_lightning.data.toy_training import ToyTraining
from ae_lightning.errors import CheckpointError, DataError
from ae_lightning.models.checkpoint import load_autoencoder
from ae_lightning.models.toy_model import ToyModel

FEATURES = {"features": 5, "probability": 0.1}


@pytest.fixture
def training(tmp_path) -> ToyTraining:
    distribution = SparseFeaturesDataModule(**FEATURES).distribution
    return ToyTraining(distribution, seed=3, hidden_dim=2, importance=1.0, steps=20, root=tmp_path)


@pytest.fixture
def trainings(monkeypatch) -> list[ToyTraining]:
    """Every training that is really done, in order."""
    train, done = ToyTraining.train, []

    def counted(self: ToyTraining) -> ToyModel:
        done.append(self)
        return train(self)

    monkeypatch.setattr(ToyTraining, "train", counted)
    return done


def assert_equal_weights(one: ToyModel, other: ToyModel) -> None:
    assert one.state_dict().keys() == other.state_dict().keys()
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


# --- the weights ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("importance", [1.0, [1.0, 0.9, 0.8, 0.7, 0.6]])
def test_the_weights_are_those_of_a_lightning_fit_bit_for_bit(training, make_trainer, importance):
    found = dataclasses.replace(training, importance=importance).train()
    # Lightning's whole machinery on the same samples, from the same first weights.
    data = SparseFeaturesDataModule(**FEATURES)
    torch.manual_seed(3)
    fitted = ToyModel((5,), 2, importance)
    batches = GeneratedLoader(data.draw_steps, 1024, 20, at_once=data.steps_at_once, seeds=(3, 4))
    trainer = make_trainer(max_epochs=1)
    trainer.fit(fitted, batches)
    assert trainer.global_step == 20
    assert_equal_weights(found, fitted)


def test_one_may_start_as_the_first_of_several_that_start_together(training):
    """As the workshop does: 16 toy models by one call of torch, of which every one is then set equal to the first."""
    torch.manual_seed(0)
    truth = torch.nn.init.xavier_normal_(torch.empty(16, 20, 50)).std()  # (instances, hidden, features)
    distribution = SparseFeaturesDataModule(features=50, probability=0.0).distribution  # nothing to learn from
    training = dataclasses.replace(training, distribution=distribution, hidden_dim=20, steps=1)
    together = dataclasses.replace(training, start_with=16).train().feature_directions
    assert float(together.detach().std()) == pytest.approx(float(truth), rel=0.1)
    assert float(training.train().feature_directions.detach().std()) > 3 * float(truth)


def test_it_learns(training):
    data = SparseFeaturesDataModule(**FEATURES)
    x = data.examples(10_000, torch.Generator().manual_seed(0))
    losses = []
    for steps in (1, 300):
        with torch.no_grad():
            losses.append(float(dataclasses.replace(training, steps=steps).train().loss(x)[0]["loss"]))
    assert losses[1] < 0.8 * losses[0]


def test_the_model_is_given_ready_for_use(training):
    for model in (training.model(), training.model()):  # trained, and read
        assert not model.training
        assert model.instances is None
        assert {str(parameter.device) for parameter in model.parameters()} == {"cpu"}


def test_training_draws_no_global_random_number_and_seeds_no_gpu(training, monkeypatch):
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("the GPUs' random state was touched"))
    before = torch.get_rng_state()
    first = training.train()
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(10)
    assert_equal_weights(first, training.train())


def test_training_works_where_gradients_are_off(training):
    expected = training.train()
    with torch.no_grad():
        assert_equal_weights(training.train(), expected)
        assert not torch.is_grad_enabled()


def test_the_seed_of_the_run_does_not_matter(training, monkeypatch):
    first = training.train()
    monkeypatch.setenv("PL_GLOBAL_SEED", "77")
    assert_equal_weights(first, training.train())


# --- the file ------------------------------------------------------------------------------------------------------


def test_the_same_settings_are_trained_once(training, trainings, tmp_path):
    first, again, alike = training.model(), training.model(), dataclasses.replace(training).model()
    assert trainings == [training]
    assert_equal_weights(first, again)
    assert_equal_weights(first, alike)
    assert [path.name for path in (tmp_path / "toy_models").iterdir()] == [training.path.name]


CHANGES = {
    **{"seed": 4, "hidden_dim": 3, "steps": 21, "importance": [1.0, 1.0, 1.0, 1.0, 0.5], "start_with": 16},
    "features": {"features": 6},
    "probability": {"probability": 0.2},
    "magnitude": {"magnitude": "normal"},
    "correlated": {"correlated": 2},
    "anticorrelated": {"anticorrelated": 2},
}


def test_every_setting_has_a_file_of_its_own(training, trainings):
    changed = [training]
    for name, value in CHANGES.items():
        if isinstance(value, dict):
            name, value = "distribution", SparseFeaturesDataModule(**{**FEATURES, **value}).distribution
        changed.append(dataclasses.replace(training, **{name: value}))
    named = {field.name for field in dataclasses.fields(ToyTraining)} - {"distribution", "root"}
    assert named | set(training.distribution) == set(CHANGES), "a setting is not tested here"
    models = [one.model() for one in changed]
    assert trainings == changed
    assert len({one.path for one in changed}) == len(changed)
    weights = [torch.cat([value.flatten() for value in model.state_dict().values()]) for model in models]
    assert len({tuple(one.tolist()) for one in weights}) == len(changed)  # and it does change the model


def test_models_that_were_kept_before_there_was_a_joint_start_are_found(training):
    assert training.path.name == "36820c6909b1ecbc.ckpt"


def test_the_folder_is_where_it_was_asked_for_and_no_part_of_the_key(training, tmp_path):
    elsewhere = dataclasses.replace(training, root=tmp_path / "far" / "away")
    assert elsewhere.path.name == training.path.name
    elsewhere.model()
    assert elsewhere.path.is_file()
    assert elsewhere.path.parent == tmp_path / "far" / "away" / "toy_models"


def test_the_file_is_an_ordinary_checkpoint(training):
    model = training.model()
    loaded = load_autoencoder(training.path)
    assert type(loaded) is ToyModel
    assert_equal_weights(model, loaded)


def test_a_write_that_fails_leaves_nothing_behind(training, trainings, monkeypatch):
    save = torch.save

    def full(content: object, file: IO[bytes]) -> None:
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(DataError) as error:
        training.model()
    folder = training.path.parent
    assert str(error.value) == (
        f"The trained toy model cannot be kept in {folder} (no space left on device); name a folder that can be "
        "written with --data.root."
    )
    assert list(folder.iterdir()) == []
    monkeypatch.setattr(torch, "save", save)
    training.model()
    assert len(trainings) == 2
    assert list(folder.iterdir()) == [training.path]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_one_sentence(training, tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(DataError, match=r"cannot be kept in .* \(permission denied\); name a folder .*--data.root"):
            training.model()
    finally:
        tmp_path.chmod(0o700)


def test_a_root_that_is_a_file_is_one_sentence(training, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DataError, match=r"cannot be kept in .*file/toy_models \(not a directory\); .*--data\.root"):
        dataclasses.replace(training, root=tmp_path / "file").model()


@pytest.mark.parametrize("content", [b"", b"no checkpoint", "half"], ids=["empty", "other", "half"])
def test_a_damaged_file_is_one_sentence_that_says_what_to_do(training, trainings, content):
    training.model()
    whole = training.path.read_bytes()
    training.path.write_bytes(whole[: len(whole) // 2] if content == "half" else content)
    with pytest.raises(CheckpointError) as error:
        training.model()
    assert str(error.value).startswith(f"{training.path} is not a")
    assert str(error.value).endswith("; delete it, and the toy model is trained anew")
    training.path.unlink()
    training.model()
    assert len(trainings) == 2

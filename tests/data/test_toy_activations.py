import math
import shutil
import warnings
from pathlib import Path

import pytest
import torch
import yaml

from ae_lightning.cli.main import main
from ae_lightning.data import SparseFeaturesDataModule, ToyActivationsDataModule
from ae_lightning.data.toy_training import ToyTraining
from ae_lightning.errors import CheckpointError, ConfigError, DataError, Notice
from ae_lightning.models.overcomplete import OvercompleteAutoencoder
from ae_lightning.models.toy_model import ToyModel
from ae_lightning.run.run import Run


@pytest.fixture
def made(tmp_path):
    """A module that is set up, with a toy model trained for a moment."""

    def make(**options) -> ToyActivationsDataModule:
        data = ToyActivationsDataModule(**{"root": str(tmp_path / "data"), "toy_steps": 5, **options})
        data.setup()
        return data

    return make


def checkpoint(model, data, make_trainer, path: Path) -> str:
    """What a fit of a model leaves behind after one step."""
    trainer = make_trainer(max_steps=1)
    trainer.fit(model, data)
    trainer.save_checkpoint(path)
    return str(path)


@pytest.fixture
def toy_model(make_trainer, tmp_path):
    """Save a toy model of five features in two dimensions."""

    def save(
        name: str = "toy.ckpt", features: int = 5, hidden: int = 2, instances: int | None = None, **options
    ) -> str:
        torch.manual_seed(1)
        model = ToyModel((features,), hidden, instances=instances, **options)
        return checkpoint(model, SparseFeaturesDataModule(features=features), make_trainer, tmp_path / name)

    return save


# --- the samples ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("instances", [None, 3])
def test_samples_are_sums_of_directions_as_long_as_the_features_in_y(made, instances):
    data = made(instances=instances, features=6, hidden_dim=3, probability=0.3)
    directions = data.feature_directions
    assert directions.shape == (6, 3)
    lead = () if instances is None else (instances,)
    x, y = next(iter(data.train_dataloader()))
    assert (x.shape, y.shape) == ((1024, *lead, 3), (1024, *lead, 6))
    for batch in ((x, y), data.val_set.take(50), data.test_set.take(50), data.train_set.take(50)):
        by_hand = sum(batch[1][..., i, None] * directions[i] for i in range(6))
        torch.testing.assert_close(batch[0], by_hand)
    assert float((y > 0).double().mean()) == pytest.approx(0.3, abs=5 * math.sqrt(0.21 / y.numel()))


def test_features_are_those_of_the_module_without_a_toy_model(made):
    options = {"features": 4, "probability": 0.2, "correlated": 2, "instances": 2, "seed": 5}
    data, features = made(**options), SparseFeaturesDataModule(**options)
    features.setup()
    assert torch.equal(data.test_set.take(100)[1], features.test_set.take(100)[0])
    for (_, y), (x, _) in zip(data.train_dataloader(), list(features.train_dataloader())[:3], strict=False):
        assert torch.equal(y, x)


def test_before_setup(tmp_path):
    data = ToyActivationsDataModule(hidden_dim=3, instances=2, root=str(tmp_path))
    assert data.input_shape == (3,)
    assert data.instances == 2
    assert data.value_range == (-math.inf, math.inf)
    assert data.num_classes is None
    with pytest.raises(DataError, match=r"has no toy model yet; call its setup\(\) first\.$"):
        _ = data.feature_directions
    assert list(tmp_path.iterdir()) == []


def test_examples_are_activations(made):
    data = made(instances=2)
    x = data.examples(30, torch.Generator().manual_seed(0))
    features = data.draw_features(1, 30, torch.Generator().manual_seed(0))[0]
    assert x.shape == (30, 2, 2)
    torch.testing.assert_close(x, features @ data.feature_directions)


# --- the toy model that is trained here -----------------------------------------------------------------------------


def test_a_second_module_does_not_train_again(made, monkeypatch):
    first = made()
    monkeypatch.setattr(ToyTraining, "train", lambda self: pytest.fail("trained again"))
    for options in ({}, {"instances": 3}, {"probability": [[0.025], [0.3]], "instances": 2}, {"batch_size": 7}):
        assert torch.equal(made(**options).feature_directions, first.feature_directions)


@pytest.mark.parametrize(
    "options",
    [
        {"seed": 1},
        {"toy_steps": 6},
        {"toy_importance": [1.0, 0.9, 0.8, 0.7, 0.6]},
        {"probability": 0.1},
        {"magnitude": "normal"},
        {"probability": [[0.1], [0.025]], "instances": 2},
        {"toy_init": "xavier_joint", "instances": 2},
    ],
    ids=str,
)
def test_other_settings_give_another_toy_model(made, options):
    assert not torch.equal(made(**options).feature_directions, made().feature_directions)


def test_preparing_trains_and_setting_up_reads(made, monkeypatch, tmp_path):
    data = ToyActivationsDataModule(root=str(tmp_path), toy_steps=5)
    data.prepare_data()
    monkeypatch.setattr(ToyTraining, "train", lambda self: pytest.fail("trained again"))
    data.setup()
    assert data.feature_directions.shape == (5, 2)


def test_the_folder_is_that_of_the_data_by_default(monkeypatch, tmp_path):
    monkeypatch.setenv("AE_LIGHTNING_DATA", str(tmp_path / "here"))
    ToyActivationsDataModule(toy_steps=1).setup()
    assert [path.suffix for path in (tmp_path / "here" / "toy_models").iterdir()] == [".ckpt"]


@pytest.mark.parametrize("given", [False, True], ids=["trained here", "of a checkpoint"])
def test_no_global_random_number_is_drawn_and_no_gradient_kept(made, toy_model, given):
    path = toy_model(instances=2) if given else None
    before = torch.get_rng_state()
    for _ in range(2):  # the second one is read from its file in any case
        data = made(toy_model=path)
        data.prepare_data()
        x, _ = next(iter(data.train_dataloader()))
        assert torch.equal(torch.get_rng_state(), before)
        assert not data.feature_directions.requires_grad
        assert not x.requires_grad


# --- the toy model of a checkpoint ----------------------------------------------------------------------------------


@pytest.mark.parametrize("instances", [None, 3])
@pytest.mark.parametrize("own", [None, 3])
def test_the_directions_are_those_of_the_checkpoint_s_first_instance(made, toy_model, instances, own, monkeypatch):
    monkeypatch.setattr(ToyTraining, "train", lambda self: pytest.fail("trained another one"))
    path = toy_model(instances=instances)
    weights = torch.load(path, weights_only=True)["state_dict"]["dictionary.W_enc"]
    data = made(toy_model=path, instances=own)
    data.prepare_data()
    assert torch.equal(data.feature_directions, weights if instances is None else weights[0])


def test_the_importance_by_which_it_was_trained_does_not_matter(made, toy_model):
    path = toy_model(instances=2, importance=[[1.0] * 5, [0.5] * 5])
    assert made(toy_model=path).feature_directions.shape == (5, 2)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"features": 7}, "has features 5, but --data.features is 7; set --data.features 5."),
        ({"hidden_dim": 3}, "has hidden_dim 2, but --data.hidden_dim is 3; set --data.hidden_dim 2."),
        ({"instances": 4}, "has instances 3, but --data.instances is 4; set --data.instances 3."),
    ],
    ids=str,
)
def test_a_toy_model_of_another_size_is_refused(made, toy_model, options, sentence):
    path = toy_model(instances=3)
    with pytest.raises(ConfigError) as error:
        made(toy_model=path, **options)
    assert str(error.value) == f"the toy model of {path} {sentence}"


def test_another_variant_or_none_at_all_is_refused(made, make_trainer, tmp_path):
    other = checkpoint(OvercompleteAutoencoder((5,), 2), SparseFeaturesDataModule(), make_trainer, tmp_path / "o.ckpt")
    with pytest.raises(ConfigError, match=r"--data\.toy_model .*o\.ckpt is a OvercompleteAutoencoder; it must be a To"):
        made(toy_model=other)
    with pytest.raises(
        CheckpointError, match=r"^--data\.toy_model: there is no checkpoint at .*missing\.ckpt; .*: o\.ckpt$"
    ):
        made(toy_model=str(tmp_path / "missing.ckpt"))
    (tmp_path / "broken.ckpt").write_text("nothing")
    with pytest.raises(CheckpointError, match=r"broken\.ckpt is not a checkpoint"):
        made(toy_model=str(tmp_path / "broken.ckpt"))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"hidden_dim": 0}, "--data.hidden_dim is 0; it must be at least 1."),
        ({"toy_steps": 0}, "--data.toy_steps is 0; it must be at least 1."),
        ({"toy_importance": [1.0]}, "--data.toy_importance has 1 number for 5 features; give one for each"),
        ({"toy_importance": -1.0}, "--data.toy_importance has a number below 0; each must be at least 0."),
        ({"probability": 2.0}, "--data.probability is 2 for a feature; it must lie between 0 and 1."),
    ],
    ids=str,
)
def test_options_out_of_range(options, sentence):
    with pytest.raises(ConfigError) as error:
        ToyActivationsDataModule(**options)
    assert str(error.value) == sentence


# --- a toy model's run ----------------------------------------------------------------------------------------------


@pytest.fixture
def run(toy_model, tmp_path) -> Path:
    """As much of a run's folder as says what a toy model was trained on: features present with p = 0.1."""
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    shutil.copy(toy_model(), folder / "checkpoints" / "best.ckpt")
    write_config(folder, "SparseFeaturesDataModule", probability=0.1)
    return folder


def write_config(folder: Path, kind: str, **arguments) -> None:
    data = {"class_path": f"ae_lightning.data.{kind}", "init_args": {"features": 5, **arguments}}
    (folder / "config.yaml").write_text(yaml.safe_dump({"seed_everything": 0, "data": data}))


@pytest.mark.parametrize("place", ["", "checkpoints/best.ckpt"], ids=["the run", "its checkpoint"])
def test_features_that_the_toy_model_was_not_trained_on_are_noticed(made, run, place):
    with pytest.warns(Notice) as notices:
        made(toy_model=str(run / place), probability=0.2, magnitude="normal")
    assert [str(notice.message) for notice in notices] == [
        f"{run / place} was trained with probability {[0.1] * 5}, and its activations are drawn with {[0.2] * 5}",
        f"{run / place} was trained with magnitude uniform, and its activations are drawn with normal",
    ]


@pytest.mark.parametrize(
    ("trained_with", "options"),
    [
        ({"probability": 0.1}, {"probability": 0.1, "instances": 2, "seed": 3}),
        ({"probability": [[0.1], [0.4]], "instances": 2, "batch_size": 9}, {"probability": [0.1] * 5}),
    ],
    ids=str,
)
def test_the_same_features_need_no_notice(made, run, trained_with, options):
    write_config(run, "SparseFeaturesDataModule", **trained_with)
    with warnings.catch_warnings():
        warnings.simplefilter("error", Notice)
        made(toy_model=str(run), **options)


def test_a_run_that_tells_nothing_of_features_needs_no_notice(made, run):
    with warnings.catch_warnings():
        warnings.simplefilter("error", Notice)
        write_config(run, "GaussianDataModule")
        made(toy_model=str(run))
        (run / "config.yaml").unlink()
        made(toy_model=str(run))


# --- in runs --------------------------------------------------------------------------------------------------------

SHORT = [
    *("--trainer.max_epochs", "1", "--data.steps_per_epoch", "4", "--data.batch_size", "32"),
    *("--data.num_val", "50", "--data.num_test", "60", "--snapshots.schedule.count", "2"),
    *("--images.schedule.count", "1", "--trainer.accelerator", "cpu"),
]


@pytest.fixture
def command(monkeypatch, tmp_path):
    """Run the command line in an empty folder that holds the data too; it answers the folder of the newest run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AE_LIGHTNING_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")  # put back what Lightning writes there

    def run(*arguments: object) -> Path:
        assert main([str(argument) for argument in arguments]) == 0
        return max(tmp_path.glob("lightning_logs/*/version_*"), key=lambda path: path.stat().st_mtime_ns)

    return run


SAE = ["fit", "--model", "StandardSAE", "--model.latent_dim", "7", "--data", "ToyActivationsDataModule"]


@pytest.mark.parametrize("instances", [None, 2])
def test_a_run_can_be_opened_and_evaluated(command, instances, monkeypatch, capsys):
    own = [] if instances is None else ["--model.instances", instances, "--data.instances", instances]
    folder = command(*SAE, *own, *SHORT, "--data.toy_steps", "50", "--data.probability", "0.2")
    monkeypatch.setattr(ToyTraining, "train", lambda self: pytest.fail("trained again"))
    run = Run.load(folder)
    data = run.data
    data.setup()
    assert isinstance(data, ToyActivationsDataModule)
    assert data.instances == instances
    before = run.results
    assert before["data"]["hash"] == data.fingerprint()
    assert before["recovery"]["instances"] == (instances or 1)
    assert run.last_values("recovery")["recovery/mmcs"] == pytest.approx(before["recovery"]["mmcs"], abs=0.05)
    capsys.readouterr()
    command("evaluate", folder)
    assert "true features" in capsys.readouterr().out
    assert Run.load(folder).results["errors"] == before["errors"]


def test_a_toy_model_of_a_run_is_taken_and_known_again(command):
    toy = command("fit", "--model", "ToyModel", "--model.instances", 2, "--data", "SparseFeaturesDataModule", *SHORT)
    with pytest.warns(Notice, match=r"was trained with probability .*0\.025.*, and its .* drawn with .*0\.2"):
        folder = command(*SAE, *SHORT, "--data.toy_model", toy, "--data.probability", "0.2", "--experiment", "sae")
    data = Run.load(folder).data
    with pytest.warns(Notice):
        data.setup()
    weights = torch.load(toy / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]["dictionary.W_enc"]
    assert torch.equal(data.feature_directions, weights[0])

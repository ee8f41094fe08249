"""The baselines of a report: computed once for each data set and width, and never in the way of a report."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from sklearn.decomposition import PCA

from ae_lightning.analysis.random_encoder import random_encoder_error
from ae_lightning.data.sparse_features import SparseFeaturesDataModule
from ae_lightning.models.fully_connected import FullyConnectedAutoencoder
from ae_lightning.models.overcomplete import OvercompleteAutoencoder
from ae_lightning.models.toy_model import ToyModel
from ae_lightning.report import baselines
from ae_lightning.report.baselines import error_of_sets, pca_errors, random_encoder

SHAPE = (1, 8, 8)


@pytest.fixture
def widths(monkeypatch):
    """Width and activation of each random encoder that is fitted."""
    seen = []

    def fit(train, test, latent, activation):
        seen.append((latent, activation))
        return error_of_sets(train, test, latent, activation)

    monkeypatch.setattr(baselines, "error_of_sets", fit)
    return seen


@pytest.fixture
def run(tmp_path, digits):
    return SimpleNamespace(folder=tmp_path / "logs" / "mine" / "version_0", data=digits)


@pytest.fixture
def kept(tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    return folder / "baselines.json"


def test_it_is_computed_once_and_kept_beside_the_experiments(run, kept, widths):
    model = OvercompleteAutoencoder(SHAPE, 8)
    error = random_encoder(run, model, "abc")
    assert list(json.loads(kept.read_text()).values()) == [error]
    sibling = SimpleNamespace(folder=kept.parent / "other" / "version_3", data=run.data)
    assert random_encoder(run, model, "abc") == random_encoder(sibling, model, "abc") == error
    assert widths == [(8, "relu")]


def test_pca_of_some_components_is_that_of_scikit_learn_and_fitted_once(run, kept, digits, monkeypatch):
    train, test = (part.take(len(part))[0].flatten(1).double().numpy() for part in (digits.train_set, digits.test_set))
    fitted = PCA(5).fit(train)
    error = ((fitted.inverse_transform(fitted.transform(test)) - test) ** 2).mean()
    found = pca_errors(run, 5, "abc")
    assert found == pytest.approx({"mse_per_pixel": error, "fvu": error / test.var(axis=0).mean()}, rel=1e-5)
    monkeypatch.setattr(baselines, "Baselines", None)
    assert pca_errors(run, 5, "abc") == found
    with pytest.raises(TypeError):
        pca_errors(run, 6, "abc")


def test_the_error_is_that_of_a_random_encoder_on_these_data(run, kept, digits):
    train, test = digits.train_set.take(len(digits.train_set))[0], digits.test_set.take(len(digits.test_set))[0]
    expected = random_encoder_error(train, test, 8)
    assert random_encoder(run, OvercompleteAutoencoder(SHAPE, 8), "abc") == pytest.approx(expected, rel=1e-9)
    variance = float((test - train.mean(0)).square().mean())
    assert 0 < expected < variance


def test_another_width_activation_or_data_set_is_another_one(run, kept, widths):
    models = [
        OvercompleteAutoencoder(SHAPE, 8),
        OvercompleteAutoencoder(SHAPE, 9),
        OvercompleteAutoencoder(SHAPE, 8, activation="none"),
        FullyConnectedAutoencoder(SHAPE, latent_dim=7, hidden_dims=[12]),
    ]
    errors = [random_encoder(run, model, "abc") for model in models] + [random_encoder(run, models[0], "other data")]
    assert widths == [(8, "relu"), (9, "relu"), (8, "none"), (7, "none"), (8, "relu")]
    assert sorted(json.loads(kept.read_text()).values()) == sorted(errors)
    assert [random_encoder(run, model, "abc") for model in models] == errors[:4]
    assert len(widths) == 5


def test_what_another_report_wrote_meanwhile_is_kept(run, kept, monkeypatch):
    def slow(train, test, latent, activation):
        kept.write_text('{"of another": 0.5}')
        return 0.25

    monkeypatch.setattr(baselines, "error_of_sets", slow)
    assert random_encoder(run, OvercompleteAutoencoder(SHAPE, 8), "abc") == 0.25
    content = json.loads(kept.read_text())
    assert content.pop("of another") == 0.5
    assert list(content.values()) == [0.25]


@pytest.mark.parametrize("content", [b"", b'{"random_enc', b"\xff\xfe\x00", b"[1, 2]", b"null"])
def test_a_damaged_file_is_replaced(content, run, kept, widths):
    kept.write_bytes(content)
    error = random_encoder(run, OvercompleteAutoencoder(SHAPE, 8), "abc")
    assert list(json.loads(kept.read_text()).values()) == [error]
    assert random_encoder(run, OvercompleteAutoencoder(SHAPE, 8), "abc") == error
    assert len(widths) == 1


def test_where_nothing_can_be_written_it_is_still_known(run, kept, widths):
    kept.mkdir()  # what can neither be read as a file nor be replaced by one
    model = OvercompleteAutoencoder(SHAPE, 8)
    assert random_encoder(run, model, "abc") == random_encoder(run, model, "abc")
    assert len(widths) == 2
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]


def test_a_folder_given_in_short_is_found_out(run, kept, monkeypatch):
    (run.folder).mkdir(parents=True)
    monkeypatch.chdir(run.folder)
    here = SimpleNamespace(folder=Path(), data=run.data)
    random_encoder(here, OvercompleteAutoencoder(SHAPE, 8), "abc")
    assert kept.is_file()
    assert list(run.folder.iterdir()) == []


def test_samples_of_each_instances_own_have_none(run, kept, widths):
    data = SparseFeaturesDataModule(features=5, instances=2, steps_per_epoch=2, batch_size=4, num_val=4, num_test=4)
    data.setup()
    own = SimpleNamespace(folder=run.folder, data=data)
    assert random_encoder(own, ToyModel((5,), 2, instances=2), "abc") is None
    assert widths == []
    assert not kept.exists()


def test_a_code_too_wide_to_fit_in_seconds_has_none(run, kept, widths):
    assert random_encoder(run, SimpleNamespace(latent_size=4097), "abc") is None
    assert widths == []

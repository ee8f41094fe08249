import math

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression

from ae_lightning.callbacks import linear_probe
from ae_lightning.callbacks.linear_probe import LinearProbe
from ae_lightning.callbacks.schedule import Schedule
from ae_lightning.data.digits import DigitsDataModule
from ae_lightning.data.gaussian import GaussianDataModule
from ae_lightning.errors import ConfigError
from ae_lightning.models.fully_connected import FullyConnectedAutoencoder
from ae_lightning.models.overcomplete import OvercompleteAutoencoder

TRAIN, TEST = 300, 100


def probe(**options) -> LinearProbe:
    return LinearProbe(**{"train_size": TRAIN, "test_size": TEST, "pca_components": 20, **options})


def accuracy_by_hand(train, train_y, test, test_y, components: int | None = 20) -> float:
    """scikit-learn alone: PCA, one scale for all components, logistic regression."""
    train, test = train.reshape(len(train), -1), test.reshape(len(test), -1)
    if components is not None:
        pca = PCA(min(components, *train.shape), svd_solver="full").fit(train)
        train, test = pca.transform(train), pca.transform(test)
    else:
        train, test = train - train.mean(0), test - train.mean(0)
    scale = math.sqrt((train**2).mean())
    return LogisticRegression(max_iter=1000).fit(train / scale, train_y).score(test / scale, test_y)


def first_images(data: DigitsDataModule, n: int) -> tuple[torch.Tensor, np.ndarray]:
    """The first n images that are not test images, in the order in which scikit-learn has them."""
    rows = np.sort(np.concatenate([data.train_set.indices.numpy(), data.val_set.indices.numpy()]))[:n]
    whole = data.train_set
    x = torch.as_tensor(whole.x)[rows].float() / 16
    return x.view(-1, 1, 8, 8), whole.y[rows].numpy()


def codes(model, x: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        return model.encode(x).numpy()


def test_accuracies_are_those_of_scikit_learn_on_the_first_images(make_trainer, recorder, digits):
    torch.manual_seed(0)
    model = FullyConnectedAutoencoder((1, 8, 8), 10, (32,), optimizer=lambda p: torch.optim.Adam(p, lr=0.01))
    untrained = FullyConnectedAutoencoder((1, 8, 8), 10, (32,))
    untrained.load_state_dict(model.state_dict())
    make_trainer(probe(full=False), logger=recorder, max_epochs=3).fit(model, digits)

    x, y = first_images(digits, TRAIN + TEST)
    train, test, labels = x[:TRAIN], x[TRAIN:], (y[:TRAIN], y[TRAIN:])
    pca = PCA(10).fit(train.flatten(1))
    features = {
        "raw": (train.numpy(), test.numpy()),
        "pca": (pca.transform(train.flatten(1)), pca.transform(test.flatten(1))),
        "untrained": (codes(untrained, train), codes(untrained, test)),
    }
    expected = {n: accuracy_by_hand(a, labels[0], b, labels[1]) for n, (a, b) in features.items()}
    trained = accuracy_by_hand(codes(model, train), labels[0], codes(model, test), labels[1])
    # A test image or two may fall on the other side of a boundary in another order of summation.
    for name, accuracy in expected.items():
        found = recorder.series(f"probe/{name}")
        assert list(found) == [0, 18]
        assert found[0] == found[18] == pytest.approx(accuracy, abs=0.011)
    latent = recorder.series("probe/latent")
    assert list(latent) == [0, 18]
    assert latent[0] == recorder.series("probe/untrained")[0]
    assert latent[18] == pytest.approx(trained, abs=0.011)
    assert latent[18] != latent[0]
    assert expected["raw"] > 0.85 > expected["untrained"]
    for name in ("latent", "raw", "pca", "untrained"):
        for step, accuracy in recorder.series(f"probe/{name}").items():
            error = math.sqrt(accuracy * (1 - accuracy) / TEST)
            assert recorder.series(f"probe/{name}_se")[step] == pytest.approx(error)


def test_the_full_protocol_fits_on_training_images_and_scores_on_test_images(make_trainer, recorder, digits):
    torch.manual_seed(0)
    model = FullyConnectedAutoencoder((1, 8, 8), 10, (32,))
    make_trainer(probe(), logger=recorder).fit(model, digits)
    (train, train_y), (test, test_y) = digits.train_set.take(2000), digits.test_set.take(2000)
    assert (len(train), len(test)) == (1293, 360)
    raw = accuracy_by_hand(train.numpy(), train_y.numpy(), test.numpy(), test_y.numpy())
    latent = accuracy_by_hand(codes(model, train), train_y.numpy(), codes(model, test), test_y.numpy())
    assert recorder.series("probe_full/raw")[6] == pytest.approx(raw, abs=0.006)
    assert recorder.series("probe_full/latent")[6] == pytest.approx(latent, abs=0.006)
    assert recorder.series("probe_full/raw_se")[6] == pytest.approx(math.sqrt(raw * (1 - raw) / 360), rel=0.1)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_first_images_are_the_same_however_training_and_validation_are_split(seed, make_trainer, recorder):
    def raw(val_fraction: float) -> float:
        data = DigitsDataModule(val_fraction=val_fraction, seed=seed)
        logger = type(recorder)()
        model = OvercompleteAutoencoder((1, 8, 8), 70)
        make_trainer(probe(full=False), logger=logger, max_steps=1).fit(model, data)
        return logger.series("probe/raw")[0]

    assert raw(0.1) == raw(0.5)


def test_of_few_images_five_sixths_are_fitted_on(make_trainer, recorder, digits):
    make_trainer(probe(full=False, train_size=5000, test_size=1000), logger=recorder, max_steps=1).fit(
        OvercompleteAutoencoder((1, 8, 8), 70), digits
    )
    x, y = first_images(digits, 1437)
    assert len(x) == 1437
    n = 1437 * 5 // 6
    expected = accuracy_by_hand(x[:n].numpy(), y[:n], x[n:].numpy(), y[n:])
    assert recorder.series("probe/raw")[0] == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize("latent_dim", [64, 70])
def test_pca_as_wide_as_the_input_is_the_raw_pixels(latent_dim, make_trainer, recorder, digits):
    make_trainer(probe(full=False), logger=recorder, max_steps=1).fit(
        OvercompleteAutoencoder((1, 8, 8), latent_dim), digits
    )
    assert recorder.series("probe/pca") == recorder.series("probe/raw")
    assert recorder.series("probe/pca_se") == recorder.series("probe/raw_se")


def test_of_instances_the_mean_is_taken(make_trainer, recorder, digits):
    torch.manual_seed(0)
    model = OvercompleteAutoencoder((1, 8, 8), 12, instances=3)
    make_trainer(probe(full=False), logger=recorder).fit(model, digits)
    x, y = first_images(digits, TRAIN + TEST)
    z = codes(model, x)
    assert z.shape == (3, TRAIN + TEST, 12)
    each = [accuracy_by_hand(one[:TRAIN], y[:TRAIN], one[TRAIN:], y[TRAIN:]) for one in z]
    assert len(set(each)) > 1
    assert recorder.series("probe/latent")[6] == pytest.approx(np.mean(each), abs=0.007)


def test_without_components_the_classifier_reads_all_features(make_trainer, recorder, digits):
    make_trainer(probe(full=False, pca_components=None), logger=recorder, max_steps=1).fit(
        OvercompleteAutoencoder((1, 8, 8), 70), digits
    )
    x, y = first_images(digits, TRAIN + TEST)
    expected = accuracy_by_hand(x[:TRAIN].numpy(), y[:TRAIN], x[TRAIN:].numpy(), y[TRAIN:], None)
    assert recorder.series("probe/raw")[0] == pytest.approx(expected, abs=0.011)


def test_it_may_leave_the_features_as_large_as_they_are(make_trainer, recorder, digits):
    model = FullyConnectedAutoencoder((1, 8, 8), 10, (32,))
    with torch.no_grad():
        for parameter in model.encoder[-1].parameters():
            parameter.mul_(0.001)
    make_trainer(probe(full=False, scaled=False), logger=recorder, max_steps=1).fit(model, digits)
    x, y = first_images(digits, TRAIN + TEST)
    pixels = x.flatten(1).numpy()
    pca = PCA(20, svd_solver="full").fit(pixels[:TRAIN])
    train, test = pca.transform(pixels[:TRAIN]), pca.transform(pixels[TRAIN:])
    raw = LogisticRegression(max_iter=1000).fit(train, y[:TRAIN]).score(test, y[TRAIN:])
    assert recorder.series("probe/raw")[0] == pytest.approx(raw, abs=0.011)
    assert recorder.series("probe/latent")[0] < 0.3  # the penalty leaves next to nothing of a code so small


class Noisy(FullyConnectedAutoencoder):
    """Draws from the global generator while it trains."""

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return super().encode(x + 0.1 * torch.randn_like(x) if self.training else x)


def test_it_leaves_no_trace(make_trainer):
    states = []
    for callbacks in ([], [probe(schedule=Schedule(every=2, unit="steps"))]):
        torch.manual_seed(0)
        np.random.seed(0)  # noqa: NPY002 - it is the global state that must not move
        model = Noisy((1, 8, 8), 10, (32,))
        make_trainer(*callbacks).fit(model, DigitsDataModule())
        assert model.training or not callbacks
        states.append([*model.state_dict().values(), torch.get_rng_state(), torch.tensor(np.random.rand())])  # noqa: NPY002
    assert all(torch.equal(without, with_probe) for without, with_probe in zip(*states, strict=True))


def test_it_probes_on_schedule_and_fully_only_at_the_ends(make_trainer, recorder, digits):
    schedule = Schedule(every=2, unit="steps")
    make_trainer(probe(schedule=schedule), logger=recorder).fit(OvercompleteAutoencoder((1, 8, 8), 5), digits)
    assert list(recorder.series("probe/latent")) == [0, 2, 4, 6]
    assert list(recorder.series("probe_full/latent")) == [0, 6]


def test_the_untrained_baseline_survives_a_resumed_run(make_trainer, recorder, digits, tmp_path):
    def fit(logger, max_epochs, ckpt_path=None):
        torch.manual_seed(0)
        trainer = make_trainer(probe(), logger=logger, max_epochs=max_epochs)
        model = FullyConnectedAutoencoder((1, 8, 8), 10, (32,))
        trainer.fit(model, digits, ckpt_path=ckpt_path, weights_only=True)
        return trainer

    fit(recorder, 1).save_checkpoint(tmp_path / "one.ckpt")
    resumed = type(recorder)()
    fit(resumed, 10, tmp_path / "one.ckpt")
    for group in ("probe", "probe_full"):
        for name in ("raw", "pca", "untrained", "untrained_se"):
            assert resumed.series(f"{group}/{name}") == {60: recorder.series(f"{group}/{name}")[0]}
        assert resumed.series(f"{group}/latent")[60] != recorder.series(f"{group}/untrained")[0]


def test_data_without_labels_are_refused_before_anything_is_trained(make_trainer, recorder):
    model = OvercompleteAutoencoder((20,), 5)
    with pytest.raises(ConfigError, match=r"LinearProbe needs class labels, but GaussianDataModule has none"):
        make_trainer(probe(), logger=recorder).fit(model, GaussianDataModule(dim=20, rank=3))
    assert recorder.rows == []


def test_of_many_images_the_full_protocol_draws_some_and_says_how_many(make_trainer, recorder, digits, monkeypatch):
    monkeypatch.setattr(linear_probe, "_MOST_PROBED", 200)
    model = OvercompleteAutoencoder((1, 8, 8), 10)
    make_trainer(probe(), logger=recorder, max_epochs=1).fit(model, digits)
    assert recorder.series("probe_full/fitted_on") == {0: 200.0, 6: 200.0}
    assert 0.7 < recorder.series("probe_full/raw")[0] < 1
    n = recorder.series("probe_full/raw_se")[0]
    accuracy = recorder.series("probe_full/raw")[0]
    assert n == pytest.approx(math.sqrt(accuracy * (1 - accuracy) / 200))

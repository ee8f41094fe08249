"""The figures of a model and its data, read back from what is drawn and compared with the model's own answers."""

import re

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn.decomposition import PCA

from ae_lightning.analysis.samplers import Sampler, StandardNormal
from ae_lightning.data.arrays import ArraysDataModule
from ae_lightning.data.digits import DigitsDataModule
from ae_lightning.data.gaussian import GaussianDataModule
from ae_lightning.data.in_memory import InMemoryDataset
from ae_lightning.data.sparse_features import SparseFeaturesDataModule
from ae_lightning.errors import ConfigError
from ae_lightning.gallery import Gallery
from ae_lightning.models.convolutional import ConvAutoencoder, DeepConvAutoencoder
from ae_lightning.models.fully_connected import FullyConnectedAutoencoder
from ae_lightning.models.overcomplete import OvercompleteAutoencoder
from ae_lightning.plots.latent_space import image_grid

ALL_BUT_LAYERS = ["reconstructions", "interpolation", "arithmetic", "samples", "grid", "scatter"]


@pytest.fixture
def model() -> FullyConnectedAutoencoder:
    torch.manual_seed(0)
    return FullyConnectedAutoencoder((1, 8, 8), 2, (16, 8))


@pytest.fixture
def gallery(model, digits) -> Gallery:
    return Gallery(model, digits)


def test_images(data) -> tuple[torch.Tensor, list[int]]:
    x, y = data.test_set.take(len(data.test_set))
    return x, y.tolist()


test_images.__test__ = False


@torch.no_grad()
def decoded(model, z) -> np.ndarray:
    return model.decode(z).numpy()


@torch.no_grad()
def encoded(model, x) -> torch.Tensor:
    return model.encode(x)


def from_left_to_right(figure: Figure) -> list[np.ndarray]:
    """Gray values within [0, 1] of all that is drawn on the first axes, row by row."""
    images = sorted(
        figure.axes[0].images, key=lambda image: (round(min(image.get_extent()[2:]), 3), image.get_extent())
    )
    return [np.asarray(image.get_array())[..., 0] / 255 for image in images]


def pixels(figure: Figure) -> np.ndarray:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def pictured(figure: Figure) -> np.ndarray:
    return np.asarray(figure.axes[0].images[0].get_array())


def words(figure: Figure) -> str:
    FigureCanvasAgg(figure).draw()
    found = [text for ax in figure.axes for text in (*ax.get_xticklabels(), *ax.get_yticklabels(), *ax.texts, ax.title)]
    return " ".join(text.get_text() for text in found)


def samples_named(figure: Figure) -> list[int]:
    return [int(number) for number in re.findall(r"#(\d+)", words(figure))]


def test_an_interpolation_goes_from_one_samples_code_to_the_others(model, digits, gallery):
    x, _ = test_images(digits)
    shown = from_left_to_right(gallery.interpolation([(3, 7), (0, 359)], steps=5))
    assert len(shown) == 2 * (5 + 2)
    for row, (i, j) in ((shown[:7], (3, 7)), (shown[7:], (0, 359))):
        z_i, z_j = encoded(model, x[[i, j]])
        expected = [x[i, 0], *(decoded(model, ((1 - t) * z_i + t * z_j)[None])[0, 0] for t in (0, 0.25, 0.5, 0.75, 1))]
        for image, truth in zip(row, [*expected, x[j, 0]], strict=True):
            np.testing.assert_allclose(image, truth, atol=0.003)


def test_arithmetic_decodes_the_first_code_plus_the_second_minus_the_third(model, digits, gallery):
    x, _ = test_images(digits)
    figure = gallery.arithmetic(2, 3, 5)
    z = encoded(model, x[[2, 3, 5]])
    expected = [*x[[2, 3, 5], 0], decoded(model, (z[0] + z[1] - z[2])[None])[0, 0]]
    for image, truth in zip(from_left_to_right(figure), expected, strict=True):
        np.testing.assert_allclose(image, truth, atol=0.003)
    assert samples_named(figure) == [2, 3, 5]


def test_reconstructions_are_of_the_first_test_samples(model, digits, gallery):
    x, _ = test_images(digits)
    axes = gallery.reconstructions(4).axes
    shown = [np.asarray(ax.images[0].get_array())[..., 0] / 255 for ax in axes[:8]]
    with torch.no_grad():
        x_hat = model(x[:4]).x_hat
    np.testing.assert_allclose(shown, torch.cat([x[:4], x_hat])[:, 0], atol=0.003)


class WithPrior(FullyConnectedAutoencoder):
    """Decodes codes that a normal fitted to training codes would hardly draw."""

    @property
    def prior(self) -> Sampler:
        return StandardNormal(self.latent_shape)


def test_random_codes_are_of_the_models_prior_where_it_has_one_or_of_the_sampler_asked_for(digits):
    torch.manual_seed(0)
    gallery = Gallery(WithPrior((1, 8, 8), 2, (16, 8)), digits)
    assert gallery.default_sampler == "prior"
    z = torch.randn(9, 2, generator=torch.Generator().manual_seed(3))
    expected = image_grid(decoded(gallery.model, z), None, (0, 1))
    shown = gallery.samples(9, seed=3)
    assert np.array_equal(pictured(shown), pictured(expected))
    other = gallery.samples(9, gallery.sampler("empirical"), seed=3)
    assert not np.array_equal(pictured(other), pictured(shown))


class ByNumbers(FullyConnectedAutoencoder):
    """Its discrete code is how many pixels of the left and of the right half are above 0.5."""

    def indices_of(self, x):
        return (x > 0.5).reshape(-1, 8, 2, 4).sum((1, 3))

    def decode_indices(self, indices):
        return (indices.float() / 32)[:, None, None, :].repeat_interleave(4, -1).expand(-1, 1, 8, 8)


def test_discrete_codes_are_drawn_by_their_frequencies_and_have_no_plane(digits):
    gallery = Gallery(ByNumbers((1, 8, 8), 2, (16, 8)), digits)
    assert {"grid"} == gallery.drawable().keys() - gallery.fitting().keys()
    assert gallery.default_sampler == "empirical"
    drawn = gallery.sampler().draw(4000)
    x, _ = digits.train_set.take(2000)
    real = gallery.model.indices_of(x)
    assert drawn.dtype == torch.int64
    torch.testing.assert_close(drawn.double().mean(0), real.double().mean(0), atol=0.2, rtol=0)
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.05 < abs(np.corrcoef(real.T)[0, 1])
    assert gallery.samples(4).axes


def test_a_code_of_two_numbers_is_scattered_as_it_is_by_class(model, digits, gallery):
    x, y = test_images(digits)
    figure = gallery.scatter()
    ax = figure.axes[0]
    (points,) = ax.collections
    truth = {tuple(code): label for code, label in zip(encoded(model, x).numpy().round(4).tolist(), y, strict=True)}
    found = [tuple(place) for place in np.asarray(points.get_offsets(), dtype=np.float32).round(4).tolist()]
    assert set(found) == set(truth)
    colors_of_class = {
        (truth[place], tuple(color)) for place, color in zip(found, points.get_facecolors().tolist(), strict=True)
    }
    assert len(colors_of_class) == len({color for _, color in colors_of_class}) == 10
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("latent 0", "latent 1")
    assert "360 test samples" in words(figure)


def test_a_wide_code_is_projected_on_the_principal_components_of_the_training_codes(digits):
    model = OvercompleteAutoencoder((1, 8, 8), 70)
    figure = Gallery(model, digits).scatter()
    train = encoded(model, digits.train_set.take(10_000)[0]).double().numpy()
    pca = PCA(2).fit(train)
    expected = pca.transform(encoded(model, test_images(digits)[0]).double().numpy())
    found = np.asarray(figure.axes[0].collections[0].get_offsets())
    for axis in (0, 1):
        one, other = np.sort(found[:, axis]), np.sort(expected[:, axis])
        sign = 1 if np.allclose(one, other, atol=1e-3) else -1
        np.testing.assert_allclose(one, np.sort(sign * expected[:, axis]), atol=1e-3)
    share = 100 * pca.explained_variance_ratio_
    assert figure.axes[0].get_xlabel() == f"PC 1 ({share[0]:.0f} % of variance)"
    assert figure.axes[0].get_ylabel() == f"PC 2 ({share[1]:.0f} % of variance)"


def test_data_without_classes_are_scattered_in_one_color():
    data = GaussianDataModule(dim=6, rank=2, num_train=80, num_val=20, num_test=30)
    figure = Gallery(OvercompleteAutoencoder((6,), 3, activation="none"), data).scatter()
    (points,) = figure.axes[0].collections
    assert len(points.get_offsets()) == 30
    assert len(np.unique(points.get_facecolors(), axis=0)) == 1


def test_the_grid_spans_the_plane_of_the_training_codes(model, digits, gallery):
    figure = gallery.grid(4)
    ax = figure.axes[0]
    codes = encoded(model, digits.train_set.take(10_000)[0]).numpy()
    for limits, values in ((ax.get_xlim(), codes[:, 0]), (ax.get_ylim(), codes[:, 1])):
        low, high = np.percentile(values, [1, 99])
        half = (high - low) / 3 / 2  # the outermost images are centered on the ends
        np.testing.assert_allclose(limits, [low - half, high + half], rtol=1e-3)
    corner = torch.tensor([[np.percentile(codes[:, 0], 1), np.percentile(codes[:, 1], 99)]]).float()
    assert contains(np.asarray(ax.images[0].get_array())[..., 0] / 255, decoded(model, corner)[0, 0])


def contains(picture: np.ndarray, image: np.ndarray) -> bool:
    """Whether an image, enlarged by a whole factor, stands in the top left corner, past a margin of a few pixels."""
    side = len(image)
    for scale in range(1, len(picture) // (4 * side) + 1):
        for margin in range(8):
            part = picture[margin : margin + side * scale : scale, margin : margin + side * scale : scale]
            if part.shape == image.shape and np.allclose(part, image, atol=0.003):
                return True
    return False


def test_random_codes_are_the_same_each_time_and_as_many_as_asked_for(gallery):
    state = torch.get_rng_state()
    once, again = gallery.samples(9), gallery.samples(9)
    assert np.array_equal(pixels(once), pixels(again))
    assert torch.equal(torch.get_rng_state(), state)
    one, nine = (np.asarray(f.axes[0].images[0].get_array()) for f in (gallery.samples(1), once))
    assert nine.shape[0] > 2.5 * one.shape[0]


def test_layers_of_a_fully_connected_encoder_are_activations_sorted_by_class(model, digits, gallery):
    x, y = test_images(digits)
    order = sorted(range(100), key=lambda i: y[i])
    weight, bias = list(model.encoder.parameters())[:2]
    hidden = (x[order].flatten(1) @ weight.T + bias).clamp(min=0)
    figure = gallery.layers()
    panels = [
        np.asarray(ax.images[0].get_array()) for ax in figure.axes if ax.images and ax.images[0].get_array().ndim == 2
    ]
    assert [panel.shape for panel in panels] == [(100, 16), (100, 8), (100, 2)]
    np.testing.assert_allclose(panels[-1], encoded(model, x[order]).numpy(), atol=1e-5)
    np.testing.assert_allclose(panels[0], hidden.detach().numpy(), atol=1e-5)
    assert "sorted by class" in (figure.get_suptitle() or words(figure))
    assert "layer 1" in (text := " ".join(ax.get_title(loc="left") for ax in figure.axes))
    assert "code" in text


@pytest.mark.parametrize(
    ("model", "sizes"),
    [
        (ConvAutoencoder((1, 8, 8), 6), ["6 maps of 4 × 4"]),
        (DeepConvAutoencoder((1, 8, 8)), ["16 maps of 4 × 4", "32 maps of 2 × 2", "64 maps of 1 × 1"]),
    ],
    ids=["one stage", "three stages"],
)
def test_layers_of_a_convolutional_encoder_are_feature_maps_and_the_code_is_the_last(model, sizes, digits):
    titles = [title for ax in Gallery(model, digits).layers().axes if (title := ax.get_title(loc="left"))]
    assert [title.partition(": ")[2].removeprefix("first 32 of ") for title in titles] == sizes
    assert titles[-1].startswith("code")


@pytest.mark.parametrize(
    ("model", "layers"),
    [
        (OvercompleteAutoencoder((1, 8, 8), 20), []),
        (FullyConnectedAutoencoder((1, 8, 8), 3), ["layers"]),
        (FullyConnectedAutoencoder((1, 8, 8), 3, ()), []),
        (ConvAutoencoder((1, 8, 8), 4), ["layers"]),
    ],
    ids=["shallow", "deep", "no hidden layers", "convolutional"],
)
def test_what_fits_a_variant(model, layers, digits):
    gallery = Gallery(model, digits)
    assert list(gallery.drawable()) == ALL_BUT_LAYERS + layers
    if not layers:
        with pytest.raises(ConfigError, match="Autoencoder has no hidden layers to show"):
            gallery.layers()


def test_a_single_test_sample_has_no_other_to_go_to(tmp_path):
    for name, count in (("train", 30), ("test", 1)):
        np.save(tmp_path / f"{name}.npy", np.random.default_rng(0).random((count, 5), dtype=np.float32))
    data = ArraysDataModule(str(tmp_path / "train.npy"), test=str(tmp_path / "test.npy"))
    found = Gallery(OvercompleteAutoencoder((5,), 3), data).fitting()
    assert list(found) == ["reconstructions", "scatter"]
    for draw in found.values():
        assert pixels(draw()).std() > 0


@pytest.mark.parametrize(
    "shape", [(20,), (2,), (3, 6, 6), (2, 6, 6), (6, 9), (100,), (1, 5, 4, 3)], ids=lambda s: "×".join(map(str, s))
)
def test_data_of_any_shape_and_range_can_be_shown(shape, tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(60, *shape)).astype(np.float32))
    gallery = Gallery(OvercompleteAutoencoder(shape, 12), ArraysDataModule(str(tmp_path / "x.npy")))
    assert list(gallery.drawable()) == ALL_BUT_LAYERS
    for draw in gallery.drawable().values():
        assert pixels(draw()).std() > 0


def test_vectors_are_not_drawn_as_images_unless_they_are_asked_for(tmp_path):
    x = np.random.default_rng(0).normal(size=(60, 20)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    model = OvercompleteAutoencoder((20,), 12, activation="none")
    gallery = Gallery(model, ArraysDataModule(str(tmp_path / "x.npy")))
    assert list(gallery.fitting()) == ["reconstructions", "scatter"]
    profile = gallery.fitting()["reconstructions"]().axes[2]
    first = gallery.test_set.take(1)[0]
    assert [bar.get_height() for bar in profile.patches] == pytest.approx(first[0].tolist())
    with torch.no_grad():
        np.testing.assert_allclose(profile.lines[0].get_ydata(), model(first).x_hat[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("activation", "dense"), [("relu", False), ("sigmoid", True), ("tanh", True), ("none", True)])
def test_codes_from_a_normal_are_decoded_where_a_code_is_dense(activation, dense, digits):
    torch.manual_seed(0)
    gallery = Gallery(OvercompleteAutoencoder((1, 8, 8), 12, activation=activation), digits)
    of_a_normal = {"samples", "grid"}
    assert set(gallery.fitting()) & of_a_normal == (of_a_normal if dense else set())
    assert of_a_normal <= set(gallery.drawable())


def test_the_chosen_samples_are_of_different_classes(digits, gallery):
    _, y = test_images(digits)
    fitting = gallery.fitting()
    named = samples_named(fitting["interpolation"]())
    assert [y[i] for i in named] == list(range(10))
    a, b, c = samples_named(fitting["arithmetic"]())
    assert y[a] == y[c] != y[b]
    assert a != c


def test_of_instances_the_first_is_shown(digits):
    torch.manual_seed(0)
    population, one = OvercompleteAutoencoder((1, 8, 8), 20, instances=3), OvercompleteAutoencoder((1, 8, 8), 20)
    assert_the_first_is_shown(population, digits, one, digits)


def assert_the_first_is_shown(population, data, one, its_data) -> None:
    """The figures are those of a single model with the first one's weights, on data of its own."""
    one.load_state_dict({name: value[0] for name, value in population.state_dict().items()})
    first, other = Gallery(population, data).drawable(), Gallery(one, its_data).drawable()
    assert list(first) == list(other) == ALL_BUT_LAYERS
    for name, draw in first.items():
        # Batched and single products differ in the last bit, which may turn a gray by one.
        difference = np.abs(pixels(draw()).astype(int) - pixels(other[name]()))
        assert (difference > 2).mean() < 0.001, name


def test_where_each_instance_has_samples_of_its_own_the_first_is_shown_on_its_own():
    torch.manual_seed(0)
    own = SparseFeaturesDataModule(6, [[0.9], [0.1], [0.5]], instances=3, num_val=20, num_test=30)
    alone = SparseFeaturesDataModule(6, num_val=20, num_test=30)
    own.setup()
    alone.setup()
    parts = (own.train_set, own.val_set, own.test_set)
    alone._sets = tuple(InMemoryDataset(part.take(len(part))[0][:, 0].clone()) for part in parts)
    population, one = OvercompleteAutoencoder((6,), 4, instances=3), OvercompleteAutoencoder((6,), 4)
    assert torch.equal(Gallery(population, own).sample(7), own.test_set[7][0][0])
    assert_the_first_is_shown(population, own, one, alone)


def test_the_model_is_left_as_it_was(digits):
    model = FullyConnectedAutoencoder((1, 8, 8), 3, (16,), dropout=0.5).train()
    model.encoder.eval()
    modes = {name: part.training for name, part in model.named_modules()}
    before, state = [p.clone() for p in model.parameters()], torch.get_rng_state()
    for draw in Gallery(model, digits).fitting().values():
        draw()
    assert {name: part.training for name, part in model.named_modules()} == modes
    assert all(torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)


def test_weights_in_half_precision_can_be_shown(model, digits):
    for draw in Gallery(model.to(torch.bfloat16), digits).fitting().values():
        assert pixels(draw()).std() > 0


def test_data_are_set_up_where_they_are_not(model):
    assert samples_named(Gallery(model, DigitsDataModule()).arithmetic(0, 1, 2)) == [0, 1, 2]


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda g: g.interpolation([(0, 12345)]), "sample 12345 is not in the test set, which has 360 (0 to 359)"),
        (lambda g: g.arithmetic(0, -1, 1), "sample -1 is not in the test set, which has 360 (0 to 359)"),
        (lambda g: g.sample(360), "sample 360 is not in the test set, which has 360 (0 to 359)"),
        (lambda g: g.interpolation([(0, 1)], 1), "an interpolation has at least 2 steps, its two ends, not 1"),
        (lambda g: g.samples(0), "there must be at least 1 sample to draw, not 0"),
        (lambda g: g.grid(1), "a grid has at least 2 rows and columns, not 1"),
    ],
    ids=["beyond the set", "negative", "one too many", "one step", "no samples", "a grid of one"],
)
def test_what_cannot_be_drawn_is_one_sentence(draw, message, gallery):
    with pytest.raises(ConfigError, match=re.escape(message)):
        draw(gallery)

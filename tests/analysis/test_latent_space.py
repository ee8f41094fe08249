import weakref
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import Tensor, nn

from ae_lightning.analysis.coder import ByIndices, DiscreteCoder, OneInstance, single
from ae_lightning.analysis.latent_space import (
    arithmetic,
    code_plane,
    encode_dataset,
    grid,
    interpolate,
    sample,
    sample_batches,
)
from ae_lightning.analysis.samplers import Empirical, FittedNormal, StandardNormal
from ae_lightning.models.overcomplete import OvercompleteAutoencoder


class Linear(nn.Module):
    """x̂ = D (E x + b) + c with known numbers, on samples of 2 × 3."""

    instances = None
    input_shape = (2, 3)

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        draw = lambda *shape: nn.Parameter(torch.randn(*shape, generator=generator))  # noqa: E731
        self.E, self.b, self.D, self.c = draw(width, 6), draw(width), draw(6, width), draw(6)

    def encode(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.E.T + self.b

    def decode(self, z: Tensor) -> Tensor:
        return (z @ self.D.T + self.c).unflatten(1, (2, 3))


class Square(nn.Module):
    """The code is the sample, the reconstruction its square: what lies between codes is not between images."""

    instances = None

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.input_shape = shape

    def encode(self, x: Tensor) -> Tensor:
        return x

    def decode(self, z: Tensor) -> Tensor:
        return z**2


class Same(Square):
    def decode(self, z: Tensor) -> Tensor:
        return z


class Noisy(nn.Module):
    """Dropout and batch statistics, with one part in evaluation mode already."""

    instances = None
    input_shape = (5,)

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))
        self.decoder = nn.Sequential(nn.Linear(3, 5), nn.Dropout(0.5))
        self.train()
        self.decoder[1].eval()

    def encode(self, x: Tensor) -> Tensor:
        return self.encoder(x)

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z)


def _draws(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _through(model: Linear, x: np.ndarray) -> np.ndarray:
    E, b, D, c = (p.detach().numpy().astype(np.float64) for p in (model.E, model.b, model.D, model.c))
    return ((x.reshape(-1, 6) @ E.T + b) @ D.T + c).reshape(-1, 2, 3)


def test_a_line_of_codes_is_decoded_at_equal_distances():
    model, x1, x2 = Linear(), _draws(2, 3), _draws(2, 3, seed=1)
    ends = _through(model, np.stack([x1, x2]))
    expected = [(1 - t) * ends[0] + t * ends[1] for t in (0, 0.25, 0.5, 0.75, 1)]
    images = interpolate(model, x1, x2, 5)
    assert (images.dtype, images.requires_grad) == (torch.float32, False)
    np.testing.assert_allclose(images, expected, atol=1e-5)


def test_the_line_runs_through_codes_not_images():
    images = interpolate(Square(1), torch.tensor([1.0]), torch.tensor([3.0]), 3)
    assert images.tolist() == [[1.0], [4.0], [9.0]]


def test_codes_are_added_and_subtracted():
    model = Linear()
    a, b, c = (_draws(2, 3, seed=seed) for seed in range(3))
    np.testing.assert_allclose(arithmetic(model, a, b, c), _through(model, (a + b - c).numpy())[0], atol=1e-5)
    three, five, one = (torch.full((1, 2, 2), value) for value in (3.0, 5.0, 1.0))
    assert torch.equal(arithmetic(Square(1, 2, 2), three, five, one), torch.full((1, 2, 2), 49.0))


def test_random_codes_are_decoded_in_their_own_shape_and_batch_by_batch():
    drawn = StandardNormal((1, 2, 4))
    expected = drawn.draw(700, 3) ** 2
    assert torch.equal(sample(Square(1, 2, 4), 700, drawn, 3), expected)
    batches = list(sample_batches(Square(1, 2, 4), 700, drawn, 3))
    assert max(map(len, batches)) < 700
    assert torch.equal(torch.cat(batches), expected)


class Entries(nn.Module):
    """Each of two positions has a codebook of three numbers, of which it takes the nearest."""

    input_shape = (2,)

    def __init__(self) -> None:
        super().__init__()
        self.book = nn.Parameter(torch.tensor([0.0, 10.0, 1000.0]))

    def indices_of(self, x: Tensor) -> Tensor:
        return (x[..., None] - self.book).abs().argmin(-1)

    def decode_indices(self, indices: Tensor) -> Tensor:
        return self.book[indices]


def test_discrete_codes_stay_whole_numbers_in_any_precision():
    model = ByIndices(Entries().bfloat16())
    codes = _encode(model, torch.tensor([[9.0, 1.0], [800.0, 12.0]]))
    assert codes.tolist() == [[1, 0], [2, 1]]
    assert codes.dtype == torch.int64
    images = sample(model, 400, Empirical(codes))
    assert {tuple(row) for row in images.tolist()} == {(10, 0), (10, 10), (1000, 0), (1000, 10)}
    assert isinstance(Entries(), DiscreteCoder)
    assert not isinstance(Linear(), DiscreteCoder)


def test_a_dataset_is_encoded_batch_by_batch_with_one_in_memory():
    model, x, y = Linear(), _draws(10, 2, 3), torch.arange(10)
    alive: list[weakref.ref[Tensor]] = []

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, 10, 4):
            assert not [ref for ref in alive if ref() is not None]
            batch = x[start : start + 4].clone()
            alive.append(weakref.ref(batch))
            pair = (batch, y[start : start + 4])
            del batch
            yield pair
            del pair  # what is still alive now is held by the other side

    codes, labels = encode_dataset(model, batches())
    expected = x.reshape(10, 6).double() @ model.E.detach().double().T + model.b.detach().double()
    torch.testing.assert_close(codes, expected.float())
    assert torch.equal(labels, y)
    assert labels.dtype == torch.int64
    assert not codes.requires_grad


def test_samples_without_labels_and_codes_that_are_images_keep_their_shapes():
    codes, labels = encode_dataset(Same(1, 2, 4), [(torch.ones(3, 1, 2, 4), torch.empty(3, 0))] * 2)
    assert (codes.shape, labels.shape) == ((6, 1, 2, 4), (6, 0))


def test_a_model_in_double_precision_is_fed_its_own_type_and_answers_float32():
    model = Linear().double()
    codes, _ = encode_dataset(model, [(_draws(4, 2, 3), torch.empty(4, 0))])
    images, _ = grid(model, codes, 3)
    assert codes.dtype == images.dtype == sample(model, 2, Empirical(codes)).dtype == torch.float32


def _encode(model: nn.Module, x: Tensor) -> Tensor:
    return encode_dataset(model, [(x, torch.empty(len(x), 0))])[0]


@pytest.mark.parametrize(
    "use",
    [
        _encode,
        lambda model, x: interpolate(model, x[0], x[1], 3),
        lambda model, x: arithmetic(model, x[0], x[1], x[2]),
        lambda model, x: sample(model, 4, Empirical(x[:, :3])),
        lambda model, x: grid(model, x[:, :3], 2)[0],
    ],
    ids=["encode_dataset", "interpolate", "arithmetic", "sample", "grid"],
)
def test_noise_is_off_and_the_model_is_left_as_it_was(use: Callable[[nn.Module, Tensor], Tensor]):
    model, x = Noisy(), _draws(8, 5)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [part.training for part in model.modules()]
    first = use(model, x)
    assert torch.equal(first, use(model, x))
    assert [part.training for part in model.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_modes_come_back_after_an_error():
    model = Noisy()
    modes = [part.training for part in model.modules()]
    with pytest.raises(RuntimeError):
        _encode(model, torch.ones(2, 7))
    assert [part.training for part in model.modules()] == modes


# --- the plane ---------------------------------------------------------------------------------------------------


def test_a_code_of_two_numbers_is_its_own_plane():
    codes = _draws(9, 2)
    plane = code_plane(codes)
    assert plane.axis_labels == ("latent 0", "latent 1")
    assert not plane.is_projection
    np.testing.assert_array_equal(plane.coordinates(codes), codes)
    np.testing.assert_array_equal(plane.codes(plane.coordinates(codes)), codes)


def test_the_plane_of_wider_codes_is_that_of_scikit_learn():
    codes = _draws(200, 1, 2, 3) * torch.tensor([5.0, 3, 1]) + 2
    rows = codes.flatten(1).numpy()
    reference = PCA(2, svd_solver="full").fit(rows)
    plane = code_plane(codes)
    places = plane.coordinates(codes)
    assert plane.is_projection
    np.testing.assert_allclose(np.abs(places), np.abs(reference.transform(rows)), atol=1e-3)
    np.testing.assert_allclose(plane.codes(places), reference.inverse_transform(reference.transform(rows)), atol=1e-3)
    percent = [round(100 * ratio) for ratio in reference.explained_variance_ratio_]
    assert plane.axis_labels == tuple(f"PC {i} ({part} % of variance)" for i, part in zip((1, 2), percent, strict=True))


def test_codes_that_do_not_vary_have_a_plane():
    plane = code_plane(torch.ones(5, 4))
    assert plane.axis_labels[0] == "PC 1 (0 % of variance)"
    assert (plane.coordinates(torch.ones(5, 4)) == 0).all()


def test_a_code_of_one_number_has_one_axis():
    plane = code_plane(_draws(5, 1))
    assert plane.axis_labels == ("latent 0",)
    assert plane.coordinates(_draws(5, 1)).shape == (5, 1)


def test_a_grid_spans_percentiles_and_is_oriented_like_a_plot():
    codes = _draws(500, 2) * torch.tensor([1.0, 10])
    images, (columns, rows) = grid(Same(2), codes, 4)
    low, high = np.percentile(codes.numpy(), [1, 99], axis=0)
    np.testing.assert_allclose(images[0, 0], [low[0], high[1]], rtol=1e-5)
    np.testing.assert_allclose(images[-1, -1], [high[0], low[1]], rtol=1e-5)
    np.testing.assert_allclose(columns, np.linspace(low[0], high[0], 4), rtol=1e-5)
    np.testing.assert_allclose(rows, np.linspace(high[1], low[1], 4), rtol=1e-5)
    np.testing.assert_allclose(images[2, :, 0], columns, rtol=1e-5)
    np.testing.assert_allclose(images[:, 2, 1], rows, rtol=1e-5)


def test_a_grid_of_wide_codes_lies_in_their_plane():
    codes = _draws(300, 2, 3) * torch.tensor([4.0, 2, 1])
    images, (columns, rows) = grid(Same(2, 3), codes, 30)
    assert images.shape == (30, 30, 2, 3)
    places = code_plane(codes).coordinates(images.flatten(0, 1)).reshape(30, 30, 2)
    np.testing.assert_allclose(places[..., 0], np.tile(columns, (30, 1)), atol=1e-4)
    np.testing.assert_allclose(places[..., 1], np.tile(rows[:, None], (1, 30)), atol=1e-4)
    mean, reference = codes.flatten(1).mean(dim=0), PCA(2).fit(codes.flatten(1))
    away = (images.flatten(2) - mean).numpy().reshape(-1, 6)
    np.testing.assert_allclose(away @ reference.components_.T @ reference.components_, away, atol=1e-3)


def test_a_grid_of_narrow_codes_is_one_row():
    images, axes = grid(Square(1), torch.arange(101.0)[:, None], 3)
    assert [axis.tolist() for axis in axes] == [[1, 50, 99]]
    assert images[..., 0].tolist() == [[1, 2500, 9801]]


# --- instances ---------------------------------------------------------------------------------------------------


def test_one_instance_is_the_model_that_has_its_weights_alone():
    torch.manual_seed(0)
    many = OvercompleteAutoencoder((1, 2, 3), latent_dim=8, instances=3)
    alone = OvercompleteAutoencoder((1, 2, 3), latent_dim=8)
    for parameter in many.parameters():
        nn.init.normal_(parameter)
    alone.load_state_dict({name: value[1] for name, value in many.state_dict().items()})
    one, x = OneInstance(many, 1), _draws(4, 1, 2, 3)
    assert (one.instances, one.input_shape) == (None, (1, 2, 3))
    codes = _encode(one, x)
    torch.testing.assert_close(codes, _encode(alone, x))
    torch.testing.assert_close(interpolate(one, x[0], x[1], 4), interpolate(alone, x[0], x[1], 4))
    torch.testing.assert_close(grid(one, codes, 3)[0], grid(alone, codes, 3)[0])


def test_single_takes_the_first_instance_of_several():
    plain, many = Linear(), OvercompleteAutoencoder((4,), latent_dim=8, instances=2)
    assert single(plain) is plain
    x = _draws(3, 4)
    torch.testing.assert_close(_encode(single(many), x), _encode(OneInstance(many, 0), x))
    assert not torch.allclose(_encode(single(many), x), _encode(OneInstance(many, 1), x))


MANY = OvercompleteAutoencoder((4,), latent_dim=8, instances=2)
X = torch.ones(4)


@pytest.mark.parametrize(
    "call",
    [
        lambda: encode_dataset(MANY, [(torch.ones(1, 4), torch.empty(1, 0))]),
        lambda: interpolate(MANY, X, X, 3),
        lambda: arithmetic(MANY, X, X, X),
        lambda: sample(MANY, 3, StandardNormal((8,))),
        lambda: grid(MANY, torch.ones(3, 8), 3),
    ],
)
def test_several_instances_are_refused(call):
    with pytest.raises(ValueError, match=r"2 instances; wrap it by OneInstance"):
        call()


class Ragged(Same):
    """Leaves out the zeros of a sample, so that codes differ in width."""

    def encode(self, x: Tensor) -> Tensor:
        return x[x != 0][None]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: OneInstance(Linear()), "no instances"),
        (lambda: OneInstance(MANY, 2), "less than 2 instances, but is 2"),
        (lambda: OneInstance(MANY, -1), "but is -1"),
        (lambda: encode_dataset(Linear(), []), "no samples"),
        (lambda: interpolate(Linear(), torch.ones(2, 3), torch.ones(2, 3), 1), "at least 2 steps.*steps is 1"),
        (lambda: interpolate(Same(4), X, X[:3], 3), r"x1 and x2 must be samples of one shape.*\(4,\), \(3,\)"),
        (lambda: interpolate(Same(4), X[None], X[None], 3), r"must have the shape \(4,\), but these have \(1, 4\)"),
        (lambda: arithmetic(Same(4), X, X, X[:2]), "a, b and c must be samples of one shape, but"),
        (lambda: arithmetic(Ragged(2), *torch.tensor([[1.0, 1], [1, 0], [1, 2]])), "a, b and c must have codes of one"),
        (lambda: sample(Linear(), 0, StandardNormal((4,))), "n must be at least 1, but is 0"),
        (lambda: FittedNormal(torch.ones(1, 4)), "at least 2 codes"),
        (lambda: FittedNormal(torch.tensor([[1.0], [torch.nan]])), "finite"),
        (lambda: code_plane(torch.ones(1, 4)), "at least 2 codes"),
        (lambda: code_plane(torch.full((3, 2), torch.inf)), "finite"),
        (lambda: code_plane(torch.ones(3, 4)).coordinates(torch.ones(3, 5)), "width 4, but these have width 5"),
        (lambda: grid(Same(4), torch.ones(3, 4), 1), "at least 2, but is 1"),
    ],
)
def test_what_cannot_be_explored_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()

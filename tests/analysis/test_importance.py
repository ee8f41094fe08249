import math
import warnings

import numpy as np
import pytest
import torch

from ae_lightning.analysis.importance import (
    ablation_importance,
    causal_importance,
    error_by_removal,
    order,
    rank_correlation,
    unit_importance,
)
from ae_lightning.models.overcomplete import OvercompleteAutoencoder
from ae_lightning.models.standard_sae import StandardSAE


def random_decoder(n=40, latent=7, width=5):
    generator = np.random.default_rng(0)
    x, b = generator.standard_normal((n, width)), generator.standard_normal(width)
    z, w = generator.standard_normal((n, latent)).clip(min=0), generator.standard_normal((latent, width))
    return tuple(torch.from_numpy(part) for part in (x, z, w, b))


def error_without(x, z, w, b, units):
    """In numpy, with the units' decoder rows gone."""
    x, z, w, b = (part.numpy() for part in (x, z, w, b))
    rest = [unit for unit in range(z.shape[1]) if unit not in units]
    return np.square(x - (z[:, rest] @ w[rest] + b)).mean()


def increases_by_hand(model, x):
    """With each unit's column of the code set to zero, one decoding after the other."""
    with torch.no_grad():
        z = model.encode(x)
        errors = []
        for unit in range(z.shape[1]):
            without = z.clone()
            without[:, unit] = 0
            errors.append((model.decode(without).double() - x).square().mean())
        return torch.stack(errors) - (model.decode(z).double() - x).square().mean()


def test_importance_by_hand():
    encoder = torch.tensor([[3.0, 4.0], [0.0, 1.0], [1.0, 0.0]])  # norms 5, 1, 1
    decoder = torch.tensor([[0.0, 2.0], [6.0, 8.0], [0.0, 0.0]])  # norms 2, 10, 0
    importance = unit_importance(encoder, decoder, torch.tensor([0.5, 0.25, 9.0]))
    assert importance.tolist() == [5, 2.5, 0]
    instances = unit_importance(torch.stack([encoder, 2 * encoder]), torch.stack([decoder] * 2), torch.ones(2, 3))
    assert instances.tolist() == [[10, 10, 0], [20, 20, 0]]


def test_what_is_written_may_have_another_width_than_what_is_read():
    encoder = torch.tensor([[3.0, 4.0], [0.0, 1.0]])
    decoder = torch.tensor([[2.0, 3.0, 6.0], [0.0, 0.0, 2.0]])  # norms 7, 2
    assert unit_importance(encoder, decoder, torch.tensor([2.0, 3.0])).tolist() == [70, 6]


def test_a_parameter_gives_importance_without_a_graph():
    rows = torch.nn.Parameter(torch.eye(2, dtype=torch.bfloat16))
    importance = unit_importance(rows, rows, torch.ones(2))
    assert (importance.requires_grad, importance.dtype) == (False, torch.float32)


def test_order_is_descending_with_ties_by_number_and_nan_last():
    importance = torch.tensor([1.0, math.nan, 3.0, 1.0, math.inf, -math.inf, 3.0])
    assert order(importance).tolist() == [4, 2, 6, 0, 3, 1, 5]
    assert order(torch.zeros(500)).tolist() == list(range(500))
    assert order(torch.tensor([[1, 2], [2, 1]])).tolist() == [[1, 0], [0, 1]]


def test_causal_importance_by_hand():
    x, bias = torch.tensor([[2.0, 0.0]]), torch.tensor([0.0, 1.0])
    vectors = torch.tensor([[1.0, 0.0], [0.0, 1.0], [5.0, 5.0]])
    z = torch.tensor([[2.0, 1.0, 0.0]])  # reconstructed as (2, 2): an error of 4 over two pixels
    # Without the first, (0, 2): 8. Without the second, (2, 1): 1. The third does nothing.
    assert causal_importance(x, z, vectors, bias).tolist() == [2, -1.5, 0]


def test_causal_importance_is_the_error_without_the_row_of_the_decoder():
    parts = random_decoder()
    whole = error_without(*parts, units=[])
    expected = [error_without(*parts, units=[unit]) - whole for unit in range(7)]
    np.testing.assert_allclose(causal_importance(*parts).numpy(), expected, rtol=1e-10)


def test_many_samples_are_the_same_as_few_repeated():
    x, z, w, b = random_decoder()
    repeated = causal_importance(x.repeat(60, 1), z.repeat(60, 1), w, b)
    torch.testing.assert_close(repeated, causal_importance(x, z, w, b))
    torch.testing.assert_close(ablation_importance(x.repeat(20, 1), z.repeat(20, 1), lambda z: z @ w + b), repeated)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (OvercompleteAutoencoder, {}),
        (OvercompleteAutoencoder, {"activation": "tanh"}),
        (StandardSAE, {}),
        (StandardSAE, {"tied": True}),
    ],
)
def test_both_ways_are_the_loop_by_hand_for_a_linear_decoder(kind, options):
    torch.manual_seed(0)
    model = kind((1, 6, 6), latent_dim=20, **options).double()
    with torch.no_grad():
        model.dictionary.b_dec.normal_()
    x = torch.rand(30, 1, 6, 6, dtype=torch.float64)
    z, expected = model.encode(x), increases_by_hand(model, x)
    closed = causal_importance(x.flatten(1), z, model.decoder_vectors, model.dictionary.b_dec)
    torch.testing.assert_close(closed, expected, rtol=1e-9, atol=1e-14)
    torch.testing.assert_close(ablation_importance(x, z, model.decode), closed, rtol=1e-9, atol=1e-14)
    assert not closed.requires_grad


@pytest.mark.parametrize("chunk", [1, 7, 10_000])
@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
def test_ablation_is_the_loop_by_hand_behind_an_output_activation(activation, chunk):
    torch.manual_seed(0)
    model = OvercompleteAutoencoder((9,), latent_dim=12, activation=activation, output_activation="sigmoid")
    x = torch.rand(25, 9)
    found = ablation_importance(x, model.encode(x), model.decode, chunk)
    torch.testing.assert_close(found, increases_by_hand(model, x), rtol=1e-4, atol=1e-7)  # decoded in float32
    assert (found.dtype, found.requires_grad) == (torch.float64, False)


def test_units_that_are_off_are_not_decoded_again():
    z = torch.zeros(300, 50)
    z[7, 3] = z[280, 49] = 1
    decoded = []

    def decode(codes):
        decoded.append(len(codes))
        return codes[:, :2]

    assert ablation_importance(torch.zeros(300, 2), z, decode).tolist() == [0] * 50
    assert sum(decoded) == 300 + 2
    assert z.sum() == 2  # the codes themselves are left as they are


def test_rank_correlation_by_hand():
    assert rank_correlation([1, 2, 3], [10, 100, 1000]) == pytest.approx(1)
    assert rank_correlation(torch.tensor([1.0, 2.0, 3.0]), np.array([5, 4, -1])) == pytest.approx(-1)
    # Ranks 1, 2.5, 2.5, 4 and 1, 2, 3, 4: covariance 4.5, variances 4.5 and 5 (times 4).
    assert rank_correlation([0, 7, 7, 9], [1, 2, 3, 4]) == pytest.approx(4.5 / math.sqrt(4.5 * 5))


def test_what_has_no_order_has_no_rank_correlation():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert math.isnan(rank_correlation([1, 1, 1], [1, 2, 3]))
    assert math.isnan(rank_correlation([1, math.nan, 2], [1, 2, 3]))


def test_removal_is_the_error_without_the_rows_of_the_decoder():
    parts = random_decoder()
    removed, counts = [4, 0, 6, 2, 1], [5, 0, 3, 1, 3]
    errors = error_by_removal(*parts, removed, counts)
    expected = [error_without(*parts, units=removed[:count]) for count in counts]
    np.testing.assert_allclose(errors.numpy(), expected, rtol=1e-12)


def test_removal_over_many_samples_and_all_units_ends_at_the_bias():
    x, z, w, b = random_decoder(n=3000)
    errors = error_by_removal(x, z, w, b, order(causal_importance(x, z, w, b)), [0, 1, 7])
    assert float(errors[1] - errors[0]) == pytest.approx(float(causal_importance(x, z, w, b).max()))
    assert float(errors[2]) == pytest.approx(float((x - b).square().mean()))


@pytest.mark.parametrize(
    ("removed", "counts", "message"),
    [
        ([0, 0], [1], "at most once"),
        ([[0, 1]], [1], "list of units"),
        ([0, 7], [1], "from 0 to 6"),
        ([-1], [1], "from 0 to 6"),
        ([0, 1], [3], "between 0 and 2"),
        ([0, 1], [-1], "between 0 and 2"),
    ],
)
def test_an_order_or_count_that_cannot_be_is_refused(removed, counts, message):
    with pytest.raises(ValueError, match=message):
        error_by_removal(*random_decoder(), removed, counts)


@pytest.mark.parametrize(
    ("x", "z", "vectors", "bias"),
    [
        ((3, 1, 5), (3, 7), (7, 5), (5,)),
        ((3, 5), (2, 7), (7, 5), (5,)),
        ((3, 5), (2, 3, 7), (2, 7, 5), (2, 5)),
        ((3, 5), (3, 7), (7, 5), (1,)),
        ((0, 5), (0, 7), (7, 5), (5,)),
    ],
)
def test_shapes_that_do_not_fit_are_refused(x, z, vectors, bias):
    parts = [torch.ones(shape) for shape in (x, z, vectors, bias)]
    with pytest.raises(ValueError, match="are needed, but theirs are"):
        causal_importance(*parts)
    with pytest.raises(ValueError, match="are needed, but theirs are"):
        error_by_removal(*parts, [0], [0])


def test_what_cannot_be_ablated_or_ranked_is_refused():
    with pytest.raises(ValueError, match="choose one"):
        ablation_importance(torch.ones(3, 5), torch.ones(2, 3, 7), torch.square)
    with pytest.raises(ValueError, match="chunk is 0"):
        ablation_importance(torch.ones(3, 5), torch.ones(3, 5), torch.square, chunk=0)
    with pytest.raises(ValueError, match=r"decoded to \(3, 5\)"):
        ablation_importance(torch.ones(3, 1, 5), torch.ones(3, 5), torch.square)
    with pytest.raises(ValueError, match="equally many"):
        rank_correlation([1, 2, 3], [1, 2])
    with pytest.raises(ValueError, match="negative"):
        unit_importance(torch.ones(2, 3), torch.ones(2, 3), torch.tensor([1.0, -1.0]))
    with pytest.raises(ValueError, match="theirs are"):
        unit_importance(torch.ones(2, 3), torch.ones(3, 2), torch.ones(2))

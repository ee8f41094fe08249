"""Codebooks beside k-means of scikit-learn, steps worked out by hand, and the straight-through gradient written out."""

import copy
from typing import Any

import pytest
import torch
from sklearn.cluster import KMeans
from torch import Tensor

from ae_lightning.errors import ConfigError
from ae_lightning.nn.codebook import MEMORY, Codebook, nearest

SHAPES = [((8,), {"groups": 4}), ((8,), {"groups": 4, "product": True}), ((6, 2, 3), {}), ((6, 2, 3), {"groups": 2})]


def alone(value: Tensor, operation: str) -> Tensor:
    return value


def made(code_shape: tuple[int, ...], codes: int = 16, **options: Any) -> Codebook:
    torch.manual_seed(0)
    return Codebook(code_shape, codes, **options)


def step(codebook: Codebook, *batches: Tensor) -> None:
    for z in batches:
        codebook.observe(codebook(z))
    codebook.advance(alone)


def test_the_nearest_code_is_found_among_pieces_too(monkeypatch):
    torch.manual_seed(0)
    vectors, codes = torch.randn(2, 50, 3), torch.randn(2, 7, 3)
    truth = torch.stack([torch.cdist(of, among).argmin(-1) for of, among in zip(vectors, codes, strict=True)])
    assert torch.equal(nearest(vectors, codes), truth)
    monkeypatch.setattr("ae_lightning.nn.codebook._MOST_DISTANCES", 60)
    assert torch.equal(nearest(vectors, codes), truth)


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize(("shape", "options"), SHAPES)
def test_each_part_of_each_place_becomes_the_code_that_its_index_names(shape, options, depth):
    codebook = made(shape, depth=depth, **options)
    z = torch.randn(5, *shape)
    values, indices, *_ = codebook(z)
    groups, width = options.get("groups", 1), codebook.codes.shape[-1]
    assert indices.shape == (5, *codebook.index_shape) == (5, depth * groups, *shape[1:])
    assert codebook.vectors_of_a_sample == (1 if options.get("product") else groups) * z[0, 0].numel()

    by_hand = torch.zeros_like(z)
    for part in range(groups):
        books = [d * groups + part if options.get("product") else d for d in range(depth)]
        of = slice(part * width, (part + 1) * width)
        rest = z[:, of].clone()
        for d, book in enumerate(books):
            distances = (rest[:, :, None] - codebook.codes[book].T.reshape(1, width, -1, *[1] * len(shape[1:]))) ** 2
            chosen = distances.sum(1).argmin(1)
            assert torch.equal(indices[:, d * groups + part], chosen)
            code = codebook.codes[book][chosen].movedim(-1, 1)
            by_hand[:, of] += code
            rest -= code
    torch.testing.assert_close(values, by_hand)
    assert torch.equal(codebook.look_up(indices), values)


def test_a_step_without_memory_is_one_of_k_means():
    codebook = made((3,), 5, decay=0.0)
    z = torch.randn(200, 3)
    truth = KMeans(5, init=codebook.codes[0].numpy(), n_init=1, max_iter=1, algorithm="lloyd").fit(z.numpy())
    step(codebook, z[:120], z[120:])
    torch.testing.assert_close(codebook.codes[0], torch.from_numpy(truth.cluster_centers_), atol=1e-4, rtol=0)


def two_codes(decay: float) -> Codebook:
    """Codes at 0 and 10 on a line."""
    codebook = made((1,), 2, decay=decay)
    start = torch.tensor([[[0.0], [10.0]]])
    codebook.codes.copy_(start)
    codebook.sums.copy_(start)
    return codebook


def column(*numbers: float) -> Tensor:
    return torch.tensor(numbers)[:, None]


def test_running_means_are_those_worked_out_by_hand():
    codebook = two_codes(decay=0.5)
    step(codebook, column(1, 2, 9))  # N = (1.5, 1), sums (1.5, 9.5)
    torch.testing.assert_close(codebook.codes.flatten(), torch.tensor([1.0, 9.5]), atol=1e-4, rtol=0)
    step(codebook, column(4, 4))  # both nearer to 1 than to 9.5: N = (1.75, 0.5), sums (4.75, 4.75)
    torch.testing.assert_close(codebook.codes.flatten(), torch.tensor([4.75 / 1.75, 9.5]), atol=2e-4, rtol=0)
    torch.testing.assert_close(codebook.counts.flatten(), torch.tensor([1.75, 0.5]))


def test_a_code_that_nothing_chose_for_long_is_smoothed():
    codebook = two_codes(decay=1.0)
    codebook.counts.copy_(torch.tensor([[0.0, 2.0]]))
    codebook.sums.copy_(torch.tensor([[[3e-5], [4.0]]]))
    step(codebook, column(9))
    tiny = 1e-5
    truth = [3e-5 / (tiny / (2 + 2 * tiny) * 2), 4 / ((2 + tiny) / (2 + 2 * tiny) * 2)]
    assert codebook.codes.flatten().tolist() == pytest.approx(truth, rel=1e-6)


def test_batches_that_accumulate_are_one_and_a_skipped_step_moves_nothing():
    first, second = made((4,), product=True, groups=2), made((4,), product=True, groups=2)
    z = torch.randn(30, 4)
    step(first, z[:10], z[10:])
    second.observe(second(z[:7]))
    second.forget()
    second.advance(alone)
    assert int(second.silence.seen) == 0
    step(second, z)
    for name, value in second.state_dict().items():
        torch.testing.assert_close(value, first.state_dict()[name], msg=name)


def test_what_processes_gather_is_summed_before_codes_move():
    z = torch.randn(3, 8, 2)
    whole, *parts = (made((2,), 4) for _ in range(4))
    for part, own in zip(parts, z, strict=True):
        part.observe(part(own))
    total = sum(part._gathered for part in parts)
    parts[0].advance(lambda value, operation: {"sum": total}[operation])
    step(whole, z.flatten(0, 1))
    torch.testing.assert_close(parts[0].codes, whole.codes)


@pytest.mark.parametrize("learned", [False, True])
def test_gradients_are_the_papers(learned):
    """z + sg(e − z) downstream, and equation 3 with its two stops, differentiated as they stand."""
    codebook = made((3,), 6, learned=learned)
    z, weights = torch.randn(10, 3, requires_grad=True), torch.randn(10, 3)
    ours = codebook(z)
    ((ours.values * weights).sin().sum() + ((ours.residuals - ours.chosen) ** 2).mean()).backward()

    free, table = z.detach().clone().requires_grad_(), codebook.codes.detach().clone().requires_grad_()
    code = table[0][torch.cdist(free, table[0]).argmin(-1)]
    straight_through = free + (code - free).detach()
    ((straight_through * weights).sin().sum() + ((free - code) ** 2).mean()).backward()
    torch.testing.assert_close(z.grad, free.grad)
    if learned:
        torch.testing.assert_close(codebook.codes.grad, table.grad)
    else:
        assert not codebook.codes.requires_grad


def test_each_further_depth_leaves_less_over():
    torch.manual_seed(1)
    z, errors = torch.randn(500, 6), []
    for depth in (1, 2, 3):
        codebook = made((6,), 16, depth=depth, decay=0.0)
        for _ in range(20):
            step(codebook, z)
        errors.append(float((codebook(z).values - z).square().mean()))
    assert errors[1] < 0.75 * errors[0]
    assert errors[2] < 0.75 * errors[1]


def test_usage_is_that_of_the_last_hundred_steps():
    codebook = two_codes(decay=0.99)
    assert float(codebook.usage()) == 0
    step(codebook, column(1))
    assert float(codebook.usage()) == 0.5
    step(codebook, column(9))
    assert float(codebook.usage()) == 1
    for _ in range(MEMORY - 1):
        assert float(codebook.usage()) == 1
        step(codebook, column(9))
    assert float(codebook.usage()) == 0.5
    # Of 101 steps the first chose one code, and the others the other.
    truth = [0.01 * 0.99**100, 1 - 0.99**100]
    assert codebook.rates.flatten().tolist() == pytest.approx(truth, rel=1e-4)


@pytest.mark.parametrize("learned", [False, True])
def test_a_revived_code_is_where_it_is_put_and_the_others_stay(learned):
    codebook = made((4,), 5, groups=2, product=True, learned=learned)
    step(codebook, torch.randn(20, 4))
    before = copy.deepcopy(codebook.state_dict())
    which = torch.zeros(2, 5, dtype=torch.bool)
    which[0, 3] = which[1, 0] = True
    vectors = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    codebook.revive(which, vectors)
    assert torch.equal(codebook.codes[which], vectors)
    assert torch.equal(codebook.codes[~which], before["codes"][~which])
    if not learned:
        assert torch.equal(codebook.counts[which], torch.ones(2))
        assert torch.equal(codebook.sums[which], vectors)
    assert torch.equal(codebook.silence.silent, before["silence.silent"])


def test_groups_that_do_not_divide_the_code_are_refused():
    with pytest.raises(ConfigError, match=r"--model.groups is 8, which does not divide a code of 20 channels: .* 1, 2"):
        made((20,), groups=8)


def test_it_chooses_in_float32_under_autocast_and_in_half_precision():
    codebook, z = made((8,), 64, groups=2), torch.randn(200, 8)
    truth = codebook(z)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(codebook(z).indices, truth.indices)
    half = codebook.bfloat16()
    assert half.codes.dtype == torch.float32
    narrow = z.bfloat16()
    quantized = half(narrow)
    assert quantized.values.dtype == torch.bfloat16
    assert torch.equal(quantized.indices, half(narrow.float()).indices)


def test_all_of_its_state_is_in_the_state_dict():
    source, target = made((4,), depth=2), Codebook((4,), 16, depth=2)
    step(source, torch.randn(30, 4))
    target.load_state_dict(source.state_dict())
    z: Any = torch.randn(30, 4)
    for codebook in (source, target):
        step(codebook, z)
    assert torch.equal(source.codes, target.codes)
    assert torch.equal(source.usage(), target.usage())

import pytest
import torch
from selecting import LATENTS, TOLERANCE, selecting_step

from ae_lightning.errors import ConfigError
from ae_lightning.nn.topk import TopK


def codes_by_hand(pre, k, norms):
    """z = ReLU(top_k(pre)), one sample at a time from a sort of its scores."""
    rows = []
    for sample in pre:
        order = sorted(range(len(sample)), key=lambda i: -float(sample[i].detach() * norms[i]))
        rows.append(
            torch.stack([sample[i] if i in order[:k] and sample[i] > 0 else 0 * sample[i] for i in range(len(sample))])
        )
    return torch.stack(rows)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("k", [1, 4, 9])
def test_codes_loss_and_gradients_are_those_of_the_paper(dtype, weighted, k):
    """x̂ = W_dec ReLU(top_k(W_enc (x − b) + b_enc)) + b, of Gao et al. (2024); nine of twelve are never all positive."""
    activation = TopK(k, LATENTS, weighted=weighted)
    found = selecting_step(lambda pre, norms: activation(pre, norms if weighted else None), 6, dtype)
    ones = torch.ones(LATENTS, dtype=dtype)
    by_hand = selecting_step(lambda pre, norms: codes_by_hand(pre, k, norms if weighted else ones), 6, dtype)
    torch.testing.assert_close(found, by_hand, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_norms_weigh_the_selection_and_not_the_code():
    pre = torch.tensor([[3.0, 2.0, -9.0, 1.0]])
    assert TopK(2, 4)(pre).tolist() == [[3, 2, 0, 0]]
    norms = torch.tensor([0.1, 1.0, 5.0, 0.9])
    assert TopK(2, 4, weighted=True)(pre, norms).tolist() == [[0, 2, 0, 1]]


def test_negative_ones_among_the_largest_are_zero_and_get_no_gradient():
    pre = torch.tensor([[-1.0, 2.0, -3.0]], requires_grad=True)
    z = TopK(2, 3)(pre)
    z.backward(torch.full_like(z, 7.0))
    assert z.tolist() == [[0, 2, 0]]
    assert pre.grad.tolist() == [[0, 7, 0]]


def test_groups_keep_the_largest_of_each():
    pre = torch.tensor([[5.0, 4.0, 3.0, -1.0, -2.0, -3.0, 0.5, 9.0, 1.0]])
    assert TopK(3, 9, groups=True)(pre).tolist() == [[5, 0, 0, 0, 0, 0, 0, 9, 0]]
    norms = torch.tensor([1.0, 2.0, 1.0, 1.0, 1.0, 1.0, 30.0, 1.0, 1.0])
    assert TopK(3, 9, groups=True, weighted=True)(pre, norms).tolist() == [[0, 4, 0, 0, 0, 0, 0.5, 0, 0]]


@pytest.mark.parametrize("groups", [False, True])
def test_a_population_is_its_members_alone(groups):
    torch.manual_seed(0)
    pre, norms = torch.randn(3, 7, 8), torch.rand(3, 8)
    activation = TopK(2, 8, instances=3, groups=groups, weighted=True)
    alone = [TopK(2, 8, groups=groups, weighted=True)(*member) for member in zip(pre, norms, strict=True)]
    assert activation(pre, norms).equal(torch.stack(alone))


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: TopK(9, 8), "--model.k is 9"),
        (lambda: TopK(0, 8), "--model.k is 0"),
        (lambda: TopK(3, 8, groups=True), "8 latents cannot be divided into --model.k 3 groups"),
        (lambda: TopK(2, 8, groups=True, moving=True), "--model.k cannot follow a schedule"),
        (lambda: TopK(2, 8, moving=True).set_k(9), "--model.k is 9"),
    ],
)
def test_what_cannot_be_selected_is_one_sentence(build, words):
    with pytest.raises(ConfigError, match=words):
        build()


def test_a_moving_k_is_in_the_state_and_a_fixed_one_is_not():
    assert TopK(2, 8).state_dict() == {}
    activation = TopK(8, 8, moving=True)
    activation.set_k(2.6)
    loaded = TopK(8, 8, moving=True)
    loaded.load_state_dict(activation.state_dict())
    assert (activation.k, loaded.k) == (3, 3)
    assert loaded.measures() == {"k": 3}
    assert loaded(torch.arange(1.0, 9)[None]).count_nonzero() == 3


def test_half_precision_does_not_round_a_moving_k():
    activation = TopK(257, 1000, moving=True).to(torch.bfloat16)
    activation.load_state_dict(activation.state_dict())
    assert activation.k == 257


def test_folding_keeps_codes_where_norms_weigh_and_refuses_where_they_do_not():
    torch.manual_seed(0)
    pre, norms = torch.randn(5, 8), torch.rand(8) + 0.1
    weighted = TopK(3, 8, weighted=True)
    before = weighted(pre, norms) * norms
    weighted.scale_latents(norms)
    torch.testing.assert_close(weighted(pre * norms, torch.ones(8)), before)
    plain = TopK(3, 8)
    plain.scale_latents(torch.full((8,), 2.5))
    with pytest.raises(ConfigError, match="cannot be folded"):
        plain.scale_latents(norms)


def test_norms_that_were_not_agreed_on_are_refused():
    with pytest.raises(ValueError, match="norms"):
        TopK(3, 8)(torch.randn(5, 8), torch.ones(8))
    with pytest.raises(ValueError, match="norms"):
        TopK(3, 8, weighted=True)(torch.randn(5, 8))


@pytest.mark.parametrize("groups", [False, True])
def test_it_compiles_whole_and_not_anew_for_each_batch(groups):
    activation = TopK(2, 8, groups=groups)
    torch.compiler.reset()
    graphs = []
    compiled = torch.compile(activation, backend=lambda graph, _: graphs.append(graph) or graph, fullgraph=True)
    for batch in (10, 10, 3, 4, 5):
        pre = torch.randn(batch, 8)
        assert compiled(pre).equal(activation(pre))
    assert 1 <= len(graphs) <= 2  # the second for batches of any size

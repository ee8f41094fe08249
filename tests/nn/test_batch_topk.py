import copy

import numpy as np
import pytest
import torch
from selecting import LATENTS, TOLERANCE, selecting_step

from ae_lightning.analysis.calibration import threshold_for_l0
from ae_lightning.errors import ConfigError
from ae_lightning.nn.batch_topk import BatchTopK


def alone(tensor, how):
    """The reduction of a single process."""
    return tensor


def mask_by_hand(scores, k):
    """Which of the batch's scores (n, latent) are among the int(k·n) largest, and positive."""
    order = np.argsort(-scores.detach().numpy(), axis=None)
    mask = np.zeros(scores.numel(), dtype=bool)
    mask[order[: int(k * len(scores))]] = True
    return torch.from_numpy(mask).view_as(scores) & (scores > 0)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("k", [0.35, 2.5, 11])
def test_codes_loss_and_gradients_are_those_of_the_paper(dtype, weighted, k):
    """Of Bussmann et al. (2024): the n·k largest of the whole batch; of twelve, eleven are never all positive."""
    activation = BatchTopK(k, LATENTS, weighted=weighted)
    found = selecting_step(lambda pre, norms: activation(pre, norms if weighted else None), 40, dtype)
    by_hand = selecting_step(lambda pre, norms: pre * mask_by_hand(pre * norms if weighted else pre, k), 40, dtype)
    torch.testing.assert_close(found, by_hand, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_by_hand_samples_share_what_is_active():
    pre = torch.tensor([[5.0, 4.0, 3.0], [1.0, -1.0, -2.0]], requires_grad=True)
    activation = BatchTopK(1.5, 3)
    z = activation(pre)
    z.backward(torch.ones_like(z))
    assert z.tolist() == [[5, 4, 3], [0, 0, 0]]
    assert pre.grad.tolist() == [[1, 1, 1], [0, 0, 0]]
    activation.eval().calibrate(torch.tensor(0.5))
    assert activation(pre).tolist() == [[5, 4, 3], [1, 0, 0]]


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_the_threshold_is_the_running_mean_by_hand(dtype):
    """θ_t = (1 − β) Σ β^(t−s) m_s / (1 − β^t): an average with weights that sum to 1."""
    activation = BatchTopK(1, 3, momentum=0.75).to(dtype)
    minima = [3.0, 0.5, 7.0, 2.25]
    for step, smallest in enumerate(minima, start=1):
        activation.observe(torch.tensor([[0.0, smallest, 0.0], [9.0, 0.0, 0.0]], dtype=dtype))
        activation.advance(alone)
        weights = np.array([0.75 ** (step - s) for s in range(1, step + 1)])
        expected = float(weights @ minima[:step] / weights.sum())
        assert float(activation.inference_threshold) == pytest.approx(expected, rel=TOLERANCE[dtype] / 10)


def test_norms_weigh_the_smallest_score():
    activation = BatchTopK(1, 2, weighted=True)
    activation.observe(torch.tensor([[4.0, 0.0], [0.0, 1.0]]), torch.tensor([0.5, 3.0]))
    activation.advance(alone)
    assert float(activation.inference_threshold) == 2


def test_only_steps_move_the_threshold():
    activation = BatchTopK(1, 3)
    before = copy.deepcopy(activation.state_dict())
    z = activation(torch.rand(4, 3))
    activation.observe(z)
    activation.forget()
    activation.advance(alone)
    activation.observe(torch.zeros(4, 3))  # nothing positive was kept
    activation.advance(alone)
    activation.observe(z)
    torch.testing.assert_close(activation.state_dict(), before, rtol=0, atol=0)
    activation.advance(alone)
    assert float(activation.threshold) == float(z[z > 0].min())


def test_before_the_first_step_every_positive_latent_is_active():
    pre = torch.tensor([[0.25, -1.0, 3.0]])
    assert BatchTopK(1, 3).eval()(pre).tolist() == [[0.25, 0, 3]]


def test_accumulated_batches_count_as_one():
    activation = BatchTopK(1, 1, momentum=0.5)
    for smallest in (1.0, 0.0, 3.0):  # the second tells nothing
        activation.observe(torch.tensor([[smallest]]))
    activation.advance(alone)
    assert float(activation.threshold) == 2
    activation.observe(torch.tensor([[5.0]]))
    activation.advance(alone)
    assert float(activation.threshold) == pytest.approx((0.25 * 2 + 0.5 * 5) / 0.75)


def test_thresholds_of_processes_are_averaged():
    """Each process is given the sum over all; the third of them saw nothing positive, the fourth no batch."""
    processes = [BatchTopK(1, 1, instances=2) for _ in range(4)]
    for process, smallest in zip(processes, ([1.0, 4.0], [3.0, 0.0], [0.0, 0.0]), strict=False):
        process.observe(torch.tensor(smallest).view(2, 1, 1))
    parts = []
    for process in processes:
        copy.deepcopy(process).advance(lambda part, how: parts.append((part, how)) or part)
    assert {how for _, how in parts} == {"sum"}
    for process in processes:
        process.advance(lambda part, how: torch.stack([part for part, _ in parts]).sum(0))
        assert process.threshold.tolist() == [2, 4]


def test_a_population_is_its_members_alone():
    torch.manual_seed(0)
    pre = torch.randn(3, 9, 8) * torch.tensor([1.0, 2.0, 0.1]).view(3, 1, 1)
    together, members = BatchTopK(1.5, 8, instances=3), [BatchTopK(1.5, 8) for _ in range(3)]
    for activation, part in [(together, pre), *zip(members, pre, strict=True)]:
        activation.observe(activation(part))
        activation.advance(alone)
    assert together(pre).equal(torch.stack([member(part) for member, part in zip(members, pre, strict=True)]))
    assert together.threshold.equal(torch.stack([member.threshold for member in members]))
    together.eval()
    assert together(pre).equal(torch.stack([member.eval()(part) for member, part in zip(members, pre, strict=True)]))


def trained(steps, k=4, latents=64, batch=256):
    activation = BatchTopK(k, latents)
    for _ in range(steps):
        activation.observe(activation(torch.randn(batch, latents)))
        activation.advance(alone)
    return activation


def test_a_few_hundred_steps_give_held_out_codes_with_k_active():
    torch.manual_seed(0)
    activation = trained(300).eval()
    l0 = float(activation(torch.randn(20_000, 64)).count_nonzero()) / 20_000
    assert l0 == pytest.approx(4, rel=0.02)


def test_saved_and_loaded_it_gives_the_same_codes_and_goes_on_alike():
    torch.manual_seed(0)
    activation = trained(5)
    loaded = BatchTopK(4, 64)
    loaded.load_state_dict(copy.deepcopy(activation.state_dict()))
    pre = torch.randn(20, 64)
    assert loaded.eval()(pre).equal(activation.eval()(pre))
    for one in (activation, loaded):
        one.observe(one.train()(pre))
        one.advance(alone)
    assert loaded.threshold.equal(activation.threshold)


def test_a_calibrated_threshold_is_kept_until_training_goes_on():
    torch.manual_seed(0)
    activation = trained(3)
    running = activation.threshold.clone()
    activation.calibrate(torch.tensor(2.5))
    loaded = BatchTopK(4, 64)
    loaded.load_state_dict(activation.state_dict())
    assert float(loaded.inference_threshold) == float(loaded.measures()["threshold"]) == 2.5
    loaded.advance(alone)
    assert float(loaded.inference_threshold) == running


def test_half_precision_does_not_round_the_threshold():
    activation = BatchTopK(257, 1000, moving=True)
    activation.observe(torch.tensor([[1.001]]))
    activation.advance(alone)
    before = float(activation.threshold)
    activation.to(torch.bfloat16)
    assert float(activation.threshold) == before
    assert activation.threshold.dtype == activation.calibrated.dtype == torch.float32
    assert activation.double().threshold.dtype == torch.float64
    near = torch.tensor([[1.0, 1.0078125]], dtype=torch.bfloat16)  # neighbors, with the threshold between them
    assert activation.float().eval()(near).tolist() == [[0, 1.0078125]]


def test_a_moving_k_is_in_the_state():
    activation = BatchTopK(3, 8, moving=True)
    activation.set_k(0.3)
    loaded = BatchTopK(3, 8, moving=True)
    loaded.load_state_dict(activation.state_dict())
    assert loaded.k == activation.k == pytest.approx(0.3)
    assert loaded(torch.rand(10, 8)).count_nonzero() == int(activation.k * 10)
    assert set(BatchTopK(3, 8).state_dict()) == {"threshold", "weight", "calibrated"}


@pytest.mark.parametrize("k", [0, -1, 8.5])
def test_k_out_of_range_is_one_sentence(k):
    with pytest.raises(ConfigError, match=r"--model\.k is"):
        BatchTopK(k, 8)


def test_folding_keeps_codes_or_is_refused():
    torch.manual_seed(0)
    pre, norms = torch.randn(50, 8), torch.rand(8) + 0.1
    weighted = BatchTopK(2, 8, weighted=True)
    weighted.observe(weighted(pre, norms), norms)
    weighted.advance(alone)
    before = weighted.eval()(pre, norms) * norms
    weighted.scale_latents(norms)
    torch.testing.assert_close(weighted(pre * norms, torch.ones(8)), before)

    plain = BatchTopK(2, 8)
    plain.observe(plain(pre))
    plain.advance(alone)
    with pytest.raises(ConfigError, match="cannot be folded"):
        plain.scale_latents(norms)
    before = plain.eval()(pre) * 3
    plain.scale_latents(torch.full((8,), 3.0))
    torch.testing.assert_close(plain(pre * 3), before)


@pytest.mark.parametrize("training", [True, False])
def test_it_compiles_whole_and_not_anew_for_each_step(training):
    activation = BatchTopK(1.5, 64, instances=2).train(training)
    torch.compiler.reset()
    graphs = []
    compiled = torch.compile(activation, backend=lambda graph, _: graphs.append(graph) or graph, fullgraph=True)
    for batch in (10, 10, 3, 4, 5):
        pre = torch.randn(2, batch, 64)
        assert compiled(pre).equal(activation(pre))
        activation.observe(activation(pre))
        activation.advance(alone)
    assert 1 <= len(graphs) <= 2  # the second for batches of any size


@pytest.mark.parametrize("k", [0.2, 3, 20, 63])
def test_the_calibrated_threshold_is_the_quantile_of_all_scores(k):
    torch.manual_seed(0)
    scores = torch.randn(500, 64) + torch.linspace(2, -2, 500)[:, None]  # the largest come first
    threshold = threshold_for_l0(scores.split(70), k, 500)
    partitioned = np.partition(scores.numpy(), scores.numel() - round(k * 500) - 1, axis=None)
    wanted = partitioned[scores.numel() - round(k * 500) - 1]
    assert float(threshold) == max(wanted, 0)
    if wanted > 0:
        assert int((scores > threshold).sum()) == round(k * 500)


def test_the_calibrated_threshold_of_each_instance_is_its_own():
    torch.manual_seed(0)
    scores = torch.randn(2, 90, 8) * torch.tensor([1.0, 5.0]).view(2, 1, 1)
    alone = [threshold_for_l0([one], 2, 90) for one in scores]
    assert threshold_for_l0(scores.split(40, dim=1), 2, 90).equal(torch.stack(alone))
    with pytest.raises(ValueError, match="hold 90 samples"):
        threshold_for_l0([scores], 2, 91)


def test_compiled_gradients_are_the_same():
    torch.compiler.reset()
    activation = BatchTopK(1.5, 64, weighted=True)
    compiled = torch.compile(activation, backend="aot_eager", fullgraph=True)
    pre, norms = torch.randn(10, 64), torch.rand(64)
    gradients = []
    for activate in (activation, compiled):
        leaf = pre.clone().requires_grad_()
        activate(leaf, norms).square().sum().backward()
        gradients.append(leaf.grad)
    assert gradients[0].count_nonzero() == 15
    assert gradients[1].equal(gradients[0])

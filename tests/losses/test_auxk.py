import functools

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck

from ae_lightning.losses import auxk as losses_auxk
from ae_lightning.losses.auxk import auxk, auxk_of_dead
from ae_lightning.nn.dictionary import Dictionary

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


def parts(dtype=torch.float32, batch=8, latents=7, width=4):
    torch.manual_seed(0)
    scores = torch.randn(batch, latents, dtype=dtype)
    residual, rows = torch.randn(batch, width, dtype=dtype) + 3, torch.randn(latents, width, dtype=dtype)
    return scores.requires_grad_(), residual.requires_grad_(), rows.requires_grad_()


def which(*dead, latents=7):
    return torch.tensor([latent in dead for latent in range(latents)])


def paper(scores, dead, residual, rows, k_aux, rectify):
    """Value, and gradients of scores and rows, sample by sample."""
    residual, scores, rows = residual.detach(), scores.detach(), rows.detach()
    variance = float(((residual - residual.mean(0)) ** 2).sum())
    value, of_scores, of_rows = 0.0, torch.zeros_like(scores), torch.zeros_like(rows)
    indices = [i for i in range(len(dead)) if dead[i]]
    for n, e in enumerate(residual):
        chosen = sorted(indices, key=lambda i: -float(scores[n, i]))[:k_aux]
        chosen = [i for i in chosen if not rectify or scores[n, i] > 0]
        error = e - sum((scores[n, i] * rows[i] for i in chosen), torch.zeros_like(e))
        value += float((error**2).sum()) / variance
        for i in chosen:
            of_scores[n, i] = -2 * (error @ rows[i]) / variance
            of_rows[i] -= 2 * error * scores[n, i] / variance
    return torch.tensor(value, dtype=scores.dtype), of_scores, of_rows


@pytest.mark.parametrize("rectify", [False, True])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("dead", [(1, 2, 4, 6), (3,), (0, 1, 2, 3, 4, 5, 6)], ids=["some", "fewer than k", "all"])
def test_value_and_gradients_are_the_papers(dead, dtype, rectify):
    scores, residual, rows = parts(dtype)
    found = auxk(scores, which(*dead), residual, rows, 2, rectify)
    grads = torch.autograd.grad(found, (scores, rows, residual), allow_unused=True)
    assert grads[2] is None, "the residual learns nothing from it"
    wanted = paper(scores, which(*dead), residual, rows, 2, rectify)
    assert float(wanted[0]) > 0.1
    for one, truth in zip((found, *grads[:2]), wanted, strict=True):
        torch.testing.assert_close(one, truth, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_one_sample_s_share_by_hand():
    # Residuals (1, 0) and (−1, 0), variance 2. Latents 0 and 1 are dead and write (1, 0); the best is 0.5, then −0.5.
    residual, rows = torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), torch.tensor([[1.0, 0.0], [1.0, 0.0], [9.0, 9.0]])
    scores, dead = torch.tensor([[0.5, 0.2, 7.0], [-0.8, -0.5, 7.0]]), torch.tensor([True, True, False])
    assert float(auxk(scores, dead, residual, rows, 1)) == pytest.approx((0.25 + 0.25) / 2)
    assert float(auxk(scores, dead, residual, rows, 1, rectify=True)) == pytest.approx((0.25 + 1) / 2)


def test_none_dead_is_exactly_nothing():
    scores, residual, rows = parts()
    value = auxk(scores, which(), residual, rows, 3)
    assert value.item() == 0
    assert not any(gradient.any() for gradient in torch.autograd.grad(value, (scores, rows)))


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e6 / 3])
def test_a_residual_without_variance_is_nothing_and_not_infinite(constant):
    scores, _, rows = parts(batch=1000)
    residual = torch.full((1000, 4), constant)
    value = auxk(scores, which(0, 1), residual, rows, 2)
    assert value.item() == 0
    assert not any(gradient.any() for gradient in torch.autograd.grad(value, (scores, rows)))


def test_more_than_there_are_latents_is_all():
    scores, residual, rows = parts()
    torch.testing.assert_close(
        auxk(scores, which(0, 3), residual, rows, 99), auxk(scores, which(0, 3), residual, rows, 2)
    )


def test_a_population_has_the_values_of_its_members_and_one_of_the_living_has_none():
    torch.manual_seed(0)
    scores, residual, rows = torch.randn(3, 8, 6), torch.randn(3, 8, 4), torch.randn(3, 6, 4)
    scores.requires_grad_()
    dead = torch.tensor([[True] * 6, [False] * 6, [True, False] * 3])
    together = auxk(scores, dead, residual, rows, 2)
    alone = [auxk(*one, 2) for one in zip(scores, dead, residual, rows, strict=True)]
    torch.testing.assert_close(together, torch.stack(alone))
    assert together[1].item() == 0
    (gradient,) = torch.autograd.grad(together.sum(), scores)
    assert not gradient[1].any()
    assert gradient[0].any()


def test_what_is_not_a_number_is_seen():
    scores, residual, rows = parts()
    assert bool(auxk(scores, which(0), residual * float("nan"), rows, 2).isnan())


def test_errors_of_half_precision_are_summed_in_float32():
    scores, residual, rows = (part.detach().bfloat16() for part in parts(batch=300))
    found = auxk(scores, which(0, 1), residual, rows, 1)
    assert found.dtype == torch.float32
    wanted = auxk(scores.float(), which(0, 1), residual.float(), rows.float(), 1)
    torch.testing.assert_close(found, wanted, rtol=5e-3, atol=0)


def test_it_is_traced_whole():
    scores, residual, rows = parts()

    def loss(scores):
        return auxk(scores, which(0, 1, 2), residual, rows, 2, True)

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(scores), loss(scores))


# --- from the dead alone ---------------------------------------------------------------------------------------------


def dictionary_of(weights, centered=True, instances=None, **options):
    """A dictionary of four inputs and seven latents with these weights."""
    found = Dictionary(4, 7, nn.ReLU(), instances, centered=centered, **options).double()
    with torch.no_grad():
        for name, value in weights.items():
            getattr(found, name).copy_(value)
    return found


@pytest.mark.parametrize("fewest", [1, 100], ids=["sparse", "dense"])
@pytest.mark.parametrize("rectify", [False, True])
@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("dead", [(1, 2, 4, 6), (3,), (0, 1, 2, 3, 4, 5, 6)], ids=["some", "fewer than k", "all"])
def test_from_the_dead_alone_it_is_the_papers(dead, centered, rectify, fewest, monkeypatch):
    monkeypatch.setattr(losses_auxk, "_WORTH_SPARSE", fewest)
    _, residual, rows = parts(torch.float64)
    x, weight, bias, center = torch.randn(8, 4), torch.randn(4, 7), torch.randn(7), torch.randn(4)
    x, weight, bias, center = (part.double() for part in (x, weight, bias, center))
    model = dictionary_of({"W_enc": weight, "b_enc": bias, "b_dec": center, "W_dec": rows}, centered)
    read = x - center if centered else x
    found = auxk_of_dead(x, model, which(*dead), residual, 2, rectify)
    grads = torch.autograd.grad(found, [*model.parameters(), residual], allow_unused=True)
    named = dict(zip([*(name for name, _ in model.named_parameters()), "residual"], grads, strict=True))
    assert named["residual"] is None, "the residual learns nothing from it"
    value, of_scores, of_rows = paper(read @ weight + bias, which(*dead), residual, rows, 2, rectify)
    assert float(value) > 0.1
    close = functools.partial(torch.testing.assert_close, rtol=1e-10, atol=1e-10)
    close(found, value)
    close(named["W_dec"], of_rows)
    close(named["W_enc"], read.mT @ of_scores)
    close(named["b_enc"], of_scores.sum(0))
    assert named["b_dec"] is None or centered
    if centered:
        close(named["b_dec"], -weight @ of_scores.sum(0))


@pytest.mark.parametrize("fewest", [1, 100], ids=["sparse", "dense"])
@pytest.mark.parametrize("own", [False, True], ids=["shared samples", "own samples"])
@pytest.mark.parametrize("options", [{}, {"tied": True}, {"unit_norm": True}], ids=str)
def test_instances_have_their_own_dead(options, own, fewest, monkeypatch):
    """Four, none and one: as from the pre-activations of all."""
    monkeypatch.setattr(losses_auxk, "_WORTH_SPARSE", fewest)
    torch.manual_seed(0)
    model = dictionary_of({}, instances=3, **options)
    x = torch.randn(*((3,) if own else ()), 8, 4, dtype=torch.float64)
    residual = torch.randn(3, 8, 4, dtype=torch.float64)
    dead = torch.stack([which(0, 2, 3, 5), which(), which(6)])
    found = auxk_of_dead(x, model, dead, residual, 2)
    wanted = auxk(model.pre_activations(x), dead, residual, model.decoder_vectors, 2)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)
    assert found[1] == 0
    assert bool((found[[0, 2]] > 0).all())
    ours, theirs = (torch.autograd.grad(value.sum(), list(model.parameters())) for value in (found, wanted))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)
        assert not one[1].any()


def test_gradients_from_the_dead_alone_are_those_of_finite_differences(monkeypatch):
    monkeypatch.setattr(losses_auxk, "_WORTH_SPARSE", 1)
    torch.manual_seed(0)
    model = dictionary_of({}, instances=2)
    x, residual = torch.randn(5, 4, dtype=torch.float64), torch.randn(2, 5, 4, dtype=torch.float64)
    dead = torch.stack([which(0, 2, 3, 5), which(1, 6)])
    names = [name for name, _ in model.named_parameters()]

    class Value(nn.Module):
        def __init__(self):
            super().__init__()
            self.dictionary = model

        def forward(self):
            return auxk_of_dead(x, self.dictionary, dead, residual, 2)

    def value(*weights):
        return torch.func.functional_call(
            Value(), {f"dictionary.{name}": weight for name, weight in zip(names, weights, strict=True)}, ()
        )

    assert gradcheck(value, tuple(model.parameters()))

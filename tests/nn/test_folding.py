"""Folded weights give what the scaled ones gave: dictionaries are written out by hand, from the papers' equations."""

import pytest
import torch
from sklearn.datasets import load_digits

from ae_lightning.errors import ConfigError
from ae_lightning.nn.code_activation import CodeActivation
from ae_lightning.nn.dictionary import Dictionary
from ae_lightning.nn.folding import DictionaryWeights, fold_dictionary, fold_norms, fold_scaling
from ae_lightning.nn.scaling import make_scaling

D, F = 12, 30
SCALINGS = ["none", "mean_norm", "mean_square", "centered", "centered_mean_norm", "centered_mean_square", "whitened"]


def relu(pre, norms, extra):
    return pre.relu()


def topk_by_weight(pre, norms, extra):
    """The four latents that write most, pre × norm."""
    chosen = (pre * norms).topk(4, dim=-1).indices
    return torch.zeros_like(pre).scatter(-1, chosen, pre.gather(-1, chosen)).relu()


def jumprelu(pre, norms, extra):
    return pre * (pre > extra[0].unsqueeze(-2))


def gated(pre, norms, extra):
    b_gate, b_mag, r_mag = (part.unsqueeze(-2) for part in extra)
    return (pre + b_gate > 0) * (pre * r_mag.exp() + b_mag).relu()


# What of a code's own numbers is in units of pre-activations.
CODES = {relu: (), topk_by_weight: (), jumprelu: (True,), gated: (True, True, False)}


def run(weights, x, code, extra, centered):
    read = x - weights.b_dec.unsqueeze(-2) if centered else x
    pre = read @ weights.W_enc
    if weights.b_enc is not None:
        pre = pre + weights.b_enc.unsqueeze(-2)
    z = code(pre, weights.W_dec.norm(dim=-1).unsqueeze(-2), extra)
    return z, z @ weights.W_dec + weights.b_dec.unsqueeze(-2)


def world(lead, dtype, seed=0):
    g = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*lead, *shape, generator=g, dtype=torch.float64)  # noqa: E731
    weights = DictionaryWeights(draw(D, F), 0.1 * draw(F), draw(F, D) * (0.3 + draw(F, 1).abs()), 0.2 * draw(D))
    extra = [0.5 + draw(F).abs(), 0.3 * draw(F), 0.3 * draw(F)]
    x = draw(200, D) @ (torch.eye(D) + 0.3 * draw(D, D)) + 100.0
    return DictionaryWeights(*(part.to(dtype) for part in weights)), [part.to(dtype) for part in extra], x.to(dtype)


def fitted(name, lead, x):
    scaling = make_scaling(name, D, lead).to(x.dtype)
    scaling.fit(x)
    return scaling


def relative(found, truth):
    return float((found - truth).double().norm() / truth.double().norm())


@pytest.mark.parametrize("lead", [(), (3,)], ids=["one", "instances"])
@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("centered", [True, False])
@pytest.mark.parametrize("name", SCALINGS)
def test_a_folded_dictionary_reads_and_writes_the_data_s_units(name, centered, code, lead):
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-12)):
        weights, extra, x = world(lead, dtype)
        scaling = fitted(name, lead, x)
        z, x_hat = run(weights, scaling(x), code, extra, centered)
        x_hat = scaling.undo(x_hat)
        norms_folded, norms = fold_norms(weights)
        extra = [part * norms if scales else part for part, scales in zip(extra, CODES[code], strict=False)]
        folded = fold_scaling(norms_folded, centered, scaling)
        assert all(part.dtype == dtype for part in folded)
        found_z, found = run_with_unit_norms(folded, x, code, extra, centered)
        assert 0 < float((z > 0).double().mean()) < 1
        # A pre-activation within rounding of a threshold may fall on its other side: one in hundreds of samples jumps.
        same = ((found_z > 0) == (z > 0)).all(-1)
        assert float(same.double().mean()) > 0.98
        assert relative(found[same], x_hat[same]) < tolerance
        assert relative((found_z / norms.unsqueeze(-2))[same], z[same]) < 20 * tolerance


def run_with_unit_norms(weights, x, code, extra, centered):
    """As `run`, but latents are compared by their pre-activations alone."""
    return run(weights, x, lambda pre, norms, extra: code(pre, torch.ones_like(norms), extra), extra, centered)


def test_weights_without_an_encoder_bias_get_one_only_where_data_are_shifted():
    weights, _, x = world((), torch.float64)
    weights = weights._replace(b_enc=None)
    scaling = fitted("centered_mean_norm", (), x)
    assert fold_scaling(weights, True, scaling).b_enc is None
    assert fold_scaling(weights, False, fitted("mean_norm", (), x)).b_enc is None
    folded = fold_scaling(weights, False, scaling)
    truth = scaling.undo(run(weights, scaling(x), relu, [], False)[1])
    assert folded.b_enc is not None
    torch.testing.assert_close(run(folded, x, relu, [], False)[1], truth, rtol=1e-12, atol=1e-10)
    assert fold_norms(weights)[0].b_enc is None


def test_a_scaling_that_instances_share_folds_into_each():
    weights, _, _ = world((3,), torch.float64)
    x = world((), torch.float64)[2]
    scaling = fitted("whitened", (), x)
    truth = scaling.undo(run(weights, scaling(x), relu, [], False)[1])
    torch.testing.assert_close(run(fold_scaling(weights, False, scaling), x, relu, [], False)[1], truth)


def test_a_tied_dictionary_comes_out_untied_and_shares_no_memory():
    weights = world((), torch.float64)[0]
    weights = weights._replace(W_dec=weights.W_enc.mT)
    folded = fold_scaling(weights, True, make_scaling("none", D))
    assert torch.equal(folded.W_dec, weights.W_dec)
    pointers = {part.untyped_storage().data_ptr() for part in (*weights, *folded)}
    assert len(pointers) == 3 + 4


def test_rows_have_norm_1_but_for_those_of_zeros_which_stay():
    weights, _, _ = world((), torch.float64)
    weights.W_dec[4] = 0
    folded, norms = fold_norms(weights)
    expected = torch.ones(F, dtype=torch.float64)
    expected[4] = 0
    torch.testing.assert_close(folded.W_dec.norm(dim=-1), expected)
    assert float(norms[4]) == 1
    assert torch.equal(folded.W_enc[:, 4], weights.W_enc[:, 4])


def test_a_scaling_of_each_sample_is_refused():
    weights, _, _ = world((), torch.float64)
    with pytest.raises(ConfigError, match="depends on each sample"):
        fold_scaling(weights, True, make_scaling("standardized", D))


@pytest.mark.parametrize("name", SCALINGS)
def test_digits_far_from_zero_fold_to_1e_5(name):
    x = torch.from_numpy(load_digits().data).float() + 1000
    g = torch.Generator().manual_seed(0)
    rows = torch.nn.functional.normalize(torch.randn(100, 64, generator=g), dim=-1)
    weights = DictionaryWeights(rows.mT, torch.zeros(100), rows, torch.zeros(64))
    scaling = make_scaling(name, 64)
    scaling.fit(x)
    truth = scaling.undo(run(weights, scaling(x), relu, [], True)[1])
    assert relative(run(fold_scaling(weights, True, scaling), x, relu, [], True)[1], truth) < 1e-5


def test_norms_do_not_fold_into_an_activation_that_does_not_say_how_it_follows_them():
    class Doubling(CodeActivation):
        def forward(self, pre, norms=None):
            return 2 * pre.relu()

    dictionary = Dictionary(4, 6, Doubling(), centered=True)
    with pytest.raises(ConfigError, match="cannot be folded: a Doubling does not say"):
        fold_dictionary(dictionary, make_scaling("none", 4))

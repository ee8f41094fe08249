"""A crosscoder has one code for several sources, each in units of its own."""

from typing import Any

import numpy as np
import pytest
import torch
from known_targets import TwoViews
from scipy.optimize import linear_sum_assignment
from torch.nn.functional import normalize

from ae_lightning.data.in_memory import InMemoryDataset
from ae_lightning.errors import ConfigError
from ae_lightning.evaluation import evaluate
from ae_lightning.evaluation.errors import errors_of_parts
from ae_lightning.models.crosscoder import Crosscoder
from ae_lightning.nn.scaling import InputScalingName
from ae_lightning.nn.source_scaling import SourceScaling
from ae_lightning.testing.building import quiet_trainer


def rows(n: int = 300) -> torch.Tensor:
    """Three sources of 3, 2 and 4 numbers, of very different size, far from zero."""
    x = torch.randn(n, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return x * torch.tensor([1.0] * 3 + [40.0] * 2 + [0.01] * 4) + torch.tensor([5.0] * 3 + [-300.0] * 2 + [2.0] * 4)


def test_what_two_views_share_is_found_in_both(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")
    torch.manual_seed(0)
    data = TwoViews()
    model = Crosscoder((32,), 32, k=2)
    quiet_trainer(tmp_path, max_steps=800, max_epochs=-1, limit_val_batches=0).fit(model, data)
    found = model.writing(model.decoder_vectors).detach()
    cosines = [
        normalize(part, dim=1) @ true.T
        for part, true in zip(found.split([16, 16], dim=1), data.directions, strict=True)
    ]
    latents, features = linear_sum_assignment(-(cosines[0] + cosines[1]).numpy())
    assert len(features) == 24
    for cosine in cosines:
        assert float(cosine[latents, features].mean()) >= 0.95
    assert float((model.relative_norms[latents] - 0.5).abs().max()) <= 0.1

    told = evaluate(model, data)
    x = data.test_set.take(2000)[0]
    with torch.no_grad():
        left = (model.eval()(x).x_hat - x).double()
    for name, where in (("source_0", slice(0, 16)), ("source_1", slice(16, 32))):
        variance = (x[:, where] - x[:, where].mean(0)).double().square().sum()
        fvu = float(left[:, where].square().sum() / variance)
        assert told["parts"][name]["fvu"] == pytest.approx(fvu, rel=1e-5)
        assert told["parts"][name]["explained_variance"] == pytest.approx(1 - fvu, rel=1e-5)


def test_relative_norms_by_hand() -> None:
    model = Crosscoder((5,), 3, source_dims=[2, 3], k=1)
    with torch.no_grad():
        model.decoder_vectors.copy_(torch.tensor([[3.0, 4, 0, 0, 0], [3, 4, 0, 5, 0], [0, 0, 0, 0, 0]]))
    assert model.source_norms.tolist() == [[5, 0], [5, 5], [0, 0]]
    assert model.relative_norms.tolist() == [[1, 0], [0.5, 0.5], [0, 0]]
    population = Crosscoder((5,), 3, source_dims=[2, 3], k=1, instances=2)
    assert population.relative_norms.shape == (2, 3, 2)
    torch.testing.assert_close(population.relative_norms.sum(-1), torch.ones(2, 3))


def test_errors_by_source_of_instances() -> None:
    model = Crosscoder((5,), 3, source_dims=[2, 3], k=1, instances=2, input_scaling="none").eval()
    x = torch.randn(40, 5, generator=torch.Generator().manual_seed(0))
    found = errors_of_parts(model, InMemoryDataset(x), 16)
    with torch.no_grad():
        left = model(x).x_hat - x
    for name, part in (("source_0", left[..., :2]), ("source_1", left[..., 2:])):
        assert found[name].compute()["mse_per_pixel"] == pytest.approx(float(part.square().mean()), rel=1e-5)


@pytest.mark.parametrize("name", ["mean_norm", "centered_mean_norm", "centered_mean_square", "whitened"])
def test_each_source_is_scaled_as_if_it_were_alone(name: InputScalingName) -> None:
    x = rows()
    scaling = SourceScaling(name, [3, 2, 4]).double()
    assert not scaling.is_fitted
    scaling.fit(x)
    assert scaling.is_fitted
    scaled = scaling(x)
    for part, own in zip(scaled.split([3, 2, 4], dim=1), x.split([3, 2, 4], dim=1), strict=True):
        own, part = own.numpy(), part.numpy()
        if name != "mean_norm":
            np.testing.assert_allclose(part.mean(0), 0, atol=1e-9)
            own = own - own.mean(0)
        if name.endswith("mean_norm"):
            assert np.linalg.norm(part, axis=1).mean() == pytest.approx(np.sqrt(part.shape[1]))
            np.testing.assert_allclose(part / own, (part / own)[0, 0], rtol=1e-6)  # by one factor
        elif name == "whitened":
            np.testing.assert_allclose(np.cov(part.T, bias=True), np.eye(part.shape[1]), atol=0.05)
        else:
            assert np.square(part).sum(1).mean() == pytest.approx(1)
    torch.testing.assert_close(scaling.undo(scaled), x)


@pytest.mark.parametrize("name", ["none", "centered_mean_norm", "whitened"])
def test_folded_weights_read_and_write_the_sources_as_they_are(name: InputScalingName) -> None:
    torch.manual_seed(0)
    model = Crosscoder((9,), 20, source_dims=[3, 2, 4], activation="topk", k=4, input_scaling=name).double().eval()
    x = rows()
    model.start_from(x, torch.Generator().manual_seed(0))
    folded = model.fold()
    with torch.no_grad():
        torch.testing.assert_close(folded(x).x_hat, model(x).x_hat, rtol=1e-8, atol=1e-8)
        d = folded.dictionary
        plain = d.activation((x - d.b_dec) @ d.W_enc + d.b_enc) @ d.W_dec + d.b_dec
        torch.testing.assert_close(plain, model(x).x_hat, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(
    ("dims", "message"),
    [
        ([3, 4], r"--model.source_dims \[3, 4\] adds up to 7, but a sample of these data has 9 numbers"),
        ([9, 0], r"--model.source_dims \[9, 0\] adds up to 9"),
        ([], r"--model.source_dims \[\] adds up to 0"),
        (2, r"--model.source_dims 2 asks for so many sources of one width, but a sample of these data has 9 numbers"),
        (0, r"--model.source_dims 0 asks for"),
    ],
)
def test_widths_that_do_not_add_up_are_refused(dims: int | list[int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Crosscoder((9,), 12, source_dims=dims, k=2)

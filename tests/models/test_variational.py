"""Variational autoencoders against the formulas of their papers, and where log p(x) is known."""

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import LambdaCallback
from torch import Tensor
from torch.distributions import Bernoulli, MultivariateNormal, Normal, kl_divergence

from ae_lightning.data.digits import DigitsDataModule
from ae_lightning.errors import ConfigError
from ae_lightning.evaluation.posterior import bound
from ae_lightning.models.beta_tcvae import BetaTCVAE
from ae_lightning.models.variational import VariationalAutoencoder
from ae_lightning.nn.networks import MLPNetwork

STD = 0.4


def model_of(kind: type[VariationalAutoencoder] = VariationalAutoencoder, **options: Any) -> VariationalAutoencoder:
    torch.manual_seed(0)
    return kind((1, 8, 8), latent_dim=5, network=MLPNetwork(hidden_dims=(16,)), **options)


@pytest.fixture
def x() -> Tensor:
    return (torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(1)) < 0.4).float()


def drawn(model: VariationalAutoencoder, x: Tensor, samples: int) -> tuple[Normal, Tensor, Tensor]:
    """Posterior, codes and log p(x|z) as the recipe of the paper has them, from the noise that torch draws next."""
    mean, log_variance = model.encoder(x).chunk(2, 1)
    q = Normal(mean, (0.5 * log_variance).exp())
    z = mean + q.stddev * torch.randn(samples, *mean.shape)
    log_p = torch.stack([Bernoulli(logits=model.decoder(each)).log_prob(x).sum((1, 2, 3)) for each in z])
    return q, z, log_p


def gradients(model: VariationalAutoencoder, loss: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(model.parameters())))


def elbo(model: VariationalAutoencoder, x: Tensor, beta: float = 1.0) -> Tensor:
    q, _, log_p = drawn(model, x, 1)
    kl = kl_divergence(q, Normal(torch.zeros(()), torch.ones(()))).sum(1)
    return (-log_p[0] + beta * kl).mean()


def importance_weighted(model: VariationalAutoencoder, x: Tensor) -> Tensor:
    q, z, log_p = drawn(model, x, 3)
    prior = Normal(torch.zeros(()), torch.ones(()))
    weights = log_p + prior.log_prob(z).sum(2) - q.log_prob(z).sum(2)
    return -(weights.exp().mean(0).log()).mean()


def held_at_a_capacity(model: VariationalAutoencoder, x: Tensor) -> Tensor:
    q, _, log_p = drawn(model, x, 1)
    kl = kl_divergence(q, Normal(torch.zeros(()), torch.ones(()))).sum(1).mean()
    return -log_p[0].mean() + 30 * (kl - 2.5).abs()


def with_free_bits(model: VariationalAutoencoder, x: Tensor) -> Tensor:
    q, _, log_p = drawn(model, x, 1)
    kl = kl_divergence(q, Normal(torch.zeros(()), torch.ones(()))).mean(0)
    assert 0 < int((kl < 0.05).sum()) < 5, "some latents are below and some above"
    return -log_p[0].mean() + kl.clamp(min=0.05).sum()


def decomposed(model: VariationalAutoencoder, x: Tensor) -> Tensor:
    """Equation 4 of Chen et al. (2018) with α = γ = 1, −E log p + MI + β TC + Σ KL_j, of a batch.

    MI + TC + Σ KL_j is the mean of log q(z|x) − log p(z), whose expectation over z is the KL divergence.
    """
    q, z, log_p = drawn(model, x, 1)
    densities = Normal(q.mean, q.stddev).log_prob(z[0][:, None])
    log_qz = densities.sum(2).exp().mean(1).log()
    log_product = densities.exp().mean(1).log().sum(1)
    kl = kl_divergence(q, Normal(torch.zeros(()), torch.ones(()))).sum(1)
    return (-log_p[0] + kl + 3 * (log_qz - log_product)).mean()


CASES: dict[str, tuple[dict[str, Any], Callable[..., Tensor]]] = {
    "vae": ({}, elbo),
    "beta": ({"beta": 4.0}, lambda model, x: elbo(model, x, 4.0)),
    "importance": ({"importance_samples": 3}, importance_weighted),
    "capacity": ({"beta": 30.0, "capacity": 2.5}, held_at_a_capacity),
    "free bits": ({"free_bits": 0.05}, with_free_bits),
    "total correlation": ({"kind": BetaTCVAE, "beta": 4.0}, decomposed),
}


@pytest.mark.parametrize("case", CASES)
def test_the_objective_and_its_gradients_are_those_of_the_paper(case, x):
    options, formula = CASES[case]
    model = model_of(**options)
    torch.manual_seed(7)
    losses, _ = model.loss(x)
    torch.manual_seed(7)
    expected = formula(model, x)
    assert float(losses["loss"].detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    ours, theirs = gradients(model, losses["loss"]), gradients(model, expected)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_reconstruction_and_kl_are_nats_a_sample_whatever_the_objective(case, x):
    options, _ = CASES[case]
    model = model_of(**options)
    torch.manual_seed(7)
    losses, _ = model.loss(x)
    torch.manual_seed(7)
    q, _, log_p = drawn(model, x, options.get("importance_samples", 1))
    kl = kl_divergence(q, Normal(torch.zeros(()), torch.ones(()))).sum(1).mean()
    assert float(losses["kl"].detach()) == pytest.approx(float(kl.detach()), rel=1e-5)
    assert float(losses["reconstruction"].detach()) == pytest.approx(-float(log_p.detach().mean()), rel=1e-5)


def linear_gaussian(bend: float = 0.0) -> tuple[VariationalAutoencoder, MultivariateNormal]:
    """A model of known p(x), x = W z + b + σ ε with orthogonal W, whose encoder is exact where it is not bent."""
    model = VariationalAutoencoder((6,), 3, MLPNetwork(hidden_dims=()), likelihood="gaussian", std=STD).double()
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(6, 3, generator=generator, dtype=torch.float64)).Q
    lengths = torch.tensor([2.0, 1.0, 0.3], dtype=torch.float64)
    w, b = basis * lengths, torch.linspace(-1, 1, 6, dtype=torch.float64)
    variance = STD**2 / (STD**2 + lengths**2)  # of the posterior, whose mean is variance Wᵀ(x − b) / σ²
    to_mean = (variance / STD**2)[:, None] * w.T
    with torch.no_grad():
        linear = next(m for m in model.encoder.modules() if isinstance(m, torch.nn.Linear))
        linear.weight.copy_(torch.cat([to_mean + bend * torch.eye(3, 6, dtype=torch.float64), torch.zeros(3, 6)]))
        linear.bias.copy_(torch.cat([-to_mean @ b, variance.log() + bend]))
        out = next(m for m in model.decoder.modules() if isinstance(m, torch.nn.Linear))
        out.weight.copy_(w)
        out.bias.copy_(b)
    return model.eval(), MultivariateNormal(b, w @ w.T + STD**2 * torch.eye(6, dtype=torch.float64))


def log_weights(model: VariationalAutoencoder, x: Tensor, samples: int) -> Tensor:
    noise = torch.randn(samples, len(x), 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    with torch.no_grad():
        return model.log_weights(model.posterior(x), x, noise)


def test_with_the_exact_posterior_each_weight_is_p_of_x():
    model, marginal = linear_gaussian()
    x = marginal.sample((4,))
    weights = log_weights(model, x, 5)
    torch.testing.assert_close(weights, marginal.log_prob(x).expand(5, 4), rtol=1e-9, atol=1e-9)


def test_the_bound_rises_with_the_number_of_codes_up_to_log_p():
    model, marginal = linear_gaussian(bend=0.1)
    torch.manual_seed(0)
    x = marginal.sample((4,))
    truth = float(marginal.log_prob(x).mean())
    weights = log_weights(model, x, 2**15)
    bounds = [
        float((torch.logsumexp(weights.unflatten(0, (-1, k)), 1) - math.log(k)).mean()) for k in (1, 4, 16, 64, 1024)
    ]
    assert bounds == sorted(bounds)
    assert bounds[0] < truth - 0.05
    assert bounds[-1] == pytest.approx(truth, abs=0.02)
    assert bounds[0] == pytest.approx(elbo_in_closed_form(model, x), abs=0.02)


@torch.no_grad()
def elbo_in_closed_form(model: VariationalAutoencoder, x: Tensor) -> float:
    """E log N(x; W z + b, σ²) under q is that at the mean less Σ w² s² / 2σ²."""
    posterior = model.posterior(x)
    out = next(m for m in model.decoder.modules() if isinstance(m, torch.nn.Linear))
    spread = (out.weight.square() @ posterior.log_variance.exp().T).sum(0) / (2 * STD**2)
    error = Normal(model.decode(posterior.mean), STD).log_prob(x).sum(1) - spread
    return float((error - posterior.divergences().sum(1)).mean())


def test_the_loss_in_evaluation_is_the_same_whatever_the_batches(x):
    model = model_of(importance_samples=2).eval()
    with torch.no_grad():
        whole = model.loss(x)[0]
        parts = [model.loss(part)[0] for part in x.split(4)]
    for name, value in whole.items():
        assert float(value) == pytest.approx(sum(float(part[name]) for part in parts) / 3, rel=1e-5)


def test_two_processes_draw_the_noise_that_one_would(x, monkeypatch):
    """Their samples are those of one process in turn: the first, third, … and the second, fourth, …"""
    model = model_of(importance_samples=2)

    def losses(rank: int, processes: int) -> Tensor:
        place = SimpleNamespace(global_rank=rank, world_size=processes, training=True)
        monkeypatch.setattr("ae_lightning.models.variational.trainer_of", lambda module: place)
        torch.manual_seed(0)
        return model.loss(x[rank::processes])[0]["loss"].detach()

    torch.testing.assert_close((losses(0, 2) + losses(1, 2)) / 2, losses(0, 1))


def test_the_code_is_the_mean_and_the_reconstruction_that_of_it(x):
    model = model_of()
    mean = model.encoder(x).chunk(2, 1)[0]
    output = model(x)
    assert torch.equal(output.z, mean)
    assert torch.equal(model.encode(x), mean)
    torch.testing.assert_close(output.x_hat, model.decoder(mean).sigmoid())
    assert model.output_range == (0, 1)


def test_new_codes_are_drawn_from_a_standard_normal(x):
    model = model_of()
    codes = model.prior.draw(4000)
    assert codes.shape == (4000, 5)
    torch.testing.assert_close(torch.cov(codes.T), torch.eye(5), rtol=0, atol=0.1)
    assert model.decode(codes[:3]).shape == (3, 1, 8, 8)


def trained(data: DigitsDataModule, make_trainer: Callable[..., Trainer], **options: Any) -> VariationalAutoencoder:
    torch.manual_seed(0)
    model = VariationalAutoencoder(
        (1, 8, 8), 8, optimizer=lambda parameters: torch.optim.Adam(parameters, lr=3e-3, fused=True), **options
    )
    make_trainer(max_epochs=10, limit_val_batches=0).fit(model, data)
    return model.eval()


def test_beta_trades_divergence_for_error(digits, make_trainer):
    x, _ = digits.test_set.take(300)
    found = []
    for beta in (0.2, 1.0, 5.0):
        model = trained(digits, make_trainer, beta=beta)
        with torch.no_grad():
            found.append(
                (float(model.posterior(x).divergences().sum(1).mean()), float((model(x).x_hat - x).square().mean()))
            )
    divergences, errors = zip(*found, strict=True)
    assert divergences[0] > 1.3 * divergences[1] > 1.3**2 * divergences[2]
    assert 1.1**2 * errors[0] < 1.1 * errors[1] < errors[2]


def test_beta_rises_in_training_and_is_whole_in_evaluation(digits, make_trainer):
    model = model_of(beta={"start": 0.0, "end": 2.0, "until": 0.5})
    weights = []

    note = LambdaCallback(on_train_batch_end=lambda trainer, module, *_: weights.append(module.loss_weights["kl"]))
    make_trainer(note, max_steps=4, limit_val_batches=0, max_epochs=-1).fit(model, digits)
    assert weights == pytest.approx([1.0, 2.0, 2.0, 2.0])
    assert model.eval().loss_weights["kl"] == 2.0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"reconstruction_loss": "mse"}, r"leave that out, and choose --model\.likelihood"),
        ({"capacity": 5.0}, r"--model\.capacity needs --model\.beta"),
        ({"capacity": -1.0, "beta": 2.0}, r"--model\.capacity is -1; it must be at least 0"),
        ({"capacity": 1.0, "beta": 2.0, "free_bits": 0.1}, "choose one"),
        ({"importance_samples": 0}, r"--model\.importance_samples is 0"),
        ({"importance_samples": 5, "beta": 2.0}, "leave them out"),
        ({"likelihood": "gaussian", "std": -1.0}, r"--model\.std is -1"),
        ({"kind": BetaTCVAE, "beta": 0.5}, r"--model\.beta is 0\.5; it must be at least 1"),
    ],
)
def test_options_that_contradict_each_other_are_refused_in_a_sentence(options, said):
    with pytest.raises(ConfigError, match=said):
        model_of(**options)


@pytest.mark.parametrize("likelihood", ["bernoulli", "continuous_bernoulli"])
def test_data_that_a_likelihood_has_no_probability_for_are_refused(likelihood):
    model = model_of(likelihood=likelihood)
    with pytest.raises(
        ConfigError, match=r"Bernoulli likelihood needs data within \[0, 1\].* --model\.likelihood gaussian"
    ):
        model.loss(torch.randn(4, 1, 8, 8))


def test_a_gaussian_likelihood_takes_any_numbers():
    for likelihood in ("gaussian", "learned_gaussian"):
        losses, output = model_of(likelihood=likelihood).loss(5 * torch.randn(4, 1, 8, 8))
        assert bool(losses["loss"].isfinite())
        assert output.x_hat.shape == (4, 1, 8, 8)


def test_the_bound_of_a_set_falls_with_more_codes_and_is_the_same_each_time(digits):
    model = VariationalAutoencoder((1, 8, 8), 8).eval()
    few, more, again = (bound(model, digits.test_set, samples, 50) for samples in (1, 64, 64))
    assert more["nats"] < few["nats"]
    assert more == again
    assert (more["samples"], more["images"]) == (64, 50)
    x, _ = digits.test_set.take(50)
    with torch.no_grad():
        noise = torch.randn(64, 50, 8, generator=torch.Generator().manual_seed(9))
        weights = model.log_weights(model.posterior(x), x, noise)
    assert more["nats"] == pytest.approx(-float((torch.logsumexp(weights, 0) - math.log(64)).mean()), abs=0.5)

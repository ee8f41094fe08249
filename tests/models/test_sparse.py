"""The objective of the deep sparse autoencoders: what is penalized, how much, and when; and what is refused."""

import re
import statistics

import pytest
import torch
from lightning.pytorch import Callback

from ae_lightning.data.digits import DigitsDataModule
from ae_lightning.errors import ConfigError
from ae_lightning.models.checkpoint import load_autoencoder
from ae_lightning.models.sparse import SparseAutoencoder, TiedSparseAutoencoder

SHAPE = (1, 8, 8)
BOTH = pytest.mark.parametrize("kind", [SparseAutoencoder, TiedSparseAutoencoder])


def small(kind=SparseAutoencoder, **options):
    torch.manual_seed(0)
    return kind(SHAPE, **{"latent_dim": 6, "hidden_dims": (32, 16), **options})


def some(n=9):
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(1))


def digits_of_validation():
    data = DigitsDataModule()
    data.setup()
    return data.val_set.take(1000)[0]


class SaveAt(Callback):
    """Saves a checkpoint after a step."""

    def __init__(self, step, path):
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer, *args):
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


# --- the objective ---------------------------------------------------------------------------------------------


def by_hand(name, z):
    """Penalties as the module that this one follows has them: means over latents and over the batch."""
    z = z.detach().double()
    if name == "l1":
        return z.abs().mean()
    if name == "kl":
        p = z.relu().mean(0).clamp(1e-10, 1 - 1e-10)
        return (0.2 * (0.2 / p).log() + 0.8 * (0.8 / (1 - p)).log()).mean()
    root = z.shape[-1] ** 0.5
    return 1 - ((root - z.abs().sum(-1) / z.square().sum(-1).sqrt()) / (root - 1)).mean()


@BOTH
@pytest.mark.parametrize("name", ["l1", "kl", "hoyer"])
def test_the_objective_by_hand(kind, name):
    model = small(
        kind, penalty=name, penalty_weight=0.3, target=0.2, layer_weights=(0.0, 2.0), latent_activation="relu"
    )
    x = some()
    losses, output = model.loss(x)
    first, second = model.layer_outputs(x)
    reconstruction = (output.x_hat.detach() - x).double().square().mean()
    expected = {
        "reconstruction": reconstruction,
        name: by_hand(name, output.z),
        f"{name}_layer_1": by_hand(name, first),
        f"{name}_layer_2": by_hand(name, second),
    }
    total = reconstruction + 0.3 * expected[name] + 2 * expected[f"{name}_layer_2"]
    assert list(losses) == ["loss", *expected]
    for term, value in ({"loss": total} | expected).items():
        assert float(losses[term].detach()) == pytest.approx(float(value), rel=1e-4), term


@pytest.mark.parametrize("name", ["l1", "kl", "hoyer", "log", "lp"])
def test_every_penalty_trains_under_its_own_name(name, make_trainer, digits, recorder):
    make_trainer(logger=recorder).fit(small(penalty=name), digits)
    assert len(recorder.series(f"train/{name}")) == 6
    assert len(recorder.series(f"val/{name}")) == 1


def test_hidden_layers_are_penalized_as_the_forward_pass_saw_them():
    """One pass, so that batch normalization counts a batch once."""
    model = small(layer_weights=(1.0, 1.0), batch_norm=True)
    x = some()
    losses, _ = model.loss(x)
    counts = [int(value) for name, value in model.named_buffers() if name.endswith("num_batches_tracked")]
    assert counts == [1] * 4
    assert losses["l1_layer_2"].detach() == model.layer_outputs(x)[1].abs().mean().detach()


def test_a_penalty_on_a_hidden_layer_makes_it_quiet(make_trainer):
    def activity(weights):
        model = small(penalty_weight=0.0, layer_weights=weights)
        make_trainer(max_epochs=5).fit(model, DigitsDataModule(batch_size=64))
        return [float(layer.detach().mean()) for layer in model.layer_outputs(some(100))]

    plain, first, second = activity(None), activity((3.0, 0.0)), activity((0.0, 3.0))
    assert first[0] < 0.3 * plain[0]
    assert second[1] < 0.3 * plain[1]
    assert second[0] > 2 * first[0]


def test_penalties_reach_the_sparsity_that_they_ask_for(make_trainer):
    def codes(**options):
        model = small(latent_activation="sigmoid", **options)
        make_trainer(max_epochs=15).fit(model, DigitsDataModule(batch_size=64))
        return model.encode(digits_of_validation()).detach()

    def hoyer_measure(z):
        root = z.shape[-1] ** 0.5
        return float(((root - z.norm(1, dim=1) / z.norm(2, dim=1)) / (root - 1)).mean())

    free = codes(penalty_weight=0.0)
    assert float(free.mean(0).median()) > 0.2
    rates = codes(penalty="kl", penalty_weight=1.0, target=0.1).mean(0)
    assert 0.05 < float(rates.median()) < 0.2
    assert hoyer_measure(codes(penalty="hoyer", penalty_weight=0.1)) > hoyer_measure(free) + 0.1


# --- warm-up ---------------------------------------------------------------------------------------------------


def weights_in_force(recorder, stage, term="l1"):
    """What the term was multiplied by, from the logged losses: the only weighted one beside the reconstruction."""
    total, plain, penalty = (recorder.series(f"{stage}/{name}") for name in ("loss", "reconstruction", term))
    return [(total[step] - plain[step]) / penalty[step] for step in total]


def test_the_weight_rises_in_a_straight_line_and_is_whole_in_validation(make_trainer, recorder):
    model = small(penalty_weight=0.8, penalty_warmup=8)
    make_trainer(max_epochs=2, logger=recorder).fit(model, DigitsDataModule(batch_size=256))
    risen = [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.8, 0.8, 0.8]
    assert weights_in_force(recorder, "train") == pytest.approx(risen, abs=1e-4)
    assert weights_in_force(recorder, "val") == pytest.approx([0.8, 0.8], abs=1e-4)


def test_accumulated_batches_are_one_step_of_the_rise(make_trainer, recorder):
    model = small(penalty_weight=0.8, penalty_warmup=4)
    options = {"accumulate_grad_batches": 3, "max_epochs": 2, "logger": recorder}
    make_trainer(**options).fit(model, DigitsDataModule(batch_size=256))
    assert weights_in_force(recorder, "train") == pytest.approx([0, 0.2, 0.4, 0.6], abs=1e-4)


def test_weights_of_layers_rise_too(make_trainer, recorder):
    model = small(penalty_weight=0.0, penalty_warmup=8, layer_weights=(0.0, 1.6))
    make_trainer(logger=recorder).fit(model, DigitsDataModule(batch_size=256))
    assert weights_in_force(recorder, "train", "l1_layer_2") == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0], abs=1e-4)


@pytest.mark.parametrize("geometric_weight", [0.0, 0.1])
def test_a_resumed_run_rises_and_draws_as_one_that_was_never_stopped(
    make_trainer, recorder, tmp_path, geometric_weight
):
    def run(*callbacks, **options):
        model = small(penalty_weight=0.8, penalty_warmup=10, geometric_weight=geometric_weight)
        data = DigitsDataModule(batch_size=256)
        make_trainer(*callbacks, max_epochs=2, logger=recorder).fit(model, data, weights_only=True, **options)
        return model.state_dict()

    whole = run(SaveAt(4, tmp_path / "part.ckpt"))
    recorder.rows.clear()
    torch.manual_seed(99)
    resumed = run(ckpt_path=tmp_path / "part.ckpt")
    if geometric_weight == 0:
        assert weights_in_force(recorder, "train")[0] == pytest.approx(0.8 * 4 / 10, abs=1e-4)
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())


def test_outside_a_fit_the_weight_is_whole():
    model = small(penalty_weight=0.8, penalty_warmup=10)
    losses = model.train().loss(some())[0]
    assert losses["loss"].item() == pytest.approx(losses["reconstruction"].item() + 0.8 * losses["l1"].item())


# --- evaluation ------------------------------------------------------------------------------------------------


@BOTH
def test_the_whole_evaluation_by_hand(kind):
    """Beside a plain loop over samples, in Python's own numbers."""
    model = small(kind, batch_norm=True, latent_activation="hard_threshold", threshold=0.15)
    model.loss(some(50))  # running statistics that are not those of a batch
    x = some(7)
    found = model.evaluate(x, near_zero=0.2, batch_size=3)
    assert model.training
    assert all(part.training for part in model.modules())
    model.eval()
    codes = [model.encode(sample[None])[0].tolist() for sample in x]
    errors = []
    for sample in x:
        pairs = zip(model(sample[None]).x_hat.flatten().tolist(), sample.flatten().tolist(), strict=True)
        errors.append(sum((a - b) ** 2 for a, b in pairs) / 64)
    latents = list(zip(*codes, strict=True))
    values = [value for code in codes for value in code]
    assert found.keys() == {
        *("errors", "mean", "std", "codes", "mean_activation", "mean_positive_activation", "sparsity_level")
    }
    assert found["errors"].tolist() == pytest.approx(errors, rel=1e-5)
    assert found["mean"] == pytest.approx(statistics.fmean(errors), rel=1e-5)
    assert found["std"] == pytest.approx(statistics.pstdev(errors), rel=1e-4)
    torch.testing.assert_close(found["codes"], torch.tensor(codes))
    assert found["mean_activation"].tolist() == pytest.approx([sum(z) / 7 for z in latents], abs=1e-6)
    positive = [sum(max(value, 0) for value in z) / 7 for z in latents]
    assert found["mean_positive_activation"].tolist() == pytest.approx(positive, abs=1e-6)
    assert found["sparsity_level"] == sum(abs(value) <= 0.2 for value in values) / len(values)
    assert 0.1 < found["sparsity_level"] < 0.9


# --- options ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"penalty_weight": -0.1}, "--model.penalty_weight is -0.1; it must be at least 0"),
        ({"penalty_warmup": -1}, "--model.penalty_warmup is -1; it must be at least 0"),
        ({"geometric_weight": float("nan")}, "--model.geometric_weight is nan; it must be at least 0"),
        ({"threshold": -1.0}, "--model.threshold is -1; it must be at least 0"),
        ({"target": 1.5}, "--model.target is 1.5; it must lie between 0 and 1"),
        ({"target": -0.1}, "--model.target is -0.1; it must lie between 0 and 1"),
        ({"latent_dim": 0}, "--model.latent_dim is 0; it must be at least 1"),
        ({"hidden_dims": (4, 0)}, "--model.hidden_dims is 0; it must be at least 1"),
        (
            {"layer_weights": (0.1,)},
            "--model.layer_weights takes a number for each of the encoder's 2 hidden layers, but there are 1",
        ),
        ({"layer_weights": (0.1, -0.2)}, "--model.layer_weights is -0.2; it must be at least 0"),
    ],
)
@BOTH
def test_what_makes_no_sense_is_refused(kind, options, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        small(kind, **options)


@pytest.mark.parametrize("target", [0.0, 1.0])
def test_a_target_at_the_edge_trains(target, make_trainer, digits):
    model = small(penalty="kl", target=target)
    make_trainer().fit(model, digits)
    assert all(bool(parameter.isfinite().all()) for parameter in model.parameters())


@BOTH
@pytest.mark.parametrize("unit_norm", ["last", "forward"])
def test_all_options_come_back_from_a_checkpoint(kind, unit_norm, make_trainer, digits, tmp_path):
    options = {
        "layer_weights": (0.1, 0.2),
        "penalty": "kl",
        "unit_norm": unit_norm,
        "latent_activation": "hard_threshold",
    }
    model = small(kind, **options, threshold=0.3, target=0.1, batch_norm=True, penalty_warmup=3)
    trainer = make_trainer()
    trainer.fit(model, digits)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    loaded = load_autoencoder(tmp_path / "a.ckpt")
    x = some()
    torch.testing.assert_close(loaded.loss(x)[0], model.eval().loss(x)[0], rtol=0, atol=0)

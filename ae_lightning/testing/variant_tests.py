"""`VariantTests`: what every variant must satisfy, as a class of tests to derive from."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from ae_lightning.errors import UserError
from ae_lightning.models.base import Autoencoder
from ae_lightning.models.checkpoint import load_autoencoder
from ae_lightning.testing.building import Part, build_variant, quiet_trainer, seeded
from ae_lightning.testing.digits import ReshapedDigits
from ae_lightning.testing.outputs import (
    assert_same_output,
    assert_same_state,
    best_linear_error,
    error_in_evaluation,
    evaluated,
)
from ae_lightning.testing.population_tests import PopulationTests

Build = Callable[..., Autoencoder]
"""build(input_shape, **overrides): the variant under test, with some settings in place of its own."""


class VariantTests(PopulationTests):
    """Tests that every variant of this package passes; one of your own passes them by a class in your test suite.

    They call what is public: the model itself, its `loss`, training by a `Trainer`, its checkpoint.

        class TestMine(VariantTests):
            variant = Mine
            settings = {"latent_dim": 32}

    Several settings are tested by a fixture `part` of the class, with `params`.
    """

    variant: ClassVar[type[Autoencoder]]
    """The class."""

    settings: ClassVar[Mapping[str, Any]] = {}
    """Constructor arguments, as a YAML has them under init_args, without input_shape."""

    input_shapes: ClassVar[tuple[tuple[int, ...], ...]] = ((1, 8, 8), (3, 32, 32), (1, 28, 28), (20,))
    """Shapes of samples that it takes; most tests use the first."""

    linear_slack: ClassVar[float] = 1.05
    """How far above that of as many principal components the error of a narrow code may stay on an overfitted batch."""

    pytestmark: ClassVar[list[pytest.MarkDecorator]] = [
        pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
        pytest.mark.filterwarnings("ignore:.*exists and is not empty.*"),
    ]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run a test that takes an `input_shape` with each of them."""
        if "input_shape" in metafunc.fixturenames:
            metafunc.parametrize("input_shape", self.input_shapes, ids=lambda shape: "×".join(map(str, shape)))

    @pytest.fixture
    def part(self) -> Part:
        """The variant and its settings, as a YAML names them."""
        return {"class_path": f"{self.variant.__module__}.{self.variant.__qualname__}", "init_args": self.settings}

    @pytest.fixture
    def build(self, part: Part) -> Build:
        """What builds the variant under test; the weights follow torch's seed."""

        def build(input_shape: tuple[int, ...], **overrides: Any) -> Autoencoder:
            return build_variant(part, input_shape, **overrides)

        return build

    @pytest.fixture
    def model(self, build: Build) -> Autoencoder:
        """The variant for samples of the first shape, in training mode."""
        torch.manual_seed(0)
        return build(self.input_shapes[0])

    @pytest.fixture
    def x(self) -> Tensor:
        """A batch of random samples of the first shape."""
        return random_samples(self.input_shapes[0], 64)

    @pytest.fixture
    def data(self, model: Autoencoder) -> ReshapedDigits:
        """The bundled digits as samples of the first shape, in six training batches; as targets too, where it asks."""
        data = ReshapedDigits(self.input_shapes[0], has_targets=model.needs_targets)
        data.setup()
        return data

    def test_reconstructions_have_the_shape_of_the_input(self, build: Build, input_shape: tuple[int, ...]) -> None:
        """x̂ is shaped as x, z as `latent_shape` says, after the instances; `decode` gives x̂; losses are numbers."""
        model = build(input_shape).eval()
        x = random_samples(input_shape, 3)
        x_hat, z = model(x)
        lead = () if model.instances is None else (model.instances,)
        assert x_hat.shape == (*lead, *x.shape)
        assert z.shape == (*lead, 3, *model.latent_shape)
        torch.testing.assert_close(model.decode(z), x_hat)
        low, high = model.output_range
        assert low <= float(x_hat.detach().min())
        assert float(x_hat.detach().max()) <= high
        losses, _ = model.loss(x)
        assert next(iter(losses)) == "loss"
        assert all(value.ndim == 0 and bool(value.isfinite()) for value in losses.values())

    def test_an_array_of_numpy_is_refused_in_a_sentence(self, model: Autoencoder, x: Tensor) -> None:
        """Tensors are told apart from arrays before anything is computed."""
        z = model.eval().encode(x).detach()
        for method, argument in (("encode", x), ("decode", z), ("__call__", x)):
            with pytest.raises(UserError, match=rf"{type(model).__name__}\.\w+ takes tensors, .* torch\.from_numpy"):
                getattr(model, method)(argument.numpy())

    @pytest.mark.parametrize("loss", ["mse", "bce", "mae"])
    def test_each_loss_trains_it_or_is_refused_for_its_output(self, build: Build, x: Tensor, loss: str) -> None:
        """The reconstruction's term is the loss that was asked for; bce needs an output within [0, 1]."""
        torch.manual_seed(0)
        if hasattr(build(self.input_shapes[0]), "likelihood"):
            with pytest.raises(Exception, match=r"has a likelihood in place of --model\.reconstruction_loss"):
                build(self.input_shapes[0], reconstruction_loss=loss)
            return
        model = build(self.input_shapes[0], reconstruction_loss=loss)
        if loss == "bce" and model.output_range != (0, 1):
            with pytest.raises(UserError, match=r"set --model.output_activation sigmoid"):
                model.loss(x)
            if "output_activation" not in inspect.signature(type(model)).parameters:
                return
            model = build(self.input_shapes[0], reconstruction_loss=loss, output_activation="sigmoid")
        losses, output = model.loss(x)
        x_hat = output.x_hat.detach().double()
        truth = {
            "mse": (x_hat - x) ** 2,
            "mae": (x_hat - x).abs(),
            "bce": -(x * x_hat.log() + (1 - x) * (1 - x_hat).log()),
        }
        assert float(losses["reconstruction"].detach()) == pytest.approx(
            float(truth[loss].mean()) * (model.instances or 1), rel=1e-4
        )
        losses["loss"].backward()
        assert gradients_are_finite(model)

    def test_gradients_reach_every_parameter(self, model: Autoencoder, x: Tensor) -> None:
        """No parameter that the optimizer holds is without effect on the loss."""
        model.loss(x)[0]["loss"].backward()
        for name, parameter in trained(model).items():
            assert parameter.grad is not None, name
            assert float(parameter.grad.abs().max()) > 0, name

    def test_one_batch_can_be_overfitted(self, model: Autoencoder, data: ReshapedDigits) -> None:
        """In 300 steps eight digits are told apart, as well as so wide a code can.

        Of a likelihood by that term alone, since a divergence holds codes back from telling samples apart.
        """
        term = "reconstruction" if hasattr(model, "likelihood") else "loss"
        x, *_ = data.train_set.take(8)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, fused=True)
        # Below a tenth of the data's own variance: the code carries what tells the samples apart, unless it is so
        # narrow that no linear one could; then it is about as good as that.
        linear = self.linear_slack * best_linear_error(x, model.latent_size)
        before = error_in_evaluation(model, x)
        enough = min(0.5 * before, max(0.1 * float(x.var(0).mean()), linear))
        for step in range(1, 301):
            optimizer.zero_grad()
            model.loss(x)[0][term].backward()
            optimizer.step()
            if step % 20 == 0 and error_in_evaluation(model, x) < enough:
                return
        pytest.fail(f"after 300 steps the error is {error_in_evaluation(model, x)}, and not below {enough}")

    def test_it_trains_in_bfloat16(self, model: Autoencoder, x: Tensor) -> None:
        """Under autocast the losses are float32, within 5 % of those without, and gradients are finite."""
        with torch.no_grad():
            exact, exact_output = seeded(model.loss, x)
        with torch.autocast("cpu", torch.bfloat16):
            losses, output = seeded(model.loss, x)
        assert not torch.equal(output.x_hat.float(), exact_output.x_hat), "autocast has no effect on this variant"
        for term, value in losses.items():
            assert value.dtype == torch.float32, term
            assert float(value.detach()) == pytest.approx(float(exact[term]), rel=0.05), term
        losses["loss"].backward()
        assert gradients_are_finite(model)

    def test_snapshots_are_finite_and_named_and_do_not_train(self, model: Autoencoder) -> None:
        """What a snapshot holds can be written to a file and drawn."""
        snapshot = model.snapshot()
        assert snapshot
        for key, value in snapshot.items():
            assert isinstance(key, str)
            assert key
            assert value.numel() > 0
            assert bool(value.isfinite().all())
            assert not value.requires_grad

    def test_a_snapshot_brings_back_all_that_a_trained_model_does(
        self, build: Build, data: ReshapedDigits, tmp_path: Path
    ) -> None:
        """Restored into another model, it gives the same codes and reconstructions, and the same state."""
        torch.manual_seed(0)
        source, target = build(self.input_shapes[0]), build(self.input_shapes[0])
        quiet_trainer(tmp_path, max_steps=2).fit(source, data)
        x, *_ = data.test_set.take(32)
        assert not torch.equal(evaluated(source, x).x_hat, evaluated(target, x).x_hat)
        target.restore({name: part.clone() for name, part in source.snapshot().items()})
        assert_same_output(target, source, x)
        assert_same_state(target, source)

    def test_it_comes_back_from_a_checkpoint_bit_for_bit(
        self, model: Autoencoder, data: ReshapedDigits, tmp_path: Path
    ) -> None:
        """The file knows the class and all its settings."""
        trainer = quiet_trainer(tmp_path, max_steps=2)
        trainer.fit(model, data)
        trainer.save_checkpoint(tmp_path / "model.ckpt")
        loaded = load_autoencoder(tmp_path / "model.ckpt")
        assert type(loaded) is type(model)
        assert_same_output(loaded, model, data.test_set.take(64)[0])
        assert_same_state(loaded, model)

    def test_a_fit_that_is_resumed_goes_on_bit_for_bit(
        self, build: Build, data: ReshapedDigits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Two epochs with a stop in between, and new objects after it, give the weights of two epochs without."""
        monkeypatch.setenv("PL_GLOBAL_SEED", "0")
        path = tmp_path / "last.ckpt"

        def fit(seed: int, *callbacks: Callback, ckpt_path: Path | None = None) -> tuple[Autoencoder, Trainer]:
            torch.manual_seed(seed)
            model = build(self.input_shapes[0])
            trainer = quiet_trainer(tmp_path, max_epochs=2, limit_train_batches=3, callbacks=[*callbacks])
            trainer.fit(model, data, ckpt_path=ckpt_path, weights_only=None if ckpt_path is None else True)
            return model, trainer

        whole, _ = fit(0)
        _, first = fit(0, StopAfterAnEpoch())
        first.save_checkpoint(path)
        resumed, second = fit(99, ckpt_path=path)
        assert (first.global_step, second.global_step) == (3, 6)
        assert_same_state(resumed, whole)

    def test_the_same_seed_gives_the_same_weights(self, build: Build) -> None:
        """Weights follow torch's seed and nothing else."""
        first, second, other = (seeded_state(build, self.input_shapes[0], seed) for seed in (5, 5, 6))
        assert all(torch.equal(first[key], second[key]) for key in first)
        assert any(not torch.equal(first[key], other[key]) for key in first)

    def test_evaluation_is_the_same_each_time(self, model: Autoencoder, x: Tensor) -> None:
        """No dropout and no noise: two passes give the same output and the same losses."""
        model.eval()
        with torch.no_grad():
            (losses, output), (again, output_again) = model.loss(x), model.loss(x)
        assert torch.equal(output.x_hat, output_again.x_hat)
        assert torch.equal(output.z.to_dense(), output_again.z.to_dense())
        assert {name: float(value) for name, value in losses.items()} == {
            name: float(value) for name, value in again.items()
        }

    def test_samples_do_not_influence_each_other_in_evaluation(self, model: Autoencoder, x: Tensor) -> None:
        """One sample's reconstruction is the same alone and among others."""
        together = evaluated(model, x[:6]).x_hat
        alone = [evaluated(model, one[None]).x_hat for one in x[:6]]
        torch.testing.assert_close(together, torch.cat(alone, dim=0 if model.instances is None else 1))


class StopAfterAnEpoch(Callback):
    """Stops a fit early; its length, which rates may follow, is that of the whole."""

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Ask for the stop."""
        trainer.should_stop = True


def random_samples(shape: tuple[int, ...], n: int) -> Tensor:
    """Data (n, *shape) within [0, 1], which the default output of most variants covers."""
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(0))


def trained(model: Autoencoder) -> dict[str, nn.Parameter]:
    """What the optimizer holds and changes, by name."""
    held = {id(parameter) for parameter in model.trained_parameters()}
    named = model.named_parameters()
    return {name: parameter for name, parameter in named if id(parameter) in held and parameter.requires_grad}


def seeded_state(build: Build, shape: tuple[int, ...], seed: int) -> dict[str, Tensor]:
    """State of a new model."""
    torch.manual_seed(seed)
    return build(shape).state_dict()


def gradients_are_finite(model: Autoencoder) -> bool:
    """Whether every parameter that is trained has a gradient without infinities."""
    gradients = [parameter.grad for parameter in trained(model).values()]
    return all(gradient is not None and bool(gradient.isfinite().all()) for gradient in gradients)

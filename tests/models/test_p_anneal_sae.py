"""The exponent falls in steps, and the penalty keeps its size across them."""

from typing import Any

import formulas
import pytest
import torch
from lightning.pytorch import Callback, Trainer
from ours import p_annealed
from peer_cases import given
from torch import Tensor

from ae_lightning.data.digits import DigitsDataModule
from ae_lightning.errors import ConfigError
from ae_lightning.models.p_anneal_sae import PAnnealSAE
from ae_lightning.nn.p_annealing import PAnnealing

SHAPE = (1, 8, 8)
#: p is 1 for four steps, then falls by 0.25 after each five, to 0.5 from step 14 on.
WAY = {"start": 1.0, "end": 0.5, "begin": 4, "until": 14, "unit": "steps"}


def small(**options: Any) -> PAnnealSAE:
    torch.manual_seed(0)
    return PAnnealSAE(SHAPE, 40, **{"p": WAY, "p_steps": 2, "penalty_weight": 0.5, **options})


@pytest.fixture
def data() -> DigitsDataModule:
    """Six steps an epoch."""
    return DigitsDataModule(batch_size=256)


class Seen(Callback):
    """What each training batch was computed with, and the penalties that its codes have at any p."""

    def __init__(self) -> None:
        self.p: list[float] = []
        self.factors: list[Tensor] = []
        self.means: list[dict[float, Tensor]] = []
        self._norms = torch.zeros(())

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, *args: Any) -> None:
        self.p.append(float(pl_module.annealing.p))
        self.factors.append(pl_module.annealing.factor.clone())
        self._norms = pl_module.decoder_vectors.detach().norm(dim=-1).unsqueeze(-2)

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, *args: Any) -> None:
        written = outputs["z"].double() * self._norms.double()
        powers = {p: ((written + 1e-4) ** p - 1e-4**p).sum(-1).mean(-1) for p in (1.0, 0.75, 0.5)}
        self.means.append(powers)


@pytest.mark.parametrize("p", [0.2, 0.7, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_step_is_the_formula_with_the_power_of_what_latents_write(p, dtype):
    weights, x = given()
    read = {name: weights[name].to(dtype).requires_grad_() for name in ("W_enc", "b_enc", "W_dec", "b_dec")}
    x = x.to(dtype)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-10
    found = p_annealed(read, x, penalty=0.3, p=p, by_norm=True)
    expected = formulas.p_annealed(read, x, penalty=0.3, p=p, by_norm=True, shift=1e-4)
    torch.testing.assert_close(found.loss, expected.loss, rtol=tolerance, atol=tolerance)
    pairs = zip(formulas.gradients(found, read).items(), formulas.gradients(expected, read).values(), strict=True)
    for (name, own), other in pairs:
        torch.testing.assert_close(own, other, rtol=tolerance, atol=tolerance * 10, msg=name)


@pytest.mark.parametrize("instances", [None, 2])
@pytest.mark.parametrize("accumulated", [1, 2])
def test_p_falls_in_equal_steps_and_the_coefficient_keeps_the_penalty_s_size(
    instances, accumulated, data, make_trainer
):
    seen = Seen()
    options = {"max_epochs": 3 * accumulated, "accumulate_grad_batches": accumulated}
    make_trainer(seen, **options).fit(small(instances=instances), data)
    p, factors = seen.p[::accumulated], seen.factors[::accumulated]
    assert p == [1.0] * 9 + [0.75] * 5 + [0.5] * 4
    assert seen.p[accumulated - 1 :: accumulated] == p  # it does not move between the batches of a step
    steps = [seen.means[start : start + accumulated] for start in range(0, len(seen.means), accumulated)]

    def ratio(first: int, last: int, old: float, new: float) -> Tensor:
        batches = [batch for step in steps[first:last] for batch in step]
        return sum(batch[old] for batch in batches) / sum(batch[new] for batch in batches)

    first = ratio(0, 9, 1.0, 0.75)
    second = first * ratio(9, 14, 0.75, 0.5)
    for step, factor in enumerate(factors):
        expected = torch.ones_like(first) if step < 9 else first if step < 14 else second
        torch.testing.assert_close(factor.double(), expected, rtol=1e-5, atol=0)
    assert torch.all(first != 1)


def test_no_more_than_the_last_ten_steps_count():
    annealing = PAnnealing(1.0, 0.5, 1)
    for step in range(12):
        annealing.observe(torch.tensor(100.0 if step < 2 else step), torch.tensor(1.0))
        annealing.advance(int(step == 11), lambda value, how: value)
    assert float(annealing.factor) == pytest.approx(sum(range(2, 12)) / 10)
    assert float(annealing.p) == 0.5


def test_where_no_latent_is_active_the_factor_stays():
    annealing = PAnnealing(1.0, 0.5, 1, instances=2)
    annealing.observe(torch.tensor([0.0, 3.0]), torch.tensor([0.0, 1.0]))
    annealing.advance(1, lambda value, how: value)
    assert annealing.factor.tolist() == [1.0, 3.0]


def test_a_batch_without_a_step_moves_nothing():
    annealing = PAnnealing(1.0, 0.5, 2)
    annealing.observe(torch.tensor(2.0), torch.tensor(1.0))
    assert (float(annealing.p), int(annealing.known)) == (1.0, 0)


@pytest.mark.parametrize("stop", [6, 12])
def test_resumed_it_ends_bit_for_bit_as_uninterrupted(stop, data, make_trainer, tmp_path):
    """Amid the steps of the first p, and of the second."""
    whole = make_trainer(max_epochs=3)
    model = small()

    def save() -> None:
        if whole.global_step == stop:
            whole.save_checkpoint(tmp_path / "a.ckpt")

    model.on_train_epoch_end = save  # type: ignore[method-assign]
    whole.fit(model, data)
    resumed = small()
    seen = Seen()
    make_trainer(seen, max_epochs=3).fit(resumed, data, ckpt_path=tmp_path / "a.ckpt", weights_only=True)
    assert seen.p == ([1.0] * 9 + [0.75] * 5 + [0.5] * 4)[stop:]
    expected = model.state_dict()
    assert [name for name, value in resumed.state_dict().items() if not torch.equal(value, expected[name])] == []


def test_a_longer_run_does_not_turn_p_back(data, make_trainer, tmp_path):
    short = make_trainer(max_epochs=1)
    fractions = {"start": 1.0, "end": 0.5}
    short.fit(small(p=fractions), data)
    short.save_checkpoint(tmp_path / "a.ckpt")
    seen = Seen()
    longer = make_trainer(seen, max_epochs=4)
    longer.fit(small(p=fractions), data, ckpt_path=tmp_path / "a.ckpt", weights_only=True)
    assert seen.p[0] == 0.5
    assert set(seen.p) == {0.5}


class Validated(Callback):
    """Σ √(z ‖w‖) of the validation set, which is one batch, at each validation."""

    def __init__(self) -> None:
        self.penalties: list[float] = []

    def on_validation_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, *args: Any) -> None:
        written = outputs["z"] * pl_module.decoder_vectors.norm(dim=-1)
        self.penalties.append(float(((written + 1e-4).sqrt() - 1e-2).sum(-1).mean()))


def test_evaluation_has_the_last_p_and_the_coefficient_as_it_was_given(data, make_trainer, recorder):
    """Whatever the step, so that the losses of two epochs differ by the weights alone."""
    validated = Validated()
    make_trainer(validated, max_epochs=3, logger=recorder).fit(small(), data)
    total, parts, lp = (recorder.series(f"val/{name}") for name in ("loss", "reconstruction", "lp"))
    assert list(total) == [6, 12, 18]
    for step, penalty in zip(total, validated.penalties, strict=True):
        assert lp[step] == pytest.approx(penalty, rel=1e-5)
        assert total[step] == pytest.approx(parts[step] + 0.5 * penalty, rel=1e-5)
    assert set(recorder.series("measures/p").values()) == {1.0, 0.75, 0.5}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"p": 0.0}, r"^--model.p is 0; it must be between 0.01 and 1$"),
        ({"p": {"start": 1.5, "end": 0.2}}, r"^--model.p.start is 1.5; it must be between 0.01 and 1$"),
        ({"p_steps": 0}, r"^--model.p_steps is 0; it must be at least 1"),
        ({"penalty_weight": -1.0}, r"^--model.penalty_weight is -1; it must be at least 0$"),
    ],
)
def test_what_makes_no_sense_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        small(**options)

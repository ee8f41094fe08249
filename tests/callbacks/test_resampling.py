"""Dead latents, and they alone, get new weights at the right moments; everything else goes on as it was."""

import os
import socket
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from known_targets import KnownMap
from lightning.pytorch import Callback
from lightning.pytorch.strategies import FSDPStrategy

from ae_lightning import Run
from ae_lightning.callbacks.decoder_norm import DecoderNorm
from ae_lightning.callbacks.new_latents import draw_by_loss, forget_moments, random_weights, weights_by_loss
from ae_lightning.callbacks.resampling import ResampleDeadLatents
from ae_lightning.cli.main import main
from ae_lightning.data.gaussian import GaussianDataModule
from ae_lightning.errors import ConfigError, Notice
from ae_lightning.models.fully_connected import FullyConnectedAutoencoder
from ae_lightning.models.overcomplete import OvercompleteAutoencoder
from ae_lightning.models.standard_sae import StandardSAE
from ae_lightning.models.transcoder import Transcoder
from ae_lightning.run.loggers import run_loggers
from ae_lightning.run.tables import read_resampled

LR = 0.02
LATENTS = 9
OFF, ON = -100.0, 100.0


@pytest.fixture
def data() -> GaussianDataModule:
    """Vectors of 6 numbers in five batches of 12."""
    data = GaussianDataModule(dim=6, rank=3, num_train=60, num_val=12, num_test=12, batch_size=12)
    data.setup()
    return data


def adam(params, **options):
    return torch.optim.Adam(params, lr=LR, **options)


def still(params):
    return torch.optim.SGD(params, lr=0.0)


def overcomplete(instances: int | None = None, optimizer=adam) -> OvercompleteAutoencoder:
    torch.manual_seed(3)
    return OvercompleteAutoencoder((6,), LATENTS, instances=instances, optimizer=optimizer)


class Force(Callback):
    """Sets encoder biases before given batches, {batch: {latent: bias}}, batches counted from 1 through the run."""

    def __init__(self, biases: dict[int, dict]) -> None:
        self.biases = biases
        self.batch = 0

    def on_train_batch_start(self, trainer, pl_module, *args):
        self.batch += 1
        with torch.no_grad():
            for latent, bias in self.biases.get(self.batch, {}).items():
                pl_module.dictionary.b_enc[latent] = bias

    def state_dict(self):
        return {"batch": self.batch}

    def load_state_dict(self, state):
        self.batch = state["batch"]


class Watch(Callback):
    """Keeps weights, the optimizer's state and the random state after given steps."""

    def __init__(self, *steps: int) -> None:
        self.steps = steps
        self.seen = {}

    def on_train_batch_end(self, trainer, pl_module, *args):
        if trainer.global_step in self.steps:
            d = pl_module.dictionary
            named = {n: getattr(d, n) for n in ("W_enc", "b_enc", "W_dec", "b_dec") if getattr(d, n) is not None}
            self.seen[trainer.global_step] = SimpleNamespace(
                **{name: parameter.detach().clone() for name, parameter in named.items()},
                state={
                    name: {key: torch.as_tensor(value).clone() for key, value in optimizer.state[p].items()}
                    for name, p in named.items()
                    for optimizer in trainer.optimizers
                },
                rng=torch.get_rng_state(),
            )


def resampled(folder: Path) -> list[tuple[int, int, int]]:
    return list(zip(*(column.tolist() for column in read_resampled(folder).values()), strict=True))


# --- when, and which ---------------------------------------------------------------------------------------------


def test_dead_are_those_that_fired_on_no_sample_of_the_window(make_trainer, data, recorder, tmp_path):
    """Every 10 steps with a window of 4, so steps 7 to 10: a latent is on in one batch only."""
    only_in = {0: 6, 1: 7, 2: 8, 3: 10, 4: 11}
    biases = {1: dict.fromkeys(range(LATENTS), OFF)}
    for latent, batch in only_in.items():
        biases.setdefault(batch, {})[latent] = ON
        biases.setdefault(batch + 1, {})[latent] = OFF
    biases[1] |= {5: ON, 6: ON}
    callback = ResampleDeadLatents(10, 4, "simple", stop_after=10)
    loggers = [*run_loggers(tmp_path / "a" / "version_0"), recorder]
    make_trainer(Force(biases), callback, logger=loggers, max_epochs=3).fit(overcomplete(optimizer=still), data)
    assert resampled(tmp_path / "a" / "version_0") == [(10, 0, latent) for latent in (0, 4, 7, 8)]
    assert recorder.series("resampling/latents") == {10: 4}


def test_all_batches_of_a_step_count_when_gradients_accumulate(make_trainer, data, tmp_path):
    """Two batches a step, and the fifth ends an epoch: the fourth step, the only one in the window, has 6 and 7."""
    only_in = {0: 5, 1: 6, 2: 7, 3: 8}
    biases = {1: dict.fromkeys(range(LATENTS), OFF)}
    for latent, batch in only_in.items():
        biases.setdefault(batch, {})[latent] = ON
        biases.setdefault(batch + 1, {})[latent] = OFF
    callback = ResampleDeadLatents(4, 1, "simple", stop_after=4)
    trainer = make_trainer(Force(biases), callback, accumulate_grad_batches=2, max_epochs=2)
    trainer.fit(overcomplete(optimizer=still), data)
    assert resampled(tmp_path) == [(4, 0, latent) for latent in (0, 3, 4, 5, 6, 7, 8)]


@pytest.mark.parametrize(
    ("options", "moments"),
    [({}, [4, 8]), ({"stop_after": 5}, [4]), ({"stop_after": 12}, [4, 8, 12]), ({"stop_after": 100}, [4, 8, 12])],
)
def test_the_last_interval_is_left_for_learning_unless_asked_otherwise(options, moments, make_trainer, data, recorder):
    callback = ResampleDeadLatents(4, 2, "simple", **options)
    make_trainer(callback, logger=recorder, max_epochs=-1, max_steps=12).fit(overcomplete(), data)
    assert list(recorder.series("resampling/latents")) == moments


@pytest.mark.parametrize(
    ("options", "moments"),
    [({}, [3, 7]), ({"stop_after": 12}, [3, 7, 11]), ({"window": 4, "stop_after": 8}, [3, 7])],
)
def test_a_moment_may_come_before_its_step(options, moments, make_trainer, data, recorder):
    """Of 12 steps, every fourth: before step 4, when three are done, and so on to the one before the last."""
    callback = ResampleDeadLatents(**{"every": 4, "window": 2, "method": "simple", "when": "before", **options})
    make_trainer(callback, logger=recorder, max_epochs=-1, max_steps=12).fit(overcomplete(), data)
    assert list(recorder.series("resampling/latents")) == moments


def test_the_window_of_a_moment_before_its_step_ends_with_the_step_before(make_trainer, data, tmp_path):
    """Every 10 steps with a window of 4, before step 10: steps 6 to 9 count."""
    only_in = {0: 5, 1: 6, 2: 9, 3: 10}
    biases = {1: dict.fromkeys(range(LATENTS), OFF)}
    for latent, batch in only_in.items():
        biases.setdefault(batch, {})[latent] = ON
        biases.setdefault(batch + 1, {})[latent] = OFF
    callback = ResampleDeadLatents(10, 4, "simple", stop_after=10, when="before")
    make_trainer(Force(biases), callback, max_epochs=2).fit(overcomplete(optimizer=still), data)
    assert resampled(tmp_path) == [(9, 0, latent) for latent in (0, 3, 4, 5, 6, 7, 8)]


def test_counts_of_a_window_are_not_those_of_another():
    after, before = ResampleDeadLatents(10, 4), ResampleDeadLatents(10, 4, when="before")
    assert after.state_key == "ResampleDeadLatents{'every': 10, 'window': 4}"  # as earlier checkpoints have it
    assert before.state_key != after.state_key


def test_a_run_too_short_for_any_moment_is_told_so(make_trainer, data):
    with pytest.warns(Notice, match=r"does nothing in this run of 5 steps: its first moment is step 2500; lower every"):
        make_trainer(ResampleDeadLatents()).fit(overcomplete(), data)
    with warnings.catch_warnings():
        warnings.simplefilter("error", Notice)
        make_trainer(ResampleDeadLatents(2, 1)).fit(overcomplete(), data)


# --- what becomes of them ----------------------------------------------------------------------------------------


def by_hand(model, data, epochs: int, accumulate: int, every: int, window: int, moments: dict, dead_at: dict):
    """A plain loop of Adam, in which `moments` gives at each step the rows that latents found dead by it receive."""
    d = model.dictionary
    weights = {
        name: getattr(d, name).detach().clone().requires_grad_() for name in ("W_enc", "b_enc", "W_dec", "b_dec")
    }
    optimizer = torch.optim.Adam(weights.values(), lr=LR)
    loader, copies, step, fired = data.train_dataloader(), model.instances or 1, 0, []
    for epoch in range(epochs):
        loader.sampler.set_epoch(epoch)
        batches = [x for x, _ in loader]
        for number, x in enumerate(batches, 1):
            z = F.relu(torch.matmul(x, weights["W_enc"]) + weights["b_enc"][..., None, :])
            x_hat = torch.matmul(z, weights["W_dec"]) + weights["b_dec"][..., None, :]
            ((x_hat - x).square().mean() * copies / accumulate).backward()
            fired.append((step + 1, (z.detach() > 0).any(-2)))
            if number % accumulate and number < len(batches):
                continue
            optimizer.step()
            optimizer.zero_grad()
            step += 1
            if step not in moments:
                continue
            recent = [fires for at, fires in fired if step - window < at <= step]
            dead_at[step] = torch.stack(recent).sum(0) == 0
            for place in dead_at[step].nonzero().tolist():
                latent, lead = place[-1], tuple(place[:-1])
                column = (*lead, slice(None), latent)
                with torch.no_grad():
                    weights["W_dec"][(*lead, latent)] = moments[step].W_dec[(*lead, latent)]
                    weights["W_enc"][column] = moments[step].W_enc[column]
                    weights["b_enc"][(*lead, latent)] = 0
                for key in ("exp_avg", "exp_avg_sq"):
                    optimizer.state[weights["W_dec"]][key][(*lead, latent)] = 0
                    optimizer.state[weights["W_enc"]][key][column] = 0
                    optimizer.state[weights["b_enc"]][key][(*lead, latent)] = 0
    return weights


@pytest.mark.parametrize("method", ["simple", "anthropic"])
@pytest.mark.parametrize(("instances", "accumulate"), [(None, 1), (2, 1), (2, 2)])
def test_a_fit_is_a_plain_loop_with_rows_and_moments_edited_by_hand(
    method, instances, accumulate, make_trainer, data, tmp_path
):
    model = overcomplete(instances)
    # Different ones in each instance, and some that can be called off too early.
    bias = model.dictionary.b_enc.data.view(-1, LATENTS)
    bias[0, [1, 4]] = OFF
    bias[-1, [0, 4, 7]] = OFF
    before, after = Watch(6, 12), Watch(6, 12)
    callback = ResampleDeadLatents(6, 5, method, examples=40, stop_after=12)
    start = overcomplete(instances)
    start.load_state_dict(model.state_dict())
    epochs = 3 * accumulate
    make_trainer(before, callback, after, max_epochs=epochs, accumulate_grad_batches=accumulate).fit(model, data)

    dead_at = {}
    expected = by_hand(start, data, epochs, accumulate, 6, 5, after.seen, dead_at)
    for name, value in expected.items():
        torch.testing.assert_close(getattr(model.dictionary, name).detach(), value.detach(), rtol=1e-4, atol=1e-5)
    two = dead_at[6].view(-1, LATENTS)
    assert {1, 4} <= set(two[0].nonzero().flatten().tolist())
    assert {0, 4, 7} <= set(two[-1].nonzero().flatten().tolist())
    assert instances is None or not torch.equal(two[0], two[-1])
    rows = [
        (step, *([0] if instances is None else []), *place)
        for step in (6, 12)
        for place in dead_at[step].nonzero().tolist()
    ]
    assert resampled(tmp_path) == rows

    for step in (6, 12):
        check_new_rows(method, before.seen[step], after.seen[step], dead_at[step], data)


def check_new_rows(method, before, after, dead, data) -> None:
    """Compare with what the method says, latent by latent, from the weights before and after."""
    samples = data.train_set.take(60)[0]
    for place in dead.view(-1, LATENTS).nonzero().tolist():
        instance, latent = place
        w_dec, w_enc = after.W_dec.view(-1, LATENTS, 6)[instance], after.W_enc.view(-1, 6, LATENTS)[instance]
        assert float(w_dec[latent].norm()) == pytest.approx(1, abs=1e-6)
        assert float(after.b_enc.view(-1, LATENTS)[instance, latent]) == 0
        cosines = F.cosine_similarity(samples - before.b_dec.view(-1, 6)[instance], w_dec[latent], dim=-1)
        if method == "simple":
            length = 0.5
        else:
            living = ~dead.view(-1, LATENTS)[instance]
            length = 0.2 * float(before.W_enc.view(-1, 6, LATENTS)[instance][:, living].norm(dim=0).mean())
        assert (float(cosines.max()) > 1 - 1e-6) == (method == "anthropic")
        torch.testing.assert_close(w_enc[:, latent], length * w_dec[latent], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("optimizer", "keys"),
    [
        (lambda p: torch.optim.Adam(p, lr=LR, amsgrad=True), {"exp_avg", "exp_avg_sq", "max_exp_avg_sq"}),
        (lambda p: torch.optim.Adam(p, lr=LR, fused=True), {"exp_avg", "exp_avg_sq"}),
        (lambda p: torch.optim.SGD(p, lr=LR, momentum=0.9), {"momentum_buffer"}),
        (lambda p: torch.optim.Adam([{"params": [q]} for q in p], lr=LR), {"exp_avg", "exp_avg_sq"}),
    ],
    ids=["amsgrad", "fused", "momentum", "groups"],
)
def test_moments_of_dead_latents_are_forgotten_and_no_others(optimizer, keys, make_trainer, data):
    model = overcomplete(2, optimizer)
    # They fire in the first steps, so that the optimizer has something to forget.
    force = Force({3: {(0, 2): OFF, (1, 2): OFF, (1, 5): OFF}})
    before, after = Watch(8), Watch(8)
    make_trainer(force, before, ResampleDeadLatents(8, 3, stop_after=8), after, max_epochs=2).fit(model, data)
    before, after = before.seen[8], after.seen[8]
    dead = after.b_enc == 0
    assert {(0, 2), (1, 2), (1, 5)} <= set(map(tuple, dead.nonzero().tolist()))
    assert not dead.all()
    masks = {
        "W_dec": dead[:, :, None].expand(2, LATENTS, 6),
        "W_enc": dead[:, None, :].expand(2, 6, LATENTS),
        "b_enc": dead,
    }
    for name, mask in masks.items():
        for key, value in after.state[name].items():
            old = before.state[name][key]
            if key not in keys:
                assert torch.equal(value, old)
                continue
            assert (value[mask] == 0).all()
            assert torch.equal(value[~mask], old[~mask])
            assert old[..., 2, :].any() if name == "W_dec" else old[..., 2].any()
        assert torch.equal(getattr(after, name)[~mask], getattr(before, name)[~mask])
    for key, value in after.state["b_dec"].items():
        assert torch.equal(value, before.state["b_dec"][key])
    assert torch.equal(after.b_dec, before.b_dec)


def test_the_optimizer_may_keep_its_moments(make_trainer, data):
    model = overcomplete()
    before, after = Watch(8), Watch(8)
    resample = ResampleDeadLatents(8, 3, "simple", stop_after=8, keep_moments=True)
    make_trainer(Force({3: {2: OFF}}), before, resample, after, max_epochs=2).fit(model, data)
    before, after = before.seen[8], after.seen[8]
    assert not torch.equal(after.W_dec[2], before.W_dec[2])
    assert before.state["W_dec"]["exp_avg"][2].any()
    for name, state in after.state.items():
        for key, value in state.items():
            assert torch.equal(value, before.state[name][key]), (name, key)


def test_an_optimizer_that_has_not_stepped_has_nothing_to_forget():
    model = overcomplete()
    optimizer = adam(model.parameters())
    forget_moments(
        [optimizer, still([model.dictionary.b_dec])], model.latent_axes, torch.ones(LATENTS, dtype=torch.bool)
    )
    assert not optimizer.state


def test_with_tied_weights_rows_end_with_norm_1(make_trainer, data):
    torch.manual_seed(3)
    model = StandardSAE((6,), LATENTS, tied=True, optimizer=adam)
    after = Watch(4)
    resample = ResampleDeadLatents(4, 4, stop_after=4)
    make_trainer(Force({1: {0: OFF, 3: OFF}}), DecoderNorm(), resample, after).fit(model, data)
    seen = after.seen[4]
    assert (seen.b_enc == 0).nonzero().flatten().tolist() == [0, 3]
    torch.testing.assert_close(seen.W_enc.norm(dim=0), torch.ones(LATENTS), rtol=0, atol=1e-6)
    samples = data.train_set.take(60)[0] - seen.b_dec
    for latent in (0, 3):
        assert float(F.cosine_similarity(samples, seen.W_enc[:, latent], dim=-1).max()) > 1 - 1e-6
        assert (seen.state["W_enc"]["exp_avg"][:, latent] == 0).all()
    assert (seen.state["W_enc"]["exp_avg"][:, 1] != 0).any()


def test_where_all_latents_are_dead_the_encoder_is_scaled_by_itself(make_trainer, data):
    after = Watch(4)
    callback = ResampleDeadLatents(4, 4, scale=0.3, stop_after=4)
    make_trainer(Force({1: dict.fromkeys(range(LATENTS), OFF)}), callback, after).fit(overcomplete(), data)
    torch.testing.assert_close(after.seen[4].W_enc.norm(dim=0), torch.full((LATENTS,), 0.3))


def test_new_latents_fire(make_trainer, data):
    torch.manual_seed(3)
    model = StandardSAE((6,), LATENTS, penalty_weight=0.0, optimizer=adam)
    callback = ResampleDeadLatents(5, 5, stop_after=5)
    make_trainer(Force({1: {0: OFF, 1: OFF}}), callback, max_epochs=6).fit(model, data)
    with torch.no_grad():
        fires = (model.encode(data.train_set.take(60)[0]) > 0).any(0)
    assert fires[:2].all()


# --- the draw ----------------------------------------------------------------------------------------------------


def test_samples_are_drawn_with_probability_proportional_to_the_squared_loss():
    losses = torch.tensor([0.0, 1.0, 2.0, 3.0]) * 1e-30
    generator = torch.Generator().manual_seed(0)
    n = 4000
    counts = np.bincount([int(draw_by_loss(losses, 1, generator)) for _ in range(n)], minlength=4)
    expected = np.array([0, 1, 4, 9]) / 14
    assert counts[0] == 0
    spread = np.sqrt(n * expected * (1 - expected))
    assert (abs(counts - n * expected) <= 4 * spread).all(), counts


def test_no_sample_is_drawn_twice_unless_there_are_too_few():
    generator = torch.Generator().manual_seed(0)
    losses = torch.tensor([1.0, 0.0, 1e-3, 5.0])
    for _ in range(50):
        assert sorted(draw_by_loss(losses, 3, generator).tolist()) == [0, 2, 3]
        more = draw_by_loss(losses, 4, generator).tolist()
        assert len(more) == 4
        assert 1 not in more


def test_samples_may_be_drawn_with_replacement():
    generator = torch.Generator().manual_seed(0)
    drawn = torch.stack([draw_by_loss(torch.tensor([1.0, 2.0]), 2, generator, True) for _ in range(2000)])
    twice = drawn[:, 0] == drawn[:, 1]
    # With probability 1/5 and 4/5 each, both are the same in (1 + 16)/25 of all draws.
    assert float(twice.float().mean()) == pytest.approx(17 / 25, abs=0.05)
    assert float((drawn == 1).float().mean()) == pytest.approx(4 / 5, abs=0.05)


@pytest.mark.parametrize("losses", [[0.0] * 4, [1.0, np.inf, 0.0, 0.0], [1.0, np.nan, 0.0, 0.0]])
def test_without_losses_to_go_by_every_sample_is_as_likely(losses):
    generator = torch.Generator().manual_seed(0)
    counts = np.bincount([int(draw_by_loss(torch.tensor(losses), 1, generator)) for _ in range(4000)], minlength=4)
    assert (abs(counts - 1000) < 4 * np.sqrt(4000 * 3 / 16)).all(), counts


@pytest.mark.parametrize("own_samples", [False, True], ids=["shared samples", "samples of each instance"])
def test_each_instance_draws_what_it_reconstructs_badly(own_samples):
    """Two instances: one knows the first axis of the plane, the other the second."""
    model = OvercompleteAutoencoder((2,), 2, instances=2)
    d = model.dictionary
    x = torch.eye(2).repeat(50, 1) * 5
    b_dec = torch.tensor([0.1, -0.05])
    with torch.no_grad():
        for parameter in (d.W_enc, d.b_enc, d.W_dec):
            parameter.zero_()
        d.b_dec.copy_(b_dec)
        for instance in range(2):
            d.W_enc[instance, instance, 0] = d.W_dec[instance, 0, instance] = 1
        examples = torch.stack([x, x.flip(0) * 2], dim=1) if own_samples else x
        dead = torch.tensor([[False, True], [False, True]])
        new = weights_by_loss(model, (examples, examples), dead, 0.5, [torch.Generator().manual_seed(0)])
    for row, bad, size in zip(new.decoder, ([0.0, 1.0], [1.0, 0.0]), (5, 10 if own_samples else 5), strict=True):
        torch.testing.assert_close(row, F.normalize(size * torch.tensor(bad) - b_dec, dim=0))
    torch.testing.assert_close(new.encoder, 0.5 * new.decoder)  # the living row has norm 1


def test_an_input_that_is_the_bias_itself_gives_some_direction():
    model = overcomplete()
    with torch.no_grad():
        model.dictionary.b_dec.copy_(torch.arange(6.0))
        dead = torch.zeros(LATENTS, dtype=torch.bool)
        dead[[2, 3]] = True
        examples = torch.arange(6.0).expand(30, 6)
        new = weights_by_loss(model, (examples, examples), dead, 1.0, [torch.Generator().manual_seed(0)])
    torch.testing.assert_close(new.decoder.norm(dim=-1), torch.ones(2))
    assert abs(float(new.decoder[0] @ new.decoder[1])) < 0.99


@pytest.mark.parametrize("method", ["simple", "anthropic"])
def test_draws_follow_from_the_seed_and_the_step_and_leave_the_global_random_state(method, make_trainer, data):
    def rows(seed: int, torch_seed: int) -> list[torch.Tensor]:
        model = overcomplete()
        torch.manual_seed(torch_seed)
        before, after = Watch(4, 8), Watch(4, 8)
        force = Force({1: {1: OFF}, 5: {1: OFF}})
        make_trainer(
            force, before, ResampleDeadLatents(4, 4, method, seed=seed, stop_after=8), after, max_epochs=2
        ).fit(model, data)
        for step in (4, 8):
            assert torch.equal(before.seen[step].rng, after.seen[step].rng)
            assert not torch.equal(before.seen[step].W_dec[1], after.seen[step].W_dec[1])
        return [after.seen[step].W_dec[1] for step in (4, 8)]

    first, again, other = rows(0, 10), rows(0, 11), rows(1, 10)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])
    assert not torch.equal(first[0], first[1])


# --- resuming ----------------------------------------------------------------------------------------------------

# In the second window, steps 17 to 20, latent 0 fires in the first step only, and latent 1 never.
ONLY_EARLY = {1: {0: OFF, 1: OFF}, 16: {1: OFF}, 17: {0: ON}, 18: {0: OFF}}


def fit_with_resampling(
    make_trainer: Callable, data, folder: Path, max_steps: int, ckpt_path=None, step=None, **options
):
    model = overcomplete(2)
    force = Force({batch: {(1, k): b for k, b in latents.items()} for batch, latents in ONLY_EARLY.items()})
    callback = ResampleDeadLatents(**{"every": 10, "window": 4, "examples": 30, "stop_after": 30, **options})
    trainer = make_trainer(
        force, DecoderNorm(), callback, logger=run_loggers(folder, step), max_epochs=-1, max_steps=max_steps
    )
    trainer.fit(model, data, ckpt_path=ckpt_path, weights_only=True)
    return trainer, model


@pytest.mark.parametrize("at", [18, 10, 13])
def test_a_run_interrupted_anywhere_goes_on_as_one_that_was_not(at, make_trainer, data, tmp_path):
    whole_folder, folder = tmp_path / "a" / "version_0", tmp_path / "b" / "version_0"
    _, whole = fit_with_resampling(make_trainer, data, whole_folder, 33)
    trainer, _ = fit_with_resampling(make_trainer, data, folder, at)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    _, resumed = fit_with_resampling(make_trainer, data, folder, 33, tmp_path / "a.ckpt", at)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert resampled(folder) == resampled(whole_folder)
    assert {(10, 1, 0), (10, 1, 1), (20, 1, 1)} <= set(resampled(folder))
    assert (20, 1, 0) not in resampled(folder)


def test_a_resumed_run_drops_the_rows_of_later_steps(make_trainer, data, tmp_path):
    folder = tmp_path / "a" / "version_0"
    trainer, _ = fit_with_resampling(make_trainer, data, folder, 15)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    early = resampled(folder)
    fit_with_resampling(make_trainer, data, folder, 33, tmp_path / "a.ckpt", 15)
    whole = resampled(folder)
    assert early
    assert {step for step, _, _ in whole} == {10, 20, 30}
    fit_with_resampling(make_trainer, data, folder, 16, tmp_path / "a.ckpt", 15)
    assert resampled(folder) == early
    fit_with_resampling(make_trainer, data, folder, 33, tmp_path / "a.ckpt", 15)
    assert resampled(folder) == whole
    lines = (folder / "resampling.csv").read_text().splitlines()
    assert lines[0] == "step,instance,latent"
    assert [tuple(map(int, line.split(","))) for line in lines[1:]] == whole


def test_half_a_window_is_no_evidence(make_trainer, data, recorder, tmp_path):
    """A run that takes the callback up in the middle of a window waits for the next."""
    model = overcomplete()
    trainer = make_trainer(max_epochs=-1, max_steps=8)
    trainer.fit(model, data)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    callback = ResampleDeadLatents(10, 4, stop_after=20)
    trainer = make_trainer(callback, logger=recorder, max_epochs=-1, max_steps=25)
    trainer.fit(overcomplete(), data, ckpt_path=tmp_path / "a.ckpt", weights_only=True)
    assert list(recorder.series("resampling/latents")) == [20]


def test_a_second_fit_of_the_same_callback_knows_nothing_of_the_first(make_trainer, data, tmp_path):
    callback = ResampleDeadLatents(10, 4, stop_after=10)
    make_trainer(Force({1: {0: ON}}), callback, max_epochs=-1, max_steps=8).fit(overcomplete(), data)
    assert callback.state_dict()["counts"][0] == 2 * 12
    make_trainer(Force({1: {0: OFF}}), callback, max_epochs=-1, max_steps=12).fit(overcomplete(), data)
    assert (10, 0, 0) in resampled(tmp_path)


# --- the command line ----------------------------------------------------------------------------------------------

EXPERIMENT = """
model: {class_path: OvercompleteAutoencoder, init_args: {latent_dim: 40, instances: 2}}
data: {class_path: DigitsDataModule, init_args: {batch_size: 256}}
trainer:
  max_epochs: 3
  callbacks:
    - class_path: DecoderNorm
    - {class_path: ResampleDeadLatents, init_args: {every: 6, window: 2}}
snapshots: {schedule: {count: 19}}
"""


def test_on_the_command_line_snapshots_come_after_both_callbacks(tmp_path, monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")  # puts back what Lightning writes its seed into
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(EXPERIMENT)
    assert main(["fit", "--config", "tiny.yaml"]) == 0
    run = Run.load("lightning_logs/tiny/version_0")
    assert list(run.snapshots) == list(range(19))  # six steps an epoch
    for weights in run.snapshots.values():
        torch.testing.assert_close(weights["decoder_vectors"].norm(dim=-1), torch.ones(2, 40))
    steps, many = run.series("resampling/latents")
    assert steps.tolist() == [6, 12]
    assert many[0] > 0
    table = run.resampled
    for step, number in zip(steps, many, strict=True):
        now = table["step"] == step
        assert now.sum() == number
        reset = run.snapshots[step]["encoder_bias"] == 0
        expected = torch.zeros(2, 40, dtype=torch.bool)
        expected[table["instance"][now], table["latent"][now]] = True
        assert torch.equal(reset, expected)


# --- several processes -------------------------------------------------------------------------------------------

SCRIPT = """
import sys, torch
from pathlib import Path
from lightning.pytorch import Callback, Trainer
from ae_lightning import DecoderNorm, GaussianDataModule, OvercompleteAutoencoder, ResampleDeadLatents

torch.set_num_threads(1)
folder = Path(sys.argv[1])

class OnOneProcess(Callback):
    # Latent 0 fires in the second process only, in step 8; latents 1 and 2 never do.
    def on_train_batch_start(self, trainer, module, *args):
        with torch.no_grad():
            module.dictionary.b_enc[:3] = -100
            if trainer.global_step == 7 and trainer.global_rank == 1:
                module.dictionary.b_enc[0] = 100

    def on_train_batch_end(self, trainer, module, *args):
        with torch.no_grad():
            module.dictionary.b_enc[:3] = -100

class Save(Callback):
    def on_train_batch_end(self, trainer, module, *args):
        if trainer.global_step == 9 and not (folder / "a.ckpt").exists():
            trainer.save_checkpoint(folder / "a.ckpt")

def fit(name, ckpt_path=None):
    torch.manual_seed(3)
    model = OvercompleteAutoencoder((6,), 9)
    data = GaussianDataModule(dim=6, rank=3, num_train=96, num_val=12, num_test=12, batch_size=12)
    trainer = Trainer(
        accelerator="cpu", strategy="ddp", devices=2, max_epochs=-1, max_steps=14, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, logger=False, num_sanity_val_steps=0,
        callbacks=[OnOneProcess(), DecoderNorm(), ResampleDeadLatents(10, 4, stop_after=10), Save()],
        default_root_dir=folder / name,
    )
    trainer.fit(model, data, ckpt_path=ckpt_path, weights_only=True)
    torch.save(model.state_dict(), folder / f"{name}_{trainer.global_rank}.pt")

fit("whole")
fit("resumed", folder / "a.ckpt")
"""


def test_two_processes_decide_together_and_stay_equal(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PL_")}
    environment |= {"OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    processes = [
        subprocess.Popen(
            [sys.executable, script, tmp_path], env=environment | {"LOCAL_RANK": str(rank)}, stderr=subprocess.PIPE
        )
        for rank in range(2)
    ]
    try:
        errors = [process.communicate(timeout=120)[1].decode()[-3000:] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], errors
    one, two, *resumed = (
        torch.load(tmp_path / f"{name}.pt", weights_only=True)
        for name in ("whole_0", "whole_1", "resumed_0", "resumed_1")
    )
    for name, value in one.items():
        for other in (two, *resumed):
            assert torch.equal(value, other[name]), name
    for name in ("whole", "resumed"):
        latents = [latent for step, _, latent in resampled(tmp_path / name) if step == 10]
        assert {1, 2} <= set(latents)
        assert 0 not in latents


# --- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "every is 0; it must be at least 1"),
        ({"window": -1}, "window is -1; it must be at least 1"),
        ({"examples": 0}, "examples is 0; it must be at least 1"),
        ({"stop_after": 0}, "stop_after is 0; it must be at least 1"),
        (
            {"every": 100, "window": 101},
            "a window of 101 steps is longer than the 100 steps between two moments: lower window or raise every",
        ),
        ({"method": "random"}, "method is 'random'; it can be simple or anthropic"),
        ({"when": "during"}, "when is 'during'; it can be after or before"),
        ({"scale": 0.0}, "scale is 0; it must be above 0 and finite"),
        ({"scale": float("nan")}, "scale is nan; it must be above 0 and finite"),
        ({"seed": -1}, "seed is -1; it must not be negative"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ConfigError) as caught:
        ResampleDeadLatents(**options)
    assert str(caught.value) == f"ResampleDeadLatents: {message}"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            lambda: FullyConnectedAutoencoder((6,), 4, latent_activation="relu"),
            "ResampleDeadLatents needs a variant with a dictionary, such as OvercompleteAutoencoder, or with a "
            "codebook, but FullyConnectedAutoencoder has neither: take it out of trainer.callbacks",
        ),
        (
            lambda: OvercompleteAutoencoder((6,), 4, activation="sigmoid"),
            "ResampleDeadLatents needs a code that is zero where a latent does not fire, as with ReLU, but that of "
            "OvercompleteAutoencoder is not: set --model.activation relu, or take it out of trainer.callbacks",
        ),
    ],
)
def test_models_whose_latents_cannot_be_resampled_are_refused_before_training(model, message, make_trainer, data):
    model = model()
    with pytest.raises(ConfigError) as caught:
        make_trainer(ResampleDeadLatents()).fit(model, data)
    assert str(caught.value) == message
    assert model.images_seen == 0


def test_data_that_samples_cannot_be_drawn_from_are_refused(make_trainer, data, recorder):
    loader = data.train_dataloader()
    with pytest.raises(ConfigError, match="draws training samples from a data module of ours, but the fit has none"):
        make_trainer(ResampleDeadLatents()).fit(overcomplete(), loader)
    callback = ResampleDeadLatents(2, 2, "simple", stop_after=2)
    make_trainer(callback, logger=recorder).fit(overcomplete(), loader)
    assert list(recorder.series("resampling/latents")) == [2]


def test_split_weights_are_refused():
    with pytest.raises(ConfigError, match=r"^ResampleDeadLatents needs whole weights, which FSDPStrategy splits"):
        ResampleDeadLatents().setup(SimpleNamespace(strategy=FSDPStrategy()), overcomplete(), "fit")


def test_a_transcoder_s_new_latents_read_the_input_and_write_what_its_target_lacks():
    """One input is far from its target, all others are produced as they are to be: by the bias alone, which is zero."""
    model = Transcoder((3,), 4, k=1, target_shape=(2,), input_scaling="none", target_scaling="none").eval()
    x = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    target = torch.zeros(40, 2)
    target[7] = torch.tensor([3.0, -4.0])
    with torch.no_grad():
        model.dictionary.W_dec.zero_()
        dead = torch.tensor([True, False, False, False])
        new = weights_by_loss(model, (x, target), dead, 0.5, [torch.Generator().manual_seed(0)])
    torch.testing.assert_close(new.decoder, torch.tensor([[0.6, -0.8]]))
    # Rows of the encoder start with norm 1.
    torch.testing.assert_close(new.encoder, 0.5 * F.normalize(x[7:8] - x.mean(0), dim=1))
    drawn = random_weights(model, torch.ones(4, dtype=torch.bool), 0.5, [torch.Generator().manual_seed(0)])
    assert (drawn.encoder.shape, drawn.decoder.shape) == ((4, 3), (4, 2))
    torch.testing.assert_close(drawn.encoder.norm(dim=1), torch.full((4,), 0.5))
    torch.testing.assert_close(drawn.decoder.norm(dim=1), torch.ones(4))


def test_dead_latents_of_a_transcoder_are_resampled_in_a_fit(make_trainer):
    model = Transcoder((16,), 40, "relu", target_shape=(12,), penalty_weight=0.0)
    with torch.no_grad():
        model.dictionary.b_enc[5:9] = -1e3
    resample = ResampleDeadLatents(every=3, window=2, stop_after=3)
    make_trainer(resample, max_steps=3, limit_val_batches=0).fit(model, KnownMap(4096))
    assert (model.dictionary.b_enc[5:9] == 0).all()
    torch.testing.assert_close(model.decoder_vectors[5:9].norm(dim=1), torch.ones(4))

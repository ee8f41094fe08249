"""JumpReLU autoencoders: their penalties, thresholds in training, and L0 that is held."""

from functools import partial
from typing import Any

import pytest
import torch

from ae_lightning.data.digits import DigitsDataModule
from ae_lightning.errors import ConfigError
from ae_lightning.models.jumprelu_sae import JumpReLUSAE
from ae_lightning.testing.outputs import evaluated

SHAPE, LATENTS = (1, 8, 8), 96


def made(**options: Any) -> JumpReLUSAE:
    torch.manual_seed(0)
    adam = partial(torch.optim.Adam, lr=0.01)
    return JumpReLUSAE(SHAPE, LATENTS, **{"optimizer": adam, "penalty_weight": 0.3, **options})


@pytest.fixture
def data() -> DigitsDataModule:
    data = DigitsDataModule(batch_size=64)  # 21 steps an epoch
    data.setup()
    return data


def l0(model: JumpReLUSAE, data: DigitsDataModule) -> float:
    x, _ = data.train_set.take(1024)
    return float((evaluated(model, x).z != 0).sum(-1).float().mean())


@pytest.mark.parametrize("norm_weighted", [True, False])
@pytest.mark.parametrize("penalty", ["step", "tanh"])
def test_a_stronger_penalty_leaves_fewer_latents(penalty, norm_weighted, data, make_trainer):
    found = []
    for weight in (0.03, 1.0):
        model = made(penalty=penalty, penalty_weight=weight, norm_weighted=norm_weighted)
        make_trainer(max_epochs=4).fit(model, data)
        found.append(l0(model, data))
    assert 0 < found[1] < 0.7 * found[0]


@pytest.mark.parametrize("target", [4, 12])
def test_the_target_is_held_by_its_own_loss(target, data, make_trainer):
    model = made(penalty="target", l0=target, penalty_weight=20.0)
    make_trainer(max_epochs=10).fit(model, data)
    assert l0(model, data) == pytest.approx(target, rel=0.15)


def test_thresholds_learn_each_for_itself_and_are_logged(data, make_trainer, recorder):
    make_trainer(logger=recorder).fit(model := made(), data)
    threshold = model.dictionary.activation.threshold.detach()
    assert float(threshold.std()) > 0.01
    assert recorder.series("measures/threshold")[21] == pytest.approx(float(threshold.mean()), rel=0.05)


def test_thresholds_that_errors_alone_draw_down_stop_at_zero(data, make_trainer):
    make_trainer().fit(model := made(threshold=0.01, penalty_weight=0.0), data)
    assert float(model.dictionary.activation.threshold.min()) == 0


def test_the_pre_activation_loss_is_of_dead_latents_in_training_alone():
    model = made(input_scaling="none", preactivation_weight=0.1, dead_after=5)
    x = torch.rand(20, *SHAPE)
    assert float(model.loss(x)[0]["pre_activation"]) == 0
    model.silence.silent[:7] = 5
    model.silence.silent[7:] = 4
    pre = model.dictionary.pre_activations(x.flatten(1))[:, :7]
    norms = model.decoder_vectors.norm(dim=-1)[:7]
    expected = ((1.0 - pre).clamp(min=0) * norms).sum(-1).mean()
    losses, _ = model.loss(x)
    torch.testing.assert_close(losses["pre_activation"], expected)
    model.eval()
    assert "pre_activation" not in model.loss(x)[0]


@pytest.mark.slow
@pytest.mark.parametrize(("penalty_weight", "instances"), [(0.05, None), (5.0, 2)])
def test_the_controller_holds_the_target_for_any_coefficient(penalty_weight, instances, data, make_trainer):
    model = made(penalty_weight=penalty_weight, target_l0=8.0, instances=instances)
    make_trainer(max_epochs=60).fit(model, data)
    x, _ = data.train_set.take(1024)
    found = (evaluated(model, x).z != 0).sum(-1).float().mean(-1)
    assert found.flatten().tolist() == pytest.approx([8.0] * (instances or 1), rel=0.05)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"target_l0": 97},
            r"^--model.target_l0 is 97; it must be above 0 and at most --model.latent_dim",
        ),
        ({"penalty": "target"}, r"^--model.penalty target holds L0 at --model.l0, .* but it is not given$"),
        ({"penalty": "target", "l0": 97}, r"^--model.penalty target .* at most the 96 latents, but it is 97$"),
        ({"penalty": "l1"}, r"^--model.penalty is 'l1'; it can be step, tanh or target$"),
        ({"preactivation_weight": -1.0}, r"^--model.preactivation_weight is -1; it must be at least 0"),
    ],
)
def test_what_makes_no_sense_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        made(**options)

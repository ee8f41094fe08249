"""TopK and BatchTopK autoencoders: what k is at each step, and codes outside training."""

from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor

from ae_lightning.data.digits import DigitsDataModule
from ae_lightning.errors import ConfigError
from ae_lightning.models.checkpoint import load_autoencoder
from ae_lightning.models.topk_sae import BatchTopKSAE, TopKSAE
from ae_lightning.testing.outputs import evaluated

SHAPE, LATENTS = (1, 8, 8), 64
#: From 22 to 4 by two a step, over nine steps.
FALLING = {"start": 22, "end": 4, "until": 9, "unit": "steps"}


def made(kind: type, **options: Any) -> Any:
    torch.manual_seed(0)
    return kind(SHAPE, LATENTS, **{"k": 4, **options})


@pytest.fixture
def data() -> DigitsDataModule:
    """Batches of which each is whole: five steps of 256 an epoch."""
    return DigitsDataModule(batch_size=256, drop_last=True)


class Active(Callback):
    """The most and the mean active latents of a sample, in each training batch."""

    def __init__(self) -> None:
        self.most: list[int] = []
        self.mean: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, *args: Any) -> None:
        active = (outputs["z"] != 0).sum(-1)
        self.most.append(int(active.max()))
        self.mean.append(float(active.float().mean()))


def k_of_batches(kind: type, active: Active) -> list[float]:
    return active.most if kind is TopKSAE else active.mean


@pytest.mark.parametrize("kind", [TopKSAE, BatchTopKSAE])
def test_k_falls_with_the_steps_and_goes_on_after_a_resume(kind, data, make_trainer, tmp_path):
    expected = [22 - 2 * min(step, 9) for step in range(15)]
    whole, model = Active(), made(kind, k=FALLING)
    trainer = make_trainer(whole, max_epochs=3)

    def save() -> None:
        if trainer.global_step == 5:
            trainer.save_checkpoint(tmp_path / "a.ckpt")

    model.on_train_epoch_end = save
    trainer.fit(model, data)
    assert k_of_batches(kind, whole) == expected
    rest, resumed = Active(), made(kind, k=FALLING)
    make_trainer(rest, max_epochs=3).fit(resumed, data, ckpt_path=tmp_path / "a.ckpt", weights_only=True)
    assert k_of_batches(kind, rest) == expected[5:]
    assert resumed.dictionary.activation.k == 4
    then = load_autoencoder(tmp_path / "a.ckpt")
    assert then.dictionary.activation.k == 22 - 2 * 5  # the step to come
    assert float(then.measures()["k"]) == 12


def test_accumulated_batches_have_the_k_of_their_step(data, make_trainer):
    active = Active()
    make_trainer(active, max_epochs=2, accumulate_grad_batches=2).fit(made(TopKSAE, k={**FALLING, "until": 3}), data)
    assert active.most == [22, 22, 16, 16, 10, 4, 4, 4, 4, 4]  # the last batch of an epoch is a step of its own


def test_of_each_group_one_latent_fires(data, make_trainer):
    make_trainer().fit(model := made(TopKSAE, k=16, groups=True), data)
    x, _ = data.test_set.take(100)
    active = (evaluated(model, x).z != 0).unflatten(-1, (16, 4)).sum(-1)
    assert int(active.max()) == 1
    assert float(active.float().mean()) > 0.5


def test_a_code_in_evaluation_does_not_depend_on_its_batch_and_in_training_on_k_alone(data, make_trainer):
    make_trainer(max_epochs=2).fit(model := made(BatchTopKSAE, k=4.25), data)
    x, _ = data.test_set.take(100)
    together = evaluated(model, x).z
    alone = torch.cat([evaluated(model, one).z for one in x.split(1)])
    torch.testing.assert_close(together, alone)
    counts = (together != 0).sum(-1)
    assert int(counts.max()) > int(counts.min())
    with torch.no_grad():
        assert int((model.train()(x).z != 0).sum()) == 425


def test_the_running_threshold_is_in_the_checkpoint_and_codes_are_the_same(data, make_trainer, tmp_path):
    trainer = make_trainer(max_epochs=2)
    trainer.fit(model := made(BatchTopKSAE, instances=2), data)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    threshold = model.dictionary.activation.threshold
    assert threshold.shape == (2,)
    assert torch.all(threshold > 0)
    assert threshold[0] != threshold[1]
    loaded = load_autoencoder(tmp_path / "a.ckpt")
    x, _ = data.test_set.take(100)
    assert torch.equal(evaluated(loaded, x).z, evaluated(model, x).z)


def test_a_fit_of_batches_that_accumulate_moves_the_threshold_once_a_step(data, make_trainer):
    """With momentum 0 it is the smallest score that the batches of the last step kept, on average."""
    smallest: list[Tensor] = []

    class Smallest(Callback):
        def on_train_batch_start(self, trainer: Trainer, pl_module: Any, *args: Any) -> None:
            self.norms = pl_module.decoder_vectors.detach().norm(dim=-1)

        def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, *args: Any) -> None:
            scores = outputs["z"] * self.norms
            smallest.append(scores[scores > 0].min())

    model = made(BatchTopKSAE, momentum=0.0)
    make_trainer(Smallest(), accumulate_grad_batches=2, limit_train_batches=4).fit(model, data)
    torch.testing.assert_close(model.dictionary.activation.threshold, (smallest[2] + smallest[3]) / 2)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (TopKSAE, {"k": 65}, r"^--model.k is 65; it has to be from 1 to the 64 latents$"),
        (TopKSAE, {"k": 0}, r"^--model.k is 0; it has to be from 1 to the 64 latents$"),
        (BatchTopKSAE, {"k": 64.5}, r"^--model.k is 64.5; it has to be above 0 and at most the 64 latents$"),
        (BatchTopKSAE, {"k": {"start": 65, "end": 4}}, r"^--model.k.start is 65; it must be between 0 and 64$"),
        (TopKSAE, {"k": 5, "groups": True}, r"^64 latents cannot be divided into --model.k 5 groups"),
        (TopKSAE, {"k": FALLING, "groups": True}, r"^--model.k cannot follow a schedule where latents are in k groups"),
    ],
)
def test_what_makes_no_sense_is_refused(kind, options, message):
    with pytest.raises(ConfigError, match=message):
        made(kind, **options)

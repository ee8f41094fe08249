"""A snapshot holds all that a sparse dictionary is made of, and a run gives each moment back as it was."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from ae_lightning.callbacks.schedule import Schedule
from ae_lightning.callbacks.snapshots import WeightSnapshots
from ae_lightning.data.digits import DigitsDataModule
from ae_lightning.models.dead_latents import RevivingAutoencoder
from ae_lightning.models.gated_sae import GatedSAE
from ae_lightning.models.jumprelu_sae import JumpReLUSAE
from ae_lightning.models.matryoshka_sae import MatryoshkaSAE
from ae_lightning.models.overcomplete import OvercompleteAutoencoder
from ae_lightning.models.standard_sae import StandardSAE
from ae_lightning.models.topk_sae import BatchTopKSAE, TopKSAE
from ae_lightning.nn.modes import evaluation_mode
from ae_lightning.run.codes import fractions_active
from ae_lightning.run.run import Run

SHAPE = (1, 8, 8)
FALLING = {"start": 20, "end": 5, "until": 0.8}
VARIANTS: dict[str, Callable[..., RevivingAutoencoder]] = {
    "standard": lambda: StandardSAE(SHAPE, 24, input_scaling="whitened", target_l0=6, auxk_weight=0.1, unit_norm=True),
    "topk": lambda: TopKSAE(SHAPE, 24, k=FALLING, tied=True),
    "batch_topk": lambda: BatchTopKSAE(SHAPE, 24, k=FALLING, momentum=0.5),
    "matryoshka": lambda: MatryoshkaSAE(SHAPE, 32, k=5),
    "jumprelu": lambda: JumpReLUSAE(SHAPE, 24, target_l0=6, preactivation_weight=0.1),
    "gated": lambda: GatedSAE(SHAPE, 24, instances=2, target_l0=6),
    "overcomplete": lambda: OvercompleteAutoencoder(SHAPE, 24, auxk_weight=0.1),
}
# What each keeps beside its weights.
KEPT = {
    "standard": {"scaling.directions", "controller.log_multiplier", "silence.silent"},
    "topk": {"dictionary.activation.present_k", "silence.silent", "scaling.mean"},
    "batch_topk": {f"dictionary.activation.{name}" for name in ("threshold", "weight", "calibrated", "present_k")},
    "matryoshka": {"dictionary.activation.threshold", "scaling.factor"},
    "jumprelu": {"dictionary.activation.threshold", "controller.smoothed_l0", "silence.silent"},
    "gated": {f"dictionary.activation.{name}" for name in ("b_gate", "b_mag", "r_mag")} | {"scaling.mean"},
    "overcomplete": {"silence.silent", "silence.seen"},
}


class Remembers(Callback):
    """Keeps the state and codes at each moment of which a snapshot is taken."""

    def __init__(self, x: Tensor) -> None:
        self.x = x
        self.states: dict[int, dict[str, Tensor]] = {}
        self.codes: dict[int, Tensor] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._keep(trainer, pl_module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        self._keep(trainer, pl_module)

    def _keep(self, trainer: Trainer, module: Any) -> None:
        step = trainer.global_step
        self.states[step] = {name: value.detach().clone() for name, value in module.state_dict().items()}
        with evaluation_mode(module):
            self.codes[step] = module.encode(self.x)


@pytest.fixture
def trained(
    make_trainer: Callable[..., Trainer], digits: DigitsDataModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], tuple[Run, Remembers]]:
    """A run's folder with a snapshot of each of six steps, and what was there to be kept."""

    def fit(variant: str) -> tuple[Run, Remembers]:
        monkeypatch.setattr(Trainer, "log_dir", str(tmp_path))
        torch.manual_seed(0)
        remembers = Remembers(digits.test_set.take(10_000)[0])
        trainer = make_trainer(WeightSnapshots(Schedule(every=1, unit="steps")), remembers)
        trainer.fit(VARIANTS[variant](), digits)
        (tmp_path / "config.yaml").write_text("{}")
        trainer.save_checkpoint(tmp_path / "checkpoints" / "last.ckpt")
        return Run.load(tmp_path), remembers

    return fit


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_moment_has_its_own_state_and_codes(variant: str, trained: Callable[..., Any]) -> None:
    run, remembers = trained(variant)
    assert list(run.snapshots) == list(range(7)) == list(remembers.states)
    for step, state in remembers.states.items():
        then = run.model_at(step)
        assert KEPT[variant] <= run.snapshots[step].keys()
        torch.testing.assert_close(then.state_dict(), state, rtol=0, atol=0, equal_nan=True)
        assert torch.equal(then.encode(remembers.x), remembers.codes[step])
    final = run.model.state_dict()
    first = remembers.states[0]
    moving = ("threshold", "log_multiplier", "smoothed_l0", "present_k", "b_gate", "b_mag")
    for name in (name for name in KEPT[variant] if name.endswith(moving)):
        assert not torch.equal(first[name], final[name]), name


def test_figures_over_training_use_the_threshold_and_k_of_each_moment(
    trained: Callable[..., Any], digits: DigitsDataModule
) -> None:
    run, remembers = trained("topk")
    active = fractions_active(run.model, run.snapshots, list(run.snapshots), digits.test_set, 256).sum(-1)[:, 0]
    truth = [float((codes != 0).float().sum(-1).mean()) for codes in remembers.codes.values()]
    assert active.tolist() == pytest.approx(truth, abs=1e-3)
    most = [int((codes != 0).sum(-1).max()) for codes in remembers.codes.values()]
    assert most[0] > 15  # of 20, as far as they are above zero
    assert most[-1] == 5


def test_a_snapshot_of_another_variant_or_without_what_is_kept_is_refused(trained: Callable[..., Any]) -> None:
    run, _ = trained("jumprelu")
    path = run.snapshots.folder / "step_00000003.safetensors"
    whole = safetensors.torch.load_file(path)
    torch.manual_seed(0)
    other = TopKSAE(SHAPE, 24, k=4, auxk_weight=0.0).snapshot()
    for content, words in (
        (
            other,
            r"^the snapshot lacks controller\..*, dictionary\.activation\.threshold \(24,\), .* JumpReLUSAE has$",
        ),
        (
            {name: value for name, value in whole.items() if name != "dictionary.activation.threshold"},
            r"^the snapshot lacks dictionary\.activation\.threshold \(24,\), which JumpReLUSAE has$",
        ),
        (whole | {"more": torch.zeros(2)}, r"^the snapshot holds more \(2,\), which JumpReLUSAE has not$"),
    ):
        safetensors.torch.save_file({name: value.contiguous() for name, value in content.items()}, path)
        with pytest.raises(ValueError, match=words):
            run.model_at(3)

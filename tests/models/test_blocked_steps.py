"""Steps of dense dictionaries some latents at a time: the same numbers as of whole arrays, in less memory."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ae_lightning import GatedSAE, JumpReLUSAE, PAnnealSAE, StandardSAE, TopKSAE
from ae_lightning.data.gaussian import GaussianDataModule
from ae_lightning.models import dictionary_pass
from ae_lightning.models.crosscoder import Crosscoder
from ae_lightning.models.sparse_dictionary import SparseDictionary
from ae_lightning.models.transcoder import Transcoder
from ae_lightning.nn import blocked_pass
from ae_lightning.nn.dictionary import Dictionary
from ae_lightning.training.batch import Pass

INPUT, LATENTS, BATCH = 6, 11, 16

CASES: dict[str, Callable[..., SparseDictionary]] = {
    "standard": lambda **options: StandardSAE((INPUT,), LATENTS, **options),
    "standard, weighted": lambda **options: StandardSAE((INPUT,), LATENTS, norm_weighted=True, **options),
    "standard, unit norm": lambda **options: StandardSAE((INPUT,), LATENTS, unit_norm=True, **options),
    "standard, tied": lambda **options: StandardSAE((INPUT,), LATENTS, tied=True, norm_weighted=True, **options),
    "standard, held": lambda **options: StandardSAE((INPUT,), LATENTS, target_l0=3, **options),
    "standard, fvu": lambda **options: StandardSAE((INPUT,), LATENTS, reconstruction_loss="fvu", **options),
    "p-annealing": lambda **options: PAnnealSAE((INPUT,), LATENTS, p=0.7, **options),
    "jumprelu, step": lambda **options: JumpReLUSAE((INPUT,), LATENTS, threshold=0.3, **options),
    "jumprelu, tanh": lambda **options: JumpReLUSAE((INPUT,), LATENTS, penalty="tanh", threshold=0.3, **options),
    "jumprelu, target": lambda **options: JumpReLUSAE((INPUT,), LATENTS, penalty="target", l0=2, **options),
    "gated": lambda **options: GatedSAE((INPUT,), LATENTS, penalty_weight=0.4, **options),
    "transcoder": lambda **options: Transcoder((INPUT,), LATENTS, "relu", skip=True, target_shape=[4], **options),
    "transcoder, jumprelu": lambda **options: Transcoder((INPUT,), LATENTS, "jumprelu", target_shape=[4], **options),
    "crosscoder": lambda **options: Crosscoder((INPUT,), LATENTS, source_dims=[2, 4], activation="relu", **options),
}
each_case = pytest.mark.parametrize("case", CASES)


class Calls:
    """How many passes were computed some latents at a time."""

    def __init__(self, blocked: Callable[..., Any]) -> None:
        self.blocked, self.count = blocked, 0

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        self.count += 1
        return self.blocked(*arguments, **options)


@pytest.fixture
def calls(monkeypatch) -> Calls:
    """Blocks of four latents, however small the code."""
    monkeypatch.setattr(blocked_pass, "_FEWEST_NUMBERS", 0)
    monkeypatch.setattr(blocked_pass, "_LATENTS_OF_BLOCK", 4)
    counted = Calls(dictionary_pass.blocked_pass)
    monkeypatch.setattr(dictionary_pass, "blocked_pass", counted)
    return counted


def made(case: str, **options: Any) -> SparseDictionary:
    torch.manual_seed(0)
    model = CASES[case](**options).double()
    with torch.no_grad():
        for parameter in model.parameters():  # biases and skips start at zero, where mistakes are not seen
            parameter.add_(0.1 * torch.rand_like(parameter))
    return model


def step(model: SparseDictionary) -> tuple[dict[str, Tensor], Any, dict[str, Tensor]]:
    torch.manual_seed(1)
    x = torch.randn(BATCH, INPUT, dtype=torch.float64)
    target = torch.randn(BATCH, 4, dtype=torch.float64) if isinstance(model, Transcoder) else x
    losses, output = model.loss(x, target)
    losses["loss"].backward()
    return losses, output, {name: parameter.grad for name, parameter in model.named_parameters()}


@each_case
@pytest.mark.parametrize("instances", [None, 2])
def test_a_step_is_that_of_whole_arrays(case, instances, calls, monkeypatch):
    model = made(case, instances=instances)
    whole = copy.deepcopy(model)
    losses, output, gradients = step(model)
    assert calls.count == 1
    monkeypatch.setattr(blocked_pass, "_FEWEST_NUMBERS", 2**20)
    wanted, expected, truth = step(whole)
    assert calls.count == 1
    torch.testing.assert_close(losses, wanted, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(tuple(output), tuple(expected), rtol=1e-10, atol=1e-10)
    assert 0 < int((output.z > 0).sum()) < output.z.numel()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, truth[name], rtol=1e-10, atol=1e-10)
        assert bool(torch.as_tensor(truth[name]).any()), name


@each_case
def test_evaluation_takes_whole_arrays(case, calls):
    model = made(case).eval()
    with torch.no_grad():
        x = torch.randn(BATCH, INPUT, dtype=torch.float64)
        model.loss(x, torch.randn(BATCH, 4, dtype=torch.float64) if isinstance(model, Transcoder) else x)
    assert calls.count == 0


class Doubled(StandardSAE):
    def outputs(self, z: Any) -> list[Tensor]:
        return [2 * y for y in super().outputs(z)]


class OwnDictionary(Dictionary):
    """One that a user derives may compute anything."""


class WithOwn(StandardSAE):
    def make_dictionary(self, *arguments: Any, **options: Any) -> Dictionary:
        made = super().make_dictionary(*arguments, **options)
        made.__class__ = OwnDictionary
        return made


@pytest.mark.parametrize(
    "model",
    [
        lambda: Doubled((INPUT,), LATENTS),
        lambda: WithOwn((INPUT,), LATENTS),
        lambda: StandardSAE((INPUT,), LATENTS, auxk_weight=0.1),
        lambda: StandardSAE((INPUT,), LATENTS, output_activation="sigmoid"),
        lambda: JumpReLUSAE((INPUT,), LATENTS, gradient_to_encoder=True),
        lambda: JumpReLUSAE((INPUT,), LATENTS, preactivation_weight=0.1),
        lambda: TopKSAE((INPUT,), LATENTS, k=2),
    ],
)
def test_what_asks_for_more_takes_whole_arrays(model, calls):
    losses, _ = model().loss(torch.rand(BATCH, INPUT))
    losses["loss"].backward()
    assert calls.count == 0


def test_what_is_compiled_takes_whole_arrays(calls):
    model = StandardSAE((INPUT,), LATENTS)
    model.compile_loss(backend="aot_eager")
    model.loss(torch.randn(BATCH, INPUT))
    assert calls.count == 0


class OfPreActivations(JumpReLUSAE):
    """A user's penalty on pre-activations, which a pass some latents at a time does not keep."""

    def sparsity_terms(self, done: Pass) -> dict[str, Tensor]:
        return super().sparsity_terms(done) | {"l2": done.pre.square().sum(-1).mean(-1)}


def test_pre_activations_are_there_for_who_asks(calls, monkeypatch):
    torch.manual_seed(0)
    model = OfPreActivations((INPUT,), LATENTS, threshold=0.3).double()
    whole = copy.deepcopy(model)
    losses, _, gradients = step(model)
    monkeypatch.setattr(blocked_pass, "_FEWEST_NUMBERS", 2**20)
    wanted, _, truth = step(whole)
    assert calls.count == 1
    torch.testing.assert_close(losses, wanted)
    torch.testing.assert_close(gradients, truth)


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("case", ["standard", "jumprelu, step", "gated"])
def test_the_l1_norm_is_that_of_the_code(case, weighted, calls, monkeypatch):
    """Also where the pass sums something else, or nothing."""
    model = made(case, norm_weighted=weighted)
    found: list[tuple[Tensor, Tensor]] = []

    def seen(done: Pass) -> dict[str, Tensor]:
        norms = model.dictionary.decoder_vectors.norm(dim=-1) if weighted else 1.0
        found.append((model.weighted_l1(done), (done.z.abs() * norms).sum(-1).mean()))
        return {}

    monkeypatch.setattr(model, "sparsity_terms", seen)
    step(model)
    assert calls.count == len(found) == 1
    torch.testing.assert_close(*found[0])


class SaveThird(Callback):
    """Saves a checkpoint after the third step."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step == 3:
            trainer.save_checkpoint(self.path)


@pytest.mark.parametrize("case", ["standard, weighted", "jumprelu, step", "gated"])
def test_fits_go_on_bit_for_bit(case, calls, make_trainer, tmp_path):
    data = GaussianDataModule(dim=INPUT, rank=3, num_train=60, num_val=12, num_test=12, batch_size=BATCH)
    through, resumed, path = made(case).float(), made(case).float(), tmp_path / "3.ckpt"
    make_trainer(SaveThird(path), max_steps=6, max_epochs=-1).fit(through, data)
    make_trainer(max_steps=6, max_epochs=-1).fit(resumed, data, ckpt_path=path, weights_only=True)
    assert calls.count == 6 + 3
    moved = through.dictionary.W_enc - made(case).float().dictionary.W_enc
    assert float(moved.abs().max()) > 1e-4
    for name, value in through.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


class Arrays(TorchDispatchMode):
    """Pieces of memory with as many numbers as a code; they are held, so that none is taken for another."""

    def __init__(self, numbers: int) -> None:
        super().__init__()
        self.numbers, self.found = numbers, {}

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        answer = function(*arguments, **(options or {}))
        for leaf in tree_leaves(answer):
            if isinstance(leaf, Tensor) and leaf.numel() >= self.numbers:
                self.found[leaf.untyped_storage().data_ptr()] = leaf
        return answer


@pytest.mark.parametrize(
    ("case", "arrays"),
    [("standard, weighted", 1), ("jumprelu, step", 2), ("gated", 2)],  # of JumpReLU a byte beside each number
)
def test_codes_are_the_only_arrays_of_their_size(case, arrays, calls, monkeypatch):
    model, x = made(case), torch.randn(64, INPUT, dtype=torch.float64)

    def count() -> int:
        with Arrays(64 * LATENTS) as seen:
            losses, output = model.loss(x)
            losses["loss"].backward()
            model.observe(output)
        return len(seen.found)

    assert count() == arrays
    monkeypatch.setattr(blocked_pass, "_FEWEST_NUMBERS", 2**20)
    assert count() >= 2 * arrays

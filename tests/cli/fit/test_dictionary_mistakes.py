"""What cannot be asked of a sparse dictionary is one sentence and exit code 2."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

#: Digits for two steps, without callbacks.
QUICK = [
    *("--data", "DigitsDataModule", "--trainer.max_epochs", "1", "--trainer.limit_train_batches", "2"),
    *("--trainer.callbacks", "null", "--snapshots.schedule.count", "2", "--images.schedule.count", "1"),
]

USERS_OWN = """
from torch import nn
from ae_lightning.models.sparse_dictionary import SparseDictionary


class Sigmoidal(SparseDictionary):
    def __init__(self, input_shape, latent_dim: int = 16, auxk_weight: float = 0.0) -> None:
        super().__init__(input_shape, latent_dim, nn.Sigmoid(), auxk_weight=auxk_weight)
"""


def options(variant: str, **settings: Any) -> list[str]:
    """Arguments of fit for a variant of 16 latents."""
    given = {"latent_dim": 16, **settings}
    return ["--model", variant, *(part for name, value in given.items() for part in (f"--model.{name}", str(value)))]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        pytest.param(
            options("TopKSAE", k=32), "--model.k is 32; it has to be from 1 to the 16 latents", id="k above the latents"
        ),
        pytest.param(
            options("BatchTopKSAE", k="{start: 32, end: 4}"),
            "--model.k.start is 32; it must be between 0 and 16",
            id="a k that begins above the latents",
        ),
        pytest.param(
            options("MatryoshkaSAE", k=4, prefixes="[8, 4]"),
            "--model.prefixes has the widths [8, 4, 16]; they must rise, from at least 1 to the 16 latents",
            id="prefixes that do not increase",
        ),
        pytest.param(
            options("MatryoshkaSAE", k=4, prefixes="[0.25, 0.5]"),
            "--model.prefixes are fractions that sum to 0.75; they must sum to 1",
            id="fractions that do not sum to 1",
        ),
        pytest.param(
            options("PAnnealSAE", p="{start: 1, end: 0.2, until: 900, unit: steps}"),
            "--model.p moves from step 0 until step 900, but the run ends at step 2: lower --model.p.until, or train "
            "longer",
            id="a schedule that ends after the run",
        ),
        pytest.param(
            options("JumpReLUSAE", target_l0=17),
            "--model.target_l0 is 17; it must be above 0 and at most --model.latent_dim, which is 16",
            id="a target L0 above the latents",
        ),
        pytest.param(
            options("StandardSAE", arithmetic="sparse"),
            "--model.arithmetic sparse needs codes that keep k latents, as those of TopKSAE, BatchTopKSAE and "
            "MatryoshkaSAE; a code by ReLU is dense: take auto or dense",
            id="sparse arithmetic for a dense code",
        ),
        pytest.param(
            options("users_own.Sigmoidal", auxk_weight=0.03),
            "--model.auxk_weight is 0.03, but AuxK needs pre-activations of latents that do not fire, and a code by "
            "Sigmoid has none: leave the option out, or choose a code that is exactly zero there",
            id="AuxK for a code without silent latents",
        ),
        pytest.param(
            options("OvercompleteAutoencoder", auxk_weight=0.03, activation="sigmoid"),
            "--model.auxk_weight is 0.03, but AuxK needs pre-activations of latents that do not fire, and a code by "
            "Sigmoid has none: leave the option out, or choose a code that is exactly zero there",
            id="AuxK for an overcomplete autoencoder with a sigmoid code",
        ),
    ],
)
def test_it_is_refused_in_a_sentence(
    arguments: list[str], sentence: str, ae: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "users_own.py").write_text(USERS_OWN)
    monkeypatch.syspath_prepend(tmp_path)
    outcome = ae("fit", *arguments, *QUICK)
    assert outcome.code == 2
    assert outcome.err.strip().splitlines()[-1] == f"ae-lightning: error: {sentence}"


@pytest.fixture(scope="module")
def topk(fit_once: Callable[..., Path]) -> Path:
    """Folder of a run whose samples are each scaled by itself; for reading only."""
    return fit_once(*options("TopKSAE", k=4, input_scaling="standardized"), *QUICK)


def test_what_cannot_be_folded_cannot_be_explored(topk: Path, ae: Callable[..., Any]) -> None:
    outcome = ae("explore", topk)
    assert outcome.code == 2
    assert re.fullmatch(
        r"ae-lightning: error: .*\(standardized\) cannot be folded into weights: keep it, .*", last(outcome)
    )


@pytest.mark.slow  # it draws an animation
def test_a_snapshot_of_another_variant_is_told(
    topk: Path, ae: Callable[..., Any], fit_once: Callable[..., Path], tmp_path: Path
) -> None:
    other = fit_once(*options("JumpReLUSAE"), *QUICK)
    run = tmp_path / "run"
    shutil.copytree(topk, run)
    shutil.rmtree(run / "snapshots")
    shutil.copytree(other / "snapshots", run / "snapshots")
    outcome = ae("sparsity", run)
    assert outcome.code == 2
    wanted = r"ae-lightning: error: .*: the snapshot holds .*threshold \(16,\).*, but TopKSAE has .*"
    assert re.fullmatch(wanted, last(outcome))


def last(outcome: Any) -> str:
    """The last line on standard error."""
    return outcome.err.strip().splitlines()[-1]

"""`--lean`, and fits where the lean loop cannot be had."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch.loops.training_epoch_loop
import pytest
import torch

from ae_lightning import upstream
from ae_lightning.cli.fit.lightning_cli import AutoencoderCLI

LEAN, LIGHTNING = "LeanEpochLoop", "_TrainingEpochLoop"


@pytest.fixture
def loops(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the loops by which fits of a test were trained, in their order."""
    seen: list[str] = []
    before_fit = AutoencoderCLI.before_fit

    def note(cli: AutoencoderCLI) -> None:
        seen.append(type(cli.trainer.fit_loop.epoch_loop).__name__)
        before_fit(cli)

    monkeypatch.setattr(AutoencoderCLI, "before_fit", note)
    return seen


def checkpoint(folder: Path, version: int) -> Path:
    return folder / "lightning_logs" / "overcomplete_digits" / f"version_{version}" / "checkpoints" / "last.ckpt"


def test_it_is_on_and_can_be_switched_off_without_a_difference(
    ae: Callable[..., Any], quick: list[str], loops: list[str], tmp_path: Path
) -> None:
    for options in ([], ["--lean", "false"], ["--lean", "true"]):
        assert ae("fit", *quick, *options).code == 0
    assert loops == [LEAN, LIGHTNING, LEAN]
    one, other = (torch.load(checkpoint(tmp_path, n), weights_only=True)["state_dict"] for n in (0, 1))
    assert all(torch.equal(one[name], other[name]) for name in one.keys() | other.keys())


def test_help_tells_of_it(ae: Callable[..., Any]) -> None:
    assert "--lean {true,false}" in ae("fit", "--help").out


def test_a_run_goes_on_with_what_it_was_told(
    ae: Callable[..., Any], quick: list[str], loops: list[str], tmp_path: Path
) -> None:
    assert ae("fit", *quick, "--lean", "false").code == 0
    assert ae("fit", "--ckpt_path", checkpoint(tmp_path, 0), "--trainer.max_epochs", "2").code == 0
    assert loops == [LIGHTNING, LIGHTNING]


def test_lightning_s_own_trains_beside_a_release_that_was_not_tested(
    ae: Callable[..., Any], quick: list[str], loops: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = upstream._installed
    unseen = {"lightning": (2, 7, 0)}
    monkeypatch.setattr(upstream, "_installed", lambda name: unseen.get(name) or installed(name))
    found = ae("fit", *quick)
    assert (found.code, loops) == (0, [LIGHTNING])
    assert "loop" not in found.out + found.err


def test_lightning_s_own_trains_where_what_ours_is_made_of_has_another_name(
    ae: Callable[..., Any],
    quick: list[str],
    loops: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.delitem(sys.modules, "ae_lightning.lean_loop", raising=False)
    monkeypatch.delattr(lightning.pytorch.loops.training_epoch_loop, "_TrainingEpochLoop")
    caplog.set_level("DEBUG", "ae_lightning")
    assert ae("fit", *quick).code == 0
    assert loops == [LIGHTNING]
    (record,) = [record for record in caplog.records if record.name.startswith("ae_lightning")]
    assert "Lightning's own loop: cannot import name '_TrainingEpochLoop'" in record.getMessage()


def test_nothing_of_it_is_imported_before_it_is_used() -> None:
    code = "import sys; sys.modules['ae_lightning.lean_loop'] = None; import ae_lightning.cli.fit.lightning_cli"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)

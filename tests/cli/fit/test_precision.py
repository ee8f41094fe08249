"""Precisions from the command line: what cannot be is refused, and all commands read what a run in them has left."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from ae_lightning import Run
from ae_lightning.models.checkpoint import read_checkpoint

RUN = Path("lightning_logs/overcomplete_digits/version_0")
LAST = Path("checkpoints/last.ckpt")


@pytest.mark.parametrize("precision", ["16-mixed", "16"])
@pytest.mark.parametrize("command", ["fit", "test"])
def test_float16_products_on_a_cpu_are_refused(ae: Callable[..., Any], command: str, precision: str) -> None:
    model = ["--model", "OvercompleteAutoencoder"]
    code, _, err = ae(command, *model, "--trainer.accelerator", "cpu", "--trainer.precision", precision)
    assert code == 2
    assert err.count("\n") == 1
    assert f"--trainer.precision {precision} needs a GPU" in err
    assert "set --trainer.precision bf16-mixed" in err
    assert not Path("lightning_logs").exists()


def test_training_in_float16_is_refused(ae: Callable[..., Any], quick: list[str]) -> None:
    code, _, err = ae("fit", *quick, "--trainer.precision", "16-true")
    assert (code, err.count("\n")) == (2, 1)
    assert "bf16-true" in err
    assert not RUN.exists()


@pytest.mark.parametrize("precision", ["bf16-true", pytest.param("64-true", marks=pytest.mark.slow)])
def test_every_command_reads_a_run(ae: Callable[..., Any], quick: list[str], precision: str) -> None:
    options = [*quick, "--trainer.precision", precision, "--trainer.callbacks", "[DecoderNorm, LinearProbe]"]
    code, _, err = ae("fit", *options)
    assert (code, err) == (0, "")
    stored = read_checkpoint(RUN / "checkpoints" / "best.ckpt")["state_dict"]
    run = Run.load(RUN)
    assert run.model.decoder_vectors.dtype == (torch.float64 if precision == "64-true" else torch.float32)
    assert torch.equal(run.model.dictionary.W_enc, stored["dictionary.W_enc"].to(run.model.dtype))
    assert torch.equal(run.model_at(2).dictionary.W_dec, run.model.dictionary.W_dec)
    assert run.activations(2, n=7).shape == (7, 16)
    for command in (
        ["evaluate", RUN],
        ["test", "--ckpt_path", RUN / "checkpoints" / "best.ckpt"],
        ["predict", "--ckpt_path", RUN / "checkpoints" / "best.ckpt"],
        ["latent", RUN, "--interpolate", "0", "1"],
        ["explore", RUN, "--samples", "20", "--snapshots", "2"],
    ):
        code, _, err = ae(*command)
        assert code == 0, err
    predicted = load_file(RUN / "predictions" / "best.safetensors")
    x = run.data.test_set.take(10_000)[0].double()
    with torch.no_grad():
        truth = run.model.double()(x)
    # In bfloat16 predictions are computed with 8 bits.
    room = 0.05 if precision == "bf16-true" else 1e-6
    np.testing.assert_allclose(predicted["reconstructions"], truth.x_hat.numpy(), atol=room)
    errors = run.results["errors"]["test"]["autoencoder"]
    assert errors["mse_per_pixel"] == pytest.approx(float((truth.x_hat - x).square().mean()), rel=1e-5)


@pytest.mark.parametrize(
    "precision", ["bf16-true", *(pytest.param(name, marks=pytest.mark.slow) for name in ("bf16-mixed", "64-true"))]
)
def test_a_run_goes_on_bit_for_bit(ae: Callable[..., Any], quick: list[str], precision: str) -> None:
    options = [*quick, "--trainer.precision", precision]
    assert ae("fit", *options, "--trainer.max_epochs", "2", "--experiment", "whole").code == 0
    assert ae("fit", *options).code == 0
    assert ae("fit", "--ckpt_path", RUN / LAST, "--trainer.max_epochs", "2").code == 0
    whole, parts = (read_checkpoint(run / LAST) for run in (Path("lightning_logs/whole/version_0"), RUN))
    assert parts["global_step"] == whole["global_step"] == 4
    assert all(torch.equal(value, parts["state_dict"][name]) for name, value in whole["state_dict"].items())


def test_the_rate_finder_tells_what_it_found_and_is_not_asked_again(ae: Callable[..., Any], quick: list[str]) -> None:
    finder = ["--trainer.callbacks", "LearningRateFinder", "--trainer.callbacks.num_training_steps", "16"]
    options = [*quick, *finder, "--trainer.limit_train_batches", "4", "--trainer.log_every_n_steps", "1"]
    code, out, _ = ae("fit", *options, "--trainer.max_epochs", "4")
    assert code == 0
    found = float(out.partition("learning rate: ")[2].split()[0])
    steps, rates = Run.load(RUN).series("optim/lr")
    assert steps.tolist() == list(range(1, 17))
    assert rates == pytest.approx(np.full(16, found), rel=1e-5)
    code, out, _ = ae("fit", "--ckpt_path", RUN / LAST, "--trainer.max_epochs", "5")
    assert (code, "learning rate: " in out) == (0, False)
    steps, rates = Run.load(RUN).series("optim/lr")
    assert steps.tolist() == list(range(1, 21))
    assert rates == pytest.approx(np.full(20, found), rel=1e-5)

"""Small finished runs, each trained once; for reading only."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ae_lightning.cli.main import main

SHARED = [
    *("--trainer.max_epochs", "1", "--trainer.log_every_n_steps", "10"),
    *("--snapshots.schedule.count", "6", "--snapshots.schedule.spacing", "linear"),
]
# So few samples a step that latents which fire seldom are taken for dead.
TOY = [
    *("--data.steps_per_epoch", "100", "--data.batch_size", "2", "--data.num_val", "64", "--data.num_test", "600"),
    *("--data.instances", "3", "--model.instances", "3", "--trainer.max_epochs", "1"),
]
DIGITS = ["--data", "digits", "--data.batch_size", "64"]
RESAMPLED = "{class_path: ResampleDeadLatents, init_args: {every: 40, window: 4, method: simple, stop_after: 80}}"


@pytest.fixture(scope="session")
def fit(made_once: Callable[..., Path]) -> Callable[..., Path]:
    """Train with these arguments and answer the run's folder, with an experiment's name that is used once."""

    def train(name: str, *arguments: str) -> Path:
        def fill(root: Path) -> None:
            before = dict(os.environ)
            try:  # Lightning writes its seed into the environment
                where = ("--trainer.default_root_dir", str(root), "--experiment", name)
                assert main(["fit", *arguments, *SHARED, *where]) == 0
            finally:
                os.environ.clear()
                os.environ.update(before)

        return made_once(f"report_{name}", fill) / "lightning_logs" / name / "version_0"

    return train


@pytest.fixture(scope="session")
def toy_sae(fit: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three sparse autoencoders on a toy model's activations: snapshots every 20 steps, resampled at 40 and 80."""
    data = ("--data.root", str(tmp_path_factory.mktemp("data")), "--data.toy_steps", "100")
    callbacks = ("--trainer.callbacks", f"[{{class_path: DecoderNorm}}, {RESAMPLED}]")
    return fit("toy_sae", "--config", "toy_sae", *TOY, *data, *callbacks)


@pytest.fixture(scope="session")
def toy_sae_in_space(fit: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sparse autoencoders on the activations of a toy model of five features in three dimensions, for 20 steps."""
    data = ("--data.root", str(tmp_path_factory.mktemp("data")), "--data.toy_steps", "100", "--data.hidden_dim", "3")
    sizes = ("--data.steps_per_epoch", "20", "--data.num_val", "64", "--data.num_test", "200")
    several = ("--data.instances", "2", "--model.instances", "2", "--snapshots.schedule.count", "3")
    return fit("toy_sae_in_space", "--config", "toy_sae", *data, *sizes, *several)


@pytest.fixture(scope="session")
def toy_model(fit: Callable[..., Path]) -> Path:
    """Three toy models of superposition."""
    return fit("toy_model", "--config", "toy_model", *TOY)


@pytest.fixture(scope="session")
def digits_sae(fit: Callable[..., Path]) -> Path:
    """A sparse autoencoder of 20 latents on digits, without instances."""
    return fit("digits_sae", "--model", "StandardSAE", "--model.latent_dim", "20", "--data", "digits")


@pytest.fixture(scope="session")
def sparse(fit: Callable[..., Path]) -> Path:
    """A deep autoencoder with a KL penalty and a rectified code of 10."""
    model = ("--model.penalty", "kl", "--model.target", "0.1", "--model.latent_activation", "relu")
    return fit("sparse", "--model", "SparseAutoencoder", "--model.latent_dim", "10", *model, "--data", "digits")


@pytest.fixture(scope="session")
def matryoshka(fit: Callable[..., Path]) -> Path:
    """A Matryoshka autoencoder of 24 latents, prefixes of 6 and 12, that reads whitened digits; k falls to 6."""
    options = ("--model.latent_dim", "24", "--model.prefixes", "[6, 12]", "--model.k.start", "12", "--model.k.end", "6")
    return fit("matryoshka", "--model", "MatryoshkaSAE", *options, "--model.input_scaling", "whitened", *DIGITS)


@pytest.fixture(scope="session")
def jump(fit: Callable[..., Path]) -> Path:
    """Two JumpReLU autoencoders of 20 latents on digits, with a controller and without AuxK."""
    options = ("--model.latent_dim", "20", "--model.target_l0", "5", "--model.instances", "2")
    return fit("jump", "--model", "JumpReLUSAE", *options, *DIGITS)

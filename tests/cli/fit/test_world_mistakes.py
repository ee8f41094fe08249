"""A world that cannot be is told in one sentence, and nothing is trained."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ae_lightning.data.worlds.making import Recipe

QUICK = [
    *("--model", "topk_sae", "--model.latent_dim", "8", "--model.k", "2", "--data", "WorldDataModule"),
    *("--data.num_val", "8", "--data.num_test", "8", "--trainer.max_steps", "1", "--trainer.logger", "false"),
]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--data.features", "0"], "a world without features is none"),
        (["--data.highest", "1.2"], "with probability 1.2; it must lie between 0 and 1"),
        (
            ["--data.features", "3", "--data.correlations", "[[0, 1, 0.9], [1, 2, 0.9], [0, 2, -0.9]]"],
            "their matrix is not positive definite",
        ),
        (["--data.features", "3", "--data.parents", "[1, 2, 0]"], "is its own ancestor"),
        (["--data.features", "4", "--data.parents", "[-1, 0, 0, 0]"], "exclusive children are together"),
        (["--data.world_folder", "cut"], "is cut short or damaged"),
        (["--data.overlap", "0.01"], "could only be moved apart to"),
    ],
)
def test_a_world_that_cannot_be_is_told(options: list[str], said: str, ae: Callable[..., Any], tmp_path: Path) -> None:
    Recipe(4, 2).world().save(tmp_path / "cut")
    tensors = tmp_path / "cut" / "synthetic_model.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-8])
    outcome = ae("fit", *QUICK, *options)
    assert outcome.code == 2, outcome
    sentence = outcome.err.strip().splitlines()[-1]
    assert said in sentence
    assert "Traceback" not in outcome.err

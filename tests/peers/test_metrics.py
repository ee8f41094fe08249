"""SAELens' own functions give the numbers that ours do of the same weights and samples."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ae_lightning.evaluation.truth import TruthMeter

pytestmark = pytest.mark.slow


#: Latents beside 60 truths, fewer and more, and whether codes have either sign.
CASES = [(24, False), (90, False), (90, True)]


def drawn(latents: int, two_sided: bool) -> dict[str, Tensor]:
    """Some latents are dead, and some have the same row."""
    features, inputs, samples = 60, 16, 3000
    generator = torch.Generator().manual_seed(latents + two_sided)
    directions = torch.nn.functional.normalize(torch.randn(features, inputs, generator=generator), dim=1)
    rows = directions[torch.arange(latents) % features] + 0.3 * torch.randn(latents, inputs, generator=generator)
    rows[-3:] = rows[:3]
    present = torch.rand(samples, features, generator=generator) < 0.05
    y = torch.rand(samples, features, generator=generator) * present
    x = y @ directions + 0.2
    z = (x @ rows.mT - 0.2).relu()
    z[:, 5] = 0
    if two_sided:
        z -= 0.5 * (x @ rows.mT + 0.5).clamp(max=0)
    return {"rows": rows, "directions": directions, "y": y, "x": x, "z": z, "x_hat": z @ rows}


def test_metrics_are_those_of_sae_lens(tmp_path: Path, run_peer: Callable[..., None]) -> None:
    for number, case in enumerate(CASES):
        save_file(drawn(*case), tmp_path / f"given_{number}.safetensors")
    run_peer("sae_lens", tmp_path, "metrics_with")
    for number, (latents, two_sided) in enumerate(CASES):
        theirs = {name: float(value) for name, value in load_file(tmp_path / f"found_{number}.safetensors").items()}
        given = drawn(latents, two_sided)
        meter = TruthMeter(given["rows"], given["directions"], two_sided=two_sided)
        for part in torch.arange(len(given["x"])).split(700):
            meter.update(*(given[name][part] for name in ("z", "y", "x", "x_hat")))
        ours = meter.compute()
        ours |= {"explained_variance": 1 - ours["fvu"], "f1_score": ours["f1"]}
        names = theirs.keys() - {"accuracy"}
        assert {name: ours[name] for name in names} == pytest.approx({name: theirs[name] for name in names}, rel=1e-6)
        assert 0.2 < theirs["uniqueness"] < 1
        assert 0.05 < theirs["f1_score"] < 0.95

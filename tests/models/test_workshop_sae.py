"""The experiment `workshop_sae` is the workshop's recipe: its weights after 100 steps are those of a plain loop."""

from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor

from ae_lightning.callbacks.decoder_norm import DecoderNorm
from ae_lightning.callbacks.resampling import ResampleDeadLatents
from ae_lightning.data.loader import seeded_generator
from ae_lightning.data.toy_activations import ToyActivationsDataModule
from ae_lightning.models.standard_sae import StandardSAE
from ae_lightning.run.tables import read_resampled

CONFIG = yaml.safe_load((Path(__file__).parents[2] / "configs" / "workshop_sae.yaml").read_text())
STEPS, EVERY, WINDOW = 100, 50, 2  # the workshop's are 20,000, 2,500 and 500


def workshop_loop(start: dict[str, Tensor], batches: list[Tensor]) -> dict[str, Tensor]:
    """The recipe; without W_dec its tied form. Batches are (batch, instances, input), as the workshop has them."""
    weights = {name: value.clone().requires_grad_() for name, value in start.items()}
    w_enc, b_enc, w_dec, b_dec = (weights.get(name) for name in ("W_enc", "b_enc", "W_dec", "b_dec"))
    optimizer = torch.optim.Adam(weights.values(), lr=1e-3)
    active = []
    for step, h in enumerate(batches):
        if (step + 1) % EVERY == 0:
            dead = (torch.stack(active[-WINDOW:]) < 1e-8).all(dim=0)
            # Any random vectors would do; these are the ones that the callback draws.
            rows = torch.randn(int(dead.sum()), 2, generator=seeded_generator(0, step))
            rows = rows / (rows.norm(dim=-1, keepdim=True) + 1e-8)
            if w_dec is not None:
                w_dec.data[dead] = rows
            w_enc.data.mT[dead] = 0.5 * rows
            b_enc.data[dead] = 0.0
        rows = w_enc.mT if w_dec is None else w_dec
        unit = rows / (rows.norm(dim=-1, keepdim=True) + 1e-8)
        z = torch.relu(torch.einsum("bid,ids->bis", h - b_dec, w_enc) + b_enc)
        h_hat = torch.einsum("bis,isd->bid", z, unit) + b_dec
        loss = (h_hat - h).pow(2).mean(-1) + 0.2 * z.abs().sum(-1)
        loss.mean(0).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        if w_dec is not None:
            w_dec.data = w_dec.data / (w_dec.data.norm(dim=-1, keepdim=True) + 1e-8)
        active.append((z.detach().abs() > 1e-8).float().mean(0))
    return {name: value.detach() for name, value in weights.items()}


@pytest.mark.parametrize("tied", [False, True])
def test_a_hundred_steps_are_those_of_a_plain_loop_of_the_recipe(tied, make_trainer, tmp_path):
    torch.manual_seed(0)
    model = StandardSAE((2,), tied=tied, **CONFIG["model"]["init_args"])
    data = ToyActivationsDataModule(
        **{**CONFIG["data"]["init_args"], "toy_steps": 500, "steps_per_epoch": STEPS, "num_val": 64}, root=str(tmp_path)
    )
    norm, resampling = CONFIG["trainer"]["callbacks"]
    assert (norm, resampling["class_path"]) == ({"class_path": "DecoderNorm"}, "ResampleDeadLatents")
    shorter = {"every": EVERY, "window": WINDOW, "stop_after": STEPS}
    callbacks = [DecoderNorm(), ResampleDeadLatents(**{**resampling["init_args"], **shorter})]
    start = {name: value.detach().clone() for name, value in model.dictionary.named_parameters()}
    assert ("W_dec" in start) != tied
    make_trainer(*callbacks).fit(model, data)
    expected = workshop_loop(start, [x for x, _ in data.train_dataloader()])
    assert {*map(int, read_resampled(tmp_path)["step"])} == {49, 99}  # before step 50, and before the last
    for name, value in model.dictionary.named_parameters():
        torch.testing.assert_close(value.detach(), expected[name], rtol=1e-4, atol=1e-5, msg=name)
        assert (expected[name] - start[name]).abs().max() > 0.01, name


def test_it_has_the_workshop_s_sizes():
    model, data = CONFIG["model"]["init_args"], CONFIG["data"]["init_args"]
    resampling = CONFIG["trainer"]["callbacks"][1]["init_args"]
    sizes = (model["instances"], data["instances"], data["hidden_dim"], model["latent_dim"], model["penalty_weight"])
    assert sizes == (16, 16, 2, 5, 0.2)
    assert (data["features"], data["probability"]) == (5, 0.025)
    assert CONFIG["trainer"]["max_epochs"] * ToyActivationsDataModule().steps_per_epoch == 20_000
    assert (resampling["every"], resampling["window"], resampling["method"]) == (2500, 500, "simple")
    assert resampling["stop_after"] == 20_000
    assert ToyActivationsDataModule().batch_size == 1024

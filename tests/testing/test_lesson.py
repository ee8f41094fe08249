"""The variants of the lesson in docs/guides/write_a_variant.md do what it says of them."""

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback

import ae_lightning
from ae_lightning import Autoencoder
from ae_lightning.testing.building import quiet_trainer
from ae_lightning.testing.digits import ReshapedDigits

LESSON = Path(ae_lightning.__file__).resolve().parents[1] / "docs" / "guides" / "write_a_variant.md"
SHAPE = (1, 8, 8)

pytestmark = pytest.mark.skipif(not LESSON.is_file(), reason="needs a checkout")


@pytest.fixture
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The lesson's files in a folder that is imported from, and nothing of them afterwards."""
    for name, code in re.findall(r"^```python\n# (my_variants/\w+\.py)\n(.*?)^```$", LESSON.read_text(), re.M | re.S):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "my_variants"}
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_variants"]:
        del sys.modules[name]
    sys.modules.update(before)


def variant(module: str, name: str, **settings: object) -> Autoencoder:
    torch.manual_seed(0)
    return getattr(importlib.import_module(f"my_variants.{module}"), name)(SHAPE, **settings)


def samples(count: int = 32) -> torch.Tensor:
    return torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(1))


@pytest.mark.usefixtures("_installed")
def test_the_penalty_is_the_sum_of_squared_covariances() -> None:
    model, x = variant("decorrelated", "DecorrelatedAutoencoder", latent_dim=5, penalty_weight=3.0), samples()
    losses, output = model.loss(x)
    covariance = np.cov(output.z.detach().double().numpy(), rowvar=False, bias=True)
    expected = (covariance**2).sum() - (np.diag(covariance) ** 2).sum()
    assert losses["covariance"].item() == pytest.approx(expected, rel=1e-4)
    assert losses["loss"].item() == pytest.approx(losses["reconstruction"].item() + 3 * expected, rel=1e-4)


@pytest.mark.usefixtures("_installed")
def test_what_is_to_be_produced_is_the_mirror_image() -> None:
    x, target = variant("mirrored", "MirroredAutoencoder").pair((samples(), torch.empty(0)))
    np.testing.assert_array_equal(target.numpy(), x.numpy()[..., ::-1])


@pytest.mark.usefixtures("_installed")
def test_noise_is_there_in_training_alone() -> None:
    model, x = variant("denoising", "NoisyAutoencoder"), samples()
    assert not torch.equal(model(x).z, model(x).z)
    assert torch.equal(model.eval()(x).z, model(x).z)


@pytest.mark.usefixtures("_installed")
def test_k_latents_of_either_sign_are_active() -> None:
    z = variant("abs_topk", "AbsTopKSAE", latent_dim=128, k=8).encode(samples()).detach()
    assert (z != 0).sum(-1).tolist() == [8] * 32
    assert float(z.min()) < 0 < float(z.max())


class Codes(Callback):
    """Keeps the mean code of each batch."""

    def __init__(self) -> None:
        self.means: list[torch.Tensor] = []

    def on_train_batch_end(self, trainer, pl_module, outputs, *args) -> None:
        self.means.append(outputs["z"].mean(0))


@pytest.mark.usefixtures("_installed")
def test_the_running_mean_moves_once_for_each_step(tmp_path: Path) -> None:
    """Also where a step takes the gradients of two batches: by a hundredth of the way to the mean of both."""
    model, codes = variant("watched", "WatchedAutoencoder", latent_dim=5), Codes()
    options = {"accumulate_grad_batches": 2, "limit_train_batches": 4, "limit_val_batches": 0, "callbacks": [codes]}
    quiet_trainer(tmp_path, max_epochs=1, **options).fit(model, ReshapedDigits(SHAPE))
    first, second = (torch.stack(codes.means[i : i + 2]).mean(0) for i in (0, 2))
    torch.testing.assert_close(model.mean_code, 0.99 * 0.01 * first + 0.01 * second)
    torch.testing.assert_close(model.measures()["mean_activation"], model.mean_code.mean())

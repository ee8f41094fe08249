"""What denoising and contraction do on MNIST, beside plain autoencoders of the same networks: the guide's figures."""

from typing import Any

import pytest
import torch
from torch import Tensor

from ae_lightning.data.mnist import MNISTDataModule
from ae_lightning.models.contractive import ContractiveAutoencoder
from ae_lightning.models.denoising import DenoisingAutoencoder
from ae_lightning.models.networked import NetworkAutoencoder
from ae_lightning.models.wasserstein import WassersteinAutoencoder
from ae_lightning.nn.corruption import GaussianNoise
from ae_lightning.nn.draws import SampleDraws
from ae_lightning.nn.networks import MLPNetwork

pytestmark = [pytest.mark.evidence, pytest.mark.timeout(2 * 3600)]

WIDE: dict[str, Any] = {"latent_dim": 1024, "network": MLPNetwork((), latent_activation="relu")}
NARROW: dict[str, Any] = {"latent_dim": 20, "network": MLPNetwork((400,))}
SIGMOID: dict[str, Any] = {"latent_dim": 256, "network": MLPNetwork((), latent_activation="sigmoid")}


@pytest.fixture
def mnist(mnist_root: Any) -> MNISTDataModule:
    data = MNISTDataModule(root=mnist_root)
    data.setup()
    return data


def fitted(kind: Any, x: Tensor, epochs: int, rate: float, **settings: Any) -> Any:
    """A model after so many epochs of batches of 128 samples, by Adam."""
    torch.manual_seed(0)
    model = kind((1, 28, 28), **settings)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, fused=True)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(128):
            optimizer.zero_grad()
            model.loss(x[rows])[0]["loss"].backward()
            optimizer.step()
    return model.eval()


@torch.no_grad()
def error(model: Any, read: Tensor, target: Tensor) -> float:
    return float((model(read).x_hat - target).square().mean())


@pytest.mark.parametrize(
    ("network", "images", "most"),
    [(WIDE, 54_000, 0.5), (WIDE, 20_000, 0.65), (NARROW, 20_000, 0.65)],
    ids=["784-1024-784", "784-1024-784 on fewer images", "784-400-20-400-784"],
)
def test_denoising_mends_what_a_plain_autoencoder_does_not(
    mnist: MNISTDataModule, network: dict[str, Any], images: int, most: float
) -> None:
    x, clean = mnist.train_set.take(images)[0], mnist.test_set.take(2000)[0]
    corrupted = GaussianNoise(0.5)(clean, SampleDraws(clean, 0))
    found = {}
    for kind in (NetworkAutoencoder, DenoisingAutoencoder):
        model = fitted(kind, x, 10, 1e-3, **network)
        found[kind] = error(model, corrupted, clean)
        print(f"{kind.__name__}: {found[kind]:.5f} on corrupted digits, {error(model, clean, clean):.5f} on clean ones")
    assert found[DenoisingAutoencoder] < most * found[NetworkAutoencoder]


def test_a_penalty_of_one_layer_contracts_more_than_it_shrinks_codes(mnist: MNISTDataModule) -> None:
    x, clean = mnist.train_set.take(10_000)[0], mnist.test_set.take(2000)[0]
    ratios = []
    for weight in (0.0, 1e-4, 3e-4, 1e-3):
        model = fitted(ContractiveAutoencoder, x, 5, 1e-3, contraction_weight=weight, **SIGMOID)
        norm, spread = float(model.contraction(clean).mean()), float(model.encode(clean).var(0).sum())
        print(f"{weight}: error {error(model, clean, clean):.5f}, norm² {norm:.2f}, variance of codes {spread:.2f}")
        ratios.append(norm / spread)
    assert ratios == sorted(ratios, reverse=True)


def test_codes_come_to_the_prior_for_little_error(mnist: MNISTDataModule) -> None:
    x, clean = mnist.train_set.take(10_000)[0], mnist.test_set.take(2000)[0]
    plain, held = (
        fitted(WassersteinAutoencoder, x, 6, 1e-3, mmd_weight=weight, latent_dim=8, network=MLPNetwork((400,)))
        for weight in (0.0, 10.0)
    )
    for model in (plain, held):
        losses, z = model.loss(clean)[0], model.encode(clean)
        told = {name: round(float(value.detach()), 3) for name, value in losses.items()}
        print(f"{told}, deviation of codes {float(z.std(0).mean().detach()):.2f}")
    mmd = [float(model.loss(clean)[0]["mmd"].detach()) for model in (plain, held)]
    assert mmd[1] < 0.1 * mmd[0]
    assert error(held, clean, clean) < 1.05 * error(plain, clean, clean)

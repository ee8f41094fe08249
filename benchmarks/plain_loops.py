"""Training as notebooks have it: data in memory, unfused Adam, `.item()` at each step. What `fit` is measured against.

Each function trains once and returns the seconds of its loop, the validation at the end of an epoch included where
`fit` has one.
"""

import contextlib
import time
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

INSTANCES, FEATURES, HIDDEN, LATENTS, TOY_BATCH = 16, 5, 2, 5, 1024
PROBABILITY, PENALTY = 0.025, 0.2
EVERY, WINDOW, SCALE = 2500, 500, 0.5


class Images(NamedTuple):
    """Training and validation images (n, 1, 28, 28), float32."""

    train: Tensor
    val: Tensor


def overcomplete() -> nn.Module:
    """784-1024-784."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 1024), nn.ReLU(), nn.Linear(1024, 784), nn.Unflatten(1, (1, 28, 28))
    )


def fully_connected() -> nn.Module:
    """784-400-20 and back."""
    return nn.Sequential(
        *(nn.Flatten(), nn.Linear(784, 400), nn.ReLU(), nn.Linear(400, 20)),
        *(nn.Linear(20, 400), nn.ReLU(), nn.Linear(400, 784), nn.Sigmoid(), nn.Unflatten(1, (1, 28, 28))),
    )


def deep_conv() -> nn.Module:
    """Three convolutional stages with batch normalization, 1×28×28 to 64×3×3 and back."""

    def down(channels_in: int, channels_out: int) -> list[nn.Module]:
        norm = nn.BatchNorm2d(channels_out)
        return [nn.Conv2d(channels_in, channels_out, 3, padding=1), nn.ReLU(), norm, nn.MaxPool2d(2)]

    def up(channels_in: int, channels_out: int, padding: int = 1, extra: int = 1) -> list[nn.Module]:
        convolution = nn.ConvTranspose2d(channels_in, channels_out, 3, 2, padding, output_padding=extra)
        return [convolution, nn.ReLU(), nn.BatchNorm2d(channels_out)]

    return nn.Sequential(
        *(*down(1, 16), *down(16, 32), *down(32, 64)),
        *(*up(64, 64, padding=0, extra=0), *up(64, 32), *up(32, 16)),
        *(nn.Conv2d(16, 1, 3, padding=1), nn.Sigmoid()),
    )


def train_on_images(model: nn.Module, images: Images, batch_size: int, autocast: bool = False) -> float:
    """One epoch over the images and one validation."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses = []
    context: Any = torch.autocast("cpu", torch.bfloat16) if autocast else contextlib.nullcontext()
    start = time.perf_counter()
    for rows in torch.randperm(len(images.train)).split(batch_size):
        x = images.train[rows]
        optimizer.zero_grad()
        with context:
            loss = F.mse_loss(model(x), x)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    with torch.no_grad(), context:
        losses.extend(F.mse_loss(model(x), x).item() for x in images.val.split(1024))
    return time.perf_counter() - start


def train_at_moments(model: nn.Module, images: Images, batch_size: int, moments: int) -> float:
    """One epoch over the images as the overcomplete experiment has it.

    Before the first step, after the last one, and at equal distances between them it copies all weights and computes
    the error on the validation images.
    """
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses: list[float] = []
    history: list[tuple[int, float]] = []
    copies: list[dict[str, Tensor]] = []
    start = time.perf_counter()
    batches = torch.randperm(len(images.train)).split(batch_size)
    at = set(torch.linspace(0, len(batches), moments).round().int().tolist())
    for step in range(len(batches) + 1):
        if step in at:
            model.eval()
            with torch.no_grad():
                errors = [F.mse_loss(model(x), x).item() * len(x) for x in images.val.split(1024)]
            model.train()
            history.append((step, sum(errors) / len(images.val)))
            copies.append({name: value.detach().clone() for name, value in model.state_dict().items()})
        if step < len(batches):
            x = images.train[batches[step]]
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), x)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return time.perf_counter() - start


def train_wide_sae(x: Tensor, latents: int, batch_size: int, epochs: int) -> float:
    """A sparse autoencoder on vectors x (n, input), ReLU code, L1 penalty on it."""
    encoder, decoder = nn.Linear(x.shape[1], latents), nn.Linear(latents, x.shape[1])
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3)
    losses = []
    start = time.perf_counter()
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(batch_size):
            batch = x[rows]
            optimizer.zero_grad()
            z = torch.relu(encoder(batch - decoder.bias))
            loss = F.mse_loss(decoder(z), batch) + 0.001 * z.abs().sum(-1).mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return time.perf_counter() - start


def batch_of_features() -> Tensor:
    """Sparse features (batch, instances, features)."""
    magnitude = torch.rand(TOY_BATCH, INSTANCES, FEATURES)
    return torch.where(torch.rand(TOY_BATCH, INSTANCES, FEATURES) <= PROBABILITY, magnitude, 0.0)


def train_toy_model(steps: int) -> float:
    """The toy model of superposition as the workshop has it: instances in the second axis, products by einsum."""
    w = nn.Parameter(nn.init.xavier_normal_(torch.empty(INSTANCES, HIDDEN, FEATURES)))
    b = nn.Parameter(torch.zeros(INSTANCES, FEATURES))
    importance = torch.ones(FEATURES)
    optimizer = torch.optim.Adam([w, b], lr=1e-3)
    losses = []
    start = time.perf_counter()
    for _ in range(steps):
        x = batch_of_features()
        optimizer.zero_grad()
        h = torch.einsum("bif,ihf->bih", x, w)
        out = torch.relu(torch.einsum("bih,ihf->bif", h, w) + b)
        loss = (importance * (x - out) ** 2).mean((0, 2)).sum()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return time.perf_counter() - start


def train_toy_sae(steps: int) -> float:
    """Sparse autoencoders on a toy model's activations, as the workshop has them, with simple resampling."""
    toy = torch.randn(INSTANCES, HIDDEN, FEATURES)
    w_enc = nn.Parameter(nn.init.kaiming_uniform_(torch.empty(INSTANCES, HIDDEN, LATENTS)))
    w_dec = nn.Parameter(nn.init.kaiming_uniform_(torch.empty(INSTANCES, LATENTS, HIDDEN)))
    b_enc, b_dec = nn.Parameter(torch.zeros(INSTANCES, LATENTS)), nn.Parameter(torch.zeros(INSTANCES, HIDDEN))
    optimizer = torch.optim.Adam([w_enc, w_dec, b_enc, b_dec], lr=1e-3)
    losses: list[float] = []
    active: list[Tensor] = []
    start = time.perf_counter()
    for step in range(steps):
        if step and step % EVERY == 0:
            _resample(torch.stack(active[-WINDOW:]), w_enc, w_dec, b_enc)
        with torch.no_grad():
            h = torch.einsum("bif,ihf->bih", batch_of_features(), toy)
        optimizer.zero_grad()
        directions = w_dec / (w_dec.norm(dim=-1, keepdim=True) + 1e-8)
        z = torch.relu(torch.einsum("bih,ihl->bil", h - b_dec, w_enc) + b_enc)
        out = torch.einsum("bil,ilh->bih", z, directions) + b_dec
        loss = ((out - h) ** 2).mean(-1).mean(0).sum() + PENALTY * z.abs().sum(-1).mean(0).sum()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            w_dec.data = w_dec / w_dec.norm(dim=-1, keepdim=True)
        active.append((z.detach() > 0).float().mean(0))
        losses.append(loss.item())
    return time.perf_counter() - start


@torch.no_grad()
def _resample(active: Tensor, w_enc: Tensor, w_dec: Tensor, b_enc: Tensor) -> None:
    """Give random directions to the latents whose activity (steps, instances, latent) is zero."""
    dead = active.sum(0) < 1e-8
    directions = torch.randn(int(dead.sum()), HIDDEN)
    directions /= directions.norm(dim=-1, keepdim=True)
    w_dec[dead] = directions
    w_enc.mT[dead] = SCALE * directions
    b_enc[dead] = 0.0

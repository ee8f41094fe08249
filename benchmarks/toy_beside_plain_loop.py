"""Time the toy model of superposition and its sparse autoencoders beside plain loops of the workshop's recipe.

The plain loops are written as notebooks are: 16 instances, batches of 1,024 with the instances in the second axis,
products by einsum, unfused Adam, `.item()` at each step, and for the autoencoder simple resampling every 2,500 steps.
All rows are interleaved in one process and repeated; a row's ratio is the median of its ratios to its plain loop of
the same round.

    python benchmarks/toy_beside_plain_loop.py [--rounds 5] [--steps 5000]
"""

import argparse
import time
from collections.abc import Callable

import torch
from rich.console import Console
from timed_fit import seconds_of_fit, table_of_ratios
from torch import Tensor, nn

INSTANCES, FEATURES, HIDDEN, LATENTS, BATCH = 16, 5, 2, 5, 1024
PROBABILITY, PENALTY = 0.025, 0.2
EVERY, WINDOW, SCALE = 2500, 500, 0.5
WANTED = 0.6
STEPS_PER_EPOCH = 500


def batch_of_features() -> Tensor:
    """Sparse features (batch, instances, features)."""
    magnitude = torch.rand(BATCH, INSTANCES, FEATURES)
    return torch.where(torch.rand(BATCH, INSTANCES, FEATURES) <= PROBABILITY, magnitude, 0.0)


def plain_toy_model(steps: int) -> float:
    """Seconds of the plain loop of the toy model."""
    torch.manual_seed(0)
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


def plain_toy_sae(steps: int) -> float:
    """Seconds of the plain loop of the autoencoders, with simple resampling."""
    torch.manual_seed(0)
    toy = torch.randn(INSTANCES, HIDDEN, FEATURES)
    w_enc = nn.Parameter(nn.init.kaiming_uniform_(torch.empty(INSTANCES, HIDDEN, LATENTS)))
    w_dec = nn.Parameter(nn.init.kaiming_uniform_(torch.empty(INSTANCES, LATENTS, HIDDEN)))
    b_enc, b_dec = nn.Parameter(torch.zeros(INSTANCES, LATENTS)), nn.Parameter(torch.zeros(INSTANCES, HIDDEN))
    optimizer = torch.optim.Adam([w_enc, w_dec, b_enc, b_dec], lr=1e-3)
    losses: list[float] = []
    active: list[Tensor] = []
    start = time.perf_counter()
    for step in range(steps):
        if (step + 1) % EVERY == 0:
            resample(torch.stack(active[-WINDOW:]), w_enc, w_dec, b_enc)
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
def resample(active: Tensor, w_enc: Tensor, w_dec: Tensor, b_enc: Tensor) -> None:
    """Give random directions to the latents whose activity (steps, instances, latent) is zero."""
    dead = active.sum(0) < 1e-8
    directions = torch.randn(int(dead.sum()), HIDDEN)
    directions /= directions.norm(dim=-1, keepdim=True)
    w_dec[dead] = directions
    w_enc.mT[dead] = SCALE * directions
    b_enc[dead] = 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="repetitions of every row (default 5)")
    parser.add_argument("--steps", type=int, default=5000, help="optimizer steps, a multiple of 500 (default 5000)")
    options = parser.parse_args()
    epochs = ["--trainer.max_epochs", str(options.steps // STEPS_PER_EPOCH)]
    console = Console()
    for title, plain, configs in (
        ("toy model", plain_toy_model, ["toy_model"]),
        ("toy sparse autoencoder", plain_toy_sae, ["toy_sae_resample", "toy_sae"]),
    ):
        rows: dict[str, Callable[[], float]] = {"plain loop": lambda plain=plain: plain(options.steps)}  # type: ignore[misc]
        for config in configs:
            rows[f"fit, {config}"] = lambda config=config: seconds_of_fit(["--config", config, *epochs])  # type: ignore[misc]
        times: dict[str, list[float]] = {name: [] for name in rows}
        for _ in range(options.rounds):
            for name, measure in rows.items():
                times[name].append(measure())
        wanted = {f"fit, {configs[0]}": WANTED}
        console.print(table_of_ratios(f"{title}, {options.steps:,} steps", times, "plain loop", wanted))


if __name__ == "__main__":
    main()

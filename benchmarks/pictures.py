"""The pictures of the documentation, each made of runs by the commands that stand with it.

    AE_LIGHTNING_DATA=… python benchmarks/pictures.py [-o docs/pictures] [--runs FOLDER] [PICTURE …]

Without names it makes those of the home page. A run that FOLDER has already is used as it is. Pages are photographed by
`chromium` on the path, or by what AE_LIGHTNING_CHROMIUM names.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image, ImageDraw, ImageFont

from ae_lightning.analysis.structure import spatial_autocorrelation
from ae_lightning.plots.tiles import Array, tile, to_rgb_signed
from ae_lightning.run.run import Run

ROOT = Path(__file__).resolve().parents[1]
RUNS = Path("lightning_logs")
SIDE = 28
UNITS, COLUMNS, SCALE = 48, 12, 2
FRAME, LAST_FRAME = 140, 2500
"""Milliseconds that a frame of the animation is shown, and the last one."""
CAPTION = 26
SAMPLE = 4
"""The test sample that the explorer shows: digits of many strokes say more than a 7."""


class Picture(NamedTuple):
    """How a picture is made: by commands, each of which makes a path, and of what these left behind."""

    commands: dict[str, str]
    draw: Callable[[Path], None]


def units_forming(to: Path) -> None:
    """An animation of what the most structured latents write, each in its own scale, from the first snapshot on."""
    run = Run.load(STROKES)
    steps = list(run.snapshots)
    last = run.snapshots[steps[-1]]["decoder_vectors"]
    chosen = spatial_autocorrelation(last, (SIDE, SIDE)).argsort(descending=True)[:UNITS]
    frames = []
    for step in steps:
        rows = run.snapshots[step]["decoder_vectors"][chosen].reshape(-1, 1, SIDE, SIDE)
        frames.append(captioned(tile(to_rgb_signed(rows, shared=False), COLUMNS, scale=SCALE), f"step {step}"))
    durations = [FRAME] * (len(frames) - 1) + [LAST_FRAME]
    first, *others = frames
    first.save(to, save_all=True, append_images=others, duration=durations, loop=0, quality=45, method=6)


def captioned(picture: Array, text: str) -> Image.Image:
    """A picture with a line of text below it."""
    height, width = picture.shape[:2]
    image = Image.new("RGB", (width, height + CAPTION), "white")
    image.paste(Image.fromarray(picture))
    ImageDraw.Draw(image).text((4, height + 4), text, "black", ImageFont.load_default(16))
    return image


def decoder_rows(to: Path) -> None:
    """Twelve structured decoder rows at five moments of a single pass over MNIST."""
    run = Run.load(ONE_PASS)
    steps = [run.snapshots.nearest(step) for step in (0, 4, 20, 80, list(run.snapshots)[-1])]
    vectors = [run.snapshots[step]["decoder_vectors"] for step in steps]
    chosen = spatial_autocorrelation(vectors[-1], (SIDE, SIDE)).argsort(descending=True)[:12]
    rows = torch.cat([each[chosen] for each in vectors]).reshape(-1, 1, SIDE, SIDE)
    Image.fromarray(tile(to_rgb_signed(rows, shared=False), len(chosen), scale=SCALE)).save(to, optimize=True)


def report(to: Path) -> None:
    """The first screen of a report."""
    photograph(BOTTLENECK / "report" / "report.html", to, 1400, 720)


def explorer(to: Path) -> None:
    """The first screen of an explorer, on a unit that writes much of the sample."""
    strongest = "const codes = explorer.result.hidden.at(-1); explorer.selectUnit(codes.indexOf(Math.max(...codes)))"
    photograph(STROKES / "explorer.html", to, 1600, 1000, f"explorer.selectSample({SAMPLE}); {strongest}")


def photograph(page: Path, to: Path, width: int, height: int, first: str = "") -> None:
    """Save what a browser shows of a page, with few colors."""
    from playwright.sync_api import sync_playwright

    named = os.environ.get("AE_LIGHTNING_CHROMIUM", "required")
    browser = shutil.which("chromium") if named == "required" else named
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as scratch:
        shown = playwright.chromium.launch(executable_path=browser)
        tab = shown.new_page(viewport={"width": width, "height": height})
        tab.goto(page.absolute().as_uri())
        tab.wait_for_timeout(2000)  # for pictures that are decoded, and a network that is computed
        if first:
            tab.evaluate(first)
        taken = Path(scratch) / "taken.png"
        tab.screenshot(path=taken)
        shown.close()
        Image.open(taken).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(to, optimize=True)


def copy_of(made: Path) -> Callable[[Path], None]:
    """A picture that a command has drawn itself."""

    def copy(to: Path) -> None:
        shutil.copyfile(made, to)

    return copy


STROKES = RUNS / "topk_sae_mnist" / "version_0"
ONE_PASS = RUNS / "overcomplete_mnist" / "version_0"
BOTTLENECK = RUNS / "bottleneck_digits" / "version_0"
PLANE = RUNS / "code_2d_mnist" / "version_0"
PENTAGON = RUNS / "toy_sae_resample" / "version_0"
WIDTHS = RUNS / "fully_connected_mnist_sweep_latent_dim"
SIXTEEN = WIDTHS / "latent_dim=16,seed=0" / "version_0"

TRAIN_STROKES = {
    str(STROKES): "fit --config topk_sae_mnist --model.k 16 --model.optimizer.lr 0.005 --trainer.callbacks null"
}
SWEEP = {
    str(WIDTHS / "sweep.png"): "sweep --config fully_connected_mnist --grid model.init_args.latent_dim=2,16,32,128 "
    "--seeds 0,1,2 --trainer.callbacks null"
}

PICTURES = {
    "units_forming.webp": Picture(TRAIN_STROKES, units_forming),
    "report.png": Picture(
        {
            str(BOTTLENECK): "fit --config bottleneck_digits",
            str(BOTTLENECK / "report"): f"report {BOTTLENECK}",
        },
        report,
    ),
    "explorer.png": Picture(
        {**TRAIN_STROKES, str(STROKES / "explorer.html"): f"explore {STROKES} --snapshots 2 --samples 500"}, explorer
    ),
    "decoder_rows.png": Picture({str(ONE_PASS): "fit --config overcomplete_mnist"}, decoder_rows),
    "code_2d.png": Picture(
        {
            str(PLANE): "fit --config code_2d_mnist --trainer.max_epochs 10",
            str(PLANE / "figures" / "latent" / "grid.png"): f"latent {PLANE} --grid",
        },
        copy_of(PLANE / "figures" / "latent" / "grid.png"),
    ),
    "toy_features.png": Picture(
        {
            str(PENTAGON): "fit --config toy_sae_resample",
            str(PENTAGON / "figures" / "sparsity" / "features.png"): f"sparsity {PENTAGON}",
        },
        copy_of(PENTAGON / "figures" / "sparsity" / "features.png"),
    ),
    "sweep_latent_dim.png": Picture(SWEEP, copy_of(WIDTHS / "sweep.png")),
    "interpolation.png": Picture(
        {
            **SWEEP,
            str(SIXTEEN / "figures" / "latent" / "interpolation_1_18.png"): f"latent {SIXTEEN} --interpolate 1 18",
        },
        copy_of(SIXTEEN / "figures" / "latent" / "interpolation_1_18.png"),
    ),
}
HOME = ("units_forming.webp", "report.png", "explorer.png")


def main() -> None:
    """Run what is not there yet, and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="*", default=HOME, metavar="PICTURE", help=", ".join(PICTURES))
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "docs" / "pictures", metavar="DIR")
    parser.add_argument(
        "--runs", type=Path, metavar="FOLDER", help="where to train (default: a folder that is removed)"
    )
    options = parser.parse_args()
    if unknown := set(options.pictures) - set(PICTURES):
        parser.error(f"there is no picture {', '.join(sorted(unknown))}; there are {', '.join(PICTURES)}")
    output = options.output.absolute()
    if "AE_LIGHTNING_DATA" in os.environ:
        os.environ["AE_LIGHTNING_DATA"] = os.path.abspath(os.environ["AE_LIGHTNING_DATA"])
    with tempfile.TemporaryDirectory() as scratch:
        runs = options.runs or Path(scratch)
        runs.mkdir(parents=True, exist_ok=True)
        os.chdir(runs)
        for name in options.pictures:
            make(PICTURES[name], output / name)


def make(picture: Picture, to: Path) -> None:
    """Run the commands of a picture whose results are missing, and draw it."""
    for made, command in picture.commands.items():
        if not Path(made).exists():
            print(f"$ ae-lightning {command}", flush=True)
            subprocess.run([sys.executable, "-m", "ae_lightning", *command.split()], check=True)
    picture.draw(to)
    print(f"{to}: {to.stat().st_size / 1000:.0f} KB", flush=True)


if __name__ == "__main__":
    main()

"""`ae-lightning latent`: pictures of a trained model's latent space."""

import argparse
from collections.abc import Callable
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from ae_lightning.analysis.sampler_names import COMPONENTS, MEASURED, check_sampler
from ae_lightning.cli.command_parser import LARGEST_SEED
from ae_lightning.cli.run_command import RunParser, open_run, write_figure
from ae_lightning.errors import ConfigError
from ae_lightning.report.reading import decoded_from, reading_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ae_lightning.analysis.samplers import Sampler
    from ae_lightning.gallery import Gallery

ALWAYS = ("reconstructions", "scatter", "layers")
"""Figures that need no choice, drawn where they fit."""

_PICTURED = 64  # random codes, where they are to be measured and nobody says how many to show

_EXAMPLE = """example:
  ae-lightning latent lightning_logs/fully_connected_mnist/version_0 --interpolate 3 7 --arithmetic 2 3 5 --grid
  ae-lightning latent lightning_logs/fully_connected_mnist/version_0 --samples 64 --sampler gmm --quality

Numbers of samples are indices into the test set, from 0 on, in its order.
"""


def main(arguments: list[str]) -> int:
    """Draw the figures asked for, and those that always fit, and say where they are and how to read them."""
    options = _options(arguments)

    from ae_lightning.gallery import Gallery
    from ae_lightning.models.checkpoint import load_autoencoder

    run, checkpoint = open_run(options.run)
    gallery = Gallery(load_autoencoder(checkpoint), run.data)
    for index in chain(*options.interpolate, *options.arithmetic):
        gallery.sample(index)  # all mistakes come before the first file
    sampler = gallery.sampler(options.sampler, options.components or COMPONENTS) if options.samples else None
    folder = options.output or run.folder / "figures" / "latent"
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in _figures(gallery, options).items():
        _write(folder / f"{name}.png", draw)
        print(f"{folder / f'{name}.png'}\n  {reading_of(name.partition('_')[0])}")
    if sampler is not None:
        picture = folder / ("samples.png" if options.sampler is None else f"samples_{options.sampler}.png")
        _write(picture, partial(gallery.samples, options.samples, sampler, options.seed))
        print(f"{picture}\n  {decoded_from(sampler.description)}")
        if options.quality is not None:
            about = {"run": str(run.folder), "checkpoint": checkpoint.name}
            _measure(gallery, sampler, options, about, picture.with_suffix(".json"))
    return 0


def _options(arguments: list[str]) -> argparse.Namespace:
    options = _parser().options(arguments)
    if options.quality is not None and options.samples is None:
        options.samples = _PICTURED
    if options.samples is None and (name := _first_of(options, "sampler", "components", "classifiers", "seed")):
        raise ConfigError(f"--{name} is of no use without --samples or --quality")
    if options.components is not None and options.sampler != "gmm":
        raise ConfigError("--components is of no use without --sampler gmm")
    if options.classifiers is not None and options.quality is None:
        raise ConfigError("--classifiers is of no use without --quality")
    if options.sampler is not None:
        check_sampler(options.sampler)
    if options.seed > LARGEST_SEED:
        raise ConfigError(f"--seed is {options.seed}; it must be at most {LARGEST_SEED}")
    return options


def _first_of(options: argparse.Namespace, *names: str) -> str:
    return next((name for name in names if getattr(options, name)), "")


def _measure(
    gallery: "Gallery", sampler: "Sampler", options: argparse.Namespace, about: dict[str, str], path: Path
) -> None:
    """Measure samples, print the numbers, and write them beside the picture."""
    from ae_lightning.cli.sample_table import print_quality
    from ae_lightning.evaluation import versions
    from ae_lightning.evaluation.sample_quality import sample_quality
    from ae_lightning.files import write_json

    quality = sample_quality(
        gallery, sampler, options.quality, options.seed, options.classifiers, lambda words: print(words, flush=True)
    )
    data = {"description": gallery.data.description, "hash": gallery.data.fingerprint()}
    write_json(path, {**about, **quality, "data": data, "versions": versions()})
    print_quality(quality, options.quality)
    print(path)


def _parser() -> RunParser:
    parser = RunParser(
        "latent",
        "Draw the latent space of a trained autoencoder: reconstructions, a scatter of the codes and\n"
        "the encoder's layers always, and what else is asked for.",
        _EXAMPLE,
    )
    parser.add_argument(
        "--interpolate",
        type=int,
        nargs=2,
        action="append",
        default=[],
        metavar=("A", "B"),
        help="the line from test sample A to B; repeatable",
    )
    parser.add_number("--steps", least=2, default=9, help="codes on that line, both ends included (default: 9)")
    parser.add_argument(
        "--arithmetic",
        type=int,
        nargs=3,
        action="append",
        default=[],
        metavar=("A", "B", "C"),
        help="code of A, plus B, minus C; repeatable",
    )
    parser.add_number(
        "--grid", least=2, nargs="?", const=15, metavar="SIZE", help="SIZE × SIZE codes over a plane (15 if not said)"
    )
    parser.add_number("--samples", least=1, metavar="N", help="N random codes, decoded")
    parser.add_argument(
        "--sampler",
        metavar="NAME",
        help="where these codes come from: prior, normal, gmm (a mixture of Gaussians) or empirical (default: the "
        "model's prior; without one empirical for discrete codes, normal for others)",
    )
    parser.add_number("--components", least=1, metavar="K", help=f"Gaussians of gmm (default: {COMPONENTS})")
    parser.add_number("--seed", least=0, metavar="S", default=0, help="seed of the random codes (default: 0)")
    parser.add_number(
        "--quality",
        least=1,
        nargs="?",
        const=MEASURED,
        metavar="M",
        help=f"measure how like the data M samples are ({MEASURED:,} if not said); writes JSON beside the picture",
    )
    parser.add_argument(
        "--classifiers",
        type=Path,
        metavar="DIR",
        help="where classifiers of labels are kept (default: classifiers in the folder of the data)",
    )
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="where to write (default: RUN/figures/latent)")
    return parser


def _figures(gallery: "Gallery", options: argparse.Namespace) -> dict[str, Callable[[], "Figure"]]:
    """The figures to draw, by the name of their file."""
    fitting = gallery.fitting()
    figures = {name: draw for name, draw in fitting.items() if name in ALWAYS}
    for a, b in options.interpolate:
        figures[f"interpolation_{a}_{b}"] = partial(gallery.interpolation, [(a, b)], options.steps)
    for a, b, c in options.arithmetic:
        figures[f"arithmetic_{a}_{b}_{c}"] = partial(gallery.arithmetic, a, b, c)
    if options.grid is not None:
        figures["grid"] = partial(gallery.grid, options.grid)
    return figures


def _write(path: Path, draw: Callable[[], "Figure"]) -> None:
    try:
        figure = draw()
    except ValueError as error:  # such as codes that are not finite
        raise ConfigError(f"{path.stem} cannot be drawn: {error}") from error
    write_figure(figure, path)

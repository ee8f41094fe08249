"""`ae-lightning latent`: pictures of a trained model's latent space."""

import argparse
from collections.abc import Callable
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from ae_lightning.cli.run_command import RunParser, open_run, write_figure
from ae_lightning.errors import ConfigError
from ae_lightning.report.reading import reading_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ae_lightning.gallery import Gallery

ALWAYS = ("reconstructions", "scatter", "layers")
"""Figures that need no choice, drawn where they fit."""

_EXAMPLE = """example:
  ae-lightning latent lightning_logs/fully_connected_mnist/version_0 --interpolate 3 7 --arithmetic 2 3 5 --grid

Numbers of samples are indices into the test set, from 0 on, in its order.
"""


def main(arguments: list[str]) -> int:
    """Draw the figures asked for, and those that always fit, and say where they are and how to read them."""
    options = _parser().options(arguments)

    from ae_lightning.gallery import Gallery
    from ae_lightning.models.checkpoint import load_autoencoder

    run, checkpoint = open_run(options.run)
    gallery = Gallery(load_autoencoder(checkpoint), run.data)
    for index in chain(*options.interpolate, *options.arithmetic):
        gallery.sample(index)  # all mistakes come before the first file
    folder = options.output or run.folder / "figures" / "latent"
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in _figures(gallery, options).items():
        _write(folder / f"{name}.png", draw)
        print(f"{folder / f'{name}.png'}\n  {reading_of(name.partition('_')[0])}")
    return 0


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
    parser.add_number("--samples", least=1, metavar="N", help="N random codes")
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
    if options.samples is not None:
        figures["samples"] = partial(gallery.samples, options.samples)
    return figures


def _write(path: Path, draw: Callable[[], "Figure"]) -> None:
    try:
        figure = draw()
    except ValueError as error:  # such as codes that are not finite
        raise ConfigError(f"{path.stem} cannot be drawn: {error}") from error
    write_figure(figure, path)

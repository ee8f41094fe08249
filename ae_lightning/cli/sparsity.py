"""`ae-lightning sparsity`: pictures of how sparse a run's code is, and of what its latents stand for."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ae_lightning.cli.run_command import RunParser, open_run, write_animation, write_figure
from ae_lightning.errors import ConfigError, UserError
from ae_lightning.printable import printable
from ae_lightning.report.reading import reading_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ae_lightning.report.sparsity import SparsityFigures

_FAILED = 2
# So many frames are there before one wonders; more take seconds.
_AT_ONCE = 10
_EXAMPLE = """example:
  ae-lightning sparsity lightning_logs/toy_sae_resample/version_0 --instances 6

What fits the variant and its data is drawn. Numbers of samples are indices into the test set, from 0 on.
"""


def main(arguments: list[str]) -> int:
    """Draw all figures that fit, and say where they are and how to read them; 2 if one of them could not be made."""
    options = _parser().options(arguments)

    from ae_lightning.models.checkpoint import load_autoencoder
    from ae_lightning.report.sparsity import SparsityFigures

    run, checkpoint = open_run(options.run)
    figures = SparsityFigures(run, load_autoencoder(checkpoint))
    _check(figures, options)
    folder = options.output or run.folder / "figures" / "sparsity"
    folder.mkdir(parents=True, exist_ok=True)
    makers = {
        name: _picture(folder / f"{name}.png", draw)
        for name, draw in figures.fitting(options.sample, options.instances).items()
    }
    if options.animation and figures.has_animation:
        makers["animation"] = lambda: _animate(folder, figures, options.instances)
    made = [_make(name, make) for name, make in makers.items()]
    missing = [name for name in figures.needing_snapshots() if options.animation or name != "animation"]
    if missing:
        print(
            f"no {' and no '.join(missing)}: there are no weight snapshots in {run.folder / 'snapshots'}",
            file=sys.stderr,
        )
    return 0 if all(made) else _FAILED


def _parser() -> RunParser:
    parser = RunParser(
        "sparsity",
        "Draw how sparse the code of a run is, what its latents stand for, and how they came about.",
        _EXAMPLE,
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="DIR", help="where to write (default: RUN/figures/sparsity)"
    )
    parser.add_argument(
        "--sample", type=int, metavar="N", help="test sample to take apart (default: the first with an active latent)"
    )
    parser.add_number(
        "--instances", least=1, default=12, metavar="N", help="instances side by side, at most (default: 12)"
    )
    parser.add_argument("--no-animation", dest="animation", action="store_false", help="leave the animation out")
    return parser


def _check(figures: "SparsityFigures", options: argparse.Namespace) -> None:
    """All mistakes come before the first file."""
    name = type(figures.model).__name__
    fitting = figures.fitting()
    if not fitting:
        raise ConfigError(
            f"the code of {name} is no vector but maps, of which `ae-lightning sparsity` draws nothing; "
            "`ae-lightning latent` draws them"
        )
    if options.sample is not None:
        figures.sample(options.sample)
        if "contributions" not in fitting:
            raise ConfigError(f"--sample is of no use here: reconstructions of {name} are not taken apart into latents")


def _make(name: str, make: Callable[[], list[Path]]) -> bool:
    """Make a figure and say where it is, or why there is none; whether there is one."""
    try:
        paths = make()
    except (ValueError, UserError) as error:  # such as weights that are not finite
        print(f"ae-lightning: error: {name} cannot be drawn: {printable(str(error))}", file=sys.stderr)
        return False
    print("\n".join(map(str, paths)) + f"\n  {reading_of(name)}")
    return True


def _picture(path: Path, draw: Callable[[], "Figure"]) -> Callable[[], list[Path]]:
    def write() -> list[Path]:
        write_figure(draw(), path)
        return [path]

    return write


def _animate(folder: Path, figures: "SparsityFigures", instances: int) -> list[Path]:
    if (count := len(figures.run.snapshots)) > _AT_ONCE:
        print(f"drawing the animation of {count} snapshots …", file=sys.stderr)
    frames, captions = figures.animation(instances)
    page, gif = folder / "animation.html", folder / "animation.gif"
    write_animation(frames, captions, figures.run.title, page, gif)
    return [page, gif]

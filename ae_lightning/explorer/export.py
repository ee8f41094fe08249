"""A run as one HTML file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ae_lightning.explorer.data_file import write_data
from ae_lightning.explorer.manifest import Choice, Content
from ae_lightning.explorer.page import inlined
from ae_lightning.run.run import Run


def _ignore(note: str) -> None:
    """Nobody is told."""


def export(
    run: Run,
    checkpoint: Path,
    snapshots: int = 10,
    samples: int = 2000,
    instance: int = 0,
    note: Callable[[str], None] = _ignore,
    data: Path | None = None,
) -> str:
    """The page in which a run's network can be explored, the same text for the same run.

    Args:
        run: The run; its data are set up here.
        checkpoint: Which weights are the final ones.
        snapshots: Moments of the training at most, the checkpoint among them.
        samples: Test samples at most, up to 65,535.
        instance: Which instance of a model that has several.
        note: Called with a sentence for each snapshot that is left out.
        data: Where to write what the page knows as JSON, see `data_file`; None writes none.

    Returns:
        An HTML page that holds all it needs, to be written as UTF-8.

    Raises:
        ConfigError: The model is no chain of dense layers, has weights that are not finite, or no such instance.
    """
    content = Content(run, checkpoint, Choice(snapshots, samples, instance), note)
    if data is not None:
        write_data(content, data)
    return inlined(content.manifest, content.blocks.texts)

"""The way from a report to the explorer, where the network can be looked at unit by unit."""

from __future__ import annotations

import copy
import os
from pathlib import Path

from ae_lightning.errors import ConfigError
from ae_lightning.explorer.chain import CHECKED, check_network, network_of
from ae_lightning.models.base import Autoencoder
from ae_lightning.report.page import Link, Section
from ae_lightning.run.run import Run

EXPLORER = "explorer.html"


def explorer_section(run: Run, model: Autoencoder, folder: Path) -> Section:
    """A link to the run's explorer if it has been written, else how to write it; empty if it cannot be.

    Args:
        run: The run, its data set up.
        model: Its model.
        folder: Where the report will lie.
    """
    section = Section("Explorer")
    try:
        whole = copy.deepcopy(model).float()  # as the explorer computes it
        check_network(network_of(whole), whole, run.data.test_set.take(CHECKED)[0])
    except ConfigError:  # such as that of feature maps; `ae-lightning explore` says why
        return section
    page = run.folder / EXPLORER
    if page.is_file():
        address = Path(os.path.relpath(page.absolute(), folder.absolute())).as_posix()
        section.links.append(
            Link("Explore the network: draw an input, switch units off, go through the training", address)
        )
    else:
        section.sentences.append(
            f"`ae-lightning explore {run.folder}` writes a page in which this network can be explored: draw an input, "
            "switch units off, go through the training. A later report links to it."
        )
    return section

"""The way from a report to the explorer, where the network can be looked at unit by unit."""

from __future__ import annotations

import copy
import os
from functools import cached_property
from pathlib import Path

from ae_lightning.errors import ConfigError
from ae_lightning.explorer.chain import CHECKED, check_network, network_of
from ae_lightning.report.contributed import SectionMaker
from ae_lightning.report.page import Link

EXPLORER = "explorer.html"


class ExplorerSection(SectionMaker):
    """A link to the run's explorer if it has been written, else how to write it; empty if it cannot be."""

    title = "Explorer"
    place = 150  # before all figures, since it is another way into the run

    def links(self) -> list[Link]:
        """The link, relative to the page."""
        page = self.subject.run.folder / EXPLORER
        if not (page.is_file() and self._can_be) or self.subject.instance is not None:
            return []
        address = Path(os.path.relpath(page.absolute(), self.subject.folder.absolute())).as_posix()
        return [Link("Explore the network: change the input, switch units off, go through the training", address)]

    def sentences(self) -> list[str]:
        """The command, where there is no page yet."""
        run, instance = self.subject.run, self.subject.instance
        if not self._can_be or (instance is None and (run.folder / EXPLORER).is_file()):
            return []
        if instance is not None:
            page = f"-o {self.subject.folder / EXPLORER}"
            return [f"`ae-lightning explore {run.folder} --instance {instance} {page}` writes its explorer."]
        return [
            f"`ae-lightning explore {run.folder}` writes a page in which this network can be explored: change the "
            "input, switch units off, go through the training. A later report links to it."
        ]

    @cached_property
    def _can_be(self) -> bool:
        """Whether the explorer can compute this network."""
        whole = copy.deepcopy(self.subject.model).float()  # as the explorer computes it
        try:
            check_network(network_of(whole), whole, self.subject.data.test_set.take(CHECKED)[0])
        except ConfigError:  # such as that of feature maps; `ae-lightning explore` says why
            return False
        return True

"""The way from a report to the explorer, where the network can be looked at unit by unit."""

from __future__ import annotations

import copy
import os
from functools import cached_property
from pathlib import Path

from ae_lightning.data.activations import ActivationsDataModule
from ae_lightning.errors import ConfigError
from ae_lightning.explorer.chain import CHECKED, check_network, network_of
from ae_lightning.explorer.latents.pages import INDEX, needs_folder
from ae_lightning.report.contributed import SectionMaker
from ae_lightning.report.page import Link


class ExplorerSection(SectionMaker):
    """A link to the run's explorer if it has been written, else how to write it; empty if it cannot be."""

    title = "Explorer"
    place = 150  # before all figures, since it is another way into the run

    def links(self) -> list[Link]:
        """The link, relative to the page."""
        page = self.subject.run.folder / self._page
        if not (page.is_file() and self._can_be) or self.subject.instance is not None:
            return []
        address = Path(os.path.relpath(page.absolute(), self.subject.folder.absolute())).as_posix()
        return [Link(f"{'Browse the latents' if self._store else 'Explore the network'}: {self._to_do}", address)]

    def sentences(self) -> list[str]:
        """The command, where there is no page yet."""
        run, instance = self.subject.run, self.subject.instance
        if not self._can_be or (instance is None and (run.folder / self._page).is_file()):
            return []
        if instance is not None:
            page = self.subject.folder / (self._page.parent if self._page.name == INDEX else self._page)
            return [f"`ae-lightning explore {run.folder} --instance {instance} -o {page}` writes its explorer."]
        what = "its latents can be browsed" if self._store else "this network can be explored"
        return [
            f"`ae-lightning explore {run.folder}` writes a page in which {what}: {self._to_do}. A later report links "
            "to it."
        ]

    @property
    def _to_do(self) -> str:
        if self._store:
            return "the samples that excite each most, how often it fires, which others are near"
        return "change the input, switch units off, go through the training"

    @cached_property
    def _store(self) -> ActivationsDataModule | None:
        """The data, where they are a store of activations: its latents are shown, and no network is computed."""
        data = self.subject.data
        return data if isinstance(data, ActivationsDataModule) else None

    @cached_property
    def _page(self) -> Path:
        """Where in the run's folder the page is, or the index of several."""
        if self._store and needs_folder(self.subject.model.latent_size, self._store.index.data.get("kind")):
            return Path("explorer") / INDEX
        return Path("explorer.html")

    @cached_property
    def _can_be(self) -> bool:
        """Whether the explorer can compute this network, or show its latents."""
        if self._store:
            return len(self.subject.model.latent_shape) == 1
        whole = copy.deepcopy(self.subject.model).float()  # as the explorer computes it
        try:
            check_network(network_of(whole), whole, self.subject.data.test_set.take(CHECKED)[0])
        except ConfigError:  # such as that of feature maps; `ae-lightning explore` says why
            return False
        return True

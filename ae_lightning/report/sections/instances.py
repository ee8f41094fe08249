"""The instances of a population: the numbers of each, and the frontier that they make."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

from matplotlib.figure import Figure

from ae_lightning.evaluation.frontier import frontier_lines
from ae_lightning.evaluation.instance_table import instance_columns, shared_order
from ae_lightning.plots.frontier import FrontierPoint, frontier
from ae_lightning.report.contributed import Makers, SectionMaker
from ae_lightning.report.page import Numbers
from ae_lightning.run.instances import by_setting, rows_of, share_samples


class InstancesSection(SectionMaker):
    """A row for each instance, and a point of the frontier for each setting; empty of a single model."""

    title = "Instances"
    place = 120  # right after the numbers, which are means over them
    lead: ClassVar = {"frontier": 60}

    def sentences(self) -> list[str]:
        """What the rest of the page is of, or which instance the page is of, and what a seed changes."""
        if self.subject.instance is not None:
            return [
                f"This page is of instance {self.subject.instance} alone. Curves of what was logged in training are "
                "means over all instances of the run."
            ]
        listed = self._results.get("instances") or []
        if not listed:
            return []
        about = "Numbers elsewhere on this page are means over instances, and figures of single units show the first."
        if share_samples(listed):  # else there is no such page
            about += f" `ae-lightning report {self.subject.run.folder} --instance 1` makes a page on another."
        return [about, *shared_order(self._results)]

    def tables(self) -> list[Numbers]:
        """A row for each instance."""
        columns = instance_columns(self._results)
        if not columns:
            return []
        headings, cells = zip(*columns, strict=True)
        note = "On the test set. FVU is the fraction of variance unexplained, L0 the mean number of active latents."
        return [Numbers(headings, list(zip(*cells, strict=True)), note)]

    def figures(self) -> Makers:
        """The frontier, where instances of different settings make one."""
        return {"frontier": self.frontier} if self._lines else {}

    def frontier(self) -> Figure:
        """Variance unexplained over L0."""
        return frontier(self._lines)

    @cached_property
    def _lines(self) -> dict[str, list[FrontierPoint]]:
        return frontier_lines(by_setting(rows_of(self._results)))

    @property
    def _results(self) -> dict[str, Any]:
        return self.subject.results

"""The fits behind the hedging rate: each dictionary trained on, as it is and with more latents."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from ae_lightning.cli.lab.plan import KEY, Lab
from ae_lightning.cli.sweep.grid import Choice, run_name
from ae_lightning.cli.sweep.settings import PlannedRun, Resolved

FOLDER = "hedging"
WIDTH = "latent_dim"
NAMES = {KEY: KEY, f"{KEY}.{WIDTH}": WIDTH}
"""Keys in which the fits differ, and their short names."""


class Continued:
    """Two fits more for each that is finished, from where it ended.

    Args:
        lab: The lab.
        more: Latents that the wider one of the two has more.
        finished: Folders of the finished fits by model and seed.
    """

    def __init__(self, lab: Lab, more: int, finished: Mapping[tuple[str, int], Path]) -> None:
        self._lab = lab
        self._finished = finished
        self.widths = (lab.latents, lab.latents + more)

    @cached_property
    def resolved(self) -> Resolved:
        """What the fits share, as the record of a sweep has it."""
        shared = self._lab.resolved
        models = [choice._replace(settings=_without_width(choice.settings)) for choice in shared.choices[KEY]]
        widths = [Choice(str(width), width, width) for width in self.widths]
        return Resolved(shared.settings, {KEY: models, f"{KEY}.{WIDTH}": widths}, shared.seed)

    @cached_property
    def runs(self) -> list[PlannedRun]:
        """All of them, the two of one fit side by side."""
        return [
            PlannedRun(
                self.name(model, seed, width), {KEY: model, WIDTH: width}, seed, self._options(model, seed, width)
            )
            for model, seed in self._finished
            for width in self.widths
        ]

    def name(self, model: str, seed: int, width: int) -> str:
        """Name of a fit's folder."""
        return run_name({KEY: model, WIDTH: width}, seed)

    def _options(self, model: str, seed: int, width: int) -> list[str]:
        start = ["--trainer.callbacks+=StartFrom", f"--trainer.callbacks.run={self._finished[model, seed]}"]
        return [*self._lab.options_of(model, seed, width), *start]


def _without_width(settings: dict[str, Any]) -> dict[str, Any]:
    arguments = {name: value for name, value in settings["init_args"].items() if name != WIDTH}
    return {**settings, "init_args": arguments}

"""The fits of a lab: what each is given, asked of fit's own parser before any of them starts."""

import importlib
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from ae_lightning.cli.command_line import CONFIG, CommandLine
from ae_lightning.cli.configs import resolve_names
from ae_lightning.cli.sweep.grid import Choice, run_name
from ae_lightning.cli.sweep.settings import PlannedRun, Resolved, parse_fit
from ae_lightning.data.world import WorldDataModule
from ae_lightning.data.worlds.files import SETTINGS
from ae_lightning.errors import ConfigError
from ae_lightning.models.base import Autoencoder
from ae_lightning.models.sparse_dictionary import SparseDictionary
from ae_lightning.models.topk_sae import SelectingSAE
from ae_lightning.run.place import ROOT_NAME
from ae_lightning.run.run import data_of
from ae_lightning.training.default_rate import default_rate

KEY = "model"
# Every fit has seeds of its own; a record of what fits share holds these.
_NO_SEED = 0


class Lab:
    """What is trained and measured: a fit for each model and seed, with an instance for each L0.

    Args:
        world: A packaged world, a YAML, or a saved world's folder.
        names: Of models, as the command line has them.
        l0s: Active latents of a sample; empty for the world's own.
        seeds: Of worlds, starts and orders.
        steps: Optimizer steps of a fit.
        latents: Latents of a dictionary; None for as many as the world has features.
        options: Further options of fit.

    Raises:
        ConfigError: fit would refuse them, a model holds no L0, or the world has no latents for one.
    """

    def __init__(
        self,
        world: str,
        names: Sequence[str],
        l0s: Sequence[float],
        seeds: Sequence[int],
        steps: int,
        latents: int | None,
        options: Sequence[str],
    ) -> None:
        self.world, self.names, self.seeds = world, list(names), list(seeds)
        self._steps, self._options = steps, list(options)
        first = self._seeded(self.seeds[0])
        named = {name: self._parsed([*self._of_world(), f"--model={name}", *first]) for name in self.names}
        self.data = self._data_of(next(iter(named.values())))
        self.latents = latents or self.data.features
        self.l0s = list(l0s) or [max(1, round(self.data.world.mean_l0))]
        self._require_room()
        self._sparsity = {name: self._sparsity_option(name, settings) for name, settings in named.items()}

    @property
    def title(self) -> str:
        """What the world is called."""
        return Path(self.world).stem

    @property
    def default_folder(self) -> Path:
        """Where results are where no folder is named."""
        return Path(ROOT_NAME) / f"{self.title}_lab"

    def _data_of(self, settings: dict[str, Any]) -> WorldDataModule:
        """Data of the first seed's world, which are not set up."""
        data = data_of(settings["data"], Path(self.world))
        if not isinstance(data, WorldDataModule):
            raise ConfigError(
                f"--world {self.world} names {type(data).__name__}, whose truth is not a world's: a lab needs a "
                "WorldDataModule"
            )
        return data

    def _require_room(self) -> None:
        features, most = self.data.features, max(self.l0s)
        if most > min(self.latents, features):
            what = f"the world has {features:,} features" if features <= self.latents else f"there are {self.latents:,}"
            raise ConfigError(
                f"--l0 {most:g} is above the number of latents that can be right: {what}"
                f"{'' if features <= self.latents else ' latents'}"
            )

    def _sparsity_option(self, name: str, settings: dict[str, Any]) -> str:
        """The option by which a model is given its L0s."""
        module, _, kind_name = settings[KEY]["class_path"].rpartition(".")
        kind: type[Autoencoder] = getattr(importlib.import_module(module), kind_name)
        if not issubclass(kind, SparseDictionary):
            raise ConfigError(
                f"--models {name} is a {kind_name}, which is not told how many latents of a sample shall be active: a "
                "lab compares sparse dictionaries, such as topk_sae or jumprelu_sae"
            )
        if not issubclass(kind, SelectingSAE):
            return "target_l0"
        if wrong := next((l0 for l0 in self.l0s if kind_name == "TopKSAE" and l0 != int(l0)), None):
            raise ConfigError(f"--l0 {wrong:g}: TopKSAE keeps a whole number of latents of each sample")
        return "k"

    def options_of(self, name: str, seed: int, width: int | None = None) -> list[str]:
        """Options of one fit, of a model, a seed, and another width than the lab's where one is given."""
        return self._line(self._ours(name, seed, width))

    def _ours(self, name: str, seed: int, width: int | None = None) -> list[str]:
        """Those of them that a lab gives."""
        l0s = "[" + ",".join(f"{l0:g}" for l0 in self.l0s) + "]"
        return [
            *self._of_world(),
            f"--model={name}",
            f"--model.latent_dim={width or self.latents}",
            f"--model.{self._sparsity[name]}={l0s}",
            f"--model.seed={seed}",
            f"--model.optimizer.lr={default_rate(width or self.latents, self._steps):.6g}",
            f"--trainer.max_steps={self._steps}",
            "--trainer.max_epochs=-1",
            *self._seeded(seed),
        ]

    def _parsed(self, ours: Sequence[str]) -> dict[str, Any]:
        """What fit makes of our options and the user's."""
        try:
            return parse_fit(self._line(ours))
        except ConfigError as error:
            raise ConfigError(_in_our_words(str(error))) from error

    def _line(self, ours: Sequence[str]) -> list[str]:
        """Options of fit: the user's configs, ours, and then the user's other options."""
        configs, others = CommandLine(self._options).split_after(CONFIG)
        return resolve_names(CommandLine([*configs, *ours, *others])).arguments

    def _of_world(self) -> list[str]:
        if (Path(self.world) / SETTINGS).is_file():
            return ["--data=WorldDataModule", f"--data.world_folder={self.world}"]
        return [f"--data={self.world}"]

    def _seeded(self, seed: int) -> list[str]:
        return [f"--data.world_seed={seed}", f"--data.seed={seed}", f"--seed_everything={seed}"]

    def about(self, samples: int) -> dict[str, Any]:
        """What was asked for, in words of the leaderboard's files."""
        world = self.data.world
        return {
            "world": self.title,
            "features": world.features,
            "dim": world.dim,
            "mean_l0": world.mean_l0,
            "latents": self.latents,
            "l0s": self.l0s,
            "steps": self._steps,
            "samples": samples,
            "seeds": self.seeds,
        }

    @cached_property
    def resolved(self) -> Resolved:
        """What the fits share, and the settings of each model, as the record of a sweep has them."""
        parsed = {name: self._parsed(self._ours(name, _NO_SEED)) for name in self.names}
        shared = dict(next(iter(parsed.values())))
        for own in (KEY, "seed_everything", "experiment", "ckpt_path"):
            shared.pop(own, None)
        choices = [Choice(name, name, settings[KEY]) for name, settings in parsed.items()]
        return Resolved(shared, {KEY: choices}, self.seeds[0])

    @cached_property
    def runs(self) -> list[PlannedRun]:
        """All fits, those of one model side by side."""
        return [
            PlannedRun(run_name({KEY: name}, seed), {KEY: name}, seed, self.options_of(name, seed))
            for name in self.names
            for seed in self.seeds
        ]


def _in_our_words(message: str) -> str:
    """A sentence about options of fit as one about those of a lab."""
    return re.sub(r"^--data: ", "--world: ", re.sub(r"^--model: ", "--models: ", message))

"""The command line of Lightning's commands as far as its settings: which options there are, and how they are parsed."""

import importlib
import pkgutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

import ae_lightning.callbacks
import ae_lightning.data
from ae_lightning.callbacks.feature_recovery import FeatureRecovery
from ae_lightning.callbacks.images import TensorBoardImages
from ae_lightning.callbacks.initial_validation import InitialValidation
from ae_lightning.callbacks.latent_statistics import LatentStatistics
from ae_lightning.callbacks.run_checkpoints import RunCheckpoints
from ae_lightning.callbacks.snapshots import WeightSnapshots
from ae_lightning.callbacks.throughput import Throughput
from ae_lightning.cli.command_line import CommandLine
from ae_lightning.cli.configs import resolve_names
from ae_lightning.cli.fit import known_names
from ae_lightning.cli.fit.config_files import check_files, names_data
from ae_lightning.cli.fit.mistakes import HelpfulParser, ParseMistake, explain
from ae_lightning.cli.fit.named_classes import known_classes, refuse_unsafe_options
from ae_lightning.cli.fit.optimizer_defaults import with_own_defaults
from ae_lightning.cli.fit.resume import (
    model_of_checkpoint,
    refuse_other_settings,
    with_run_config,
)
from ae_lightning.cli.fit.setting_checks import FROM_DATA, check_settings
from ae_lightning.cli.fit.trainer_setup import (
    quiet_lightning,
    shorten_device_check,
)
from ae_lightning.cli.main import COMMANDS
from ae_lightning.data.base import AutoencoderDataModule
from ae_lightning.errors import ConfigError
from ae_lightning.models import variants
from ae_lightning.models.base import Autoencoder
from ae_lightning.models.checkpoint import read_checkpoint
from ae_lightning.parser_limits import limit_parser
from ae_lightning.upstream import option_names, private
from ae_lightning.version import __version__

CALLBACKS: dict[str, type[Callback]] = {
    "checkpoint": RunCheckpoints,
    "snapshots": WeightSnapshots,
    "images": TensorBoardImages,
}
"""Callbacks of every fit that have options of their own, `--<key>.…`."""

NO_CHECKPOINT = "predict needs a trained model: name a checkpoint with --ckpt_path"


class ParsedCLI(LightningCLI):
    """LightningCLI in subclass mode over `Autoencoder` and `AutoencoderDataModule`.

    Args:
        line: What was typed, as `prepare` gives it.
        callbacks: Callbacks of every run besides the usual ones.
        **kwargs: Arguments of `LightningCLI`.
    """

    def __init__(self, line: CommandLine, callbacks: Sequence[Callback] = (), **kwargs: Any) -> None:
        self._line = line
        self._checkpoint: dict[str, Any] | None = None
        self._parsers: list[LightningArgumentParser] = []
        super().__init__(
            Autoencoder,
            AutoencoderDataModule,
            trainer_defaults={
                "num_sanity_val_steps": 0,  # InitialValidation runs the whole validation set at that moment
                "enable_model_summary": False,
                "max_epochs": 10,  # not the 1000 that Lightning falls back to
                "callbacks": [
                    InitialValidation(),
                    LatentStatistics(),
                    FeatureRecovery(),
                    Throughput(),
                    *callbacks,
                ],
            },
            seed_everything_default=0,
            parser_class=HelpfulParser,
            parser_kwargs={
                "description": "Train and study autoencoders. `ae-lightning --help` lists all commands.",
                "version": __version__,
            },
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            args=line.arguments,
            **kwargs,
        )

    @property
    def settings(self) -> dict[str, Any]:
        """All settings of the subcommand as plain values, resolved and checked."""
        return yaml.safe_load(self.parser.dump(self.config, skip_unset=False, format="yaml"))[self.config.subcommand]

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse, and put into one sentence what cannot be parsed."""
        self._set_defaults()
        options = list(dict.fromkeys(name for each in self._parsers for name in option_names(each)))
        known_names.keep(self._line.command, options, known_classes())
        try:
            super().parse_arguments(parser, args)
        except ParseMistake as mistake:
            commands = [*self.subcommands(), *COMMANDS]
            valueless = [option.name for option in self._line.options if option.value is None]
            raise ConfigError(explain(str(mistake), options, commands, valueless)) from mistake
        check_settings(self.config[self.config.subcommand], self.config.subcommand)
        self._read_checkpoint()

    def _set_defaults(self) -> None:
        """Let the model be that of the checkpoint, and the data the bundled digits, where nothing else is named."""
        defaults: dict[str, Any] = {}
        if model := model_of_checkpoint(self._line):
            defaults["model"] = model
        if not names_data(self._line):  # a default's settings would stay in force for another class
            defaults["data"] = {"class_path": "ae_lightning.data.digits.DigitsDataModule"}
        for parser in self._parsers:
            parser.set_defaults(defaults)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the callbacks of every run, the experiment's name, and the shape that data give the model."""
        parser.add_argument(
            "--experiment",
            type=str | None,
            default=None,
            help="Name of the folder in lightning_logs/; by default that of the config file or the model.",
        )
        parser.add_argument(
            "--compile",
            type=bool,
            default=False,
            help="Whether torch.compile translates the loss and its gradient before training, which takes up to a "
            "minute and a C++ compiler. Checkpoints are the same.",
        )
        parser.add_argument(
            "--lean",
            type=bool,
            default=True,
            help="Whether steps take a short way through Lightning's loop where it does the same, bit for bit. It is "
            "used with releases of Lightning and PyTorch that it was tested with.",
        )
        parser.add_argument(
            "--threads",
            type=int | None,
            default=None,
            help="Threads of each process on the CPU; by default one for a model whose step is small, else its share "
            "of all cores. OMP_NUM_THREADS sets it too. A run goes on with the number that it began with.",
        )
        if self._line.command == "predict":
            parser.add_argument(
                "--instance",
                type=int | None,
                default=None,
                help="Which instance of a population to write alone, counted from 0; by default all.",
            )
        for key, callback in CALLBACKS.items():
            parser.add_lightning_class_args(callback, key)
        parser.set_defaults(
            {
                "checkpoint.filename": "best",
                "checkpoint.monitor": "val/loss",
                "checkpoint.save_last": True,
                "checkpoint.auto_insert_metric_name": False,
                "checkpoint.enable_version_counter": False,
            }
        )
        for shape in FROM_DATA:
            parser.link_arguments(f"data.{shape}", f"model.init_args.{shape}", apply_on="instantiate")
        self._parsers.append(parser)

    def _read_checkpoint(self) -> None:
        config = self.config[self.config.subcommand]
        if not config.get("ckpt_path"):
            return
        path = Path(config.ckpt_path)
        self._checkpoint = read_checkpoint(path)
        refuse_other_settings(self.settings["model"], self._checkpoint, path)

    # The methods below override private ones of Lightning's. In a release that has other names for them they are not
    # called, and what they add is missing: speed.

    def _parse_ckpt_path(self) -> None:
        """Take no settings from the checkpoint; `_read_checkpoint` has seen that those asked for are the same."""

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        if subcommand == self._line.command:
            return super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        private(self, "_subcommand_method_arguments", {})[subcommand] = []
        return self.init_parser(**kwargs)  # it is only named in --help, and building a whole one takes its time


class OnlySettings(ParsedCLI):
    """The command line up to its `settings`: nothing is built, and no command is run."""

    def instantiate_classes(self) -> None:
        """Build nothing."""
        self.subcommand = None  # so that none is run

    def _set_seed(self) -> None:
        """Leave the random numbers alone."""


def prepare(line: CommandLine) -> CommandLine:
    """The line as `ParsedCLI` takes it; refuses configs that are missing or not YAML."""
    if line.command == "predict" and not line.has("--ckpt_path", "--help"):
        raise ConfigError(NO_CHECKPOINT)
    limit_parser()
    quiet_lightning()
    _import_what_has_a_short_name()
    shorten_device_check()
    line = with_run_config(resolve_names(line))
    check_files(line)
    refuse_unsafe_options(line)
    return with_own_defaults(line)


def _import_what_has_a_short_name() -> None:
    """Import all variants, data modules and callbacks; the parser knows those by their short names that it has met."""
    variants()
    for package in (ae_lightning.data, ae_lightning.callbacks):
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{package.__name__}.{module.name}")

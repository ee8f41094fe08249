"""Lightning's command line over our models and data."""

import sys
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, LearningRateFinder, ModelCheckpoint, ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.exceptions import MisconfigurationException

import ae_lightning.data  # noqa: F401 - makes the data modules known by their short names
from ae_lightning.callbacks.decoder_norm import DecoderNorm  # noqa: F401 - known by its short name
from ae_lightning.callbacks.feature_recovery import FeatureRecovery
from ae_lightning.callbacks.figures import Figures  # noqa: F401 - known by its short name
from ae_lightning.callbacks.images import TensorBoardImages
from ae_lightning.callbacks.initial_validation import InitialValidation
from ae_lightning.callbacks.latent_statistics import LatentStatistics
from ae_lightning.callbacks.predictions import PredictionWriter
from ae_lightning.callbacks.resampling import ResampleDeadLatents  # noqa: F401 - known by its short name
from ae_lightning.callbacks.save_on_stop import SaveOnStop
from ae_lightning.callbacks.snapshots import WeightSnapshots
from ae_lightning.callbacks.throughput import Throughput
from ae_lightning.callbacks.weight_statistics import WeightStatistics  # noqa: F401 - known by its short name
from ae_lightning.cli.command_line import CommandLine
from ae_lightning.cli.configs import resolve_names
from ae_lightning.cli.evaluate import print_model, print_results
from ae_lightning.cli.fit import known_names
from ae_lightning.cli.fit.config_files import check_files, names_data
from ae_lightning.cli.fit.endings import broken_off, found_rates, interrupt_message, refused_at_start
from ae_lightning.cli.fit.mistakes import HelpfulParser, ParseMistake, explain, known_classes, refuse_unsafe_options
from ae_lightning.cli.fit.optimizer_defaults import with_own_defaults
from ae_lightning.cli.fit.record_config import RecordConfig
from ae_lightning.cli.fit.resume import (
    model_of_checkpoint,
    refuse_other_settings,
    refuse_other_shape,
    require_loadable,
    require_readable,
    require_unfinished,
    with_run_config,
)
from ae_lightning.cli.fit.setting_checks import check_settings
from ae_lightning.cli.fit.trainer_setup import (
    LossProgressBar,
    quiet_lightning,
    shorten_device_check,
    shorten_steps,
    with_checkpoint_files,
)
from ae_lightning.cli.main import COMMANDS
from ae_lightning.data.base import AutoencoderDataModule
from ae_lightning.errors import ConfigError, EndedByFirst, Stopped
from ae_lightning.evaluation import describe, evaluate_run
from ae_lightning.models import variants
from ae_lightning.models.base import Autoencoder
from ae_lightning.models.checkpoint import read_checkpoint
from ae_lightning.run import place
from ae_lightning.run.loggers import run_loggers
from ae_lightning.run.run import Run
from ae_lightning.upstream import option_names, private
from ae_lightning.version import __version__

CALLBACKS: dict[str, type[Callback]] = {
    "checkpoint": ModelCheckpoint,
    "snapshots": WeightSnapshots,
    "images": TensorBoardImages,
}
"""Callbacks of every fit that have options of their own, `--<key>.…`."""

_NO_CHECKPOINT = "predict needs a trained model: name a checkpoint with --ckpt_path"


class AutoencoderCLI(LightningCLI):
    """LightningCLI in subclass mode over `Autoencoder` and `AutoencoderDataModule`.

    Args:
        line: What was typed, as `prepare` gives it.
        parse_only: Whether to stop once `settings` are known, before anything is built.
    """

    def __init__(self, line: CommandLine, parse_only: bool = False) -> None:
        self._line = line
        self._parse_only = parse_only
        self._place: place.Place | None = None
        self._checkpoint: dict[str, Any] | None = None
        self._save_on_stop = SaveOnStop()
        self._parsers: list[LightningArgumentParser] = []
        super().__init__(
            Autoencoder,
            AutoencoderDataModule,
            save_config_callback=RecordConfig,
            trainer_defaults={
                "num_sanity_val_steps": 0,  # InitialValidation runs the whole validation set at that moment
                "enable_model_summary": False,
                "max_epochs": 10,  # not the 1000 that Lightning falls back to
                "callbacks": [
                    InitialValidation(),
                    LatentStatistics(),
                    FeatureRecovery(),
                    Throughput(),
                    self._save_on_stop,
                ],
            },
            seed_everything_default=0,
            parser_class=HelpfulParser,
            parser_kwargs={
                "description": "Train and study autoencoders. With --debug anywhere, an error shows its traceback. "
                "With --safe anywhere, configs, runs and checkpoints may name only classes of ae_lightning, lightning "
                "and torch.optim; whatever else they name is refused and not imported.",
                "version": __version__,
            },
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            args=line.arguments,
        )

    @property
    def run(self) -> Path | None:
        """The run's folder; None where the loggers are not ours."""
        return self._place.folder if self._place else None

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
            raise ConfigError(explain(str(mistake), options, [*self.subcommands(), *COMMANDS])) from mistake
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
        parser.link_arguments("data.input_shape", "model.init_args.input_shape", apply_on="instantiate")
        self._parsers.append(parser)

    def instantiate_classes(self) -> None:
        """Build the trainer, the model and the data, unless only the settings are asked for."""
        if not self._parse_only:
            super().instantiate_classes()

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build the trainer with our loggers and callbacks, in the run's folder."""
        config = self._setting(self.config_init, "trainer")
        if self._checkpoint is not None:
            path = Path(self._setting(self.config, "ckpt_path"))
            refuse_other_shape(self.model.input_shape, self._checkpoint, path, type(self.datamodule).__name__)
            require_loadable(self.model, self._checkpoint, path, resume=self.subcommand == "fit")
        extra: list[Callback] = []
        if self.subcommand == "predict":
            extra = [PredictionWriter(self._predictions_file(), str(self._setting(self.config, "ckpt_path")))]
        elif self.subcommand == "fit":
            if config.logger in (None, True) and not config.fast_dev_run:
                self._place = self._choose_place(Path(config.default_root_dir or ".") / place.ROOT_NAME)
                step = self._checkpoint["global_step"] if self._checkpoint else None
                kwargs["logger"] = run_loggers(self._place.folder, step)
        elif config.logger is None:
            kwargs["logger"] = False
        given = [config.callbacks] if isinstance(config.callbacks, Callback) else config.callbacks or []
        if self._checkpoint is not None:  # it holds the rate, and the search would put the training back to its start
            given = [callback for callback in given if not isinstance(callback, LearningRateFinder)]
        if config.enable_progress_bar is None and not sys.stderr.isatty():
            kwargs["enable_progress_bar"] = False
        elif config.enable_progress_bar is not False and not any(isinstance(c, ProgressBar) for c in given):
            extra.append(LossProgressBar())
        kwargs["plugins"] = with_checkpoint_files(config.plugins)
        self.save_config_kwargs = {"resolved": self.config_dump}  # made when the model's settings were recorded
        try:
            trainer = super().instantiate_trainer(callbacks=[*given, *extra], **kwargs)
        except (ValueError, TypeError, MisconfigurationException) as error:
            self._discard_new_folder()
            accelerator = f"--trainer.accelerator {config.accelerator}, --trainer.devices {config.devices}"
            raise ConfigError(f"there can be no such trainer ({accelerator}): {error}") from error
        if config.fast_dev_run:  # in which Lightning writes no checkpoint but, when the fit ends, the last one
            for callback in trainer.checkpoint_callbacks:
                if isinstance(callback, ModelCheckpoint):
                    callback.save_last = False
        if self._setting(self.config_init, "lean"):
            shorten_steps(trainer)
        return trainer

    def fit(self, **kwargs: Any) -> None:
        """Train; leave no folder behind when the run fails before its first step; say how to go on if it is stopped."""
        if self._setting(self.config_init, "compile"):
            self.model.compile_loss()
        try:
            self.trainer.fit(**kwargs)
        except SystemExit as stop:
            if not self.trainer.is_global_zero:
                raise EndedByFirst from stop
            print(interrupt_message(self.trainer.global_step, self.run, self._save_on_stop.saved), file=sys.stderr)
            raise
        except Exception as error:
            if self.trainer.global_step == (self._checkpoint["global_step"] if self._checkpoint else 0):
                self._discard_new_folder()
                if refusal := refused_at_start(error):
                    raise refusal from error
            elif isinstance(error, OSError):
                raise broken_off(error, self.trainer.global_step, self.run) from error
            raise

    def before_fit(self) -> None:
        """Say what is trained, and refuse to go on from a checkpoint of a run that is over."""
        if self.trainer.is_global_zero:
            print_model(describe(self.model))
            print(f"run: {self.run}" if self.run else "no run's folder: the loggers are not ours")
        if self._checkpoint is None:
            return
        try:
            require_unfinished(self._checkpoint, self.trainer.max_epochs, self.trainer.max_steps)
        except ConfigError:
            self._discard_new_folder()
            raise

    def before_test(self) -> None:
        """Warn of numbers that mean nothing."""
        self._warn_if_untrained()

    def before_validate(self) -> None:
        """Warn of numbers that mean nothing."""
        self._warn_if_untrained()

    def predict(self, **kwargs: Any) -> None:
        """Write predictions into the folder of the checkpoint's run, and keep none in memory."""
        self.trainer.predict(**kwargs | {"return_predictions": False})
        print(f"codes, reconstructions and errors: {self._predictions_file()}")

    def after_fit(self) -> None:
        """Measure what came out, and say where it lies."""
        for sentence in found_rates(self.trainer.callbacks):  # type: ignore[attr-defined]
            print(sentence)
        if self.run is not None and self.trainer.is_global_zero:
            print_results(evaluate_run(Run.load(self.run), data=self.datamodule))

    def _setting(self, config: Any, key: str) -> Any:
        return config[self.subcommand].get(key)

    def _warn_if_untrained(self) -> None:
        if self._checkpoint is None:
            print(f"no --ckpt_path was given: {self.subcommand} measures an untrained model", file=sys.stderr)

    def _predictions_file(self) -> Path:
        path = self._setting(self.config, "ckpt_path")
        if not path:
            raise ConfigError(_NO_CHECKPOINT)
        return place.predictions_of(Path(path))

    def _choose_place(self, root: Path) -> place.Place:
        path = self._setting(self.config, "ckpt_path")
        if path and place.continues_in_place(Path(path)):
            interrupted = place.Place.of_interrupted_run(Path(path).parent.parent)
            require_readable(interrupted.folder)
            return interrupted
        return place.Place.of_new_run(root, self._experiment())

    def _discard_new_folder(self) -> None:
        if self._place is not None:
            self._place.discard()

    def _experiment(self) -> str:
        if name := self._setting(self.config, "experiment"):
            return place.checked_name(name)
        configs = [Path(str(path)) for path in self._setting(self.config, "config") or [] if path]
        return place.experiment_of(configs) or type(self.model).__name__

    def _read_checkpoint(self) -> None:
        config = self.config[self.config.subcommand]
        if not config.get("ckpt_path"):
            return
        path = Path(config.ckpt_path)
        self._checkpoint = read_checkpoint(path)
        refuse_other_settings(self.settings["model"], self._checkpoint, path)

    # The methods below override private ones of Lightning's. In a release that has other names for them they are not
    # called, and what they add is missing: an exit code, and the other commands in --help.

    def _parse_ckpt_path(self) -> None:
        """Take no settings from the checkpoint; `_read_checkpoint` has seen that those asked for are the same."""

    def _set_seed(self) -> None:
        if not self._parse_only:
            super()._set_seed()

    def _run_subcommand(self, subcommand: str) -> None:
        if self._parse_only:
            return
        try:
            super()._run_subcommand(subcommand)
        except Stopped:
            raise
        except SystemExit:  # Lightning's answer to Ctrl-C, with an exit code that says nothing of it
            raise KeyboardInterrupt from None

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        if subcommand == self._line.command:
            return super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        private(self, "_subcommand_method_arguments", {})[subcommand] = []
        return self.init_parser(**kwargs)  # it is only named in --help, and building a whole one takes its time

    def _add_subcommands(self, parser: LightningArgumentParser, **kwargs: Any) -> None:
        super()._add_subcommands(parser, **kwargs)
        subcommands = private(parser, "_subcommands_action", None)
        if subcommands is None:
            return
        for name, (_, help_line) in COMMANDS.items():
            # Listed for --help and for guesses only: `main` runs these without building this parser.
            subcommands.add_subcommand(name, HelpfulParser(), help=help_line)


def run(line: CommandLine) -> int:
    """Run one of Lightning's subcommands."""
    try:
        AutoencoderCLI(prepare(line))
    finally:
        place.release_locks()
    return 0


def prepare(line: CommandLine) -> CommandLine:
    """The line as `AutoencoderCLI` takes it; refuses configs that are missing or not YAML."""
    if line.command == "predict" and not line.has("--ckpt_path", "--help"):
        raise ConfigError(_NO_CHECKPOINT)
    variants()  # importing them makes their short names known to the parser
    quiet_lightning()
    shorten_device_check()
    line = with_run_config(resolve_names(line))
    check_files(line)
    refuse_unsafe_options(line)
    return with_own_defaults(line)

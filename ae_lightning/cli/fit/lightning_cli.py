"""Lightning's command line over our models and data."""

import sys
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, LearningRateFinder, ModelCheckpoint, ProgressBar
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from ae_lightning.callbacks.predictions import PredictionWriter
from ae_lightning.callbacks.save_on_stop import SaveOnStop
from ae_lightning.cli.command_line import CommandLine
from ae_lightning.cli.evaluate import print_model, print_results
from ae_lightning.cli.fit.checkpoint_guard import check_all_loading, not_restored
from ae_lightning.cli.fit.endings import broken_off, found_rates, interrupt_message, refused_at_start
from ae_lightning.cli.fit.parsing import NO_CHECKPOINT, ParsedCLI, prepare
from ae_lightning.cli.fit.record_config import RecordConfig
from ae_lightning.cli.fit.resume import (
    refuse_other_shape,
    require_loadable,
    require_readable,
    require_unfinished,
)
from ae_lightning.cli.fit.trainer_setup import (
    LossProgressBar,
    shorten_steps,
    with_checkpoint_files,
)
from ae_lightning.errors import ConfigError, EndedByFirst, Stopped
from ae_lightning.evaluation import describe, evaluate_run
from ae_lightning.run import place
from ae_lightning.run.loggers import run_loggers
from ae_lightning.run.run import Run


class AutoencoderCLI(ParsedCLI):
    """The command line with all that it does: trains, tests, predicts, and tells what came out.

    Args:
        line: What was typed, as `prepare` gives it.
    """

    def __init__(self, line: CommandLine) -> None:
        self._place: place.Place | None = None
        self._save_on_stop = SaveOnStop()
        super().__init__(line, save_config_callback=RecordConfig, callbacks=[self._save_on_stop])

    @property
    def run(self) -> Path | None:
        """The run's folder; None where the loggers are not ours."""
        return self._place.folder if self._place else None

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build the trainer with our loggers and callbacks, in the run's folder."""
        config = self._setting(self.config_init, "trainer")
        if self._checkpoint is not None:
            path = Path(self._setting(self.config, "ckpt_path"))
            refuse_other_shape(self.model.input_shape, self._checkpoint, path, type(self.datamodule).__name__)
            require_loadable(self.model, self._checkpoint, path, resume=self.subcommand == "fit")
            # The path in full, since Lightning takes `last` or `best` for a word of its own.
            self.config_init[self.subcommand]["ckpt_path"] = str(path.absolute())
            self.config_init[self.subcommand]["weights_only"] = True
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
        check_all_loading(trainer)
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
            path = self._setting(self.config, "ckpt_path")
            if path and (damaged := not_restored(error, Path(path))):
                self._discard_new_folder()
                raise damaged from error
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
            raise ConfigError(NO_CHECKPOINT)
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

    def _run_subcommand(self, subcommand: str) -> None:
        # Private in Lightning: where it goes by another name, Ctrl-C ends with Lightning's own exit code.
        try:
            super()._run_subcommand(subcommand)
        except Stopped:
            raise
        except SystemExit:  # Lightning's answer to Ctrl-C, with an exit code that says nothing of it
            raise KeyboardInterrupt from None


def run(line: CommandLine) -> int:
    """Run one of Lightning's subcommands."""
    try:
        AutoencoderCLI(prepare(line))
    finally:
        place.release_locks()
    return 0

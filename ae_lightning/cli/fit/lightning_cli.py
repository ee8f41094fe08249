"""Lightning's command line over our models and data."""

import sys
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, ProgressBar
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from ae_lightning.callbacks.durable_rows import DurableRows
from ae_lightning.callbacks.predictions import PredictionWriter
from ae_lightning.callbacks.save_on_stop import SaveOnStop
from ae_lightning.cli.command_line import CommandLine
from ae_lightning.cli.evaluation_printing import print_model, print_numbers
from ae_lightning.cli.fit.callbacks import refuse_repeated, refuse_unfit, usable
from ae_lightning.cli.fit.checkpoint_guard import check_all_loading, not_restored
from ae_lightning.cli.fit.class_help import class_list
from ae_lightning.cli.fit.endings import (
    broken_off,
    interrupt_message,
    left_to_evaluate,
    not_evaluated,
    refused_at_start,
    what_next,
)
from ae_lightning.cli.fit.freed_memory import keep_freed_memory
from ae_lightning.cli.fit.parsing import CALLBACKS, NO_CHECKPOINT, ParsedCLI, prepare
from ae_lightning.cli.fit.record_config import RecordConfig
from ae_lightning.cli.fit.resume import (
    refuse_other_shape,
    require_loadable,
    require_readable,
    require_unfinished,
)
from ae_lightning.cli.fit.searches import GoesOn
from ae_lightning.cli.fit.threads import chosen_threads, computing_with, threads_for
from ae_lightning.cli.fit.trainer_mistakes import missing_package, refused_by_trainer
from ae_lightning.cli.fit.trainer_setup import (
    LossProgressBar,
    shorten_steps,
    with_checkpoint_files,
)
from ae_lightning.errors import ConfigError, EndedByFirst, Notice, Stopped, UserError
from ae_lightning.evaluation import describe, evaluate_run
from ae_lightning.run import place
from ae_lightning.run.loggers import run_loggers
from ae_lightning.run.results import TEST_IS_VALIDATION
from ae_lightning.run.run import Run
from ae_lightning.yaml_file import first_comment


class AutoencoderCLI(ParsedCLI):
    """The command line with all that it does: trains, tests, predicts, and tells what came out.

    Args:
        line: What was typed, as `prepare` gives it.
    """

    def __init__(self, line: CommandLine) -> None:
        self._place: place.Place | None = None
        self._save_on_stop = SaveOnStop()
        super().__init__(line, save_config_callback=RecordConfig, callbacks=[self._save_on_stop])

    def instantiate_classes(self) -> None:
        """Build all that is named; say which class needs a package that is not installed."""
        try:
            super().instantiate_classes()
        except UserError:
            raise
        except Exception as error:  # the parser's own, around what a constructor raised
            if missing := missing_package(error):
                raise missing from error
            raise

    @property
    def run(self) -> Path | None:
        """The run's folder; None where nothing is kept, and where other loggers than ours are in use."""
        return self._place.folder if self._place else None

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build the trainer with our loggers and callbacks, in the run's folder."""
        config = self._setting(self.config_init, "trainer")
        if self._checkpoint is not None:
            path = Path(self._setting(self.config, "ckpt_path"))
            refuse_other_shape(self.model, self._checkpoint, path, type(self.datamodule).__name__)
            require_loadable(self.model, self._checkpoint, path, resume=self.subcommand == "fit")
            # The path in full, since Lightning takes `last` or `best` for a word of its own.
            self.config_init[self.subcommand]["ckpt_path"] = str(path.absolute())
            self.config_init[self.subcommand]["weights_only"] = True
        if self._keeps_record() or (self.subcommand != "fit" and config.logger in (None, True)):
            kwargs["logger"] = False  # a run's own are given to the trainer once nothing can be refused
        if config.enable_progress_bar is None:
            kwargs["enable_progress_bar"] = sys.stderr.isatty()
        kwargs["plugins"] = with_checkpoint_files(config.plugins)
        # The settings were made when the model's were recorded.
        self.save_config_kwargs = {
            "resolved": self.config_dump,
            "purpose": self._purpose(),
            "typed": [option.name for option in self._line.options],
        }
        try:
            trainer = super().instantiate_trainer(callbacks=self._callbacks(config), **kwargs)
        except (ValueError, TypeError, MisconfigurationException) as error:
            raise refused_by_trainer(error, config) from error
        check_all_loading(trainer)
        if config.fast_dev_run:  # in which Lightning writes no checkpoint but, when the fit ends, the last one
            for callback in trainer.checkpoint_callbacks:
                if isinstance(callback, ModelCheckpoint):
                    callback.save_last = False
        if self._setting(self.config_init, "lean"):
            shorten_steps(trainer)
        return trainer

    def _callbacks(self, config: Any) -> list[Callback]:
        """The callbacks of the config, and those that this run needs besides.

        Raises:
            ConfigError: One cannot be had.
        """
        given = [config.callbacks] if isinstance(config.callbacks, Callback) else config.callbacks or []
        no_terminal = config.enable_progress_bar is None and not sys.stderr.isatty()
        named = usable(given, resumes=self._checkpoint is not None, shows_bar=not no_terminal)
        refuse_unfit(named, self.model)
        optional = {name: self._setting(self.config_init, name) for name in CALLBACKS}
        refuse_repeated(named, optional, self.trainer_defaults["callbacks"])
        own: list[Callback] = [DurableRows()] if self.subcommand == "fit" else []
        if self.subcommand == "fit" and self._checkpoint is not None:
            own.append(GoesOn(self._checkpoint["global_step"], named))
        if self.subcommand == "predict":
            checkpoint, instance = (self._setting(self.config, name) for name in ("ckpt_path", "instance"))
            own.append(PredictionWriter(self._predictions_file(), str(checkpoint), instance))
        elif not no_terminal and config.enable_progress_bar is not False and not _has_bar(named):
            own.append(LossProgressBar())
        return [*own, *named]

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
            if self.trainer.global_step <= (self._checkpoint["global_step"] if self._checkpoint else 0):
                self._discard_new_folder()
                path = self._setting(self.config, "ckpt_path")
                if refusal := refused_at_start(error, self.run) or (path and not_restored(error, Path(path))):
                    raise refusal from error
            elif isinstance(error, OSError):
                raise broken_off(error, self.trainer.global_step, self.run) from error
            raise

    def before_fit(self) -> None:
        """Refuse to go on from a checkpoint of a run that is over; make the run's folder, and say what is trained."""
        if self._checkpoint is not None:
            trained = place.run_of(Path(self._setting(self.config, "ckpt_path")))
            require_unfinished(self._checkpoint, self.trainer.max_epochs, self.trainer.max_steps, trained)
        if self._keeps_record():
            config = self._setting(self.config_init, "trainer")
            self._place = self._choose_place(Path(config.default_root_dir or ".") / place.ROOT_NAME)
            step = self._checkpoint["global_step"] if self._checkpoint else None
            # No lambda: processes that are spawned get a copy of it.
            seen = partial(getattr, self.model, "images_seen")
            self.trainer.loggers = run_loggers(self._place.folder, step, seen)
        if self.trainer.is_global_zero:
            print_model(describe(self.model))
            print(f"run: {self.run}" if self.run else f"no run's folder: {self._why_no_folder()}")

    def before_test(self) -> None:
        """Warn of numbers that mean nothing."""
        self._warn_if_untrained()

    def before_validate(self) -> None:
        """Warn of numbers that mean nothing."""
        self._warn_if_untrained()

    def predict(self, **kwargs: Any) -> None:
        """Write predictions into the folder of the checkpoint's run, and keep none in memory."""
        self.trainer.predict(**kwargs | {"return_predictions": False})
        if self.trainer.is_global_zero:
            print(f"codes, reconstructions and errors: {self._predictions_file()}")

    def after_fit(self) -> None:
        """Measure what came out, and say where it lies."""
        if self.run is not None and self.trainer.is_global_zero and (results := self._evaluated(self.run)):
            print_numbers(results)
            print(what_next(self.run, self.model, self._configs()))

    def after_test(self) -> None:
        """Say where the numbers are not those of unseen data."""
        if self.trainer.is_global_zero and self.datamodule.test_is_validation:
            print(f"{TEST_IS_VALIDATION}: these are not the numbers of unseen data")

    def _why_no_folder(self) -> str:
        if self.trainer.fast_dev_run:  # type: ignore[attr-defined]
            return "fast_dev_run keeps nothing"
        return "loggers of your own are in use" if self.trainer.loggers else "--trainer.logger is false"

    def _evaluated(self, run: Path) -> dict[str, Any] | None:
        """The final numbers; None, and a notice, where they could not be had, since what was trained is there."""
        try:
            return evaluate_run(Run.load(run), data=self.datamodule, device=self.trainer.strategy.root_device)
        except (KeyboardInterrupt, Stopped):
            print(f"stopped while the final numbers were measured. {left_to_evaluate(run)}", file=sys.stderr)
            raise
        except Exception as error:
            warnings.warn(not_evaluated(error, run), Notice, stacklevel=2)
            return None

    def _purpose(self) -> str:
        """What the configs say that the run is for: the first line of the first that begins with a comment."""
        return next(filter(None, map(first_comment, self._line.config_files)), "")

    def _threads(self) -> int | None:
        """The number of threads to compute with, which a run keeps among its settings; None for PyTorch's own."""
        number, typed = self._setting(self.config_init, "threads"), self._line.has("--threads")
        threads = chosen_threads(number if typed else None, None if typed else number)
        new = self.subcommand == "fit" and self._checkpoint is None  # an earlier version's run had PyTorch's own number
        if threads is None and new and isinstance(self.trainer.accelerator, CPUAccelerator):
            threads = threads_for(self.model, self.datamodule.batch_size, self.trainer.num_devices)
        self.config_dump["threads"] = threads
        return threads

    def _keeps_record(self) -> bool:
        """Whether this is a fit with our loggers, and so a folder of its own."""
        config = self._setting(self.config_init, "trainer")
        return self.subcommand == "fit" and config.logger in (None, True) and not config.fast_dev_run

    def _setting(self, config: Any, key: str) -> Any:
        return config[self.subcommand].get(key)

    def _warn_if_untrained(self) -> None:
        if self._checkpoint is None and self.trainer.is_global_zero:
            print(f"no --ckpt_path was given: {self.subcommand} measures an untrained model", file=sys.stderr)

    def _predictions_file(self) -> Path:
        path = self._setting(self.config, "ckpt_path")
        if not path:
            raise ConfigError(NO_CHECKPOINT)
        return place.predictions_of(Path(path), self._setting(self.config, "instance"))

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
        return place.experiment_of(self._configs()) or type(self.model).__name__

    def _configs(self) -> list[Path]:
        """The files that were named with --config."""
        return [Path(str(path)) for path in self._setting(self.config, "config") or [] if path]

    def _run_subcommand(self, subcommand: str) -> None:
        if subcommand == "fit" and isinstance(self.trainer.accelerator, CPUAccelerator):
            keep_freed_memory()
        # Private in Lightning: where it goes by another name, Ctrl-C ends with Lightning's own exit code.
        try:
            with computing_with(self._threads(), self.trainer.num_devices):
                super()._run_subcommand(subcommand)
        except Stopped:
            raise
        except SystemExit:  # Lightning's answer to Ctrl-C, with an exit code that says nothing of it
            raise KeyboardInterrupt from None


def _has_bar(callbacks: Sequence[Callback]) -> bool:
    return any(isinstance(callback, ProgressBar) for callback in callbacks)


def run(line: CommandLine) -> int:
    """Run one of Lightning's subcommands."""
    try:
        line = prepare(line)
        if listed := class_list(line):
            print(listed)
        else:
            AutoencoderCLI(line)
    finally:
        place.release_locks()
    return 0

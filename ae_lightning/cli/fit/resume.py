"""Going on from a checkpoint: where its settings come from, and that none asked for is ignored."""

from pathlib import Path
from shlex import quote
from typing import Any

from ae_lightning.cli.command_line import CONFIG, CommandLine
from ae_lightning.cli.fit.setting_checks import FROM_DATA
from ae_lightning.errors import ConfigError
from ae_lightning.models.base import Autoencoder
from ae_lightning.models.checkpoint import checkpoint_class, import_class, model_settings, read_checkpoint
from ae_lightning.models.checkpoint_state import check_training_state, check_weights
from ae_lightning.run.config import CONFIG_NAME
from ae_lightning.run.place import run_of
from ae_lightning.run.results import RESULTS_NAME
from ae_lightning.run.run import Run


def with_run_config(line: CommandLine) -> CommandLine:
    """Add the settings of the checkpoint's run to a command line that names a checkpoint but no config.

    `fit --ckpt_path RUN/checkpoints/last.ckpt` is then all it takes to go on; options after it still count.
    """
    path = line.last("--ckpt_path")
    if path is None or line.has(CONFIG):
        return line
    run = run_of(Path(path))
    return line if run is None else line.with_first(CONFIG, str(run / CONFIG_NAME))


def model_of_checkpoint(line: CommandLine) -> dict[str, Any] | None:
    """The model that `--ckpt_path` holds, as the command line would name it, where it names none itself.

    Raises:
        CheckpointError: The checkpoint is missing, damaged or not ours.
    """
    path = line.last("--ckpt_path")
    if path is None or line.has(CONFIG, "--model"):
        return None
    checkpoint = read_checkpoint(path)
    settings = {name: value for name, value in model_settings(checkpoint).items() if name not in FROM_DATA}
    return {"class_path": checkpoint["autoencoder"]["class_path"], "init_args": settings}


def require_unfinished(
    checkpoint: dict[str, Any], max_epochs: int | None, max_steps: int, run: Path | None = None
) -> None:
    """Check that a fit which goes on from a checkpoint has something left to do.

    Args:
        checkpoint: What `read_checkpoint` gave.
        max_epochs: Epochs to train, -1 or None without end.
        max_steps: Steps to train, -1 without end.
        run: The folder of the checkpoint's run, if it lies in one.

    Raises:
        ConfigError: The checkpoint has done as many epochs or steps as are asked for; -1 means without end.
    """
    epochs = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
    steps = checkpoint["global_step"]
    if 0 <= max_steps <= steps or (max_epochs is not None and 0 <= max_epochs <= epochs):
        measure = ""
        if run is not None and not (run / RESULTS_NAME).is_file():
            measure = f", or measure what was trained with `ae-lightning evaluate {quote(str(run))}`"
        raise ConfigError(
            f"nothing is left to train: the checkpoint has done {epochs} epochs and {steps} steps, and "
            f"--trainer.max_epochs is {max_epochs}, --trainer.max_steps {max_steps}; raise them to go on{measure}"
        )


def refuse_other_settings(model: dict[str, Any], checkpoint: dict[str, Any], path: Path) -> None:
    """Check that the model asked for is the one that the checkpoint holds.

    Args:
        model: `class_path` and `init_args` of the model asked for, as plain values.
        checkpoint: What `read_checkpoint` gave.
        path: Where the checkpoint lies, for the message.

    Raises:
        ConfigError: The classes or any of their settings differ.
        CheckpointError: The checkpoint's class cannot be imported.
    """
    trained = checkpoint_class(checkpoint)
    named = import_class(model["class_path"])
    if named is not trained:
        raise ConfigError(
            f"--model is {named.__name__}, but {path} holds the class {trained.__name__}: "
            "name that one, or leave --model out"
        )
    asked = _flat(model.get("init_args") or {})
    stored = _flat(model_settings(checkpoint))
    for name in asked:
        if name in stored and asked[name] != stored[name]:
            raise ConfigError(
                f"--model.{name} is {asked[name]}, but the model in {path} was trained with {stored[name]} and "
                "keeps its settings: leave the option out, or start a new run without --ckpt_path"
            )


def refuse_other_shape(model: Autoencoder, checkpoint: dict[str, Any], path: Path, data: str) -> None:
    """Check that data, for which a model was built, have the shapes of those that the checkpoint's was trained on.

    Raises:
        ConfigError: They have not.
    """
    settings = model_settings(checkpoint)
    for name, what in FROM_DATA.items():
        trained, own = settings.get(name), getattr(model, name, None)
        if trained is not None and own is not None and tuple(trained) != tuple(own):
            shapes = ["×".join(map(str, shape)) for shape in (own, trained)]
            raise ConfigError(
                f"{what} of {data} are {shapes[0]}, but the model in {path} was trained on {shapes[1]}: name its data "
                "with --data"
            )


def require_loadable(model: Autoencoder, checkpoint: dict[str, Any], path: Path, resume: bool) -> None:
    """Check, before anything is written, that a model can take what a checkpoint holds.

    Args:
        model: The model, built with the settings of the checkpoint's.
        checkpoint: What `read_checkpoint` gave.
        path: Where the checkpoint lies, for the message.
        resume: Whether training is to go on from it, which needs more than the weights.

    Raises:
        CheckpointError: Something is missing, or is that of another model.
    """
    check_weights(model, checkpoint, path)
    if resume:
        check_training_state(model, checkpoint, path)


def require_readable(folder: Path) -> None:
    """Check, before anything is written, that a run which is to go on in its own folder can read what lies there.

    Raises:
        RunFolderError: One of its files is damaged.
    """
    run = Run(folder)
    _ = (run.metrics, run.snapshots, run.resampled)


def _flat(settings: Any, prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted option name, as the command line spells them, with lists for tuples."""
    if isinstance(settings, dict):
        flat: dict[str, Any] = {}
        for key, value in settings.items():
            inner = prefix if key == "init_args" else f"{prefix}.{key}".lstrip(".")
            flat |= _flat(value, inner)
        return flat
    return {prefix: list(settings) if isinstance(settings, tuple) else settings}

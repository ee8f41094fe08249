"""Checkpoints that know their class: how they are written, read, and turned into a model again."""

import importlib
import inspect
import io
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import torch

from ae_lightning.errors import CheckpointError, ConfigError
from ae_lightning.files import write_bytes
from ae_lightning.models.base import Autoencoder
from ae_lightning.models.checkpoint_archive import fault_of
from ae_lightning.models.checkpoint_form import check_form
from ae_lightning.models.checkpoint_state import check_weights
from ae_lightning.parser_errors import denied_in, reason_of
from ae_lightning.safe_mode import refusal, refuse_unsafe
from ae_lightning.training.build import build_model


def write_checkpoint(checkpoint: dict[str, Any], path: Path) -> None:
    """Write a checkpoint in one piece, creating its folder if needed.

    Raises:
        OSError: It cannot be written; it names the file, which torch's own writing to a path does not.
    """
    content = io.BytesIO()
    torch.save(checkpoint, content)
    write_bytes(path, content.getbuffer())


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint file of ours onto the CPU without running any code in it.

    It takes no more memory than the file has bytes.

    Raises:
        CheckpointError: There is no such file, it is damaged, it holds code, or it is not an autoencoder of ours.
    """
    path = Path(path)
    if not path.is_file():
        found = f"; checkpoints there: {', '.join(near)}" if (near := _checkpoints_near(path)) else ""
        raise CheckpointError(f"there is no checkpoint at {path}{found}")
    try:
        if fault := _fault_before(path):
            raise CheckpointError(f"{path} {fault}")
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except PermissionError as error:
        raise CheckpointError(f"{path} cannot be read: permission denied") from error
    except Exception as error:  # torch raises nearly anything over a file that is not its own
        raise CheckpointError(f"{path} {_fault(path, error)}") from error
    check_form(checkpoint, path)
    return checkpoint


def _fault_before(path: Path) -> str:
    """What is wrong with a file that is not even to be opened; empty where `torch.load` may look at it."""
    with path.open("rb") as file:
        start = file.read(2)
    if start == b"PK":
        try:
            return fault_of(path)
        except (zipfile.BadZipFile, ValueError, KeyError, EOFError, NotImplementedError):  # torch.load has words for it
            return ""
    if start[:1] == b"\x80":
        return "holds Python objects beside tensors, or is of an old format, and is not opened: they could run code"
    return "is not a checkpoint: it is no file that torch.save wrote"


def _fault(path: Path, error: Exception) -> str:
    if isinstance(error, pickle.UnpicklingError):
        # Not torch's own message, which advises to allow any code to run.
        found = re.search(r"GLOBAL (\S+)", str(error))
        names = f" ({found[1]})" if found else ""
        return f"holds Python objects beside tensors{names} and is not opened, since they could run code"
    reason = "it is cut short" if isinstance(error, OSError) else str(error).partition("\n")[0].partition(". ")[0]
    return f"is not a whole checkpoint ({reason or type(error).__name__}): copy it again, or take another one"


def _checkpoints_near(path: Path) -> list[str]:
    return sorted(p.name for p in path.parent.glob("*.ckpt")) if path.parent.is_dir() else []


def checkpoint_class(checkpoint: dict[str, Any]) -> type[Autoencoder]:
    """Return the class that a checkpoint read by `read_checkpoint` belongs to.

    Raises:
        CheckpointError: The class cannot be imported any more, or is none of an autoencoder.
    """
    class_path = checkpoint["autoencoder"]["class_path"]
    try:
        kind = import_class(class_path)
    except (ImportError, AttributeError, ValueError) as error:
        raise CheckpointError(
            f"the checkpoint belongs to the class {class_path}, which cannot be imported ({error})"
        ) from error
    # It is going to be called with arguments from the file, and the file may come from a stranger. In Python 3.10 an
    # alias such as tuple[int] says that it is a type.
    if not (issubclass(type(kind), type) and issubclass(kind, Autoencoder)):
        raise CheckpointError(f"the checkpoint names {class_path} as its class, which is not an Autoencoder")
    if inspect.isabstract(kind):
        raise CheckpointError(f"the checkpoint names {class_path} as its class, which is abstract")
    return kind


def import_class(class_path: str) -> type[Autoencoder]:
    """Import a class by its dotted path; the same class may be known by several.

    Raises:
        ConfigError: The process is in safe mode, and the class is none that it allows.
    """
    refuse_unsafe(class_path, "the checkpoint")
    module, _, name = class_path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def model_settings(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Arguments that the checkpoint's model was built with, as plain values."""
    hyper_parameters = checkpoint.get("hyper_parameters", {})
    return {name: value for name, value in hyper_parameters.items() if not name.startswith("_")}


def load_autoencoder(path: str | Path, *, instance: int | None = None, **overrides: Any) -> Autoencoder:
    """Load the variant that a checkpoint or a run's folder holds, in evaluation mode on the CPU.

    Its weights are in float32, which holds those of half precision exactly, or in float64 if they were trained so.

    Args:
        path: A `.ckpt` file, or a run's folder (its `checkpoints/best.ckpt`, else `last.ckpt`, is taken).
        instance: Which instance of a population to load, as a single model; the whole population by default.
        **overrides: Constructor arguments to use in place of the stored ones. A model that was built in Python
            with an optimizer function needs `optimizer=` here if it is to be trained with it again.

    Raises:
        ConfigError: There is no such instance.
        CheckpointError: The file is missing, damaged, not ours, or does not fit its own class any more.
    """
    path = Path(path)
    if path.is_dir():
        path = best_checkpoint(path)
    checkpoint = read_checkpoint(path)
    kind = checkpoint_class(checkpoint)
    settings = model_settings(checkpoint) | overrides
    _check_size(kind, settings, checkpoint, path)
    try:
        model = build_model(kind, settings)
    except Exception as error:  # whatever a constructor, or the parser before it, has against these settings
        if denied := denied_in(str(error)):
            raise ConfigError(refusal(denied, str(path))) from error
        raise CheckpointError(f"{path} does not fit {kind.__name__} as it is now: {reason_of(str(error))}") from error
    check_weights(model, checkpoint, path)
    if any(value.dtype == torch.float64 for value in checkpoint["state_dict"].values()):
        model.double()
    model.load_state_dict(checkpoint["state_dict"])
    model.images_seen = checkpoint["autoencoder"].get("images_seen", 0)
    model.eval()
    functions = {name: value for name, value in overrides.items() if callable(value)}  # of which no settings tell
    return model if instance is None else model.instance(instance, **functions)


def _check_size(kind: type[Autoencoder], settings: dict[str, Any], checkpoint: dict[str, Any], path: Path) -> None:
    """Check the weights against a model that takes no memory: a small file can ask for one of any size.

    Raises:
        CheckpointError: They are not those of such a model.
    """
    try:
        with torch.device("meta"):
            model = build_model(kind, settings)
    except Exception:  # a constructor that computes with its weights, or will refuse its settings in a moment
        return
    check_weights(model, checkpoint, path)


def best_checkpoint(run: Path) -> Path:
    """Return `checkpoints/best.ckpt` of a run's folder, or `last.ckpt` where there is no best one.

    Raises:
        CheckpointError: The folder has neither.
    """
    for name in ("best.ckpt", "last.ckpt"):
        if (candidate := run / "checkpoints" / name).is_file():
            return candidate
    raise CheckpointError(f"{run} has no checkpoint: neither checkpoints/best.ckpt nor checkpoints/last.ckpt is there")

"""Networks by name: of the user's own code, of torchvision, timm or transformers, or autoencoders of ours."""

import importlib
import inspect
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from torch import nn

from ae_lightning.errors import ConfigError, Notice
from ae_lightning.harvesting.named import first_line, import_named, nearest, own_code
from ae_lightning.models.checkpoint import load_autoencoder
from ae_lightning.run.config import is_run

FORMS = "MODULE:NAME, torchvision:NAME, timm:NAME, a folder of transformers, or a checkpoint of an autoencoder"
"""What `load_model` takes, for sentences."""

_CONFIG = "config.json"


class LoadedModel(NamedTuple):
    """A network, ready to compute, and what is known of it."""

    module: nn.Module  #: in evaluation mode, on the CPU, in the type of its weights (float32 for those of transformers)
    tokenizer: Any | None  #: one of transformers, or what is called as such a one is; None where the model has none
    name: str  #: as it was named
    kind: str  #: "object", "torchvision", "timm", "transformers" or "autoencoder"


def load_model(spec: str | Path | nn.Module, option: str = "--model") -> LoadedModel:
    """Load a network by its name.

    Args:
        spec: One of these, or a module as it is:

            - `package.module:name` or `file.py:name`: a module, or a class or function without arguments that gives
              one, or a pair of a module and its tokenizer. Its code runs.
            - `torchvision:resnet18`: with trained weights, from torchvision's cache or fetched.
            - `timm:vit_tiny_patch16_224`: the same of timm.
            - A folder that `save_pretrained` of transformers wrote. Nothing is fetched, and no code in it is run.
            - A checkpoint of an autoencoder of ours, or a run's folder.
        option: What names it, for messages.

    Raises:
        ConfigError: There is no such network, or what it needs is missing; or its code would run in safe mode.
        CheckpointError: A checkpoint of ours is damaged.
    """
    if isinstance(spec, nn.Module):
        return LoadedModel(spec.eval(), None, type(spec).__name__, "object")
    name, path = str(spec), Path(spec)
    if path.is_dir():
        module, tokenizer, kind = _of_folder(path, option)
    elif path.is_file() and path.suffix == ".py":
        raise ConfigError(f"{option} {name}: name what in this file gives the network, as {name}:NAME")
    elif path.is_file():
        module, tokenizer, kind = load_autoencoder(path), None, "autoencoder"
    elif ":" in name:
        module, tokenizer, kind = _of_name(name, option)
    else:
        raise ConfigError(f"{option} {name}: there is no such file or folder; a model is {FORMS}")
    return LoadedModel(module.eval(), tokenizer, name, kind)


Found = tuple[nn.Module, Any | None, str]


def _of_folder(path: Path, option: str) -> Found:
    if is_run(path):
        return load_autoencoder(path), None, "autoencoder"
    if (path / _CONFIG).is_file():
        return *_of_transformers(path, option), "transformers"
    raise ConfigError(
        f"{option} {path}: the folder holds neither a run nor a model of transformers (it has no {_CONFIG})"
    )


def _of_name(name: str, option: str) -> Found:
    package, _, rest = name.partition(":")
    libraries: dict[str, Callable[[str, str], nn.Module]] = {"torchvision": _of_torchvision, "timm": _of_timm}
    if package in libraries:
        return libraries[package](rest, option), None, package
    made = import_named(name, option)
    if not isinstance(made, nn.Module) and callable(made):
        _require_no_arguments(made, name, option)
        with own_code(f"{option} {name}"):
            made = made()
    module, tokenizer = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(module, nn.Module):
        raise ConfigError(f"{option} {name} gives a {type(module).__name__}, and not a torch.nn.Module")
    return module, tokenizer, "object"


def _require_no_arguments(made: Callable[..., Any], name: str, option: str) -> None:
    try:
        parameters = inspect.signature(made).parameters.values()
    except (TypeError, ValueError):  # of what is written in C
        return
    positional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needed = [each.name for each in parameters if each.default is each.empty and each.kind not in positional]
    if needed:
        raise ConfigError(
            f"{option} {name} needs the arguments {', '.join(needed)}: name a function that takes none and gives the "
            "module"
        )


def _of_torchvision(name: str, option: str) -> nn.Module:
    import torchvision

    known = torchvision.models.list_models()
    if name not in known:
        raise ConfigError(f"{option} torchvision:{name}: torchvision has no such model{nearest(name, known)}")
    weights = torchvision.models.get_model_weights(name).DEFAULT
    try:
        return torchvision.models.get_model(name, weights=weights)
    except OSError as error:  # there is no network, or a file in the cache that cannot be read
        raise ConfigError(
            f"{option} torchvision:{name}: its weights cannot be had ({error}); put the file of {weights.url} into "
            f"{_torch_cache()}, or name torchvision.models:{name} for untrained ones"
        ) from error


def _torch_cache() -> Path:
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints"


def _of_timm(name: str, option: str) -> nn.Module:
    timm = required("timm", f"{option} timm:{name}")
    known = timm.list_models()
    if name.partition(".")[0] not in known:
        raise ConfigError(f"{option} timm:{name}: timm has no such model{nearest(name, known)}")
    try:
        return timm.create_model(name, pretrained=True)
    except (OSError, RuntimeError, ValueError) as error:  # no network, no weights of that name, or damaged ones
        raise ConfigError(f"{option} timm:{name}: its weights cannot be had ({first_line(error)})") from error


def _of_transformers(path: Path, option: str) -> tuple[nn.Module, Any | None]:
    """The model of a folder, of the class that it was saved as, in float32, and its tokenizer if it has one."""
    transformers = required("transformers", f"{option} {path}")
    transformers.utils.logging.disable_progress_bar()  # that of loading weights, which takes no time
    try:
        config = transformers.AutoConfig.from_pretrained(path, local_files_only=True)
        saved_as = (config.architectures or [""])[0]
        kind = getattr(transformers, saved_as, transformers.AutoModel)
        model, loading = kind.from_pretrained(path, local_files_only=True, output_loading_info=True)
    except Exception as error:  # whatever it has against a folder
        raise ConfigError(f"{option} {path}: transformers cannot open it ({first_line(error)})") from error
    if missing := sorted(loading["missing_keys"]):
        warnings.warn(
            Notice(f"{path} lacks the weights {', '.join(missing[:3])}{' …' * (len(missing) > 3)}: these are random"),
            stacklevel=2,
        )
    return model.float(), _tokenizer_of(transformers, path, option)


def _tokenizer_of(transformers: ModuleType, path: Path, option: str) -> Any | None:
    if not any((path / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt")):
        return None
    try:
        return transformers.AutoTokenizer.from_pretrained(path, local_files_only=True)
    except Exception as error:  # whatever it has against a folder
        raise ConfigError(f"{option} {path}: its tokenizer cannot be opened ({first_line(error)})") from error


def required(package: str, what: str) -> ModuleType:
    """Import a package that not every installation has.

    Args:
        package: Its name.
        what: What needs it, for the message.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise ConfigError(f"{what} needs the package {package}: pip install 'ae-lightning[{package}]'") from error

"""What a run writes about itself when it starts: its settings, in its folder and in TensorBoard."""

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import TensorBoardLogger

from ae_lightning.callbacks.linear_probe import LinearProbe
from ae_lightning.callbacks.weight_statistics import WeightStatistics
from ae_lightning.cli.fit.searches import found_settings, set_found
from ae_lightning.data.base import AutoencoderDataModule
from ae_lightning.models.dead_latents import RevivingAutoencoder
from ae_lightning.models.shallow import ShallowAutoencoder
from ae_lightning.run.config import amend_config, write_config
from ae_lightning.run.loggers import OVER_SAMPLES, RunTensorBoard, flat_settings

_LOSS_OVER_SAMPLES = "loss over samples seen, in place of steps"
CHARTS = {
    "loss": ["train/loss", "val/loss"],
    _LOSS_OVER_SAMPLES: list(OVER_SAMPLES.values()),
    "linear probe": ["probe/latent", "probe/raw", "probe/pca", "probe/untrained"],
    "rank": ["weights/encoder_effective_rank", "weights/decoder_effective_rank"],
    "active latents per sample (L0)": ["sparsity/l0", "measures/k"],
    "fraction of latents dead on the validation set": ["sparsity/dead_fraction"],
    "latents dead in training": ["measures/dead_latents"],
    "threshold": ["measures/threshold"],
    "factor of the penalty's coefficient": ["measures/l0_multiplier"],
    "recovery": ["recovery/mcc", "recovery/mmcs", "recovery/fraction_recovered"],
}
"""TensorBoard's custom scalars: curves of one unit that belong together, in one chart each."""


_MEASURES = "measures/"


class RecordConfig(SaveConfigCallback):
    """Write `config.yaml`, and the settings as text, hyper-parameters and chart layout to TensorBoard.

    A run that is resumed with other settings keeps the earlier file as `config.1.yaml`, and so on.

    Args:
        *args: Arguments of `SaveConfigCallback`, as Lightning gives them.
        resolved: Every setting as plain values.
        purpose: What the run is for, in one line, which becomes the first of the file; empty for nothing.
        typed: Names of the options that were typed, such as `--model.latent_dim`, which a sweep types too.
        **kwargs: Arguments of `SaveConfigCallback`.
    """

    def __init__(
        self, *args: Any, resolved: dict[str, Any], purpose: str = "", typed: Sequence[str] = (), **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs | {"save_to_log_dir": False})
        self.resolved = resolved
        self.typed = {_plain(name.lstrip("-").split(".")) for name in typed}
        self._purpose = purpose
        self._folder: str | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Ask for the folder on all processes at once, as Lightning wants it, and write on the first."""
        self._folder = trainer.log_dir
        super().setup(trainer, pl_module, stage)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say what was searched for before the first step, and write the settings anew with what was found."""
        found = list(found_settings(trainer, pl_module))
        if not found or self._folder is None:
            return
        for search in found:
            if trainer.is_global_zero:
                print(search.sentence)
            set_found(self.resolved, search)
            set_found({"model": {"init_args": pl_module.hparams}}, search)  # which the checkpoints hold
        if trainer.is_global_zero:
            amend_config(Path(self._folder), self._log_settings(trainer))

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write everything; Lightning calls it once, on the first process."""
        if stage != "fit" or self._folder is None:
            return
        write_config(Path(self._folder), self._log_settings(trainer))
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_custom_scalars(_layout(trainer, pl_module))

    def _log_settings(self, trainer: Trainer) -> str:
        """Send the settings to the loggers; they are returned as text."""
        config = {**self.resolved, "ckpt_path": None}
        head = f"# {self._purpose}\n" if self._purpose else ""
        text = head + yaml.safe_dump(config, sort_keys=False)
        chosen = _hyper_parameters(config, self.typed)
        for logger in trainer.loggers:
            if isinstance(logger, RunTensorBoard):
                logger.log_hyperparams(chosen, varied=_varied(chosen, self.typed))
            else:
                logger.log_hyperparams(chosen)
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_text("config", f"```yaml\n{text}```", trainer.global_step)
        return text


def _hyper_parameters(config: dict[str, Any], typed: Collection[tuple[str, ...]]) -> dict[str, Any]:
    """Seed, model and data, and of the trainer's settings those that were typed."""
    chosen = {"seed": config["seed_everything"]}
    for part in ("model", "data"):
        section = config[part]
        chosen[part] = {"class": section["class_path"].rpartition(".")[2], **section.get("init_args", {})}
    for name, value in (config.get("trainer") or {}).items():
        if ("trainer", name) in typed and isinstance(value, (bool, int, float, str)) and name != "default_root_dir":
            chosen[f"trainer/{name}"] = value
    return chosen


def _varied(chosen: dict[str, Any], typed: Collection[tuple[str, ...]]) -> list[str]:
    """The settings that were typed, as those are that a sweep varies, by the names that TensorBoard has for them."""
    names = {("seed",): ("seed_everything",), ("model", "class"): ("model",), ("data", "class"): ("data",)}
    parts = {name: _plain(name.split("/")) for name in flat_settings(chosen)}
    return [name for name, own in parts.items() if names.get(own, own) in typed]


def _plain(parts: Sequence[str]) -> tuple[str, ...]:
    """The parts of a setting's name, without those that only the parser's nesting needs."""
    return tuple(part for part in parts if part not in ("init_args", "class_path"))


def _layout(trainer: Trainer, module: LightningModule) -> dict[str, Any]:
    """The charts that this run will have something to show in."""
    callbacks = {type(callback) for callback in trainer.callbacks}  # type: ignore[attr-defined]
    shallow = isinstance(module, ShallowAutoencoder)
    sparse = shallow and module.fires_above_zero
    measured = {f"{_MEASURES}{name}" for name in (module.measures() if isinstance(module, RevivingAutoencoder) else ())}
    shown = {
        "loss": True,
        _LOSS_OVER_SAMPLES: True,
        "linear probe": LinearProbe in callbacks,
        "rank": shallow and WeightStatistics in callbacks,
        "active latents per sample (L0)": sparse,
        "fraction of latents dead on the validation set": sparse,
        "recovery": shallow and _knows_directions(trainer.datamodule),  # type: ignore[attr-defined]
    }
    charts = {name: tags for name, tags in CHARTS.items() if shown.get(name, measured.issuperset(tags))}
    absent = {tag for tags in CHARTS.values() for tag in tags if tag.startswith(_MEASURES)} - measured
    return {"training": {name: _chart([tag for tag in tags if tag not in absent]) for name, tags in charts.items()}}


def _chart(tags: Sequence[str]) -> list[Any]:
    # TensorBoard takes regular expressions: `probe/latent` would be the beginning of `probe/latent_se` too.
    return ["Multiline", [f"^{re.escape(tag)}$" for tag in tags]]


def _knows_directions(data: Any) -> bool:
    """Whether these are data of a kind that know the directions they are sums of, be it only after their `setup`."""
    return getattr(type(data), "feature_directions", None) not in (None, AutoencoderDataModule.feature_directions)

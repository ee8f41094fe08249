"""What a run writes about itself when it starts: its settings, in its folder and in TensorBoard."""

from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import TensorBoardLogger

from ae_lightning.callbacks.linear_probe import LinearProbe
from ae_lightning.files import write_text

LAYOUT = {
    "training": {
        "loss": ["Multiline", ["train/loss", "val/loss"]],
        "linear probe": ["Multiline", ["probe/latent", "probe/raw", "probe/pca", "probe/untrained"]],
        "rank": ["Multiline", ["weights/encoder_effective_rank", "weights/decoder_effective_rank"]],
        "sparsity": ["Multiline", ["sparsity/l0", "sparsity/dead_fraction"]],
    }
}
"""TensorBoard's custom scalars: curves that belong together, in one chart each."""


class RecordConfig(SaveConfigCallback):
    """Write `config.yaml`, and the settings as text, hyper-parameters and chart layout to TensorBoard.

    A run that is resumed with other settings keeps the earlier file as `config.1.yaml`, and so on.
    """

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write everything; Lightning calls it once, on the first process."""
        if stage != "fit" or trainer.log_dir is None:
            return
        config = {**self._resolved(), "ckpt_path": None}
        text = yaml.safe_dump(config, sort_keys=False)
        self._write(Path(trainer.log_dir) / "config.yaml", text)
        for logger in trainer.loggers:
            logger.log_hyperparams(_hyper_parameters(config))
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_text("config", f"```yaml\n{text}```", trainer.global_step)
                logger.experiment.add_custom_scalars(_layout(trainer))

    def _resolved(self) -> dict[str, Any]:
        dumped = self.parser.dump(self.config, skip_none=False, skip_link_targets=False, format="yaml")
        return yaml.safe_load(dumped)

    def _write(self, path: Path, text: str) -> None:
        if path.is_file():
            if yaml.safe_load(path.read_text(encoding="utf-8")) == yaml.safe_load(text):
                return
            earlier = sum(1 for _ in path.parent.glob("config.*.yaml"))
            path.rename(path.with_name(f"config.{earlier + 1}.yaml"))
        write_text(path, text)


def _hyper_parameters(config: dict[str, Any]) -> dict[str, Any]:
    chosen = {"seed": config["seed_everything"]}
    for part in ("model", "data"):
        section = config[part]
        chosen[part] = {"class": section["class_path"].rpartition(".")[2], **section.get("init_args", {})}
    return chosen


def _layout(trainer: Trainer) -> dict[str, Any]:
    """The charts this run will have something to show in."""
    probed = any(isinstance(callback, LinearProbe) for callback in trainer.callbacks)  # type: ignore[attr-defined]
    charts = {name: chart for name, chart in LAYOUT["training"].items() if probed or name != "linear probe"}
    return {"training": charts}

"""How checkpoints get to the disk."""

from pathlib import Path
from typing import Any

from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch.plugins.io import TorchCheckpointIO

from ae_lightning.models.checkpoint import write_checkpoint


class CheckpointFiles(TorchCheckpointIO):
    """Checkpoints that are written beside their place and renamed, so that a killed run leaves whole ones only.

    Lightning writes to the system's temporary folder and moves the file, which is a copy where that folder is on
    another disk: what is killed then has half a checkpoint in place of the last whole one.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint; addresses such as `s3://…` are Lightning's business."""
        if "://" in str(path) or storage_options is not None:
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        write_checkpoint(checkpoint, Path(path))


def with_checkpoint_files(plugins: Any) -> list[Any]:
    """The trainer's plugins with ours, unless there is one for checkpoints already."""
    given = [] if plugins is None else list(plugins) if isinstance(plugins, list | tuple) else [plugins]
    return given if any(isinstance(plugin, CheckpointIO) for plugin in given) else [*given, CheckpointFiles()]

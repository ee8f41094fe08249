"""What a person at a terminal sees while a model trains."""

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.callbacks.progress.rich_progress import RichProgressBarTheme
from rich.progress import BarColumn

# Batches between two updates: drawing the bar costs more than a small model's step.
REFRESH_RATE = 20
BAR_WIDTH = 10


class LossProgressBar(RichProgressBar):
    """Lightning's bar, short enough that the losses beside it fit into 80 columns."""

    def __init__(self) -> None:
        super().__init__(refresh_rate=REFRESH_RATE, theme=RichProgressBarTheme(metrics_format=".4f"))

    def configure_columns(self, trainer: Trainer) -> list[Any]:
        """Shorten the bar itself."""
        columns = super().configure_columns(trainer)
        for column in columns:
            if isinstance(column, BarColumn):
                column.bar_width = BAR_WIDTH
        return columns

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Leave out the version number: the run's folder was named when it began."""
        metrics = super().get_metrics(trainer, pl_module)
        return {name: value for name, value in metrics.items() if name != "v_num"}

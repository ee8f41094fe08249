"""What the benchmarks share: the time of a fit as the command line builds it, and a table of ratios to a plain loop."""

import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from rich.table import Table


def seconds_of_fit(arguments: list[str]) -> float:
    """Seconds that `trainer.fit` takes, with the callbacks and loggers the command line gives it.

    Data are loaded before, and the evaluation at the end is left out: a plain loop has neither.
    """
    from ae_lightning.cli.lightning_cli import AutoencoderCLI, prepare

    class Timed(AutoencoderCLI):
        seconds = 0.0

        def before_fit(self) -> None:
            self.datamodule.prepare_data()
            self.datamodule.setup("fit")

        def fit(self, **kwargs: Any) -> None:
            start = time.perf_counter()
            super().fit(**kwargs)
            self.seconds = time.perf_counter() - start

        def after_fit(self) -> None:
            """Leave the final evaluation out."""

    with tempfile.TemporaryDirectory() as folder:
        return Timed(prepare(["fit", *arguments, "--trainer.default_root_dir", folder])).seconds


def table_of_ratios(
    title: str, times: Mapping[str, Sequence[float]], reference: str, wanted: Mapping[str, float]
) -> Table:
    """Rows of median seconds, and of the median over rounds of their ratio to the reference's in the same round."""
    table = Table(title=f"{title}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    for heading in ("", "seconds (median)", "of the plain loop", "wanted"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, seconds in times.items():
        ratio = statistics.median(mine / loop for mine, loop in zip(seconds, times[reference], strict=True))
        limit = f"≤ {wanted[name]}" if name in wanted else ""
        table.add_row(name, f"{statistics.median(seconds):.2f}", f"{ratio:.2f}", limit)
    return table

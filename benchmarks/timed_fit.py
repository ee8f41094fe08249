"""The time of a fit as the command line builds it."""

import contextlib
import io
import tempfile
import time
from typing import Any


def seconds_of_fit(arguments: list[str]) -> float:
    """Seconds that `trainer.fit` takes, with the callbacks and loggers the command line gives it.

    Data are loaded before, and the evaluation at the end is left out: a plain loop has neither.
    """
    from ae_lightning.cli.command_line import CommandLine
    from ae_lightning.cli.fit.lightning_cli import AutoencoderCLI
    from ae_lightning.cli.fit.parsing import prepare

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

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        return Timed(prepare(CommandLine(["fit", *arguments, "--trainer.default_root_dir", folder]))).seconds

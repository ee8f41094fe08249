"""Harvests that are killed at each file that they open, rename or remove, and then go on: the bytes are the same."""

import itertools
import multiprocessing
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from reading import Words, model_and_tokenizer

from ae_lightning import harvest
from ae_lightning.harvesting.sources import LoadedModel

FILE_EVENTS = ("open", "os.rename", "os.remove", "os.mkdir")


def work(text: Path, folder: Path) -> None:
    """Harvest nine rows of a text in shards of four."""
    model = LoadedModel(model_and_tokenizer()[0].eval(), Words(), "reader", "object")
    harvest(model, ["mix"], folder, text=[text], context=5, batch_size=1, shard_rows=4)


def killed_at(moment: int, text: Path, folder: Path) -> bool:
    """Harvest in a process that is killed at so many file events; answers whether it had not ended."""

    def dies() -> None:
        count = iter(range(moment))

        def kills(event: str, arguments: tuple[Any, ...]) -> None:
            if event in FILE_EVENTS and str(folder) in str(arguments[0]) and next(count, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(kills)
        torch.set_num_threads(1)
        work(text, folder)

    process = multiprocessing.get_context("fork").Process(target=dies)
    process.start()
    process.join()
    return process.exitcode == -signal.SIGKILL


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.slow
def test_a_harvest_that_is_killed_goes_on_with_the_same_bytes(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("the cat sat on the mat a cat sat")
    work(text, tmp_path / "whole")
    for moment in itertools.count():
        folder = tmp_path / f"killed_{moment}"
        if not killed_at(moment, text, folder):
            break
        work(text, folder)
        assert content(folder) == content(tmp_path / "whole"), moment
    assert moment > 10

"""A guide of the documentation as something to follow: the files and the commands that it shows, by heading."""

import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from unittest import mock

import pytest

from ae_lightning.cli.main import main


def section(page: Path, heading: str) -> str:
    """The text under a heading of a page, up to the next of its level."""
    text = page.read_text(encoding="utf-8")
    _, found, rest = text.partition(f"\n## {heading}\n")
    assert found, f"{page.name} has no heading {heading}"
    return rest.partition("\n## ")[0]


def files_in(text: str) -> dict[str, str]:
    """Blocks of Python that are whole files, whose first line names them."""
    return {match[2]: match[1] for match in re.finditer(r"^```python\n(# (\w+\.py)\n.*?)^```$", text, re.M | re.S)}


def commands_in(text: str) -> list[list[str]]:
    """Words of each command of the shell blocks."""
    blocks = "".join(re.findall(r"^```sh\n(.*?)^```$", text, re.M | re.S))
    lines = blocks.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def follow(page: Path, heading: str, folder: Path, instead: Mapping[str, str] = {}) -> None:
    """Write the files of a section into a folder, and run its commands there.

    Args:
        page: The guide.
        heading: The section.
        folder: An empty folder.
        instead: Values that options have in the place of those that the page gives them, by the options' names.
    """
    text = section(page, heading)
    for name, content in files_in(text).items():
        (folder / name).write_text(content, encoding="utf-8")
    with pytest.MonkeyPatch.context() as context:
        if data := os.environ.get("AE_LIGHTNING_DATA"):
            context.setenv("AE_LIGHTNING_DATA", os.path.abspath(data))
        context.setenv("HF_HUB_OFFLINE", "1")
        context.setenv("PL_GLOBAL_SEED", "0")  # puts back what Lightning writes its seed into
        context.chdir(folder)
        for words in commands_in(text):
            _run([instead.get(before, word) for before, word in zip(["", *words], words, strict=False)])


def _run(words: list[str]) -> None:
    program, *arguments = words
    if program == "ae-lightning":
        assert main(arguments) == 0, words
    elif program == "python":
        with mock.patch.object(sys, "argv", arguments):
            runpy.run_path(arguments[0], run_name="__main__")
    elif program not in ("pip", "make"):  # what installs has been run before
        subprocess.run([Path(sys.executable).with_name(program), *arguments], check=True)

"""The browser that tests open pages in."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

CHROMIUM = "AE_LIGHTNING_CHROMIUM"
"""Environment variable: path of the browser, or `required`, which looks for it and fails where there is none."""


def chromium() -> str:
    """Path of the browser; skips, or fails where it is required, if there is none."""
    wanted = os.environ.get(CHROMIUM, "")
    found = wanted if wanted not in ("", "required") else shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None and wanted == "required":
        pytest.fail(f"There is no Chromium, and {CHROMIUM} says that it is required.")
    if found is None:
        pytest.skip(f"There is no Chromium on the path: install it, or name it with {CHROMIUM}.")
    return found


@contextmanager
def opened() -> Iterator[Browser]:
    path = chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()

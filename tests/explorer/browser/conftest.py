"""Explorer pages of small trained runs, opened from disk in a real Chromium that can reach nothing else."""

import base64
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from ae_lightning.run.run import Run

PATIENCE = 30
"""Seconds until a page that is not ready is given up."""

SNAPSHOTS = (
    "--snapshots.schedule.count",
    "10",
    "--snapshots.schedule.spacing",
    "linear",
    "--trainer.callbacks",
    "null",
)
DIGITS = ("--config", "overcomplete_digits", "--trainer.max_epochs", "3")
TOY = [
    *("--config", "toy_sae", "--data.steps_per_epoch", "300", "--data.num_val", "64", "--data.num_test", "600"),
    *("--data.instances", "3", "--model.instances", "3", "--trainer.max_epochs", "1", "--data.toy_steps", "100"),
    *("--data.root", "{root}"),
]
TIED = ("--model", "StandardSAE", "--model.latent_dim", "90", "--model.tied", "true", "--data", "digits")
DEEP = ("--model", "FullyConnectedAutoencoder", "--model.hidden_dims", "[48,32]", "--model.batch_norm", "true")
COLOR = [
    *("--model", "OvercompleteAutoencoder", "--model.latent_dim", "24", "--trainer.max_epochs", "4"),
    *("--data", "ArraysDataModule", "--data.normalize", "unit", "--data.batch_size", "20"),
]

SPARSE = ("--model.latent_dim", "90", "--data", "digits", "--trainer.max_epochs", "4")

FITS = {
    "digits": DIGITS,
    "toy_sae": TOY,
    "tied": (*TIED, "--trainer.max_epochs", "2"),
    "fully_connected": (*DEEP, "--data", "digits", "--trainer.max_epochs", "2"),
    "topk_sae": ("--model", "TopKSAE", "--model.k", "{start: 30, end: 8, until: 0.8}", *SPARSE),
}
SLOW_FITS = {
    "jumprelu_sae": ("--model", "JumpReLUSAE", "--model.target_l0", "12", *SPARSE),
    "batch_topk_sae": ("--model", "BatchTopKSAE", "--model.k", "8", *SPARSE),
    "gated_sae": ("--model", "GatedSAE", "--model.penalty_weight", "1", *SPARSE),
}


class Explored(NamedTuple):
    """A run, the page that was made of it, and which instance it shows."""

    run: Run
    page: Path
    instance: int | None = None


@pytest.fixture(scope="session")
def colored(made_once: Callable[..., Path]) -> Path:
    """A file of pictures of three channels, 6 high and 5 wide: on each a square of some color."""

    def write(root: Path) -> None:
        random = np.random.default_rng(0)
        x = random.integers(0, 40, (200, 3, 6, 5), dtype=np.uint8)
        for image, (row, column) in zip(x, random.integers(0, 3, (200, 2)), strict=True):
            image[:, row : row + 3, column : column + 3] = random.permutation([60, 150, 255])[:, None, None]
        np.save(root / "colored.npy", x)

    return made_once("explorer_colored_pictures", write) / "colored.npy"


@pytest.fixture(scope="session")
def explored(
    browser: Browser, ae: Callable[..., Path], explored_mnist: Callable[[], tuple[Path, Path]], colored: Path
) -> Callable[[str], Explored]:
    """The page of one of the fits, of MNIST, or of colored pictures, made when it is first asked for."""

    def get(name: str) -> Explored:
        if name == "mnist":
            run, page = explored_mnist()
            return Explored(Run.load(run), page)
        arguments = {**FITS, **SLOW_FITS, "colored": (*COLOR, "--data.train", str(colored))}[name]
        instance = 1 if name == "toy_sae" else None
        where = ("--trainer.default_root_dir", "{root}", "--experiment", name)
        folder = f"lightning_logs/{name}/version_0"
        options = () if instance is None else ("--instance", str(instance))
        root = ae(
            f"browser_{name}",
            ["fit", *arguments, *SNAPSHOTS, *where],
            ["explore", f"{{root}}/{folder}", "-o", "{root}/explorer.html", *options],
        )
        return Explored(Run.load(root / folder), root / "explorer.html", instance)

    return cache(get)


_SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in SLOW_FITS]


@pytest.fixture(
    scope="module", params=[*FITS, *_SLOW, pytest.param("mnist", marks=[pytest.mark.slow, pytest.mark.mnist])]
)
def shown(request: pytest.FixtureRequest, explored: Callable[[str], Explored]) -> Explored:
    """A page of each kind; the full MNIST one needs its data."""
    if request.param == "mnist" and not os.environ.get("AE_LIGHTNING_DATA"):
        pytest.skip("The real MNIST is not here: name the folder that holds MNIST/raw with AE_LIGHTNING_DATA.")
    return explored(request.param)


class Watched:
    """A browser tab that remembers what it should not do."""

    def __init__(self, context: BrowserContext) -> None:
        self.complaints: list[str] = []
        self.page: Page = context.new_page()
        self.size = self.page.viewport_size
        self.page.on("console", lambda message: self.complaints.append(f"console: {message.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.page.on("request", self._remember)

    def _remember(self, request: Any) -> None:
        if not request.url.startswith(("file:", "blob:", "data:")):
            self.complaints.append(f"request: {request.url}")

    @contextmanager
    def for_one_test(self) -> Iterator["Watched"]:
        """As good as new: nothing is open and the mouse in a corner; it must send and write nothing until the end."""
        self.page.goto("about:blank")
        self.page.set_viewport_size(self.size)
        self.page.emulate_media(color_scheme="light")
        self.page.mouse.move(0, 0)
        self.complaints.clear()
        yield self
        assert self.complaints == []

    def open(self, path: Path, address: str = "") -> Page:
        """Open a page from disk, and wait until it can be used."""
        if self.page.url != "about:blank":
            self.page.goto("about:blank")  # a change of the address alone loads nothing
        self.page.goto(path.as_uri() + address)
        return self.ready()

    def ready(self) -> Page:
        """Wait until the page has followed its address; its CSP forbids `wait_for_function`, which evaluates text."""
        self.until("globalThis.explorer !== undefined")
        return self.page

    def until(self, question: str, argument: Any = None) -> None:
        """Wait until what a JavaScript expression, or a function of the argument, gives is true."""
        end = time.monotonic() + PATIENCE
        while not self.page.evaluate(question, argument):
            if time.monotonic() > end:
                said = self.page.inner_text("body")[:300]
                pytest.fail(f"Not so after {PATIENCE} s: {question}. The page says {said!r}; {self.complaints}")
            self.page.wait_for_timeout(20)

    def pixels(self, selector: str) -> np.ndarray:
        """Colors of a canvas, uint8 (height, width, 4)."""
        width, height, data = self.page.eval_on_selector(
            selector,
            """(canvas) => {
              // From a copy: the browser complains about canvases that are read from often.
              const { width, height } = canvas;
              const copy = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
              copy.drawImage(canvas, 0, 0);
              const { data } = copy.getImageData(0, 0, width, height);
              return [width, height, btoa(Array.from(data, (byte) => String.fromCharCode(byte)).join(""))];
            }""",
        )
        return np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4)


LARGE = {"viewport": {"width": 1500, "height": 1000}, "offline": True}


@pytest.fixture
def new_tab(browser: Browser) -> Iterator[Callable[..., Watched]]:
    """Open a tab of some size; at the end it must have sent no request and written no message."""
    tabs: list[tuple[BrowserContext, Watched]] = []

    def make(**options: Any) -> Watched:
        context = browser.new_context(**{**LARGE, **options})
        tabs.append((context, Watched(context)))
        return tabs[-1][1]

    yield make
    complaints = [complaint for _, tab in tabs for complaint in tab.complaints]
    for context, _ in tabs:
        context.close()
    assert complaints == []


@pytest.fixture(scope="module")
def kept_tab(browser: Browser) -> Iterator[Callable[..., Watched]]:
    """Open a tab of some size for a whole module, as opening one takes as long as a page does."""
    contexts: list[BrowserContext] = []

    def make(**options: Any) -> Watched:
        contexts.append(browser.new_context(**{**LARGE, **options}))
        return Watched(contexts[-1])

    yield make
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def large_tab(kept_tab: Callable[..., Watched]) -> Watched:
    return kept_tab()


@pytest.fixture
def tab(large_tab: Watched) -> Iterator[Watched]:
    """A tab on a large screen."""
    with large_tab.for_one_test():
        yield large_tab

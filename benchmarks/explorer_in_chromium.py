"""Size and speed of the explorer's page for a run of 1,024 units on MNIST, in a headless Chromium.

    AE_LIGHTNING_DATA=… python benchmarks/explorer_in_chromium.py [RUN]

Without RUN an overcomplete autoencoder is trained first. The browser is `chromium` on the path, or what
AE_LIGHTNING_CHROMIUM names.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright
from rich.console import Console
from rich.table import Table

from ae_lightning.explorer.page import inlined

REPEATS = 60

# Each from the call to the last listener's return, when the new reconstruction is on its canvas: milliseconds.
_ACTIONS = {
    "switch the sample": "(i) => explorer.selectSample(i)",
    "a stroke": """(i) => {
        const input = explorer.input.slice();
        for (let k = 0; k < 9; k++) input[(i * 29 + k * 28) % input.length] = 1;
        explorer.edit(input);
    }""",
    "switch a unit off or on": "(i) => explorer.toggle(0, i % 40)",
    "a step to another snapshot": "(i) => explorer.showSnapshot(i % explorer.session.manifest.snapshots.length)",
}
_WANTED = {"switch the sample": 16, "a stroke": 16, "switch a unit off or on": 16, "a step to another snapshot": 50}
_TIMED = """async (repeats) => {
    const act = ACTION, times = [];
    for (let i = 1; i <= repeats; i++) {
        const start = performance.now();
        await act(i);
        times.push(performance.now() - start);
        await new Promise((done) => setTimeout(done, 30)); // a person is not faster, and idle work may go on
    }
    return times;
}"""


def main() -> None:
    """Print one table of what was measured and what was wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path)
    given = parser.parse_args().run
    with tempfile.TemporaryDirectory() as scratch:
        run = given or _trained(Path(scratch))
        rows = [*_sizes(run, Path(scratch)), *_speeds(Path(scratch) / "explorer_10.html")]
    table = Table("what", "measured", "wanted", title="Explorer of 1,024 units on MNIST")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def _trained(scratch: Path) -> Path:
    where = ("--trainer.default_root_dir", str(scratch), "--trainer.callbacks", "null")
    _command("fit", "--config", "overcomplete_mnist", *where)
    return scratch / "lightning_logs" / "overcomplete_mnist" / "version_0"


def _command(*arguments: str) -> None:
    """Run `ae-lightning` in a process of its own, so that its imports count."""
    subprocess.run([sys.executable, "-m", "ae_lightning", *arguments], check=True, stdout=subprocess.DEVNULL)


def _sizes(run: Path, scratch: Path) -> list[tuple[str, str, str]]:
    shell = len(inlined({"title": ""}, {}).encode())
    rows = [("the page without a run", f"{shell / 1e3:.1f} KB", "≤ 150 KB")]
    for snapshots, wanted in ((1, 5), (10, 25)):
        path = scratch / f"explorer_{snapshots}.html"
        start = time.perf_counter()
        _command("explore", str(run), "-o", str(path), "--snapshots", str(snapshots))
        seconds = time.perf_counter() - start
        rows.append((f"file with {snapshots} snapshots", f"{path.stat().st_size / 1e6:.1f} MB", f"≤ {wanted} MB"))
        rows.append((f"export with {snapshots} snapshots", f"{seconds:.1f} s", "< 20 s"))
    return rows


def _speeds(path: Path) -> list[tuple[str, str, str]]:
    chromium = os.environ.get("AE_LIGHTNING_CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1500, "height": 1000})
        rows = [("first atlas", f"{statistics.median(_opened(page, path) for _ in range(5)):.0f} ms", "≤ 1000 ms")]
        page.wait_for_timeout(2000)
        for name, action in _ACTIONS.items():
            times = page.evaluate(_TIMED.replace("ACTION", action), REPEATS)
            worst = statistics.quantiles(times, n=10)[-1]
            rows.append((name, f"{statistics.median(times):.1f} ms (one in ten {worst:.1f})", f"≤ {_WANTED[name]} ms"))
        memory = page.evaluate("performance.memory.usedJSHeapSize") / 1e6
        browser.close()
    return [*rows, ("JavaScript heap afterwards", f"{memory:.0f} MB", "< 250 MB")]


def _opened(page: Page, path: Path) -> float:
    """Milliseconds from the beginning of the navigation until the atlas is drawn."""
    page.goto("about:blank")
    page.goto(path.as_uri())
    # The page allows no evaluation of strings, which Playwright's own waiting would need.
    while not (marks := page.evaluate("performance.getEntriesByName('first view').map((mark) => mark.startTime)")):
        page.wait_for_timeout(20)
    return marks[0]


if __name__ == "__main__":
    main()

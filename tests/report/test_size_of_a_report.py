"""A report of the experiment that asks for most stays small enough to be sent, and short enough to be read."""

import pytest

from ae_lightning.cli.main import main


@pytest.mark.slow
def test_overcomplete_mnist_stays_below_its_limits(fit_once, mnist_root, browser, tmp_path, monkeypatch):
    """A quarter of the experiment's steps, with all of its snapshots."""
    monkeypatch.setenv("AE_LIGHTNING_DATA", str(mnist_root))
    run = fit_once("--config", "overcomplete_mnist", "--trainer.limit_train_batches", "52")
    assert main(["report", str(run), "-o", str(tmp_path)]) == 0
    assert (tmp_path / "report.html").stat().st_size < 4_000_000
    assert (tmp_path / "units.html").stat().st_size < 5_000_000
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.goto((tmp_path / "report.html").as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(it => it.open = true)")
    height = page.evaluate("document.documentElement.scrollHeight")
    headings = page.locator("h1, h2, h3").all_inner_texts()
    page.close()
    assert 5000 < height < 9000
    assert len(headings) == len({*headings})

"""`ae-lightning explore` of a dictionary that was trained on a store of activations."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from ae_lightning.cli.main import main
from ae_lightning.data.store import StoreWriter
from ae_lightning.explorer.blocks import decode_block
from ae_lightning.explorer.latents import pages
from ae_lightning.files import write_json
from ae_lightning.report.sections.explorer import ExplorerSection
from ae_lightning.run.run import Run

ROWS, WIDTH, LATENTS = 600, 10, 24
FIT = [
    *("--model", "TopKSAE", "--model.latent_dim", str(LATENTS), "--model.k", "3", "--model.instances", "2"),
    *("--data", "ActivationsDataModule", "--data.normalize", "mean_norm", "--data.batch_size", "128"),
    *("--trainer.max_epochs", "1", "--trainer.callbacks", "null", "--experiment", "texts"),
]


def x_of_store() -> torch.Tensor:
    return torch.randn(ROWS, WIDTH, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="session")
def made(made_once: Callable[..., Path]) -> Path:
    """A store of 30 texts of 20 tokens, and a run of two small dictionaries on it."""

    def fill(root: Path) -> None:
        sample, position = torch.arange(ROWS) // 20, torch.arange(ROWS) % 20
        with StoreWriter(root / "store", {}, {"layer.3": WIDTH}) as writer:
            writer.add_samples(torch.arange(ROWS).view(30, 20) % 17)
            writer.add({"layer.3": x_of_store()}, sample, position)
            write_json(root / "store" / "tokens.json", [f" word{number}" for number in range(17)])
            about = {"kind": "text", "title": "2 text files"}
            writer.finish(model={"name": "Net"}, data=about, samples=30)
        where = ["--data.root", str(root / "store"), "--trainer.default_root_dir", str(root)]
        assert main(["fit", *FIT, *where]) == 0

    return made_once("explored_store", fill)


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made / "lightning_logs" / "texts" / "version_0", tmp_path / "logs" / "texts" / "version_0")


def page_of(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Manifest and arrays of a page."""
    text = path.read_text(encoding="utf-8")
    manifest = json.loads(re.search(r'id="manifest">(.*?)</script>', text, re.DOTALL)[1])
    blocks = dict(re.findall(r'data-block="([^"]*)">([^<]*)</script>', text))
    described = manifest["blocks"]
    arrays = {
        name: decode_block(blocks[block], described[block]["type"], described[block]["shape"])
        for name, block in manifest["arrays"].items()
    }
    return manifest, arrays


def test_a_page_says_what_the_model_itself_does(ae: Callable[..., Any], run: Path) -> None:
    code, out, err = ae("explore", run, "--instance", "1")
    assert (code, err) == (0, "")
    path = run / "explorer.html"
    assert out.splitlines()[0] == f"explorer: {path} ({path.stat().st_size / 1e6:.1f} MB)"
    manifest, arrays = page_of(path)
    assert manifest["title"] == "texts/version_0, instance 1"
    assert manifest["data"] == "Activations of layer.3 in Net over 2 text files · 600 rows"
    x = x_of_store()
    model = Run.load(run).model
    with torch.no_grad():
        z = model.encode(x * (WIDTH**0.5 / x.norm(dim=1).mean()))[1].numpy()
    np.testing.assert_allclose(arrays["density"], (z != 0).mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(arrays["high"], z.max(axis=0), rtol=1e-5)
    for latent in range(LATENTS):
        of_samples = z[:, latent].reshape(30, 20)
        count = min(16, int((of_samples > 0).any(axis=1).sum()))
        np.testing.assert_allclose(
            arrays["top_value"][latent][:count], -np.sort(-of_samples.max(axis=1))[:count], rtol=1e-5
        )
        best = int(arrays["top"][latent][0])
        assert arrays["top_position"][latent][0] == of_samples[best].argmax()
    rows = torch.nn.functional.normalize(model.decoder_vectors[1].detach(), dim=1)
    cosines = (rows @ rows.T).fill_diagonal_(-2)
    np.testing.assert_allclose(arrays["cosine"], cosines.sort(dim=1, descending=True).values[:, :8], atol=1e-5)


def test_fewer_rows_are_looked_at_where_they_are_asked_for(ae: Callable[..., Any], run: Path, tmp_path: Path) -> None:
    assert ae("explore", run, "--rows", "128", "-o", tmp_path / "page.html").code == 0
    manifest, _ = page_of(tmp_path / "page.html")
    assert (manifest["rows"], manifest["stored_rows"]) == (128, 600)
    assert manifest["data"].endswith("· 128 of 600 rows")


def test_many_latents_get_a_folder(
    ae: Callable[..., Any], run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "ON_ONE_PAGE", 23)
    monkeypatch.setattr(pages, "PER_PAGE", 16)
    code, out, err = ae("explore", run)
    assert (code, err) == (0, "")
    names = sorted(path.name for path in (run / "explorer").iterdir())
    assert names == ["index.html", "latents-00000.html", "latents-00016.html"]
    assert out.startswith(f"explorer: {run / 'explorer'} (3 pages, ")
    assert out.splitlines()[1].endswith("/explorer/index.html")
    refused = ae("explore", run, "-o", tmp_path / "page.html")
    message = f"-o {tmp_path / 'page.html'}: 24 latents take a folder of pages; name a folder"
    assert refused == (2, "", f"ae-lightning: error: {message}\n")


def test_the_same_run_gives_the_same_bytes(ae: Callable[..., Any], run: Path, tmp_path: Path) -> None:
    for name in ("a.html", "b.html"):
        assert ae("explore", run, "-o", tmp_path / name).code == 0
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--snapshots", "3"], "--snapshots is for pages that compute a network, and that of {run}, whose data are "
         "activations, shows latents: leave it out"),
        (["--json"], "--json is for pages that compute a network, and that of {run}, whose data are activations, "
         "shows latents: leave it out"),
        (["--rows", "0"], "--rows is 0; it must be at least 1"),
        (["--instance", "2"], "the instance asked for is 2, but the TopKSAE has 2 instances, 0 to 1"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence(options: list[str], message: str, ae: Callable[..., Any], run: Path) -> None:
    assert ae("explore", run, *options) == (2, "", f"ae-lightning: error: {message.format(run=run)}\n")
    assert not (run / "explorer.html").exists()


def test_a_store_that_is_gone_is_one_sentence(ae: Callable[..., Any], run: Path, made: Path) -> None:
    config = run / "config.yaml"
    config.write_text(config.read_text().replace(str(made / "store"), "nowhere"))
    code, out, err = ae("explore", run)
    assert (code, out) == (2, "")
    assert err.startswith("ae-lightning: error: --data.root names nowhere, and there is no such folder")
    assert err.count("\n") == 1


def test_rows_are_of_stores_alone(ae: Callable[..., Any], trained: Path) -> None:
    code, _, err = ae("explore", trained, "--rows", "5")
    assert code == 2
    assert err == (
        f"ae-lightning: error: --rows is for dictionaries of a store's activations, and {trained} is of other data\n"
    )


def test_a_report_says_how_and_then_links_to_it(ae: Callable[..., Any], run: Path, tmp_path: Path) -> None:
    model, data = Run.load(run).model, Run.load(run).data
    about = SimpleNamespace(run=Run.load(run), data=data, model=model, folder=run / "report", instance=None)
    (sentence,) = ExplorerSection(about).sentences()
    assert sentence.startswith(f"`ae-lightning explore {run}` writes a page in which its latents can be browsed")
    assert ae("explore", run).code == 0
    section = ExplorerSection(about)
    assert section.sentences() == []
    (link,) = section.links()
    assert link.address == "../explorer.html"

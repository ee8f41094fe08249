"""How much of a codebook is in use on a set, beside a count of index by index."""

from collections import Counter

import pytest
import torch

from ae_lightning.data.digits import DigitsDataModule
from ae_lightning.evaluation.codebook import code_counts, codebook_numbers
from ae_lightning.evaluation.evaluate import evaluate
from ae_lightning.models.vqvae import VQVAE
from ae_lightning.run.results import as_row
from ae_lightning.run.results_form import misplaced

OPTIONS = [{"groups": 4}, {"groups": 4, "product": True, "depth": 2}, {"network": "deep_conv", "groups": 2, "depth": 2}]


@pytest.fixture(scope="module")
def data() -> DigitsDataModule:
    data = DigitsDataModule()
    data.setup()
    return data


@pytest.mark.parametrize("options", OPTIONS)
def test_codes_are_counted_by_index_and_by_book(options, data):
    torch.manual_seed(0)
    model = VQVAE((1, 8, 8), latent_dim=16, codes=32, **options)
    counts = code_counts(model, data.test_set, 100)
    with torch.no_grad():
        indices = model.eval().indices_of(data.test_set.take(10_000)[0])
    for row in range(model.index_shape[0]):
        truth = Counter(indices[:, row].flatten().tolist())
        assert {code: n for code, n in enumerate(counts[row].tolist()) if n} == truth
    groups, depth = options["groups"], options.get("depth", 1)
    rows = [[d * groups + g] for d in range(depth) for g in range(groups)]
    if not options.get("product"):
        rows = [[d * groups + g for g in range(groups)] for d in range(depth)]
    assert torch.equal(model.codebook.of_books(counts), torch.stack([counts[of].sum(0) for of in rows]))


def test_numbers_are_those_worked_out_by_hand():
    model = VQVAE((8,), latent_dim=8, codes=4, groups=2, product=True)
    numbers = codebook_numbers(model, torch.tensor([[6, 6, 0, 0], [3, 3, 3, 3]]))
    assert numbers == pytest.approx(
        {"codes": 4, "codebooks": 2, "codes_per_sample": 2, "bits_per_sample": 4, "usage": 6 / 8, "perplexity": 3.0}
    )


def test_they_are_among_the_final_numbers(data):
    torch.manual_seed(0)
    model = VQVAE((1, 8, 8), latent_dim=16, codes=32)
    results = evaluate(model, data)
    assert not misplaced(results)
    assert results["codebook"] == codebook_numbers(model, code_counts(model, data.test_set, 512))
    row = as_row(results)
    assert (row["perplexity"], row["usage"], row["bits_per_sample"]) == (
        *(results["codebook"][name] for name in ("perplexity", "usage")),
        8 * 5,
    )

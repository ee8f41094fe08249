"""How many codes are in use: numbers worked out by hand, and scipy's entropy."""

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from ae_lightning.metrics.codebook import perplexity, usage


def test_perplexity_is_the_number_of_codes_that_are_chosen_equally_often():
    counts = torch.tensor([[5, 5, 5, 5, 0, 0], [9, 0, 0, 0, 0, 0], [2, 1, 1, 0, 0, 0], [0, 0, 0, 0, 0, 0]])
    # Halves and quarters: 1.5 bits.
    assert perplexity(counts).tolist() == pytest.approx([4.0, 1.0, 2**1.5, 0.0], abs=1e-5)


def test_perplexity_is_that_of_scipys_entropy():
    counts = np.random.default_rng(0).integers(0, 50, (3, 40))
    np.testing.assert_allclose(
        perplexity(torch.from_numpy(counts)).numpy(), np.exp(entropy(counts, axis=-1)), rtol=1e-5
    )


def test_usage_counts_the_codes_of_all_books():
    assert float(usage(torch.tensor([[5, 0, 1, 1], [0, 0, 0, 2]]))) == 0.5

"""Losses by sample beside the same by hand, in NumPy."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from ae_lightning.errors import ConfigError
from ae_lightning.evaluation.splice.losses import classification, next_token, summed
from ae_lightning.harvesting.inputs import Inputs

MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 1, 1, 1]])


def sequences() -> tuple[torch.Tensor, Inputs]:
    """Logits (3, 5, 7) and tokens, of which the second sequence is padded on the right and the third on the left."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, 7, (3, 5), generator=generator)
    return torch.randn(3, 5, 7, generator=generator), Inputs((), {"input_ids": tokens, "attention_mask": MASK}, 3)


def test_next_token_is_the_cross_entropy_of_real_tokens_after_real_ones():
    logits, inputs = sequences()
    told = log_softmax(logits.double().numpy(), axis=-1)
    ids = inputs.kwargs["input_ids"].numpy()
    spans = [range(1, 5), range(1, 3), range(3, 5)]
    expected = [-sum(told[row, t - 1, ids[row, t]] for t in span) for row, span in enumerate(spans)]
    for output in (logits, SimpleNamespace(logits=logits), {"logits": logits}, (logits, "cache")):
        found = summed(next_token(output, inputs), 3, "next_token")
        assert list(found) == ["cross_entropy"]
        np.testing.assert_allclose(found["cross_entropy"].sums, expected, rtol=1e-6)
        assert found["cross_entropy"].counts.tolist() == [4, 2, 2]


@pytest.mark.parametrize(("kept", "counts"), [(None, [4, 4, 4]), (MASK.bool(), [4, 2, 2])])
def test_of_a_network_that_takes_ids_alone_the_rows_kept_tell_what_is_padding(kept, counts):
    logits, inputs = sequences()
    alone = Inputs((inputs.kwargs["input_ids"],), {}, 3, kept)
    assert summed(next_token(logits, alone), 3, "next_token")["cross_entropy"].counts.tolist() == counts


def classes(*y: int) -> Inputs:
    return Inputs((torch.zeros(len(y), 4),), {}, len(y), y=torch.tensor(y))


def test_classification_by_hand():
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0]])
    found = summed(classification(logits, classes(0, 1, 1)), 3, "classification")
    expected = [np.log1p(np.exp(-2)), np.log1p(np.exp(-1)), np.log1p(np.exp(3))]
    np.testing.assert_allclose(found["cross_entropy"].sums, expected, rtol=1e-6)
    assert found["accuracy"].sums.tolist() == [1, 1, 0]
    assert found["accuracy"].counts.tolist() == [1, 1, 1]


def test_what_does_not_count_may_be_anything():
    losses = torch.tensor([[1.0, torch.nan], [2.0, 3.0]])
    found = summed((losses, torch.tensor([[True, False], [True, True]])), 2, "mine:loss")
    assert found["loss"].sums.tolist() == [1, 5]
    assert found["loss"].counts.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: next_token(torch.zeros(3, 7), sequences()[1]), "the model gives a tensor of shape (3, 7)"),
        (lambda: next_token(SimpleNamespace(), sequences()[1]), "the model gives SimpleNamespace"),
        (lambda: classification(torch.zeros(2, 3), classes()._replace(y=None)), "the data have none"),
        (lambda: classification(torch.zeros(2, 3), classes(0, 3)), "4 classes or more"),
        (lambda: summed(torch.tensor(1.0), 2, "mine:loss"), "--loss mine:loss answers a tensor of shape ()"),
        (lambda: summed(1.0, 2, "mine:loss"), "--loss mine:loss answers float"),
        (lambda: summed({}, 2, "mine:loss"), "--loss mine:loss answers no losses"),
        (lambda: summed((torch.zeros(2), torch.zeros(2)), 2, "mine:loss"), "something else beside them"),
    ],
)
def test_what_does_not_fit_is_said_in_a_sentence(call, words):
    with pytest.raises(ConfigError) as error:
        call()
    assert words in str(error.value)
    assert "--loss" in str(error.value)

"""Texts as sequences, followed by hand: of the words the=3 cat=4 sat=5 on=6 mat=7 a=8, between [CLS]=1 and [SEP]=2."""

from pathlib import Path

import pytest
import torch
from reading import Reader, Words
from torch import Tensor, nn

from ae_lightning.errors import ConfigError, DataError
from ae_lightning.harvesting.text import TextInputs


def test_files_are_cut_into_sequences_none_of_which_spans_two(texts: list[Path], reader: Reader) -> None:
    source = TextInputs(texts, Words(), reader, batch_size=2, context=5)
    first, second = source.batches()
    assert first.kwargs["input_ids"].tolist() == [[1, 3, 4, 5, 2], [1, 6, 3, 7, 2]]
    assert second.kwargs["input_ids"].tolist() == [[1, 8, 2, 0], [1, 4, 5, 2]]
    assert second.kwargs["attention_mask"].tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert second.kept is not None
    assert second.kept.tolist() == [[False, True, False, False], [False, True, True, False]]
    assert [ids.tolist() for ids in second.tokens] == [[1, 8, 2], [1, 4, 5, 2]]
    assert (first.left_out, second.left_out) == ({"padding": 0, "special": 4}, {"padding": 1, "special": 4})
    assert (first.samples, second.samples, second.done) == (2, 2, 1.0)
    assert 0 < first.done < 1


def test_where_pieces_of_a_file_end_does_not_show(
    texts: list[Path], reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = [ids for ids, _ in TextInputs(texts, Words(), reader, 2, context=5).sequences()]
    monkeypatch.setattr("ae_lightning.harvesting.text._PIECE", 1)
    assert [ids for ids, _ in TextInputs(texts, Words(), reader, 2, context=5).sequences()] == whole


def test_a_network_that_knows_no_masks_is_given_the_ids(texts: list[Path]) -> None:
    class Bag(nn.Module):
        def forward(self, tokens: Tensor) -> Tensor:
            return tokens

    batch = next(TextInputs(texts, Words(), Bag(), 2, context=5).batches())
    assert batch.kwargs == {}
    assert torch.equal(batch.args[0], torch.tensor([[1, 3, 4, 5, 2], [1, 6, 3, 7, 2]]))


@pytest.mark.parametrize(
    ("context", "sentence"),
    [
        (2, "--context is 2, but 2 special tokens stand around each sequence: choose at least 3"),
        (17, "--context is 17, and the model takes sequences of at most 16 tokens"),
    ],
)
def test_a_context_that_cannot_be_is_refused(context: int, sentence: str, texts: list[Path], reader: Reader) -> None:
    with pytest.raises(ConfigError, match=sentence):
        TextInputs(texts, Words(), reader, 2, context=context)


def test_files_that_are_no_texts_are_refused(tmp_path: Path, reader: Reader) -> None:
    with pytest.raises(DataError, match=r"--text .*none.txt: there is no such file"):
        TextInputs([tmp_path / "none.txt"], Words(), reader, 2)
    (tmp_path / "bytes").write_bytes(b"the cat \xff\xfe")
    with pytest.raises(DataError, match=r"bytes is no text in UTF-8 \(invalid start byte near byte 8\)"):
        list(TextInputs([tmp_path / "bytes"], Words(), reader, 2).batches())
    (tmp_path / "empty").touch()
    with pytest.raises(DataError, match="the model has nothing to be shown: the data, or all text files, are empty"):
        TextInputs([tmp_path / "empty"], Words(), reader, 2).first_batch()

"""Tokens of three kinds of vocabularies, as their tokenizers write them, become text."""

import pytest

from ae_lightning.explorer.latents.vocabulary import byte_letters, readable


@pytest.mark.parametrize(
    ("vocabulary", "text"),
    [
        # GPT-2's: encoder.json has these for " the", "\n", "’" and " é".
        (["Don", "âĢĻ", "t", "Ġthe", "Ċ", "ĠÃ©", "<|endoftext|>"], "Don’t the\n é<|endoftext|>"),
        (["▁Hello", "▁wor", "ld", "<0x0A>", "<0x09>", "</s>"], " Hello world\n\t</s>"),
        (["[CLS]", "un", "##believ", "##able", "!", "##"], " [CLS] unbelievable ! ##"),
        (["a", "b ", "c"], "ab c"),
    ],
)
def test_tokens_follow_each_other_as_text(vocabulary: list[str], text: str) -> None:
    assert "".join(readable(vocabulary)) == text


def test_parts_of_letters_are_replaced() -> None:
    assert readable(["ĠðŁ", "¦ī", "Ġ"]) == [" �", "��", " "]
    assert readable(["▁", "<0xF0>"]) == [" ", "�"]


def test_every_byte_has_a_letter() -> None:
    words = "¡Ω ß\x00\x7f\xad🦉 end".encode()
    letters = {byte: letter for letter, byte in byte_letters().items()}
    assert sorted(letters) == list(range(256))
    assert readable(["Ġ", "".join(letters[byte] for byte in words)])[1] == words.decode()

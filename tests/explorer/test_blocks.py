"""Arrays come back from their text with the standard library alone."""

import base64
import gzip

import numpy as np
import pytest

from ae_lightning.explorer.blocks import TYPES, Blocks, encode_block


def drawn(kind, shape=(7, 5)):
    values = 100 * np.random.default_rng(0).standard_normal(shape)
    return (np.abs(values) if kind.startswith("u") else values).astype(kind)


def planes(text):
    return gzip.decompress(base64.b64decode(text, validate=True))


@pytest.mark.parametrize("kind", TYPES)
def test_first_bytes_come_first_then_second_ones(kind):
    array = drawn(kind)
    size = array.itemsize
    plain = array.astype(array.dtype.newbyteorder("<")).tobytes()
    assert planes(encode_block(array)) == b"".join(plain[byte::size] for byte in range(size))


def test_neither_layout_nor_byte_order_changes_the_text():
    array = drawn("float32")
    text = encode_block(array)
    assert encode_block(np.asfortranarray(array)) == text
    assert encode_block(array.astype(">f4")) == text
    assert encode_block(array.repeat(2, axis=0)[::2]) == text
    assert encode_block(array) == text


def test_the_text_holds_no_time():
    assert base64.b64decode(encode_block(drawn("int8")))[4:8] == bytes(4)


@pytest.mark.parametrize("shape", [(0,), (3, 0), ()])
def test_an_empty_array_and_a_single_number(shape):
    array = np.zeros(shape, dtype=np.float32)
    assert planes(encode_block(array)) == array.tobytes()


def test_blocks_are_described_and_equal_ones_kept_once():
    blocks = Blocks()
    array = drawn("float16")
    assert blocks.add("a", array) == "a"
    assert blocks.add("b", array.copy()) == "a"
    assert blocks.add("c", array.reshape(5, 7)) == "c"  # another shape is another array
    assert blocks.add("d", array.view(np.int16)) == "d"
    assert blocks.described == {
        "a": {"type": "float16", "shape": [7, 5]},
        "c": {"type": "float16", "shape": [5, 7]},
        "d": {"type": "int16", "shape": [7, 5]},
    }
    assert list(blocks.texts) == list(blocks.described)


def test_what_cannot_be_kept_is_refused():
    blocks = Blocks()
    with pytest.raises(ValueError, match="not float64"):
        blocks.add("a", drawn("float64"))
    blocks.add("a", drawn("int8"))
    with pytest.raises(ValueError, match="two blocks called a"):
        blocks.add("a", drawn("uint8"))
